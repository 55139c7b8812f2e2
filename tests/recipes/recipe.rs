//! One recipe of the page, put into the bootstrap that the harness makes.

use harness::Setup;
use harness::bootstrap::{Form, wasm};
use harness::process::ROOT;
use harness::scene::{plugins, yaml};
use serde_json::{Value, json};
use std::path::Path;

/// The heading of the recipes that have parts of Envoy's own configuration.
pub const PART: &str = "## With Envoy's own configuration";

/// The ports of the page, and the harness's clusters that stand for what listens there.
const PORTS: [(u64, &str); 3] = [(10001, "primary"), (10002, "mirror"), (10003, "mirror2")];

pub fn page() -> String {
    std::fs::read_to_string(Path::new(ROOT).join("docs/recipes.md")).unwrap()
}

/// What the page shows under one heading.
pub struct Recipe {
    /// The plugin's configuration, if the page shows one by itself.
    plugin: Option<Value>,
    /// Parts of Envoy's configuration, by the name of the list that each belongs to.
    parts: Vec<Value>,
}

impl Recipe {
    pub fn new(heading: &str) -> Self {
        Self::with(heading, &[])
    }

    /// The same, with words of the page replaced by what there is on this machine.
    pub fn with(heading: &str, words: &[(&str, &str)]) -> Self {
        let page = page();
        let is_own = |section: &&str| section.lines().next() == Some(heading);
        let section = page.split("\n### ").flat_map(|part| part.split("\n## ")).find(is_own);
        let mut text = section.unwrap_or_else(|| panic!("no recipe {heading:?}")).to_owned();
        for (word, own) in words {
            assert!(text.contains(word), "{heading}: no {word}");
            text = text.replace(word, own);
        }
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let (plugins, parts): (Vec<Value>, Vec<Value>) =
            blocks.flat_map(yaml).partition(|block| block.get("rules").is_some());
        assert!(plugins.len() < 2, "{heading} has {} plugin configurations", plugins.len());
        Self { plugin: plugins.into_iter().next(), parts }
    }

    /// Takes something out of the recipe, to see that it is needed.
    pub fn without(mut self, pointer: &str) -> Self {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let removed = self.parts.iter_mut().find_map(|part| part.pointer_mut(parent)?.as_object_mut()?.remove(field));
        assert!(removed.is_some(), "no {pointer}");
        self
    }

    /// The setup with the recipe in its listener `main`; where it has no plugin configuration of its own, every request is mirrored.
    pub fn setup(self) -> Setup {
        self.setup_and(|_| ())
    }

    /// The setup with the recipe's routes in the listener `plain`, for a filter that stands in no listener.
    pub fn setup_in_plain(self) -> Setup {
        Setup::plain().changed(move |bootstrap| {
            let listeners = bootstrap["static_resources"]["listeners"].as_array_mut().unwrap();
            listeners.push(listeners[0].clone());
            self.parts.into_iter().for_each(|part| merge(bootstrap, part, &Value::Null));
            bootstrap["static_resources"]["listeners"].as_array_mut().unwrap().remove(0);
        })
    }

    /// The same, with something else in the bootstrap.
    pub fn setup_and(self, change: impl FnOnce(&mut Value) + 'static) -> Setup {
        let brings_filter = self.parts.iter().any(|part| !plugins(part).is_empty());
        let all = json!({"rules": [{"name": "all", "mirrors": [{"cluster": "mirror"}]}]});
        let plugin = self.plugin.clone().unwrap_or(all);
        Setup::new(plugin.clone()).changed(move |bootstrap| {
            let filter = json!({"name": "traffic_mirror", "typed_config": wasm(&plugin, Form::Text)});
            if brings_filter {
                manager(bootstrap)["http_filters"].as_array_mut().unwrap().remove(0);
            }
            for part in self.parts {
                merge(bootstrap, part, &filter);
            }
            change(bootstrap);
        })
    }
}

/// The connection manager of the listener `main`.
pub fn manager(bootstrap: &mut Value) -> &mut Value {
    bootstrap.pointer_mut("/static_resources/listeners/1/filter_chains/0/filters/0/typed_config").unwrap()
}

/// Adds a listener on this port that hands requests to the mirror, over TLS if it has a transport socket.
pub fn relay(bootstrap: &mut Value, port: u16, transport_socket: Option<Value>) {
    let mut relay = bootstrap["static_resources"]["listeners"][0].clone();
    relay["name"] = json!("relay");
    relay["address"]["socket_address"]["port_value"] = json!(port);
    let chain = &mut relay["filter_chains"][0];
    chain["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["routes"] =
        json!([{"match": {"prefix": "/"}, "route": {"cluster": "mirror"}}]);
    if let Some(socket) = transport_socket {
        chain["transport_socket"] = socket;
    }
    bootstrap["static_resources"]["listeners"].as_array_mut().unwrap().push(relay);
}

fn merge(bootstrap: &mut Value, mut part: Value, filter: &Value) {
    for (port, cluster) in PORTS {
        let own = port_of(bootstrap, cluster);
        replace_port(&mut part, port, &own);
    }
    for (list, items) in part.as_object_mut().unwrap() {
        let items = items.take();
        match list.as_str() {
            "layered_runtime" | "bootstrap_extensions" => bootstrap[list.as_str()] = items,
            "routes" => manager(bootstrap)["route_config"]["virtual_hosts"][0]["routes"] = items,
            "http_filters" => {
                let filters = manager(bootstrap)["http_filters"].as_array_mut().unwrap();
                let router = filters.pop().unwrap();
                let is_bare = |item: &Value| item["name"] == "traffic_mirror" && item.get("typed_config").is_none();
                let items = items.as_array().unwrap().iter();
                *filters = items.map(|item| if is_bare(item) { filter.clone() } else { item.clone() }).collect();
                filters.push(router);
            }
            "clusters" | "listeners" | "secrets" => {
                let resources = bootstrap["static_resources"].as_object_mut().unwrap();
                let known = resources.entry(list.as_str()).or_insert(json!([])).as_array_mut().unwrap();
                for item in items.as_array().unwrap() {
                    known.retain(|other| other["name"] != item["name"]);
                    known.push(item.clone());
                }
            }
            other => panic!("a recipe shows {other:?}, which belongs nowhere"),
        }
    }
}

/// The port to which a cluster of the harness leads, whatever recipe has taken its name since.
fn port_of(bootstrap: &Value, cluster: &str) -> Value {
    const ADDRESS: &str = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address/port_value";
    let clusters = bootstrap["static_resources"]["clusters"].as_array().unwrap();
    let alias = match cluster {
        "mirror" => "outbound|9080|v1|mirror.test",
        "mirror2" => "outbound|9080||mirror.test",
        other => other,
    };
    clusters.iter().find(|own| own["name"] == alias).unwrap().pointer(ADDRESS).unwrap().clone()
}

fn replace_port(value: &mut Value, port: u64, own: &Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == "port_value" && *field == port {
                    *field = own.clone();
                } else {
                    replace_port(field, port, own);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| replace_port(item, port, own)),
        _ => {}
    }
}
