//! What a configuration needs beside the module that most load.

use super::{Finding, Subject, place};
use crate::found::Found;
use traffic_mirror::config::Config;
use traffic_mirror::core::redact::KEY;

/// Finds what only the compare build compares, where nothing says that this is loaded.
pub(super) fn compare_build(subject: &Subject<'_>) -> Vec<Finding> {
    let what = "headers or bodies of responses are compared, which the other module refuses";
    let hint = "load traffic_mirror_compare.wasm, or the image whose tag ends in -compare";
    let is_loaded = |owner: &str| owner.contains("traffic_mirror_compare") || owner.contains("-compare\"");
    unmet(subject, is_loaded, Config::needs_compare)
        .map(|(found, path)| Finding::note("compare-build", place(found, &path), what.to_owned(), hint))
        .collect()
}

/// Finds what needs the key of pseudonyms, where nothing hands it to the VM.
pub(super) fn key(subject: &Subject<'_>) -> Vec<Finding> {
    let what = format!("pseudonyms need a key, and nothing here hands {KEY} to the VM");
    let hint = "name it in environment_variables of Envoy's vm_config, or in vmConfig.env of Istio";
    unmet(subject, |owner| owner.contains(KEY), Config::needs_key)
        .map(|(found, path)| Finding::note("needs-key", place(found, &path), what.clone(), hint))
        .collect()
}

/// Lists what needs something, where what the configuration is a part of does not have that. A running proxy has it: it would have
/// refused the configuration.
fn unmet<'s, N: Iterator<Item = String>>(
    subject: &'s Subject<'_>,
    is_met: impl Fn(&str) -> bool,
    needs: impl Fn(&'s Config) -> N,
) -> impl Iterator<Item = (&'s Found, String)> {
    let is_running = !subject.shows_literals;
    let plugins = subject.plugins.iter().filter(move |(found, _)| !is_running && !is_met(&found.owner.json()));
    plugins.flat_map(move |(found, config)| needs(config).map(move |path| (found, path)))
}
