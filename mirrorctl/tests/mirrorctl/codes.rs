//! Each code of `mirrorctl check`: a smallest file that has it, and a twin, little different, that must not.

use crate::mirrorctl;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const LABELS: [&str; 8] = ["rule", "mirror", "outcome", "class", "reason", "result", "plugin", "field"];

/// Returns what `check` says of a file.
fn findings(file: &str) -> Vec<Value> {
    let ran = mirrorctl(&["check", "--json", "-"], file);
    assert_eq!((ran.code, &*ran.err), (0, ""), "{file}\n{}", ran.out);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

fn typed(name: &str, mut fields: Value) -> Value {
    fields["@type"] = json!(format!("type.googleapis.com/{name}"));
    fields
}

/// An HTTP filter, as Envoy has it.
fn filter(kind: &str, fields: Value) -> Value {
    let name = format!("envoy.filters.http.{kind}");
    json!({"name": name, "typed_config": typed(&format!("envoy.extensions.filters.http.{kind}.v3.Any"), fields)})
}

/// The filter with the plugin.
fn plugin(config: &Value) -> Value {
    let configuration = typed("google.protobuf.Struct", json!({"value": config}));
    let wasm = json!({"name": "traffic_mirror", "fail_open": true, "vm_config": {}, "configuration": configuration});
    filter_of("traffic_mirror", "wasm.v3.Wasm", json!({"config": wasm}))
}

fn filter_of(name: &str, kind: &str, fields: Value) -> Value {
    json!({"name": name, "typed_config": typed(&format!("envoy.extensions.filters.http.{kind}"), fields)})
}

/// A configuration with one mirror, and whatever else there is in the rule.
fn rule(more: Value) -> Value {
    let mut rule = json!({"match": [{"method": {"exact": "GET"}}], "mirrors": [{"cluster": "m"}]});
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"rules": [rule]})
}

fn mirror(more: Value) -> Value {
    let mut mirror = json!({"cluster": "m"});
    mirror.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule(json!({"mirrors": [mirror]}))
}

/// A bootstrap of which nothing is said.
fn good() -> Value {
    let manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "front",
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "primary"}},
            ]}]},
            "http_filters": [plugin(&rule(json!({}))), filter("router", json!({}))],
        }),
    );
    let tags: Vec<_> = LABELS.iter().map(|label| json!({"tag_name": label, "regex": "x"})).collect();
    json!({
        "static_resources": {
            "listeners": [{"filter_chains": [{"filters": [{"typed_config": manager}]}]}],
            "clusters": [{"name": "primary"}, {"name": "m"}],
        },
        "stats_config": {"stats_tags": tags},
        "layered_runtime": {"layers": [{"name": "s", "static_layer": {"http.async_response_buffer_limit": 65536}}]},
    })
}

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";

/// The good bootstrap with changes: pointers, and what stands there instead.
fn with(changes: &[(&str, Value)]) -> String {
    let mut file = good();
    for (path, value) in changes {
        set(&mut file, path, value);
    }
    file.to_string()
}

fn set(file: &mut Value, path: &str, value: &Value) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = file.pointer_mut(parent).unwrap_or_else(|| panic!("{path}"));
    match parent {
        Value::Array(items) if name == "-" => items.push(value.clone()),
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value.clone(),
        parent => parent[name] = value.clone(),
    }
}

/// The good bootstrap with other filters: before the plugin, the plugin's configuration, after it.
fn chain(before: &[Value], config: &Value, after: &[Value]) -> String {
    let filters = [before, &[plugin(config)], after, &[filter("router", json!({}))]].concat();
    with(&[(&format!("{MANAGER}/http_filters"), json!(filters))])
}

fn configured(config: &Value) -> String {
    chain(&[], config, &[])
}

/// The good bootstrap with more fields in the mirror's cluster.
fn cluster(more: Value) -> String {
    let mut cluster = json!({"name": "m"});
    cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    with(&[("/static_resources/clusters/1", cluster)])
}

fn options(fields: Value) -> String {
    cluster(json!({"typed_extension_protocol_options": {OPTIONS: typed(OPTIONS, fields)}}))
}

fn balancing(kind: &str, fields: Value) -> String {
    let config = typed(&format!("envoy.extensions.load_balancing_policies.{kind}"), fields);
    cluster(
        json!({"load_balancing_policy": {"policies": [{"typed_extension_config": {"name": "x", "typed_config": config}}]}}),
    )
}

