//! The plugin configurations in documents, wherever control planes and Envoy have them.

use crate::input::{Document, Place, yaml};
use crate::node::{Mismatches, Node};
use crate::tree::{Tree, join};
use traffic_mirror::config::{Config, Violation, Violations};

const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const HIGRESS: &str = "extensions.higress.io/";
const STRUCT: &str = "google.protobuf.Struct";
const STRING: &str = "google.protobuf.StringValue";

/// A plugin configuration, and where it stands.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) place: Place,
    /// The path in the document; empty where the document is the configuration.
    pub(crate) path: String,
    /// What it is a part of: the resource, or Envoy's `PluginConfig`.
    pub(crate) owner: Tree,
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
        let below = |violations: Violations| match &*self.path {
            "" => violations,
            path => violations.below(path),
        };
        let (_, text) = self.configuration.as_ref().map_err(|violation| below(violation.clone().into()))?;
        Config::from_bytes(text.as_bytes()).map_err(below)
    }
}

/// Finds the configurations in a document, and what is of the wrong type where they should be.
pub(crate) fn configurations(document: &Document) -> Vec<Found> {
    let mut found = Vec::new();
    let mismatches = Mismatches::default();
    let root = Node::root(&document.tree, &mismatches);
    let mut add = |owner: &Node<'_>, path: String, configuration: Configuration| {
        let is_foreign = is_foreign(owner.tree(), &configuration);
        let owner = owner.tree().clone();
        found.push(Found { place: document.place.clone(), path, owner, configuration, is_foreign });
    };
    let kind = if let Tree::Map(_) = document.tree { root.kind() } else { None };
    match kind {
        Some("WasmPlugin") => {
            check_names(&root);
            // Higress has a resource of the same kind.
            let is_higress = document.tree.text_at(&["apiVersion"]).is_some_and(|api| api.starts_with(HIGRESS));
            let field = if is_higress { "defaultConfig" } else { "pluginConfig" };
            match root.field("spec") {
                Some(spec) if spec.object().is_some() => add_field(&root, &spec, field, &mut add),
                Some(_) => {}
                None => add(&root, join("spec", field), plain(&Tree::Null)),
            }
        }
        Some("TrafficExtension") => {
            check_names(&root);
            if let Some(wasm) = root.field("spec").and_then(|spec| spec.field("wasm")?.object().cloned()) {
                add_field(&root, &wasm, "pluginConfig", &mut add);
            }
        }
        Some("EnvoyExtensionPolicy") => {
            check_names(&root);
            let filters = root.field("spec").map(|spec| spec.items_at("wasm")).unwrap_or_default();
            for filter in filters.iter().filter_map(Node::object) {
                add_field(filter, filter, "config", &mut add);
            }
        }
        Some("MeshProxyPatch") => {
            check_names(&root);
            in_kuma(&root, &mut add);
        }
        Some("ServiceDefaults" | "ProxyDefaults") => {
            check_names(&root);
            in_consul(&root, &mut add);
        }
        _ => in_envoy(&root, &mut add),
    }
    for violation in mismatches.take() {
        let place = document.place.clone();
        let (owner, configuration) = (Tree::Null, Err(violation));
        found.push(Found { place, path: String::new(), owner, configuration, is_foreign: false });
    }
    if found.is_empty() && !is_other(&document.tree) {
        let (place, configuration) = (document.place.clone(), plain(&document.tree));
        found.push(Found { place, path: String::new(), owner: Tree::Null, configuration, is_foreign: false });
    }
    found
}

/// Tells whether a document without a configuration is something else than a configuration with mistakes.
fn is_other(tree: &Tree) -> bool {
    const FIELDS: [&str; 4] = ["rules", "limits", "markerHeader", "onInvalid"];
    const ENVOY: [&str; 9] = [
        "static_resources",
        "dynamic_resources",
        "resources",
        "configs",
        "admin",
        "node",
        "layered_runtime",
        "@type",
        "typed_config",
    ];
    let is_resource =
        tree.get("kind").is_some() && ["apiVersion", "metadata", "spec"].iter().any(|field| tree.get(field).is_some());
    // A field that is spelled wrong is still like one of ours.
    let is_ours = |name: &str| FIELDS.iter().any(|own| strsim::jaro_winkler(own, name) > 0.8);
    let is_foreign = !tree.fields().is_empty() && !tree.fields().iter().any(|(name, _)| is_ours(name));
    is_resource || is_foreign || ENVOY.iter().any(|field| tree.get(field).is_some())
}

/// Tells whether neither the owner of a configuration nor its fields say that it is for this plugin.
fn is_foreign(owner: &Tree, configuration: &Configuration) -> bool {
    let names = owner.json().replace(['-', '_'], "").to_ascii_lowercase();
    let is_ours = |tree: &Tree| ["rules", "markerHeader", "limits"].iter().any(|name| tree.get(name).is_some());
    !names.contains("trafficmirror") && configuration.as_ref().is_ok_and(|(tree, _)| !is_ours(tree))
}

