//! Kubernetes' resources: Istio's and Envoy Gateway's.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use traffic_mirror::config::Config;

use crate::types::{
    BackendTrafficPolicy, BootstrapType, CodeType, DestinationRule, EnvoyExtensionPolicy, EnvoyFilter, EnvoyProxy,
    FailStrategy, HttpRoute, IstiodValues, Mode, Phase, Plugin, PluginType, Resource, Sidecar, TrafficExtension,
    VirtualService, WasmPlugin,
};
use crate::{documents, files, read};

const ISTIO: &str = "extensions.istio.io/v1alpha1";

/// Any of the resources.
enum Any {
    Plugin(Plugin),
    Sidecar(Resource<Sidecar>),
    VirtualService(Resource<VirtualService>),
    DestinationRule(Resource<DestinationRule>),
    EnvoyFilter(Resource<EnvoyFilter>),
    Values(IstiodValues),
    HttpRoute(Resource<HttpRoute>),
    Policy(Resource<EnvoyExtensionPolicy>),
    Traffic(Resource<BackendTrafficPolicy>),
    Proxy(Resource<EnvoyProxy>),
}

impl Any {
    fn read(path: &str, document: Value) -> Self {
        fn to<T: DeserializeOwned>(path: &str, document: Value) -> T {
            serde_json::from_value(document).unwrap_or_else(|error| panic!("{path}: {error}"))
        }
        let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
        match (text("apiVersion").as_str(), text("kind").as_str()) {
            (ISTIO, "WasmPlugin") => Self::Plugin(to::<Resource<WasmPlugin>>(path, document).into()),
            (ISTIO, "TrafficExtension") => Self::Plugin(to::<Resource<TrafficExtension>>(path, document).into()),
            ("networking.istio.io/v1", "Sidecar") => Self::Sidecar(to(path, document)),
            ("networking.istio.io/v1", "VirtualService") => Self::VirtualService(to(path, document)),
            ("networking.istio.io/v1", "DestinationRule") => Self::DestinationRule(to(path, document)),
            ("networking.istio.io/v1alpha3", "EnvoyFilter") => Self::EnvoyFilter(to(path, document)),
            ("gateway.envoyproxy.io/v1alpha1", "BackendTrafficPolicy") => Self::Traffic(to(path, document)),
            ("gateway.networking.k8s.io/v1", "HTTPRoute") => Self::HttpRoute(to(path, document)),
            ("gateway.envoyproxy.io/v1alpha1", "EnvoyExtensionPolicy") => Self::Policy(to(path, document)),
            ("gateway.envoyproxy.io/v1alpha1", "EnvoyProxy") => Self::Proxy(to(path, document)),
            ("", "") => Self::Values(to(path, document)),
            other => panic!("{path}: {other:?}"),
        }
    }
}

/// Every resource of `deploy/` for Istio and Envoy Gateway, and the WasmPlugins of the top folder, of the examples and beside what
/// delivers.
fn all() -> Vec<(String, Any)> {
    let deployed = [files("deploy/istio"), files("deploy/envoy-gateway")].concat();
    let every = |path: String| documents(&path).into_iter().map(move |document| (path.clone(), document));
    let examples = files("examples").into_iter().filter(|path| !path.ends_with(".md"));
    let plugins = examples.map(|folder| format!("{folder}/istio.yaml")).chain(["wasmplugin.yaml".to_owned()]);
    let plugins = plugins.chain(["flagger", "argo-rollouts"].iter().flat_map(|to| files(&format!("deploy/{to}"))));
    let plugins = plugins.flat_map(every).filter(|(_, document)| document["kind"] == "WasmPlugin");
    deployed
        .into_iter()
        .flat_map(every)
        .chain(plugins)
        .map(|(path, value)| (path.clone(), Any::read(&path, value)))
        .collect()
}

fn plugins() -> Vec<(String, Plugin)> {
    let is_plugin = |(path, any)| if let Any::Plugin(plugin) = any { Some((path, plugin)) } else { None };
    all().into_iter().filter_map(is_plugin).collect()
}

