//! What a new configuration may do to proxies.

use super::{Finding, Subject, place};
use crate::facts::field::{at, is_set, text};
use crate::tree::{Tree, join};
use std::collections::HashMap;
use traffic_mirror::config::OnInvalid;

/// Resources of which Istio and Envoy Gateway make filters that proxies get by ECDS.
const RESOURCES: [&str; 3] = ["WasmPlugin", "TrafficExtension", "EnvoyExtensionPolicy"];

/// What Envoy gets by ECDS.
const EXTENSION: &str = "envoy.config.core.v3.TypedExtensionConfig";

/// The API of a resource that is called as one of Istio's is.
const HIGRESS: &str = "extensions.higress.io/";

/// Finds configurations that go by ECDS and would be refused if they were wrong: Envoy then answers 500 where there is none yet.
pub(super) fn no_keep_last(subject: &Subject<'_>) -> Vec<Finding> {
    let refused = subject.plugins.iter().filter(|(_, config)| config.on_invalid == OnInvalid::Refuse);
    let documents: HashMap<_, _> =
        subject.documents.iter().rev().map(|document| (document.place.to_string(), document)).collect();
    let goes_by_ecds =
        |place: &str, path: &str| documents.get(place).is_some_and(|document| is_delivered("", &document.tree, path));
    refused
        .filter(|(found, _)| goes_by_ecds(&found.place.to_string(), &found.path))
        .map(|(found, _)| {
            Finding::warning(
                "no-keep-last",
                place(found, "onInvalid"),
                "a proxy that starts with a wrong configuration answers every request with 500".to_owned(),
                "set onInvalid: keepLast",
            )
        })
        .collect()
}

/// Tells whether what stands at `wanted` is part of a resource, at or below `path`, that goes by ECDS.
fn is_delivered(path: &str, tree: &Tree, wanted: &str) -> bool {
    let Some(rest) = wanted.strip_prefix(path) else { return false };
    if !(path.is_empty() || rest.is_empty() || rest.starts_with(['.', '['])) {
        return false;
    }
    let is_text = |field: &str, text: &dyn Fn(&str) -> bool| tree.text_at(&[field]).is_some_and(text);
    is_text("kind", &|kind| RESOURCES.contains(&kind))
        || is_text("@type", &|url| url.ends_with(EXTENSION))
        || is_text("applyTo", &|what| what == "EXTENSION_CONFIG")
        || tree.children().iter().any(|(name, child)| is_delivered(&join(path, name), child, wanted))
}

/// Finds plugins that refuse requests when their module fails or cannot be fetched.
pub(super) fn fail_closed(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, _) in subject.plugins {
        if let Some((field, open)) = closed(&found.owner) {
            let what = "requests are refused when the module fails or cannot be loaded".to_owned();
            let place = format!("{}: {}", found.place, join(parent(&found.path), field));
            findings.push(Finding::warning("fail-closed", place, what, format!("set {field}: {open}")));
        }
    }
    findings
}

/// Returns the field of a plugin that does not let requests pass when it fails, and what would.
fn closed(owner: &Tree) -> Option<(&'static str, &'static str)> {
    const OPEN: &str = "FAIL_OPEN";
    let is_open = |tree: &Tree, field: &str| text(tree, &[field]) == Some(OPEN);
    if let Some(kind) = owner.text_at(&["kind"]) {
        let is_higress = owner.text_at(&["apiVersion"]).is_some_and(|api| api.starts_with(HIGRESS));
        let plugin = match kind {
            "WasmPlugin" if !is_higress => &["spec"][..],
            "TrafficExtension" => &["spec", "wasm"],
            _ => return None,
        };
        return owner.at(plugin).filter(|plugin| !is_open(plugin, "failStrategy")).map(|_| ("failStrategy", OPEN));
    }
    // Of Envoy: what has a VM. Of Envoy Gateway: what stands in a list of its policy.
    if at(owner, &["vm_config"]).is_some() {
        let is_closed = !is_open(owner, "failure_policy") && !is_set(owner, &["fail_open"]);
        return is_closed.then_some(("failure_policy", OPEN));
    }
    let is_gateways = owner.get("config").is_some() && at(owner, &["configuration"]).is_none();
    (is_gateways && !is_set(owner, &["failOpen"])).then_some(("failOpen", "true"))
}

/// Returns the path of a plugin, of that of its configuration.
fn parent(path: &str) -> &str {
    let fields = [".configuration", ".pluginConfig", ".config"];
    fields.iter().find_map(|field| path.rfind(field)).and_then(|end| path.get(..end)).unwrap_or_default()
}
