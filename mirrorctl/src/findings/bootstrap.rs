//! What the plugin needs of Envoy's bootstrap.

use super::{Finding, Subject};
use crate::facts::field::{at, items, text};
use crate::metrics::counters::LABELS;
use crate::tree::{Tree, join};

/// By which responses to copies are limited.
pub(crate) const BUFFER_LIMIT: &str = "http.async_response_buffer_limit";

/// Returns the labels that a bootstrap does not take out of the metrics' names.
pub(crate) fn missing_labels(bootstrap: &Tree) -> Vec<&'static str> {
    let tags = items(bootstrap, &["stats_config", "stats_tags"]);
    let has = |label: &str| tags.iter().any(|tag| text(tag, &["tag_name"]) == Some(label));
    LABELS.into_iter().filter(|label| !has(label)).collect()
}

/// Returns the bootstraps whose own listeners have the plugin, or get it.
fn with_plugin<'a>(subject: &'a Subject<'_>) -> impl Iterator<Item = (String, &'a str, &'a Tree)> {
    let is_used = || subject.plugins.iter().any(|(found, _)| !subject.envoy.positions(found).is_empty());
    let all = subject.envoy.bootstraps.iter().filter(move |_| is_used());
    all.map(|(place, path, tree)| (place.to_string(), &**path, *tree))
}

/// Finds bootstraps that leave the labels in the metrics' names.
pub(super) fn no_stats_tags(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, path, bootstrap) in with_plugin(subject) {
        let missing = missing_labels(bootstrap);
        if !missing.is_empty() {
            let what = format!("labels stay in the metrics' names: {}", missing.join(", "));
            let hint = "take stats_config.stats_tags from envoy.yaml";
            let place = format!("{place}: {}", join(path, "stats_config.stats_tags"));
            findings.push(Finding::warning("no-stats-tags", place, what, hint));
        }
    }
    findings
}

/// Finds bootstraps that let a response to a copy take 32 MiB.
pub(super) fn no_buffer_limit(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, path, bootstrap) in with_plugin(subject) {
        let layers = items(bootstrap, &["layered_runtime", "layers"]);
        let is_limited = layers.iter().any(|layer| {
            // What comes from elsewhere may have it.
            let is_elsewhere = at(layer, &["rtds_layer"]).or_else(|| at(layer, &["disk_layer"])).is_some();
            is_elsewhere || at(layer, &["static_layer"]).is_some_and(has_limit)
        });
        if !is_limited {
            let what = "each response to a copy may take 32 MiB of Envoy's memory".to_owned();
            let hint = format!("set {BUFFER_LIMIT} in a static_layer, as envoy.yaml does");
            let place = format!("{place}: {}", join(path, "layered_runtime"));
            findings.push(Finding::warning("no-buffer-limit", place, what, hint));
        }
    }
    findings
}

/// Tells whether a layer has the limit, as one name or as a path of names.
fn has_limit(layer: &Tree) -> bool {
    layer.get(BUFFER_LIMIT).is_some() || layer.at(&["http", "async_response_buffer_limit"]).is_some()
}
