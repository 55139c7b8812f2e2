//! What a new configuration may do to proxies.

use super::{Finding, Subject};
use crate::tree::{Tree, join};
use traffic_mirror::config::OnInvalid;

/// Resources of which Istio and Envoy Gateway make filters that proxies get by ECDS.
const RESOURCES: [&str; 3] = ["WasmPlugin", "TrafficExtension", "EnvoyExtensionPolicy"];

/// What Envoy gets by ECDS.
const EXTENSION: &str = "envoy.config.core.v3.TypedExtensionConfig";

/// Finds configurations that go by ECDS and would be refused if they were wrong: Envoy then answers 500 where there is none yet.
pub(super) fn no_keep_last(subject: &Subject<'_>) -> Vec<Finding> {
    let refused = subject.plugins.iter().filter(|(_, config)| config.on_invalid == OnInvalid::Refuse);
    let goes_by_ecds = |place: &str, path: &str| {
        let document = subject.documents.iter().find(|document| document.place.to_string() == place);
        document.is_some_and(|document| is_delivered("", &document.tree, path))
    };
    refused
        .filter(|(found, _)| goes_by_ecds(&found.place.to_string(), &found.path))
        .map(|(found, _)| {
            Finding::warning(
                "no-keep-last",
                format!("{}: {}", found.place, join(&found.path, "onInvalid")),
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