fn plugin(path: &str) -> Plugin {
    plugins().into_iter().find(|(own, _)| own == path).unwrap().1
}

/// The full names of the services and clusters that a configuration mirrors to.
fn mirrors(config: &Value) -> Vec<String> {
    let rules = config["rules"].as_array().unwrap();
    let mirrors = rules.iter().flat_map(|rule| rule["mirrors"].as_array().unwrap());
    let name =
        |mirror: &Value| mirror["cluster"].as_str().or(mirror["destination"]["host"].as_str()).unwrap().to_owned();
    mirrors.map(name).collect()
}

fn accept(path: &str, config: &Value) {
    Config::from_bytes(config.to_string().as_bytes()).unwrap_or_else(|violations| {
        let lines: Vec<_> = violations.lines().collect();
        panic!("{path}:\n{}", lines.join("\n"))
    });
}

#[test]
fn every_resource_has_known_fields_alone_and_every_configuration_is_taken() {
    let mut count = 0;
    for (path, any) in all() {
        match any {
            Any::Plugin(plugin) => accept(&path, &plugin.wasm.plugin_config),
            Any::Policy(policy) => policy.spec.wasm.iter().for_each(|wasm| accept(&path, &wasm.config)),
            _ => {}
        }
        count += 1;
    }
    assert!(count > 12, "{count} resources");
}

/// Else a proxy that starts with a wrong configuration answers every request with 500.
#[test]
fn every_configuration_that_goes_by_ecds_keeps_the_last() {
    let mut configurations: Vec<_> =
        plugins().into_iter().map(|(path, plugin)| (path, plugin.wasm.plugin_config)).collect();
    for (path, any) in all() {
        if let Any::Policy(policy) = any {
            configurations.extend(policy.spec.wasm.iter().map(|wasm| (path.clone(), wasm.config.clone())));
        }
    }
    let ecds = documents("deploy/envoy/traffic-mirror.yaml").remove(0);
    let in_ecds = "/resources/0/typed_config/config/configuration/value";
    configurations.push(("deploy/envoy/traffic-mirror.yaml".to_owned(), ecds.pointer(in_ecds).unwrap().clone()));
    assert!(configurations.len() > 10, "{configurations:?}");
    for (path, configuration) in configurations {
        assert_eq!(configuration["onInvalid"], "keepLast", "{path}");
    }
}

#[test]
fn a_field_that_istio_does_not_know_is_refused() {
    let mut document = documents("wasmplugin.yaml").remove(0);
    assert!(serde_json::from_value::<Resource<WasmPlugin>>(document.clone()).is_ok());
    document["spec"]["failurePolicy"] = json!("FAIL_OPEN");
    let error = serde_json::from_value::<Resource<WasmPlugin>>(document).unwrap_err().to_string();
    assert!(error.contains("unknown field `failurePolicy`"), "{error}");
}

