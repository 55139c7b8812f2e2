//! What is written: the configuration, or what installs it; and the original without its mirrors.

use super::{Form, envoy};
use crate::tree::Tree;

/// Where the image is to be pulled from, for the operator to change.
const URL: &str = concat!("oci://registry.example.com/traffic-mirror:", env!("CARGO_PKG_VERSION"));

/// Fields of an Istio route that mirror, in all spellings.
const MIRROR_FIELDS: [&str; 6] =
    ["mirror", "mirrors", "mirrorPercent", "mirror_percent", "mirrorPercentage", "mirror_percentage"];

/// Where the plugin is to be installed, as far as the files say.
#[derive(Debug, Default)]
pub(super) struct Installation {
    pub(super) namespace: String,
    /// The labels of a gateway's workload.
    pub(super) labels: Option<Tree>,
    /// The Gateways of the Gateway API.
    pub(super) gateways: Vec<String>,
}

/// Writes the configuration in a form.
pub(super) fn write(form: Form, config: Tree, installation: &Installation) -> Result<String, String> {
    let comment = match form {
        Form::Config | Form::Envoy | Form::Bootstrap | Form::Routes => "",
        _ if installation.labels.is_some() || !installation.gateways.is_empty() => {
            "# CHANGE: where the plugin's image is.\n"
        }
        _ => {
            "# CHANGE: where the plugin's image is, and add a selector for the workloads whose requests are mirrored.\n"
        }
    };
    let config = match form {
        Form::Config | Form::Envoy | Form::Bootstrap | Form::Routes => config,
        // Proxies get these by ECDS: one that starts with a wrong configuration would answer every request with 500.
        Form::Wasmplugin | Form::Trafficextension => {
            let keep_last = ("onInvalid".to_owned(), "keepLast".into());
            Tree::Map([&[keep_last], config.fields()].concat())
        }
    };
    let tree = match form {
        Form::Config | Form::Routes => config,
        Form::Wasmplugin => {
            let plugin = [("url", URL), ("type", "HTTP"), ("failStrategy", "FAIL_OPEN")];
            let mut spec = installation.spec();
            spec.extend(plugin.map(|(name, value)| (name.to_owned(), value.into())));
            spec.push(("pluginConfig".to_owned(), config));
            installation.resource("WasmPlugin", spec)
        }
        Form::Trafficextension => {
            let wasm = Tree::map([
                ("url", Some(URL.into())),
                ("type", Some("HTTP".into())),
                ("failStrategy", Some("FAIL_OPEN".into())),
                ("pluginConfig", Some(config)),
            ]);
            let mut spec = installation.spec();
            spec.push(("wasm".to_owned(), wasm));
            installation.resource("TrafficExtension", spec)
        }
        Form::Envoy | Form::Bootstrap => filter("traffic_mirror", config),
    };
    Ok(format!("{comment}{}", yaml(&tree)?))
}

impl Installation {
    /// Writes what both of Istio's resources have: which proxies, and what of their traffic.
    fn spec(&self) -> Vec<(String, Tree)> {
        let gateway = |name: &String| {
            Tree::map([
                ("group", Some("gateway.networking.k8s.io".into())),
                ("kind", Some("Gateway".into())),
                ("name", Some(name.as_str().into())),
            ])
        };
        let gateways: Vec<_> = self.gateways.iter().map(gateway).collect();
        // Routes are the caller's, so the plugin is where requests leave: a sidecar's or a gateway's outbound side.
        let spec = Tree::map([
            ("selector", self.labels.clone().map(|labels| Tree::field("matchLabels", labels))),
            ("targetRefs", (!gateways.is_empty() && self.labels.is_none()).then_some(gateways.into())),
            ("match", Some(vec![Tree::field("mode", "CLIENT")].into())),
            ("phase", Some("STATS".into())),
            ("priority", Some(10u64.into())),
        ]);
        spec.fields().to_vec()
    }

    fn resource(&self, kind: &str, spec: Vec<(String, Tree)>) -> Tree {
        let metadata =
            Tree::map([("name", Some("traffic-mirror".into())), ("namespace", Some(self.namespace.as_str().into()))]);
        Tree::map([
            ("apiVersion", Some("extensions.istio.io/v1alpha1".into())),
            ("kind", Some(kind.into())),
            ("metadata", Some(metadata)),
            ("spec", Some(spec.into())),
        ])
    }
}

/// Writes an HTTP filter of Envoy's, with the plugin's name.
pub(super) fn filter(name: &str, config: Tree) -> Tree {
    let typed = |kind: &str| Some(format!("type.googleapis.com/{kind}").into());
    let code = Tree::field("local", Tree::field("filename", "dist/traffic_mirror.wasm"));
    let plugin = Tree::map([
        ("name", Some(name.into())),
        ("fail_open", Some(true.into())),
        ("vm_config", Some(Tree::map([("runtime", Some("envoy.wasm.runtime.v8".into())), ("code", Some(code))]))),
        ("configuration", Some(Tree::map([("@type", typed("google.protobuf.Struct")), ("value", Some(config))]))),
    ]);
    let wasm = Tree::map([("@type", typed("envoy.extensions.filters.http.wasm.v3.Wasm")), ("config", Some(plugin))]);
    Tree::map([("name", Some("traffic_mirror".into())), ("typed_config", Some(wasm))])
}

/// Writes YAML.
pub(super) fn yaml(tree: &Tree) -> Result<String, String> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    let text = serde_saphyr::to_string_with_options(tree, options).map_err(|error| error.to_string())?;
    Ok(text.trim_end().to_owned() + "\n")
}

/// Takes the mirrors out of a VirtualService, an HTTPRoute, or Envoy's own routes; everything else stays as it is.
pub(super) fn without_mirrors(document: &Tree) -> Tree {
    match document.text_at(&["kind"]) {
        Some("VirtualService") => {
            edit(document, &["spec", "http"], &|route| without(route, |name, _| MIRROR_FIELDS.contains(&name)))
        }
        Some("HTTPRoute") => edit(document, &["spec", "rules"], &|rule| {
            let is_mirror = |filter: &Tree| filter.text_at(&["type"]) == Some("RequestMirror");
            let kept = edit(rule, &["filters"], &|filter| if is_mirror(filter) { Tree::Null } else { filter.clone() });
            without(&kept, |name, value| name == "filters" && *value == Tree::List(Vec::new()))
        }),
        _ if envoy::is_envoys(document) => envoy::without_policies(document),
        _ => document.clone(),
    }
}

fn without(tree: &Tree, goes: impl Fn(&str, &Tree) -> bool) -> Tree {
    let Tree::Map(_) = tree else { return tree.clone() };
    Tree::Map(tree.fields().iter().filter(|(name, value)| !goes(name, value)).cloned().collect())
}

/// Edits the items of the list at the end of a path; one that becomes null goes. What is no such list stays as it is.
fn edit(tree: &Tree, path: &[&str], change: &dyn Fn(&Tree) -> Tree) -> Tree {
    let Some((first, rest)) = path.split_first() else {
        let Tree::List(items) = tree else { return tree.clone() };
        let changed = items.iter().map(change).filter(|item| *item != Tree::Null);
        return Tree::List(changed.collect());
    };
    let Tree::Map(_) = tree else { return tree.clone() };
    let field = |(name, value): &(String, Tree)| {
        (name.clone(), if name == first { edit(value, rest, change) } else { value.clone() })
    };
    Tree::Map(tree.fields().iter().map(field).collect())
}
