//! The plugin configurations in documents, wherever Istio, Envoy Gateway and Envoy have them.

use crate::input::{Document, Place};
use crate::tree::{Tree, join};
use traffic_mirror::config::{Config, Violation, Violations};

const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const STRUCT: &str = "google.protobuf.Struct";
const STRING: &str = "google.protobuf.StringValue";

/// A plugin configuration, and where it stands.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) place: Place,
    /// The path in the document; empty where the document is the configuration.
    pub(crate) path: String,
    /// Its tree, and the text that the plugin would be handed.
    pub(crate) configuration: Configuration,
    /// It may be the configuration of another plugin: nothing about it says that it is ours.
    pub(crate) is_foreign: bool,
}

type Configuration = Result<(Tree, String), Violation>;

impl Found {
    /// Reads the configuration through the plugin's own door.
    ///
    /// # Errors
    /// What the plugin would say, with the path in the document.
    pub(crate) fn read(&self) -> Result<Config, Violations> {
        let (_, text) = self.configuration.as_ref().map_err(Clone::clone)?;
        Config::from_bytes(text.as_bytes()).map_err(|violations| match &*self.path {
            "" => violations,
            path => violations.below(path),
        })
    }
}

/// Finds the configurations in a document.
pub(crate) fn configurations(document: &Document) -> Vec<Found> {
    let mut found = Vec::new();
    let tree = &document.tree;
    let spec = |path: &[&str]| tree.at(path).map(|tree| (path.join("."), tree));
    let mut add = |owner: &Tree, path: String, configuration| {
        let is_foreign = is_foreign(owner, &configuration);
        found.push(Found { place: document.place.clone(), path, configuration, is_foreign });
    };
    match tree.text_at(&["kind"]) {
        Some("WasmPlugin") => {
            let (path, config) = spec(&["spec", "pluginConfig"]).unwrap_or(("spec.pluginConfig".into(), &Tree::Null));
            add(tree, path, plain(config));
        }
        Some("TrafficExtension") => {
            if let Some((path, wasm)) = spec(&["spec", "wasm"]) {
                add(tree, join(&path, "pluginConfig"), plain(wasm.get("pluginConfig").unwrap_or(&Tree::Null)));
            }
        }
        Some("EnvoyExtensionPolicy") => {
            let filters = tree.at(&["spec", "wasm"]).map(Tree::items).unwrap_or_default();
            for (index, filter) in filters.iter().enumerate() {
                add(filter, format!("spec.wasm[{index}].config"), plain(filter.get("config").unwrap_or(&Tree::Null)));
            }
        }
        _ => in_envoy("", tree, &mut add),
    }
    if found.is_empty() && !is_other(tree) {
        let place = document.place.clone();
        found.push(Found { place, path: String::new(), configuration: plain(tree), is_foreign: false });
    }
    found
}

/// Tells whether a document without a configuration is something else than a configuration with mistakes.
fn is_other(tree: &Tree) -> bool {
    const ENVOY: [&str; 8] = [
        "static_resources",
        "dynamic_resources",
        "resources",
        "admin",
        "node",
        "layered_runtime",
        "@type",
        "typed_config",
    ];
    let is_resource = tree.get("apiVersion").is_some() && tree.get("kind").is_some();
    is_resource || ENVOY.iter().any(|field| tree.get(field).is_some())
}

/// Tells whether neither the owner of a configuration nor its fields say that it is for this plugin.
fn is_foreign(owner: &Tree, configuration: &Configuration) -> bool {
    let names = owner.json().replace(['-', '_'], "").to_ascii_lowercase();
    let is_ours = |tree: &Tree| ["rules", "markerHeader", "limits"].iter().any(|name| tree.get(name).is_some());
    !names.contains("trafficmirror") && configuration.as_ref().is_ok_and(|(tree, _)| !is_ours(tree))
}

/// Takes a configuration that stands in the document as it is.
fn plain(tree: &Tree) -> Configuration {
    if *tree == Tree::Null {
        return Ok((Tree::Null, String::new()));
    }
    Ok((tree.clone(), tree.json()))
}

/// Looks for Wasm filters in what Envoy reads, at any depth: listeners, ECDS resources, an EnvoyFilter's patches.
fn in_envoy(path: &str, tree: &Tree, add: &mut impl FnMut(&Tree, String, Configuration)) {
    let is_type = |tree: &Tree, field, name| tree.text_at(&[field]).is_some_and(|url| url.ends_with(name));
    let config = if is_type(tree, "@type", WASM) {
        tree.get("config").map(|config| (join(path, "config"), config))
    } else if is_type(tree, "type_url", WASM) {
        tree.at(&["value", "config"]).map(|config| (join(path, "value.config"), config))
    } else {
        None
    };
    if let Some((path, config)) = config {
        let path = join(&path, "configuration");
        let configuration = config.get("configuration").unwrap_or(&Tree::Null);
        let is_bare = configuration.get("@type").is_none();
        let inner = if is_bare { &path } else { &join(&path, "value") };
        add(config, inner.clone(), from_any(configuration));
        return;
    }
    for (name, child) in tree.children() {
        in_envoy(&join(path, &name), child, add);
    }
}

/// Takes a configuration out of the `google.protobuf.Any` in which Envoy has it.
fn from_any(any: &Tree) -> Configuration {
    let refuse = |value: &str, allowed: &str| Err(Violation::new("", value, allowed));
    let value = any.get("value").unwrap_or(&Tree::Null);
    match any.text_at(&["@type"]).map(|url| url.rsplit('/').next().unwrap_or(url)) {
        Some(STRUCT) => plain(value),
        Some(STRING) => match value.text() {
            // What does not parse, the plugin has an error for.
            Some(text) => Ok((serde_json::from_str(text).unwrap_or(Tree::Null), text.to_owned())),
            None => refuse(&value.json(), "not a string: a google.protobuf.StringValue holds JSON text"),
        },
        Some(other) => refuse(other, "not google.protobuf.Struct or google.protobuf.StringValue"),
        None if *any == Tree::Null => plain(any),
        None => {
            refuse("no @type", "google.protobuf.Struct or google.protobuf.StringValue, with the configuration as value")
        }
    }
}