#[test]
fn every_plugin_fails_open_after_authorization_at_the_proxies_that_it_names() {
    for (path, plugin) in plugins() {
        assert_eq!(plugin.wasm.fail_strategy, FailStrategy::Open, "{path}");
        assert_eq!(plugin.wasm.r#type, PluginType::Http, "{path}");
        assert_eq!(plugin.target.phase, Phase::Stats, "{path}");
        // Istio takes one of them alone.
        assert!(plugin.target.selector.is_some() != plugin.target.target_refs.is_some(), "{path}");
        // Both directions would mirror a request from one such proxy to another twice.
        assert_eq!(plugin.target.r#match.len(), 1, "{path}");
        assert_ne!(plugin.target.r#match[0].mode, Mode::ClientAndServer, "{path}");
    }
}

#[test]
fn each_kind_of_proxy_has_its_mode() {
    for (file, mode) in [
        ("inbound", Mode::Server),
        ("outbound", Mode::Client),
        ("gateway", Mode::Client),
        ("gateway-api", Mode::Client),
        ("trafficextension", Mode::Server),
    ] {
        assert_eq!(plugin(&format!("deploy/istio/{file}.yaml")).target.r#match[0].mode, mode, "{file}");
    }
}

#[test]
fn the_traffic_extension_says_what_wasmplugin_yaml_says() {
    let [old, new] = ["wasmplugin.yaml", "deploy/istio/trafficextension.yaml"].map(plugin);
    assert_eq!((old.target, old.wasm), (new.target, new.wasm));
}

#[test]
fn the_sidecar_resource_makes_the_outbound_plugins_mirrors_known() {
    let outbound = plugin("deploy/istio/outbound.yaml");
    let (_, any) = all().into_iter().find(|(path, _)| path == "deploy/istio/sidecar.yaml").unwrap();
    let Any::Sidecar(sidecar) = any else { panic!("no Sidecar") };
    assert_eq!(sidecar.spec.workload_selector.labels, outbound.target.selector.unwrap().match_labels);
    for host in mirrors(&outbound.wasm.plugin_config) {
        let namespace = host.split('.').nth(1).unwrap();
        assert!(sidecar.spec.egress[0].hosts.contains(&format!("{namespace}/{host}")), "{host}");
    }
}

#[test]
fn the_gateways_virtual_service_makes_the_mirror_known_and_sends_nothing_to_it() {
    let gateway = plugin("deploy/istio/gateway.yaml");
    let (_, any) = all().into_iter().find(|(path, _)| path == "deploy/istio/gateway-clusters.yaml").unwrap();
    let Any::VirtualService(service) = any else { panic!("no VirtualService") };
    let routes = &service.spec.http[0].route;
    assert_eq!(routes.iter().map(|route| route.weight).collect::<Vec<_>>(), [100, 0]);
    assert_eq!(mirrors(&gateway.wasm.plugin_config), [routes[1].destination.host.clone()]);
}

/// Where a mirror's cluster is configured, no connection to it takes copies for longer than a second.
#[test]
fn every_mirrors_connections_are_short() {
    let (mut hosts, mut routes, mut named) = (Vec::new(), Vec::new(), Vec::new());
    for (path, any) in all() {
        match any {
            Any::DestinationRule(rule) => {
                assert_eq!(rule.spec.traffic_policy.connection_pool.tcp.max_connection_duration, "1s", "{path}");
                hosts.push(rule.spec.host);
            }
            Any::Traffic(policy) => {
                assert_eq!(policy.spec.timeout.http.max_connection_duration, "1s", "{path}");
                let of = &policy.metadata.namespace;
                routes.extend(policy.spec.target_refs.iter().map(|to| format!("httproute/{of}/{}/rule/0", to.name)));
            }
            Any::Policy(policy) => named.extend(policy.spec.wasm.iter().flat_map(|wasm| mirrors(&wasm.config))),
            _ => {}
        }
    }
    assert_eq!(hosts, mirrors(&plugin("wasmplugin.yaml").wasm.plugin_config));
    assert_eq!(routes, named);
    let folders = files("examples").into_iter().filter(|path| !path.ends_with(".md"));
    let examples = folders.map(|folder| format!("{folder}/envoy.yaml"));
    let own = ["envoy.yaml", "deploy/envoy/static.yaml", "deploy/envoy/ecds.yaml"].map(str::to_owned);
    for path in own.into_iter().chain(examples) {
        let file = documents(&path).remove(0);
        let clusters = file["static_resources"]["clusters"].as_array().unwrap();
        let short = clusters.iter().filter(|cluster| {
            let options =
                &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
            options["common_http_protocol_options"]["max_connection_duration"] == "1s"
        });
        let mut short: Vec<&str> = short.map(|cluster| cluster["name"].as_str().unwrap()).collect();
        short.sort_unstable();
        assert_eq!(short, mirrored(&path, &file), "{path}");
    }
}

/// The clusters that the plugin of an Envoy's file mirrors to; of ecds.yaml, the plugin is a file beside it.
fn mirrored(path: &str, file: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let beside = path.replace("ecds.yaml", "traffic-mirror.yaml");
    let all = if path.ends_with("ecds.yaml") { documents(&beside).remove(0) } else { file.clone() };
    collect(&all, &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    if let Some(rules) = value["rules"].as_array() {
        for mirror in rules.iter().filter_map(|rule| rule["mirrors"].as_array()).flatten() {
            let to = &mirror["destination"];
            let subset = to["subset"].as_str().unwrap_or_default();
            let outbound =
                || format!("outbound|{}|{subset}|{}", to["port"]["number"], to["host"].as_str().unwrap_or_default());
            found.push(mirror["cluster"].as_str().map_or_else(outbound, str::to_owned));
        }
    }
    match value {
        Value::Array(all) => all.iter().for_each(|value| collect(value, found)),
        Value::Object(all) => all.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[test]
fn filters_on_copies_stand_in_the_mirrors_cluster_of_the_proxy_that_mirrors() {
    let outbound = plugin("deploy/istio/outbound.yaml");
    let is_filter = |(_, any)| if let Any::EnvoyFilter(filter) = any { Some(filter) } else { None };
    let mut seen = 0;
    for filter in all().into_iter().filter_map(is_filter) {
        assert_eq!(filter.metadata.namespace, outbound.metadata.namespace);
        assert_eq!(filter.spec.workload_selector.labels, outbound.target.selector.as_ref().unwrap().match_labels);
        for patch in filter.spec.config_patches {
            assert_eq!([patch.r#match.cluster.service], *mirrors(&outbound.wasm.plugin_config));
            seen += 1;
        }
    }
    assert_eq!(seen, 1);
}

#[test]
fn envoy_gateway_mirrors_to_the_cluster_of_a_route_that_is_there() {
    let mut known = BTreeSet::new();
    let mut named = Vec::new();
    for (path, any) in all() {
        match any {
            Any::HttpRoute(route) => {
                let metadata = &route.metadata;
                let name = |index| format!("httproute/{}/{}/rule/{index}", metadata.namespace, metadata.name);
                known.extend((0..route.spec.rules.len()).map(name));
            }
            Any::Policy(policy) => {
                let wasm = &policy.spec.wasm[0];
                assert!(wasm.fail_open && wasm.code.r#type == CodeType::Image, "{path}");
                named.extend(mirrors(&wasm.config));
            }
            _ => {}
        }
    }
    assert!(!named.is_empty() && named.iter().all(|cluster| known.contains(cluster)), "{named:?}, {known:?}");
}

#[test]
fn everybody_takes_the_same_labels_out_of_the_metrics_names() {
    let tags = &documents("envoy.yaml")[0]["stats_config"];
    for file in ["deploy/envoy/static.yaml", "deploy/envoy/ecds.yaml"] {
        assert_eq!(&documents(file)[0]["stats_config"], tags, "{file}");
    }
    let names: Vec<&str> =
        tags["stats_tags"].as_array().unwrap().iter().map(|tag| tag["tag_name"].as_str().unwrap()).collect();
    let mut seen = 0;
    for (path, any) in all() {
        match any {
            Any::Values(values) => assert_eq!(values.mesh_config.default_config.extra_stat_tags, names, "{path}"),
            Any::Proxy(proxy) => {
                assert_eq!(proxy.spec.bootstrap.r#type, BootstrapType::Merge);
                let own: Vec<Value> = serde_saphyr::from_multiple(&proxy.spec.bootstrap.value).unwrap();
                assert_eq!(own, [json!({"stats_config": tags})], "{path}");
            }
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 2);
    let annotation = format!("sidecar.istio.io/extraStatTags: {}", names.join(","));
    assert!(read("deploy/istio/stats.yaml").contains(&annotation), "{annotation}");
}

#[test]
fn the_index_names_every_file() {
    let index = read("deploy/README.md");
    for path in ["istio", "envoy", "envoy-gateway", "prometheus", "grafana", "flagger", "argo-rollouts"]
        .iter()
        .flat_map(|folder| files(&format!("deploy/{folder}")))
    {
        let file = path.strip_prefix("deploy/").unwrap();
        assert!(index.contains(&format!("]({file})")), "{file}");
    }
}
