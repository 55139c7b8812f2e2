//! What is written: the configuration, or what installs it.

use super::envoy_gateway::{ENVOY_GATEWAY, GATEWAY_API, resource};
use super::gateways::{Api, Gateways, Proxy};
use super::options::Form;
use crate::tree::Tree;

/// Where the image is to be pulled from, for the operator to change.
const URL: &str = concat!("oci://registry.example.com/traffic-mirror:", env!("CARGO_PKG_VERSION"));

/// The same for Envoy Gateway, which writes no scheme.
const IMAGE: &str = concat!("registry.example.com/traffic-mirror:", env!("CARGO_PKG_VERSION"));

/// What makes a policy act at a port of a Gateway alone.
const SECTIONS: &str =
    "# CHANGE: a `sectionName` in targetRefs for each listener of the port: this is for that port alone.\n";

/// Where the plugin is to be installed, as far as the files say.
#[derive(Debug, Default)]
pub(super) struct Installation {
    /// The name of the resource.
    pub(super) name: String,
    pub(super) namespace: String,
    /// The labels of a gateway's workload.
    labels: Option<Tree>,
    /// The Gateways of the Gateway API.
    gateways: Vec<String>,
    /// The ports of gateways that it is for; none: all.
    ports: Vec<u64>,
    /// What the operator has to find out, and why.
    changes: Vec<String>,
}

impl Installation {
    /// Finds out where the proxies are.
    pub(super) fn find(
        name: String,
        proxies: &[Proxy],
        ports: &[u64],
        gateways: &Gateways,
        clients: Clients<'_>,
    ) -> Self {
        let mut found = Self { name, ports: ports.to_vec(), ..Self::default() };
        match proxies.first() {
            Some(Proxy::Gateway(Api::Gateway, key)) => {
                let (namespace, gateway) = key.split_once('/').unwrap_or(("", key));
                found.namespace = namespace.to_owned();
                found.gateways.push(gateway.to_owned());
            }
            Some(proxy @ Proxy::Gateway(Api::Istio, key)) => {
                found.namespace = key.split_once('/').map_or("", |(namespace, _)| namespace).to_owned();
                let targets: Vec<_> = ports.iter().map(|port| gateways.workload_port(proxy, *port)).collect();
                if targets.contains(&None) {
                    found.changes.push(format!(
                        "the ports in `match` to those that the workload of {proxy} listens on: the targetPort of its Service, \
                         which no file tells"
                    ));
                }
                found.ports = ports.iter().zip(targets).map(|(port, target)| target.unwrap_or(*port)).collect();
                found.labels = gateways.get(proxy).and_then(|gateway| gateway.selector.clone());
                match &found.labels {
                    Some(labels) => match gateways.namespace_of(labels) {
                        Some(namespace) => found.namespace = namespace.to_owned(),
                        None => found.changes.push(format!(
                            "the namespace is that of {proxy}; the workload that it selects may be in another, and the \
                             resource has to be in the workload's"
                        )),
                    },
                    None => found.changes.push(format!(
                        "add the selector of {proxy}, whose file was not given, and the namespace of its workload"
                    )),
                }
            }
            Some(Proxy::Mesh) => {
                found.namespace = clients.namespace.to_owned();
                if !clients.are_known {
                    found.changes.push(
                        "the namespace, and a selector for the workloads whose requests are mirrored: rules for the mesh \
                         act where requests are sent from, which no file tells; one resource for each namespace"
                            .to_owned(),
                    );
                }
            }
            Some(Proxy::Unnamed) | None => {
                found.namespace = clients.namespace.to_owned();
                found.changes.push("the gateway: the routes name none".to_owned());
            }
        }
        found
    }

    /// Makes what the files do not tell: routes of Envoy's own say nothing of workloads.
    pub(super) fn unknown(namespace: &str) -> Self {
        Self {
            name: "traffic-mirror".to_owned(),
            namespace: namespace.to_owned(),
            changes: vec!["the namespace and the selector of the workload whose Envoy this was".to_owned()],
            ..Self::default()
        }
    }