fn manager(field: &str, value: Value) -> String {
    with(&[(&format!("{MANAGER}/{field}"), value)])
}

/// Two listeners with these configurations.
fn two(first: &Value, second: &Value) -> String {
    let mut file: Value = serde_json::from_str(&configured(first)).unwrap();
    let other: Value = serde_json::from_str(&configured(second)).unwrap();
    set(&mut file, "/static_resources/listeners/-", &other["static_resources"]["listeners"][0]);
    file.to_string()
}

/// The same, of which the second plugin has a name of its own.
fn two_names(first: &Value, second: &Value) -> String {
    let mut file: Value = serde_json::from_str(&two(first, second)).unwrap();
    let name = format!("{}/http_filters/0/typed_config/config/name", MANAGER.replace("listeners/0", "listeners/1"));
    set(&mut file, &name, &json!("other"));
    file.to_string()
}

fn resource(kind: &str, spec: &str) -> String {
    format!("{{apiVersion: a, kind: {kind}, spec: {spec}}}")
}

/// Every code: a file that has it, and one that has not.
fn cases() -> Vec<(&'static str, &'static str, String, String)> {
    let keeping = "{rules: [{match: [{method: {exact: GET}}], mirrors: [{cluster: m}]}], onInvalid: keepLast}";
    let get = |path: Value| json!({"match": [{"uri": path, "method": {"exact": "GET"}}]});
    let rewrite = |prefix: &str, to: &str| {
        let mut file = get(json!({"prefix": prefix}));
        file["mirrors"] = json!([{"cluster": "m", "rewrite": {"uri": to}}]);
        configured(&rule(file))
    };
    let excluding = |path: Value| {
        let mut config = rule(json!({}));
        config["rules"].as_array_mut().unwrap().insert(0, json!({"match": [path], "mirrors": []}));
        config
    };
    let fault = |percentage: u32| {
        filter("fault", json!({"abort": {"http_status": 503, "percentage": {"numerator": percentage}}}))
    };
    let compared = rule(json!({"compare": {"body": {"exact": true}}}));
    let pseudonyms = mirror(json!({"redact": {"headers": ["a"], "with": "pseudonym"}}));
    // What the VM has besides.
    let vm = |config: &Value, fields: Value| {
        let mut file: Value = serde_json::from_str(&configured(config)).unwrap();
        set(&mut file, &format!("{MANAGER}/http_filters/0/typed_config/config/vm_config"), &fields);
        file.to_string()
    };
    let of_image = |tag: &str| {
        let spec = json!({"url": format!("oci://registry.test/traffic-mirror:{tag}"), "pluginConfig": compared});
        resource("WasmPlugin", &spec.to_string())
    };
    let unnormalized = configured(&excluding(json!({"uri": {"prefix": "/oauth"}})));
    let mut normalized: Value = serde_json::from_str(&unnormalized).unwrap();
    for field in ["normalize_path", "merge_slashes"] {
        set(&mut normalized, &format!("{MANAGER}/{field}"), &json!(true));
    }
    let edge = |name: &str| {
        with(&[
            (&format!("{MANAGER}/use_remote_address"), json!(true)),
            (&format!("{MANAGER}/route_config/internal_only_headers"), json!([name])),
        ])
    };
    let router_to = |cluster: &str| {
        let weighted = json!({"weighted_clusters": {"clusters": [{"name": "primary"}, {"name": cluster}]}});
        with(&[(&format!("{MANAGER}/route_config/virtual_hosts/0/routes/0/route"), weighted)])
    };
    let per_route = |filters: &[Value], name: &str| {
        let mut file: Value = serde_json::from_str(&chain(&[], &rule(json!({})), filters)).unwrap();
        let path = format!("{MANAGER}/route_config/virtual_hosts/0/typed_per_filter_config");
        set(&mut file, &path, &json!({name: {"@type": "x"}}));
        file.to_string()
    };
    let after = |filters: &[Value]| chain(&[], &rule(json!({})), filters);
    let before = |filters: &[Value]| chain(filters, &rule(json!({})), &[]);
    let mirroring = rule(json!({"unrouted": "mirror"}));
    let small = json!({"rules": rule(json!({}))["rules"], "limits": {"maxBodyBytes": 9_000_000}});
    let grpc_of = |mirrors: Value, more: Value| {
        let header = json!({"match": [{"method": {"exact": "POST"}, "headers": {"content-type": {"prefix": "application/grpc"}}}], "mirrors": mirrors});
        let mut file: Value = serde_json::from_str(&configured(&rule(header))).unwrap();
        set(
            &mut file,
            "/static_resources/clusters/1",
            &json!({"name": "m", "typed_extension_protocol_options":
            {OPTIONS: typed(OPTIONS, json!({"explicit_http_config": more}))}}),
        );
        file.to_string()
    };
    let grpc = |more: Value| grpc_of(json!([{"cluster": "m"}]), more);
    let late = |when: Value| grpc_of(json!([{"cluster": "m", "when": when}]), json!({"http2_protocol_options": {}}));
    let shadow = |options: Value, off: bool| {
        let config = mirror(json!({"disableShadowHostSuffixAppend": off}));
        let mut file: Value = serde_json::from_str(&configured(&config)).unwrap();
        set(
            &mut file,
            "/static_resources/clusters/1",
            &json!({"name": "m", "typed_extension_protocol_options":
            {OPTIONS: typed(OPTIONS, json!({"upstream_http_protocol_options": options}))}}),
        );
        file.to_string()
    };
    let subsets = |fallback: &str, keys: Value| {
        cluster(json!({"lb_subset_config": {"fallback_policy": fallback, "subset_selectors": keys}}))
    };
    let keys = json!([{"keys": ["version"]}]);
    let policy = |policy: &str| {
        with(&[
            (&format!("{MANAGER}/http_filters/0/typed_config/config/failure_policy"), json!(policy)),
            (&format!("{MANAGER}/http_filters/0/typed_config/config/fail_open"), json!(false)),
        ])
    };
    let discovered = |more: Value| {
        let mut file: Value = serde_json::from_str(&manager("use_remote_address", json!(false))).unwrap();
        file["dynamic_resources"] = more;
        set(&mut file, "/static_resources/clusters/1", &json!({"name": "mm"}));
        file.to_string()
    };
    let named = |name: &str, cluster: &str| {
        let mut config = mirror(json!({"cluster": cluster}));
        config["rules"][0]["name"] = json!(name);
        config
    };
    vec![
        ("unknown-cluster", "warning", discovered(json!({})), discovered(json!({"cds_config": {"ads": {}}}))),
        (
            "unknown-cluster",
            "warning",
            configured(&rule(json!({"mirrors": [{"clusterHeader": "x", "allowedClusters": ["m", "x"]}]}))),
            configured(&rule(json!({"mirrors": [{"clusterHeader": "x"}]}))),
        ),
        ("shared-cluster", "warning", router_to("m"), router_to("v2")),
        (
            "shared-rule-name",
            "warning",
            two_names(&named("a", "m"), &named("a", "primary")),
            two_names(&named("a", "m"), &named("b", "primary")),
        ),
        (
            "shared-plugin-name",
            "warning",
            two(&named("a", "m"), &named("b", "m")),
            two_names(&named("a", "m"), &named("b", "m")),
        ),
        (
            "shared-plugin-name",
            "warning",
            two(&named("a", "m"), &named("b", "m")),
            two(&named("a", "m"), &named("a", "m")),
        ),
        (
            "route-chosen-later",
            "warning",
            after(&[filter("on_demand", json!({}))]),
            chain(&[], &mirroring, &[filter("on_demand", json!({}))]),
        ),
        (
            "route-chosen-later",
            "warning",
            after(&[filter("ext_proc", json!({}))]),
            before(&[filter("ext_proc", json!({}))]),
        ),
        (
            "route-chosen-later",
            "warning",
            after(&[filter("lua", json!({}))]),
            after(&[filter("lua", json!({"clear_route_cache": false}))]),
        ),
        (
            "route-chosen-later",
            "warning",
            after(&[filter("ext_authz", json!({"clear_route_cache": true}))]),
            after(&[filter("ext_authz", json!({}))]),
        ),
        (
            "no-keep-last",
            "warning",
            resource(
                "WasmPlugin",
                &format!("{{failStrategy: FAIL_OPEN, pluginConfig: {}}}", keeping.replace("keepLast", "refuse")),
            ),
            resource("WasmPlugin", &format!("{{failStrategy: FAIL_OPEN, pluginConfig: {keeping}}}")),
        ),
        (
            "fail-closed",
            "warning",
            resource("WasmPlugin", &format!("{{pluginConfig: {keeping}}}")),
            resource("WasmPlugin", &format!("{{failStrategy: FAIL_OPEN, pluginConfig: {keeping}}}")),
        ),
        (
            "fail-closed",
            "warning",
            resource("TrafficExtension", &format!("{{wasm: {{failStrategy: FAIL_CLOSE, pluginConfig: {keeping}}}}}")),
            resource("TrafficExtension", &format!("{{wasm: {{failStrategy: FAIL_OPEN, pluginConfig: {keeping}}}}}")),
        ),
        (
            "fail-closed",
            "warning",
            resource("EnvoyExtensionPolicy", &format!("{{wasm: [{{config: {keeping}}}]}}")),
            resource("EnvoyExtensionPolicy", &format!("{{wasm: [{{failOpen: true, config: {keeping}}}]}}")),
        ),
        ("fail-closed", "warning", policy("FAIL_RELOAD"), policy("FAIL_OPEN")),
        (
            "before-refusal",
            "warning",
            after(&[filter("ext_authz", json!({}))]),
            before(&[filter("ext_authz", json!({}))]),
        ),
        (
            "before-refusal",
            "warning",
            after(&[filter("jwt_authn", json!({}))]),
            before(&[filter("jwt_authn", json!({}))]),
        ),
        (
            "before-refusal",
            "warning",
            after(&[filter("rbac", json!({"rules": {"action": "DENY"}}))]),
            after(&[filter("rbac", json!({}))]),
        ),
        (
            "before-refusal",
            "warning",
            after(&[filter("ratelimit", json!({}))]),
            before(&[filter("ratelimit", json!({}))]),
        ),
        (
            "before-refusal",
            "warning",
            after(&[filter("local_ratelimit", json!({}))]),
            before(&[filter("local_ratelimit", json!({}))]),
        ),
        ("before-refusal", "warning", after(&[filter("oauth2", json!({}))]), after(&[filter("compressor", json!({}))])),
        ("before-refusal", "warning", after(&[fault(1)]), after(&[filter("fault", json!({"delay": {}}))])),
        (
            "before-refusal",
            "warning",
            per_route(&[filter("cors", json!({}))], "envoy.filters.http.cors"),
            after(&[filter("cors", json!({}))]),
        ),
        ("after-answer", "warning", before(&[fault(100)]), before(&[fault(99)])),
        ("after-answer", "warning", before(&[fault(100)]), after(&[fault(100)])),
        (
            "after-answer",
            "warning",
            before(&[filter("health_check", json!({"pass_through_mode": false}))]),
            before(&[filter("health_check", json!({"pass_through_mode": false, "headers": [{"name": ":path"}]}))]),
        ),
        (
            "after-answer",
            "warning",
            before(&[filter("rbac", json!({"rules": {}}))]),
            before(&[filter("rbac", json!({"rules": {"policies": {"a": {}}}}))]),
        ),
        (
            "no-stats-tags",
            "warning",
            with(&[("/stats_config/stats_tags/0/tag_name", json!("rules"))]),
            good().to_string(),
        ),
        ("no-buffer-limit", "warning", with(&[("/layered_runtime", json!({}))]), good().to_string()),
        (
            "no-buffer-limit",
            "warning",
            with(&[("/layered_runtime/layers/0", json!({"static_layer": {"http": {}}}))]),
            with(&[(
                "/layered_runtime/layers/0",
                json!({"static_layer": {"http": {"async_response_buffer_limit": 1}}}),
            )]),
        ),
        (
            "no-buffer-limit",
            "warning",
            with(&[("/layered_runtime/layers", json!([{"admin_layer": {}}]))]),
            with(&[("/layered_runtime/layers", json!([{"rtds_layer": {}}]))]),
        ),
        (
            "hash-lb",
            "warning",
            cluster(json!({"lb_policy": "RING_HASH"})),
            cluster(json!({"lb_policy": "LEAST_REQUEST"})),
        ),
        (
            "hash-lb",
            "warning",
            balancing("maglev.v3.Maglev", json!({})),
            balancing(
                "maglev.v3.Maglev",
                json!({"consistent_hashing_lb_config": {"hash_policy": [{"header": {"header_name": "x"}}]}}),
            ),
        ),
        ("subset-lb", "warning", subsets("NO_FALLBACK", keys.clone()), subsets("ANY_ENDPOINT", keys.clone())),
        (
            "subset-lb",
            "warning",
            balancing("subset.v3.Subset", json!({"subset_selectors": keys})),
            balancing("subset.v3.Subset", json!({"fallback_policy": "ANY_ENDPOINT", "subset_selectors": keys})),
        ),
        ("subset-lb", "warning", subsets("NO_FALLBACK", keys.clone()), subsets("NO_FALLBACK", json!([]))),
        ("original-dst", "warning", cluster(json!({"type": "ORIGINAL_DST"})), cluster(json!({"type": "STRICT_DNS"}))),
        (
            "original-dst",
            "warning",
            cluster(json!({"type": "ORIGINAL_DST"})),
            cluster(json!({"type": "ORIGINAL_DST", "original_dst_lb_config": {"use_http_header": true}})),
        ),
        (
            "auto-sni-suffix",
            "warning",
            shadow(json!({"auto_sni": true}), false),
            shadow(json!({"auto_sni": true}), true),
        ),
        (
            "auto-sni-suffix",
            "warning",
            shadow(json!({"auto_san_validation": true}), false),
            shadow(json!({"auto_sni": true, "override_auto_sni_header": "x-name"}), false),
        ),
        (
            "http1-for-grpc",
            "warning",
            grpc(json!({"http_protocol_options": {}})),
            grpc(json!({"http2_protocol_options": {}})),
        ),
        (
            "http1-for-grpc",
            "warning",
            with(&[(&format!("{MANAGER}/route_config/virtual_hosts/0/routes/0/match/grpc"), json!({}))]),
            good().to_string(),
        ),
        (
            "downstream-protocol",
            "warning",
            options(json!({"use_downstream_protocol_config": {"http2_protocol_options": {}}})),
            options(json!({"explicit_http_config": {"http2_protocol_options": {}}})),
        ),
        (
            "retries-copies",
            "warning",
            options(json!({"retry_policy": {"retry_on": "5xx"}})),
            options(json!({"retry_policy": {}})),
        ),
        (
            "credentials-leave",
            "warning",
            configured(&rule(json!({"mirrors": [{"clusterHeader": "x"}]}))),
            configured(&rule(
                json!({"mirrors": [{"clusterHeader": "x", "headers": {"remove": ["authorization", "cookie"]}}]}),
            )),
        ),
        (
            "never",
            "warning",
            configured(&mirror(json!({"percentage": 0}))),
            configured(&mirror(json!({"percentage": 0.001}))),
        ),
        (
            "never",
            "warning",
            configured(&mirror(json!({"until": "2020-01-01T00:00:00Z"}))),
            configured(&mirror(json!({"until": "9999-01-01T00:00:00Z"}))),
        ),
        ("when-on-grpc", "warning", late(json!([{"status": ["5xx"]}])), late(json!([{"slowerThan": "1s"}]))),
        ("odd-rewrite", "warning", rewrite("/", "/v2"), rewrite("/a", "/v2")),
        ("odd-rewrite", "warning", rewrite("/a", "/"), rewrite("/a/", "/v2/")),
        (
            "lower-case-method",
            "warning",
            configured(&rule(json!({"match": [{"method": {"exact": "get"}}]}))),
            configured(&rule(json!({"match": [{"method": {"exact": "get", "ignoreCase": true}}]}))),
        ),
        ("unsafe-methods", "note", configured(&rule(json!({"match": []}))), good().to_string()),
        (
            "unsafe-methods",
            "note",
            configured(&rule(json!({"match": [{"method": {"regex": "GET|PUT"}}]}))),
            configured(&json!({"rules": [
             {"match": [{"method": {"regex": "POST|PUT|PATCH|DELETE"}}], "mirrors": []}, {"mirrors": [{"cluster": "m"}]}]})),
        ),
        ("marker-edge", "note", edge("x-other"), edge("x-mirrored-request")),
        ("marker-edge", "note", edge("x-other"), manager("use_remote_address", json!(false))),
        ("path-exclusion", "note", unnormalized, normalized.to_string()),
        ("large-bodies", "note", configured(&small), good().to_string()),
        (
            "compare-build",
            "note",
            configured(&compared),
            vm(&compared, json!({"code": {"local": {"filename": "/traffic_mirror_compare.wasm"}}})),
        ),
        ("compare-build", "note", of_image("v1"), of_image("v1-compare")),
        ("compare-build", "note", configured(&compared), configured(&rule(json!({"compare": {"status": true}})))),
        (
            "needs-key",
            "note",
            configured(&pseudonyms),
            vm(&pseudonyms, json!({"environment_variables": {"host_env_keys": ["TRAFFIC_MIRROR_KEY"]}})),
        ),
        ("needs-key", "note", configured(&pseudonyms), configured(&mirror(json!({"redact": {"headers": ["a"]}})))),
    ]
}