/// Reads what names a resource.
fn check_names(root: &Node<'_>) {
    let metadata = root.field("metadata");
    for name in ["name", "namespace"] {
        metadata.as_ref().and_then(|metadata| metadata.text_at(name));
    }
}

/// Takes a field of an object as a configuration, absent or not.
fn add_field(owner: &Node<'_>, parent: &Node<'_>, name: &str, add: &mut impl FnMut(&Node<'_>, String, Configuration)) {
    let configuration = parent.field(name);
    add(owner, join(parent.path(), name), plain(configuration.map_or(&Tree::Null, |node| node.tree())));
}

/// Takes a configuration that stands in the document as it is.
fn plain(tree: &Tree) -> Configuration {
    if *tree == Tree::Null {
        return Ok((Tree::Null, String::new()));
    }
    Ok((tree.clone(), tree.json()))
}

/// Looks for Wasm filters in Kuma's modifications: JSON patches, and parts of Envoy's configuration as YAML text.
fn in_kuma(root: &Node<'_>, add: &mut impl FnMut(&Node<'_>, String, Configuration)) {
    in_envoy(root, add);
    let default = root.field("spec").and_then(|spec| spec.field("default"));
    for modification in default.map(|default| default.items_at("appendModifications")).unwrap_or_default() {
        for (_, change) in modification.entries() {
            let Some(value) = change.field("value") else { continue };
            for tree in value.text().map(yaml).unwrap_or_default() {
                match tree {
                    Ok(tree) => in_envoy(&value.with(&tree), add),
                    Err(error) => {
                        add(&value, value.path().to_owned(), Err(Violation::new("", "(not shown)", error)));
                    }
                }
            }
        }
    }
}

/// Looks for Wasm plugins among the extensions of a Consul service.
fn in_consul(root: &Node<'_>, add: &mut impl FnMut(&Node<'_>, String, Configuration)) {
    let extensions = root.field("spec").map(|spec| spec.items_at("envoyExtensions")).unwrap_or_default();
    for extension in extensions.iter().filter(|extension| extension.text_at("name") == Some("builtin/wasm")) {
        let Some(plugin) = extension.field("arguments").and_then(|arguments| arguments.field("pluginConfig")) else {
            continue;
        };
        match plugin.field("configuration") {
            Some(text) => {
                if let Some(own) = text.text() {
                    add(&plugin, text.path().to_owned(), from_text(own));
                }
            }
            None => add(&plugin, join(plugin.path(), "configuration"), plain(&Tree::Null)),
        }
    }
}

/// Looks for Wasm filters in what Envoy reads, at any depth: listeners, ECDS resources, an EnvoyFilter's patches.
fn in_envoy(node: &Node<'_>, add: &mut impl FnMut(&Node<'_>, String, Configuration)) {
    let is_type = |field| node.tree().text_at(&[field]).is_some_and(|url| url.ends_with(WASM));
    let wasm = if is_type("@type") {
        Some(node.clone())
    } else if is_type("type_url") {
        node.field("value")
    } else {
        return node.children().iter().for_each(|child| in_envoy(child, add));
    };
    let Some(config) = wasm.and_then(|wasm| wasm.field("config")) else { return };
    if config.object().is_none() {
        return;
    }
    let Some(any) = config.field("configuration") else {
        return add(&config, join(config.path(), "configuration"), plain(&Tree::Null));
    };
    if any.object().is_none() {
        return;
    }
    let path = if any.tree().get("@type").is_some() { join(any.path(), "value") } else { any.path().to_owned() };
    if let Some(configuration) = from_any(&any) {
        add(&config, path, configuration);
    }
}

/// Takes a configuration that stands in the document as JSON text. What does not parse, the plugin has an error for.
fn from_text(text: &str) -> Configuration {
    Ok((serde_json::from_str(text).unwrap_or(Tree::Null), text.to_owned()))
}

/// Takes a configuration out of the `google.protobuf.Any` in which Envoy has it; `None` where a type is wrong.
fn from_any(any: &Node<'_>) -> Option<Configuration> {
    let refuse = |value: &str, allowed: &str| Some(Err(Violation::new("", value, allowed)));
    let value = any.field("value");
    let Some(url) = any.field("@type") else {
        return refuse(
            "no @type",
            "google.protobuf.Struct or google.protobuf.StringValue, with the configuration as value",
        );
    };
    let url = url.text()?;
    match url.rsplit('/').next().unwrap_or(url) {
        STRUCT => Some(plain(value.map_or(&Tree::Null, |value| value.tree()))),
        STRING => Some(from_text(value.map_or(Some(""), |value| value.text())?)),
        other => refuse(other, "not google.protobuf.Struct or google.protobuf.StringValue"),
    }
}
