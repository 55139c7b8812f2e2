//! The two configurations of each example, istio.yaml and envoy.yaml: both are taken by the plugin, say the same, and
//! name clusters that are there.

use serde_json::Value;
use traffic_mirror::config::Config;

use crate::NAMES;
use harness::readme::{folder, read};
use harness::scene::{plugins, yaml};

/// The one plugin configuration of a file.
pub fn plugin(example: &str, file: &str) -> Value {
    let found: Vec<Value> = yaml(&read(example, file)).iter().flat_map(plugins).collect();
    let [plugin] = &found[..] else { panic!("{example}/{file} has {} plugin configurations", found.len()) };
    plugin.clone()
}

/// The destinations that a plugin configuration names.
pub fn destinations(plugin: &Value) -> Vec<Value> {
    let rules = plugin["rules"].as_array().unwrap();
    let mirrors = rules.iter().flat_map(|rule| rule["mirrors"].as_array().unwrap());
    mirrors.map(|mirror| mirror["destination"].clone()).collect()
}

pub fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn every_folder_is_an_example_with_the_same_files() {
    let mut found: Vec<String> = std::fs::read_dir(folder(""))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut names = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(found, names);
    for example in NAMES {
        for file in ["README.md", "istio.yaml", "envoy.yaml"] {
            assert!(!read(example, file).is_empty(), "{example}/{file}");
        }
    }
}

#[test]
fn istio_and_envoy_hold_the_same_rules_and_the_plugin_takes_them() {
    for example in NAMES {
        let [mut istio, envoy] = ["istio.yaml", "envoy.yaml"].map(|file| plugin(example, file));
        Config::from_bytes(istio.to_string().as_bytes()).unwrap_or_else(|violations| {
            let lines: Vec<_> = violations.lines().collect();
            panic!("{example}: {}", lines.join("\n"))
        });
        // Istio's comes by ECDS; Envoy's stands in the bootstrap, which a wrong one stops.
        let on_invalid = istio.as_object_mut().unwrap().remove("onInvalid");
        assert_eq!(on_invalid.as_ref().and_then(Value::as_str), Some("keepLast"), "{example}");
        assert_eq!(istio, envoy, "{example}");
    }
}

#[test]
fn nothing_is_left_of_the_routes_own_mirroring() {
    for example in NAMES {
        let mesh = yaml(&read(example, "istio.yaml"));
        let mut routes =
            mesh.iter().filter(|document| matches!(text(document, "/kind"), "VirtualService" | "HTTPRoute"));
        let own = ["mirror", "mirrors", "mirror_percent", "mirrorPercent", "mirrorPercentage", "requestMirror"];
        let has_own = |route: &Value| own.iter().any(|field| route.to_string().contains(&format!("\"{field}\":")));
        assert!(routes.clone().count() > 0 && !routes.any(has_own), "{example}");
    }
}

#[test]
fn every_mirror_is_a_cluster_of_envoy_yaml_and_a_service_of_istio_yaml() {
    for example in NAMES {
        let mesh = yaml(&read(example, "istio.yaml"));
        let envoy = yaml(&read(example, "envoy.yaml")).remove(0);
        let clusters = envoy["static_resources"]["clusters"].as_array().unwrap();
        let destinations = destinations(&plugin(example, "envoy.yaml"));
        assert!(!destinations.is_empty(), "{example}");
        for destination in destinations {
            let (host, subset) = (text(&destination, "/host"), text(&destination, "/subset"));
            let port = &destination["port"]["number"];
            let cluster = format!("outbound|{port}|{subset}|{host}");
            assert!(clusters.iter().any(|own| own["name"] == *cluster), "{example}: no cluster {cluster}");
            assert!(mesh.iter().any(|document| serves(document, host, port)), "{example}: no service {host}:{port}");
            let named = |document: &Value| {
                document["kind"] == "DestinationRule"
                    && full_name(document, text(document, "/spec/host")) == host
                    && document["spec"]["subsets"].as_array().unwrap().iter().any(|own| own["name"] == subset)
            };
            assert!(subset.is_empty() || mesh.iter().any(named), "{example}: no subset {subset} of {host}");
        }
    }
}

/// Whether a document is the Service or ServiceEntry of this name, with this port.
fn serves(document: &Value, host: &str, port: &Value) -> bool {
    let ports = document["spec"]["ports"].as_array().into_iter().flatten();
    match text(document, "/kind") {
        "Service" => {
            full_name(document, text(document, "/metadata/name")) == host
                && ports.into_iter().any(|own| own["port"] == *port)
        }
        "ServiceEntry" => {
            let hosts = document["spec"]["hosts"].as_array().unwrap();
            hosts.iter().any(|own| own == host) && ports.into_iter().any(|own| own["number"] == *port)
        }
        _ => false,
    }
}

/// The full name of a Service that a document calls by its short one.
pub fn full_name(document: &Value, name: &str) -> String {
    format!("{name}.{}.svc.cluster.local", text(document, "/metadata/namespace"))
}

#[test]
fn the_plugin_lets_requests_go_on_without_it_if_it_cannot_work() {
    for example in NAMES {
        let mesh = yaml(&read(example, "istio.yaml"));
        let plugin = mesh.iter().find(|document| document["kind"] == "WasmPlugin").unwrap();
        assert_eq!(plugin["spec"]["failStrategy"], "FAIL_OPEN", "{example}");
    }
}
