//! Whether the plugin is there, and which of its configurations is at work.

use super::facts::Facts;
use crate::facts::field::{at, items};
use crate::findings::Finding;
use crate::findings::bootstrap::{BUFFER_LIMIT, missing_labels};
use crate::found::Found;
use crate::tree::{Tree, join};
use traffic_mirror::config::{OnInvalid, Violations};

const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
/// What tells the module's VMs that run.
const ACTIVE: &str = ".active";

pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = wrong(facts);
    if findings.is_empty() {
        findings.extend(not_loaded(facts));
    }
    findings
}

/// Finds configurations with errors: which are not at work.
fn wrong(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, violations) in &facts.plugins.wrong {
        findings.push(match on_invalid(found) {
            OnInvalid::Refuse => refused(found, reason(found, violations)),
            OnInvalid::KeepLast => invalid_kept(found.place.to_string(), reason(found, violations)),
        });
    }
    for (found, violations) in &facts.rejected.wrong {
        findings.push(refused(found, reason(found, violations)));
    }
    for (found, _) in &facts.rejected.valid {
        let what = "Envoy rejected the listener for a reason outside of the plugin's configuration".to_owned();
        findings.push(refused(found, what));
    }
    let gauges = facts.counters.iter().flat_map(|[_, counters]| &counters.invalid.0);
    for (plugin, _) in gauges.filter(|(_, value)| **value > 0.0) {
        if !findings.iter().any(|finding| finding.code == "invalid-kept") {
            let place = format!("{}: plugin {plugin}", facts.said.name);
            findings.push(invalid_kept(place, "its last configuration has errors".to_owned()));
        }
    }
    findings
}

fn refused(found: &Found, why: String) -> Finding {
    let what = format!("the last configuration was rejected, and is not the one at work: {why}");
    let hint =
        "correct it: `mirrorctl check` names all errors; set onInvalid: keepLast, so that no proxy starts without one";
    Finding::error("refused", found.place.to_string(), what, hint)
}

fn invalid_kept(place: String, why: String) -> Finding {
    let what =
        format!("the last configuration is wrong, and an older one is at work, or none where there was none: {why}");
    Finding::error("invalid-kept", place, what, "correct it: `mirrorctl check` names all errors")
}

fn on_invalid(found: &Found) -> OnInvalid {
    let bytes = found.configuration.as_ref().map(|(_, text)| text.as_bytes()).unwrap_or_default();
    OnInvalid::of(bytes)
}

/// Says what is wrong first, without the value, which may be a secret.
fn reason(found: &Found, violations: &Violations) -> String {
    let outer = format!("{}.", found.path);
    let first = violations
        .parts()
        .next()
        .map(|(path, _, allowed)| format!("{}: {allowed}", path.strip_prefix(&outer).unwrap_or(path)));
    let more = violations.parts().count().saturating_sub(1);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{more}", first.unwrap_or_default())
}

/// Finds that there is no plugin, or no module for it.
fn not_loaded(facts: &Facts<'_>) -> Option<Finding> {
    let place = facts.said.name.clone();
    let has_counted = facts.counters.is_some();
    if facts.plugins.is_empty() {
        let (what, hint) = if let Some(name) = missing(facts) {
            (
                format!("the filter {name} has no plugin: nothing came for it, or its image could not be fetched"),
                "in Istio, look at istio_agent_wasm_remote_fetch_count of the agent, port 15020, and at its log",
            )
        } else if has_counted {
            (
                "the plugin is in no listener any more".to_owned(),
                "look at what selects this proxy, and at who removed it",
            )
        } else {
            (
                "no listener has the plugin".to_owned(),
                "look at what selects this proxy: labels, namespace, match, listener",
            )
        };
        return Some(Finding::error("not-loaded", place, what, hint));
    }
    if !has_counted && !facts.stats().is_empty() {
        if facts.stats().sum("extension_config_discovery.", ".config_fail") > 0.0 {
            let what = "the configuration was rejected, and has no error that shows in it".to_owned();
            let hint = "search Envoy's log for component wasm; `redact: {with: pseudonym}` needs a key in the VM's environment";
            return Some(Finding::error("refused", place, what, hint));
        }
        let fetched = facts.stats().get("wasm.remote_load_fetch_failures");
        let running = facts.stats().sum("wasm.", ACTIVE);
        let what = if fetched > 0.0 {
            "the plugin is configured, and its module could not be fetched".to_owned()
        } else if running > 0.0 {
            "the plugin is configured, and its metrics are missing".to_owned()
        } else {
            "the plugin is configured, and its module is not loaded".to_owned()
        };
        let hint = "search Envoy's log for component wasm";
        return Some(Finding::error("not-loaded", place, what, hint));
    }
    None
}

/// Returns a filter that should get a Wasm plugin by ECDS and has none: Istio puts another filter in the place of one whose
/// image it cannot fetch.
fn missing<'f>(facts: &'f Facts<'_>) -> Option<&'f str> {
    let envoy = &facts.subject.envoy;
    let is_wasm = |tree: &Tree| tree.text().is_some_and(|url| url.ends_with(WASM));
    let wants = |discovery: &Tree| items(discovery, &["type_urls"]).iter().any(is_wasm);
    let filters = envoy.managers.iter().flat_map(|manager| &manager.filters);
    let mut names = filters.filter(|filter| filter.discovered.is_some_and(wants)).map(|filter| filter.name);
    names.find(|name| {
        let mut of_name = envoy.extensions.iter().filter(|extension| extension.name == *name);
        !of_name.any(|one| {
            at(one.tree, &["typed_config"])
                .is_some_and(|config| config.text_at(&["@type"]).is_some_and(|url| url.ends_with(WASM)))
        })
    })
}

/// Finds what is not set in the Envoy that runs.
pub(super) fn unset(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (place, path, bootstrap) in &facts.subject.envoy.bootstraps {
        let missing = missing_labels(bootstrap);
        if !missing.is_empty() && !facts.plugins.is_empty() {
            let what = format!("labels stay in the metrics' names: {}", missing.join(", "));
            let hint = "set stats_config (Envoy) or extraStatTags (Istio), and restart the proxy";
            let place = format!("{place}: {}", join(path, "stats_config"));
            findings.push(Finding::warning("labels-missing", place, what, hint));
        }
    }
    let runtime = &facts.said.runtime;
    let is_known = *runtime != Tree::Null;
    if is_known && !facts.plugins.is_empty() && at(runtime, &["entries", BUFFER_LIMIT]).is_none() {
        let what = "each response to a copy may take 32 MiB of Envoy's memory".to_owned();
        let hint = format!("set {BUFFER_LIMIT} in the runtime");
        findings.push(Finding::warning("no-buffer-limit", format!("{}: runtime", facts.said.name), what, hint));
    }
    findings
}
