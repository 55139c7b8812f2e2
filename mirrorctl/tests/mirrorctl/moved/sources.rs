//! Where routes stand, and what is said of what cannot be carried over.

use serde_json::{Value, json};

use harness::block_on;
use harness::process::{Envoy, Folder};

use super::convert;

fn routes(name: &str) -> Value {
    let route =
        json!({"match": {"prefix": "/"}, "route": {"cluster": "p0", "request_mirror_policies": [{"cluster": "m0"}]}});
    json!({"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]})
}

fn bootstrap(all: &[(&str, Value)]) -> Value {
    let listener = |(name, routes): &(&str, Value)| {
        let mut listener = super::listener(0, routes);
        listener["name"] = json!(name);
        listener
    };
    let clusters = ["p0", "m0"].map(|name| super::cluster((name, "127.0.0.1:9".parse().unwrap())));
    json!({
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": super::socket(0)},
        "static_resources": {"listeners": all.iter().map(listener).collect::<Vec<_>>(), "clusters": clusters},
    })
}

const RULES: &str = "rules:\n- name: all-0\n  mirrors:\n  - cluster: m0\n";

#[test]
fn routes_are_found_wherever_they_stand() {
    let mut typed = routes("shop");
    typed["@type"] = json!("type.googleapis.com/envoy.config.route.v3.RouteConfiguration");
    let camel: Value = serde_json::from_str(
        &typed
            .to_string()
            .replace("virtual_hosts", "virtualHosts")
            .replace("request_mirror_policies", "requestMirrorPolicies"),
    )
    .unwrap();
    let dump = json!({"configs": [{
        "@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump",
        "dynamic_route_configs": [{"version_info": "1", "route_config": typed}],
    }]});
    let in_bootstrap = bootstrap(&[("front", routes("shop"))]);
    for (what, input, comment) in [
        ("a bootstrap", &in_bootstrap, "# Listener front: route configuration shop\n"),
        ("a route configuration", &routes("shop"), "# Route configuration shop\n"),
        ("in camel case", &camel, "# Route configuration shop\n"),
        ("a file of resources", &json!({"version_info": "1", "resources": [typed]}), "# Route configuration shop\n"),
        ("a dump", &dump, "# Route configuration shop\n"),
    ] {
        let ran = convert(&["-"], &input.to_string());
        assert_eq!(ran, (0, format!("{comment}{RULES}"), String::new()), "{what}");
    }
    block_on(async {
        let envoy =
            Envoy::start(Folder::new(), &in_bootstrap, 1).await.unwrap_or_else(|refused| panic!("{}", refused.log));
        let address = envoy.admin.to_string();
        let expected = format!("# Listener front: route configuration shop\n{RULES}");
        let ran = tokio::task::spawn_blocking(move || {
            (convert(&[&address], ""), convert(&["-o", "bootstrap", &address], ""))
        });
        let (running, refused) = ran.await.unwrap();
        assert_eq!(running, (0, expected.clone(), String::new()));
        assert_eq!((refused.0, refused.1.as_str()), (2, ""), "{}", refused.2);
        let dump = envoy.admin("/config_dump").await;
        assert_eq!(convert(&["-"], &dump), (0, expected, String::new()));
        let (code, _, err) = convert(&["-o", "bootstrap", "-"], &dump);
        assert!(code == 2 && err.contains("bootstrap files alone"), "{code} {err}");
    });
}

#[test]
fn each_connection_manager_that_mirrors_has_a_configuration() {
    let mut silent = routes("silent");
    silent["virtual_hosts"][0]["routes"][0]["route"] = json!({"cluster": "p0"});
    let mut other = routes("other");
    other["virtual_hosts"][0]["name"] = json!("rest");
    let input = bootstrap(&[("front", routes("shop")), ("quiet", silent), ("back", other)]).to_string();
    let (code, out, err) = convert(&["-"], &input);
    let second = "# Listener back: route configuration other\nrules:\n- name: rest-0\n  mirrors:\n  - cluster: m0\n";
    let first = format!("# Listener front: route configuration shop\n{RULES}");
    assert_eq!((code, out, &*err), (0, format!("{first}---\n{second}"), ""));
    assert_eq!(convert(&["--route-config", "other", "-"], &input), (0, second.to_owned(), String::new()));
    for name in ["none", "sho"] {
        let (code, out, err) = convert(&["--route-config", name, "-"], &input);
        assert_eq!((code, &*out), (2, ""));
        assert!(err.contains("known here: shop, silent, other"), "{err}");
    }
    let (code, _, err) = convert(&["--route-config", "silent", "-"], &input);
    assert!(code == 1 && err.starts_with("nothing is mirrored"), "{code} {err}");
    let (code, out, _) = convert(&["-o", "envoy", "--route-config", "other", "-"], &input);
    assert!(code == 0 && out.contains("envoy.extensions.filters.http.wasm.v3.Wasm"), "{out}");
}

#[test]
fn a_moved_bootstrap_is_the_same_but_for_what_moved() {
    let mut input = bootstrap(&[("front", routes("shop"))]);
    input["layered_runtime"] = json!({"layers": [{"name": "own", "static_layer": {"a.b": 1}}]});
    input["stats_config"] = json!({"stats_tags": [{"tag_name": "own", "regex": "(a)"}]});
    let mut moved: Value = serde_saphyr::from_str(&super::moved(&input)).unwrap();
    let filters =
        moved["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
            .as_array_mut()
            .unwrap();
    let filter = filters.remove(0);
    assert_eq!(filter["typed_config"]["config"]["configuration"]["value"]["rules"][0]["mirrors"][0]["cluster"], "m0");
    let layers = moved["layered_runtime"]["layers"].as_array_mut().unwrap();
    assert_eq!(layers.remove(0)["static_layer"]["http.async_response_buffer_limit"], 65_536);
    let tags = moved["stats_config"]["stats_tags"].as_array_mut().unwrap();
    let added: Vec<_> = tags.drain(1..).map(|tag| tag["tag_name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(added, ["rule", "mirror", "outcome", "class", "reason", "result", "plugin", "field"]);
    let routes =
        input["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
            .as_object_mut()
            .unwrap();
    routes["virtual_hosts"][0]["routes"][0]["route"].as_object_mut().unwrap().remove("request_mirror_policies");
    assert_eq!(moved, input);
}

#[test]
fn what_cannot_be_carried_over_is_named() {
    let one = |matcher: Value, action: Value, rest: Value| {
        let mut routes = routes("shop");
        let route = &mut routes["virtual_hosts"][0]["routes"][0];
        route["match"] = matcher;
        route["route"].as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
        route.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        routes
    };
    let all = || json!({"prefix": "/"});
    let by_match = |field: &str, value: Value| {
        let mut matcher = all();
        matcher[field] = value;
        one(matcher, json!({}), json!({}))
    };
    let by_policy = |field: &str, value: Value| {
        let mut policy = json!({"cluster": "m0"});
        policy[field] = value;
        one(all(), json!({"request_mirror_policies": [policy]}), json!({}))
    };
    let half = || json!({"default_value": {"numerator": 50}});
    let keyed = || json!({"default_value": {"numerator": 100}, "runtime_key": "shop.mirrored"});
    let variable = json!({"request_headers_to_add": [{"header": {"key": "x-a", "value": "%PROTOCOL%"}}]});
    let named = {
        let mut routes = by_match("runtime_fraction", half());
        routes["virtual_hosts"][0]["routes"][0]["name"] = json!("half");
        routes
    };
    // The second column: whether something is mirrored all the same.
    for (input, is_mirrored, expected) in [
        (by_match("runtime_fraction", half()), false, "match.runtime_fraction: the plugin cannot ask this"),
        (by_match("tls_context", json!({"presented": true})), false, "match.tls_context"),
        (by_match("dynamic_metadata", json!([{"filter": "a"}])), false, "match.dynamic_metadata"),
        (by_match("headers", json!([{"name": "a", "range_match": {"start": 1, "end": 2}}])), false, "match.headers[0]"),
        (one(json!({"path_match_policy": {"name": "a"}}), json!({}), json!({})), false, "match.path_match_policy"),
        (named, true, "match.runtime_fraction: the plugin cannot ask this: the rule goes by the route's name, half"),
        (by_match("runtime_fraction", keyed()), true, "the runtime key shop.mirrored is not asked"),
        (by_policy("runtime_fraction", keyed()), true, "runtime_fraction.runtime_key: the runtime key shop.mirrored"),
        (
            by_policy("trace_sampled", json!(true)),
            true,
            "trace_sampled: true: not carried over: a copy is sampled where",
        ),
        (one(all(), json!({"host_rewrite_header": "x-h"}), json!({})), true, "host_rewrite_header: the copies have"),
        (one(all(), json!({"path_rewrite_policy": {"name": "a"}}), json!({})), true, "path_rewrite_policy: the copies"),
        (one(all(), json!({"prefix_rewrite": "/a?b"}), json!({})), true, "prefix_rewrite: /a?b is no path"),
        (one(all(), json!({}), variable), true, "request_headers_to_add[0]: the plugin does not fill in"),
    ] {
        let (code, out, err) = convert(&["-"], &input.to_string());
        assert!(err.contains("warning: route configuration shop: ") && err.contains(expected), "{expected}: {err}");
        assert_eq!(
            (code, out.contains("cluster: m0")),
            (i32::from(!is_mirrored), is_mirrored),
            "{expected}: {out}{err}"
        );
        let (code, out, err) = convert(&["--strict", "-"], &input.to_string());
        assert_eq!((code, &*out), (1, ""), "{expected}: {err}");
        assert!(err.contains(expected), "{err}");
    }
    // Routes keep the mirrors that nothing else makes.
    let two = bootstrap(&[("front", routes("shop")), ("half", by_match("runtime_fraction", half()))]).to_string();
    for args in [&["-o", "bootstrap", "-"][..], &["--routes", "-"], &["-o", "routes", "-"]] {
        let (code, out, err) = convert(args, &two);
        assert_eq!((code, &*out), (1, ""), "{args:?}: {err}");
        assert!(err.contains("some mirrors are not carried over"), "{err}");
    }
    assert_eq!(convert(&["-"], &two).0, 0);
}