#[test]
fn each_code_has_a_smallest_file_and_a_twin_without_it() {
    for (code, severity, file, twin) in cases() {
        let all = findings(&file);
        let found: Vec<_> = all.iter().filter(|finding| finding["code"] == code).collect();
        assert_eq!(found.len(), 1, "{code}: {all:#?}\n{file}");
        assert_eq!(found[0]["severity"], severity, "{code}");
        for part in ["where", "what", "hint"] {
            assert!(found[0][part].as_str().is_some_and(|text| text.len() > 5), "{code}: {part}: {all:#?}");
        }
        assert!(found[0]["where"].as_str().unwrap().starts_with("stdin: document 1"), "{code}: {all:#?}");
        let all = findings(&twin);
        assert!(all.iter().all(|finding| finding["code"] != code), "{code}: {all:#?}\n{twin}");
    }
}

#[test]
fn nothing_is_said_of_the_good_file_by_any_code() {
    assert_eq!(findings(&good().to_string()), [json!(null); 0]);
}

#[test]
fn no_code_is_without_its_file() {
    let source = std::fs::read_dir(format!("{}/mirrorctl/src/findings", crate::ROOT)).unwrap();
    let text: String = source.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    let code = regex::Regex::new(r#"Finding::[a-z]+\(\s*"([a-z0-9-]+)""#).unwrap();
    let codes: BTreeSet<_> = code.captures_iter(&text).map(|found| found[1].to_owned()).collect();
    assert_eq!(codes, cases().into_iter().map(|(code, ..)| code.to_owned()).collect());
}

#[test]
fn notes_are_one_line_unless_they_are_asked_for_and_strict_counts_them() {
    let file = "rules: [{mirrors: [{cluster: m}]}]\nlimits: {maxBodyBytes: 9000000}\n";
    let ran = mirrorctl(&["check", "-"], file);
    assert_eq!((ran.code, &*ran.err), (0, "notes: large-bodies, unsafe-methods; `--notes` explains\n"));
    assert_eq!(mirrorctl(&["check", "--strict", "-"], file).code, 1);
    let ran = mirrorctl(&["check", "--notes", "-"], file);
    assert_eq!((ran.code, ran.err.lines().count()), (0, 2), "{}", ran.err);
    assert!(ran.err.lines().all(|line| line.contains(": note: ")), "{}", ran.err);
}

#[test]
fn json_is_a_list_of_all_that_is_found_whatever_it_is() {
    let codes = |file: &str, code: i32| -> Vec<String> {
        let ran = mirrorctl(&["check", "--json", "-"], file);
        assert_eq!((ran.code, &*ran.err), (code, ""), "{}", ran.out);
        let all: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
        all.iter()
            .map(|finding| format!("{} {}", finding["severity"].as_str().unwrap(), finding["code"].as_str().unwrap()))
            .collect()
    };
    assert_eq!(codes("rules: [{mirrors: []}]", 0), [""; 0]);
    assert_eq!(codes("rules: [{mirrors: 1, b: 2}]", 1), ["error invalid", "error invalid"]);
    assert_eq!(codes("a: [", 1), ["error unreadable"]);
    assert_eq!(codes("static_resources: {}", 1), ["error no-plugin"]);
    assert_eq!(codes("rules: [{mirrors: []}]\n---\nrules: 1", 1), ["error invalid"]);
    assert_eq!(codes("rules: [{mirrors: [{cluster: m, percentage: 0}]}]", 0), ["warning never"]);
}

#[test]
fn a_file_without_the_plugin_says_what_it_is() {
    for (file, said) in [
        ("static_resources: {}", "-: no plugin configuration found: Envoy's configuration without this plugin\n"),
        ("services: {a: {image: b}}", "-: no plugin configuration found\n"),
        ("apiVersion: v1\nkind: Pod\n", "-: no plugin configuration found\n"),
    ] {
        let ran = mirrorctl(&["check", "-"], file);
        assert_eq!((ran.code, &*ran.err), (1, said), "{file}");
    }
}