    /// Tells whether the workload is known.
    pub(super) fn has_labels(&self) -> bool {
        self.labels.is_some()
    }

    /// Writes what both of Istio's resources have: which proxies, and what of their traffic.
    fn spec(&self) -> Vec<(String, Tree)> {
        // Routes are the caller's, so the plugin is where requests leave: a sidecar's or a gateway's outbound side.
        let ports: Vec<_> = self.ports.iter().map(|port| Tree::field("number", *port)).collect();
        let mode = ("mode", Some("CLIENT".into()));
        let traffic = Tree::map([mode, ("ports", (!ports.is_empty()).then(|| ports.into()))]);
        let spec = Tree::map([
            ("selector", self.labels.clone().map(|labels| Tree::field("matchLabels", labels))),
            ("targetRefs", self.targets()),
            ("match", Some(vec![traffic].into())),
            ("phase", Some("STATS".into())),
            ("priority", Some(10u64.into())),
        ]);
        spec.fields().to_vec()
    }

    fn targets(&self) -> Option<Tree> {
        let gateway = |name: &String| {
            Tree::map([
                ("group", Some(GATEWAY_API.into())),
                ("kind", Some("Gateway".into())),
                ("name", Some(name.as_str().into())),
            ])
        };
        let gateways: Vec<_> = self.gateways.iter().map(gateway).collect();
        (!gateways.is_empty()).then(|| gateways.into())
    }

    /// Writes lines of what the operator has to change.
    fn comments(&self) -> String {
        let image = ["where the plugin's image is".to_owned()];
        image.iter().chain(&self.changes).map(|change| format!("# CHANGE: {change}.\n")).collect()
    }
}

/// Where the clients of a mesh are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clients<'a> {
    pub(super) namespace: &'a str,
    /// Whether all of them are there.
    pub(super) are_known: bool,
}

/// Writes the configuration in a form.
pub(super) fn write(form: Form, config: Tree, installation: &Installation) -> Result<String, String> {
    let config = match form {
        Form::Config | Form::Envoy | Form::Bootstrap | Form::Routes => config,
        // Proxies get these by ECDS: one that starts with a wrong configuration would answer every request with 500.
        Form::Wasmplugin | Form::Trafficextension | Form::Envoyextensionpolicy => {
            let keep_last = ("onInvalid".to_owned(), "keepLast".into());
            Tree::Map([&[keep_last], config.fields()].concat())
        }
    };
    let Installation { name, namespace, .. } = installation;
    let istio = |kind, spec: Vec<(String, Tree)>| resource("extensions.istio.io/v1alpha1", kind, namespace, name, spec);
    let tree = match form {
        Form::Config | Form::Routes => return yaml(&config),
        Form::Envoy | Form::Bootstrap => return yaml(&filter("traffic_mirror", config)),
        Form::Wasmplugin => {
            let plugin = [("url", URL), ("type", "HTTP"), ("failStrategy", "FAIL_OPEN")];
            let mut spec = installation.spec();
            spec.extend(plugin.map(|(name, value)| (name.to_owned(), value.into())));
            spec.push(("pluginConfig".to_owned(), config));
            istio("WasmPlugin", spec)
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
            istio("TrafficExtension", spec)
        }
        Form::Envoyextensionpolicy => {
            let image = Tree::field("url", IMAGE);
            let wasm = Tree::map([
                ("name", Some("traffic-mirror".into())),
                ("code", Some(Tree::map([("type", Some("Image".into())), ("image", Some(image))]))),
                // The default answers 5xx if the module cannot be loaded or ever traps.
                ("failOpen", Some(true.into())),
                ("config", Some(config)),
            ]);
            let spec = Tree::map([("targetRefs", installation.targets()), ("wasm", Some(vec![wasm].into()))]);
            let listeners = if installation.ports.is_empty() { "" } else { SECTIONS };
            let policy = resource(ENVOY_GATEWAY, "EnvoyExtensionPolicy", namespace, name, spec);
            return Ok(format!("{}{listeners}{}", installation.comments(), yaml(&policy)?));
        }
    };
    Ok(format!("{}{}", installation.comments(), yaml(&tree)?))
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
