//! What other resources around a route decide: its gateway's maker, grants, Services, delegates; and what is not carried over.

use super::*;

#[test]
fn what_belongs_to_envoy_gateway_gets_its_clusters() {
    let files =
        |controller: &str, listeners: &str, route: String| class(controller) + &gateway("c", listeners) + &route;
    let http = || route("HTTPRoute", "a", ON_G);
    let any = format!("{{name: x, {ALL}}}");
    let cluster = "a-0 httproute/shop/mirror-g-m-80/rule/0";
    hold(vec![
        (
            "its clusters, which need a route",
            files(ENVOY_GATEWAY, &any, http()),
            &[],
            &[cluster],
            &[
                "the clusters of the gateway edge/g are made by routes that -o envoyextensionpolicy writes, and --routes",
            ],
        ),
        (
            "not in Istio's resources",
            files(ENVOY_GATEWAY, &any, http()),
            &["-o", "wasmplugin"],
            &[],
            &["not converted: the gateway edge/g is Envoy Gateway's", "nothing is mirrored"],
        ),
        (
            "nor Istio's in its own",
            gateway("istio", &any) + &http(),
            &["-o", "envoyextensionpolicy"],
            &[],
            &["not converted: the gateway edge/g is Istio's", "nothing is mirrored"],
        ),
        (
            "another controller",
            files("example.com/x", &any, http()),
            &[],
            &[],
            &["not converted: the gateway edge/g is made by example.com/x", "nothing is mirrored"],
        ),
        ("Istio by its controller", files("istio.io/gateway-controller", &any, http()), &[], &["a-0 m.shop:80"], &[]),
        (
            "not told",
            gateway("c", &any) + &http(),
            &[],
            &["a-0 m.shop:80"],
            &["whose gateway edge/g is, no file tells"],
        ),
    ]);
    for (kind, listener, hostname, matched) in [
        ("HTTPRoute", &*any, json!(["mirror-g-m-80.invalid"]), Value::Null),
        (
            "HTTPRoute",
            &format!("{{name: x, hostname: '*.a.test', {ALL}}}"),
            json!(["mirror-g-m-80.a.test"]),
            Value::Null,
        ),
        (
            "HTTPRoute",
            &format!("{{name: x, hostname: a.test, {ALL}}}"),
            json!(["a.test"]),
            json!([{"path": {"type": "Exact", "value": "/mirror-g-m-80.invalid"}}]),
        ),
        (
            "GRPCRoute",
            &format!("{{name: x, hostname: a.test, {ALL}}}"),
            json!(["a.test"]),
            json!([{"method": {"service": "mirror-g-m-80"}}]),
        ),
    ] {
        let text = files(ENVOY_GATEWAY, listener, route(kind, "a", ON_G));
        let out = mirrorctl(&["convert", "-", "-o", "envoyextensionpolicy"], &text).ok();
        let trees: Vec<Value> = serde_saphyr::from_multiple(&out).unwrap();
        let [policy, made, connections] = &trees[..] else { panic!("{out}") };
        assert_eq!(policy["metadata"]["namespace"], "edge");
        assert_eq!(policy["spec"]["targetRefs"][0]["name"], "g");
        let cluster = &policy["spec"]["wasm"][0]["config"]["rules"][0]["mirrors"][0]["cluster"];
        assert_eq!(*cluster, format!("{}/shop/mirror-g-m-80/rule/0", kind.to_lowercase()));
        assert_eq!(
            (&made["kind"], &made["metadata"]),
            (&json!(kind), &json!({"name": "mirror-g-m-80", "namespace": "shop"}))
        );
        assert_eq!(made["spec"]["parentRefs"], json!([{"name": "g", "namespace": "edge"}]));
        assert_eq!(made["spec"]["hostnames"], hostname, "{listener}");
        assert_eq!(made["spec"]["rules"][0].get("matches").unwrap_or(&Value::Null), &matched, "{listener}");
        assert_eq!(made["spec"]["rules"][0]["backendRefs"], json!([{"name": "m", "port": 80}]));
        assert_eq!(connections["spec"]["targetRefs"][0]["name"], "mirror-g-m-80");
        assert!(mirrorctl(&["check", "-"], &out).out.contains(": ok: 1 rule, 1 mirror"));
        // The filter that makes Envoy Gateway's own cluster goes, for the route makes another.
        let routes = mirrorctl(&["convert", "-", "--routes"], &text).out;
        assert!(routes.contains("name: mirror-g-m-80") && !routes.contains("RequestMirror"), "{routes}");
    }
    // Expressions rank before prefixes there, and behind them in Istio.
    let rules = format!(
        "rules: [{{matches: [{{path: {{value: /aaaa}}}}], {FILTER}, backendRefs: [{{name: b}}]}}, {{matches: [{{path: {{type: RegularExpression, value: '/.*'}}}}], {FILTER}, backendRefs: [{{name: b}}]}}]"
    );
    let text = |owner: &str| files(owner, &any, route("HTTPRoute", "a", &format!("{ON_G}, {rules}")));
    for (owner, expected) in [(ENVOY_GATEWAY, ["a-1", "a-0"]), ("istio.io/gateway-controller", ["a-0", "a-1"])] {
        let (lines, _) = converted(&text(owner), &[]);
        let names: Vec<_> = lines[0].split(", ").map(|rule| rule.split(' ').next().unwrap()).collect();
        assert_eq!(names, expected, "{owner}");
    }
}

#[test]
fn what_other_resources_say_of_a_mirror_is_heeded() {
    let elsewhere = || {
        route(
            "HTTPRoute",
            "a",
            &format!("parentRefs: [{{kind: Service, name: s}}], rules: [{{{FILTER}, backendRefs: [{{name: b}}]}}]"),
        )
        .replace("name: m, port: 80", "name: m, namespace: other, port: 80")
    };
    let grant = |from: &str, to: &str| {
        let spec = format!("spec: {{from: [{{kind: HTTPRoute, namespace: {from}}}], to: [{{kind: Service{to}}}]}}");
        other("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "x", "other", &spec)
    };
    let refused =
        &["backendRef.namespace: not mirrored: no ReferenceGrant in other allows it", "nothing is mirrored"][..];
    let external = || service("m", "shop", "type: ExternalName, externalName: m.example");
    let entry = other(
        "networking.istio.io/v1",
        "ServiceEntry",
        "e",
        "shop",
        "spec: {hosts: [m.example], ports: [{number: 80}]}",
    );
    let subset = |name: &str| to_subset(&format!("subsets: [{{name: {name}}}]"));
    let two = |hosts: &str| vs("b", "") + &vs("a", hosts);
    let old = |text: String, year: &str| {
        text.replace("namespace", &format!("creationTimestamp: '{year}-01-01T00:00:00Z', namespace"))
    };
    hold(vec![
        ("a grant", elsewhere() + &grant("shop", ""), &[], &["a-0 m.other:80"], &[]),
        ("a grant by name", elsewhere() + &grant("shop", ", name: m"), &[], &["a-0 m.other:80"], &[]),
        ("a grant of another", elsewhere() + &grant("shop", ", name: o"), &[], &[], refused),
        ("a grant for others", elsewhere() + &grant("x", ""), &[], &[], refused),
        (
            "no grants",
            elsewhere(),
            &[],
            &["a-0 m.other:80"],
            &["taken as allowed: a ReferenceGrant in other has to allow it"],
        ),
        ("a name outside", vs("a", "") + &external() + &entry, &[], &["a-0 m.example:80"], &[]),
        (
            "a name outside that nobody knows",
            vs("a", "") + &external(),
            &[],
            &["a-0 m.example:80"],
            &["m.shop.svc.cluster.local stands for m.example"],
        ),
        (
            "a port",
            vs("a", "") + &service("m", "shop", "ports: [{port: 81}]"),
            &[],
            &["a-0 m.shop:80"],
            &["80: m.shop.svc.cluster.local has no such port"],
        ),
        (
            "a Service of another group",
            vs("a", "") + &service("m", "shop", "ports: [{port: 81}]").replace("v1", "serving.knative.dev/v1"),
            &[],
            &["a-0 m.shop:80"],
            &[],
        ),
        ("a subset", subset("v1"), &[], &["a-0 m.shop:80|v1"], &[]),
        (
            "no such subset",
            subset("v2"),
            &[],
            &["a-0 m.shop:80|v1"],
            &["v1: no DestinationRule of m.shop.svc.cluster.local has this subset"],
        ),
        (
            "two of one host in the mesh",
            two(""),
            &[],
            &["a-0 m.shop:80"],
            &[
                "VirtualService shop/b): spec.hosts: nothing of it is converted: a sidecar takes the older of two for one host: shop/a (without creationTimestamp",
            ],
        ),
        (
            "the older",
            old(vs("b", ""), "2020") + &old(vs("a", ""), "2021"),
            &[],
            &["b-0 m.shop:80"],
            &[
                "VirtualService shop/a): spec.hosts: nothing of it is converted: a sidecar takes the older of two for one host: shop/b",
            ],
        ),
        (
            "a VirtualService that is older than a route of its Service",
            old(vs("b", "hosts: [s]"), "2020")
                + &old(route("HTTPRoute", "a", "parentRefs: [{kind: Service, name: s}]"), "2021"),
            &[],
            &["b-0 m.shop:80"],
            &[
                "HTTPRoute shop/a): spec.parentRefs: left out: a sidecar takes the older VirtualService shop/b, but for clients in shop",
            ],
        ),
        (
            "a route of its Service that is older",
            old(vs("b", "hosts: [s]"), "2021")
                + &old(route("HTTPRoute", "a", "parentRefs: [{kind: Service, name: s}]"), "2020"),
            &[],
            &["a-0 m.shop:80"],
            &["a sidecar takes the older of two for one host: an HTTPRoute"],
        ),
        ("of two hosts", two("hosts: [b.test]"), &[], &["b-0 m.shop:80, a-0 m.shop:80"], &[]),
        (
            "a short name that is of another Service elsewhere",
            vs("a", "hosts: [s]") + &service("s", "other", "ports: [{port: 80}]"),
            &[],
            &["a-0 m.shop:80"],
            &["spec.hosts[0]: clients in other mean another Service by s"],
        ),
        (
            "a short name of a route's Service",
            route("HTTPRoute", "a", "parentRefs: [{kind: Service, name: s}]")
                + &service("s", "other", "ports: [{port: 80}]"),
            &[],
            &["a-0 m.shop:80"],
            &["spec.parentRefs[0].name: clients in other mean another Service by s"],
        ),
        (
            "the port of the sidecar's listener",
            vs("a", "hosts: [s], http: [{mirror: {host: m}}]")
                + &service("s", "shop", "ports: [{port: 8080}]")
                + &service("m", "shop", "ports: [{port: 80}, {port: 8080}]"),
            &[],
            &["a-0 m.shop:8080"],
            &[],
        ),
        (
            "the port of the sidecar's listener, which the mirror has not",
            vs("a", "hosts: [s], http: [{mirror: {host: m}}]")
                + &service("s", "shop", "ports: [{port: 8080}]")
                + &service("m", "shop", "ports: [{port: 80}]"),
            &[],
            &["a-0 m.shop:80"],
            &[
                "missing: Istio takes the port 8080 of the VirtualService's host, which m.shop.svc.cluster.local has not",
            ],
        ),
        (
            "the port that routes to the host have",
            vs("a", "http: [{mirror: {host: m}, route: [{destination: {host: m, port: {number: 8080}}}]}]"),
            &[],
            &["a-0 m.shop:8080"],
            &[],
        ),
    ]);
}

#[test]
fn routes_that_are_not_known_are_left_out_and_the_others_converted() {
    let http = |parents: &str| route("HTTPRoute", "a", &format!("parentRefs: [{parents}]"));
    let plain = vs("b", "");
    let rule = |backends: &str| {
        route("HTTPRoute", "a", &format!("parentRefs: [{{kind: Service, name: s}}], rules: [{{{FILTER}{backends}}}]"))
    };
    let none = "spec.rules[0]: not mirrored: without a backend, the proxy responds with 500 itself";
    let mesh = &["b-0 m.shop:80"][..];
    let grpc = |entry: &str| {
        route(
            "GRPCRoute",
            "a",
            &format!(
                "parentRefs: [{{kind: Service, name: s}}], rules: [{{matches: [{entry}], {FILTER}, backendRefs: [{{name: b}}]}}]"
            ),
        )
    };
    hold(vec![
        (
            "a set of listeners",
            http("{kind: XListenerSet, name: x}") + &plain,
            &[],
            mesh,
            &["spec.parentRefs[0].kind: XListenerSet: not converted for it"],
        ),
        (
            "another mesh",
            http("{kind: Mesh, name: x}") + &plain,
            &[],
            mesh,
            &["spec.parentRefs[0].kind: Mesh: not converted for it"],
        ),
        (
            "an entry",
            http("{kind: ServiceEntry, name: x}") + &plain,
            &[],
            mesh,
            &["ServiceEntry: not converted for it"],
        ),
        (
            "AppMesh's",
            vs("a", "").replace("networking.istio.io/v1", "appmesh.k8s.aws/v1beta2") + &plain,
            &[],
            mesh,
            &["apiVersion: appmesh.k8s.aws: not converted: not a VirtualService of networking.istio.io"],
        ),
        (
            "Gloo's",
            vs("a", "").replace("networking.istio.io", "gateway.solo.io") + &plain,
            &[],
            mesh,
            &["gateway.solo.io: not converted"],
        ),
        ("no backends", rule("") + &plain, &[], mesh, &[none]),
        ("an empty list of them", rule(", backendRefs: []") + &plain, &[], mesh, &[none]),
        ("weights of 0", rule(", backendRefs: [{name: b, weight: 0}]") + &plain, &[], mesh, &[none]),
        (
            "one of two weights",
            rule(", backendRefs: [{name: b, weight: 0}, {name: c}]") + &plain,
            &[],
            &["a-0 m.shop:80, b-0 m.shop:80"],
            &[],
        ),
        ("a method of gRPC", grpc("{method: {service: s.S, method: M}}"), &[], &["a-0 m.shop:80"], &[]),
    ]);
    for (entry, expected) in [
        ("{method: {service: s.S, method: M}}", json!([{"exact": "/s.S/M"}])),
        ("{method: {service: s.S}}", json!([{"exact": "/s.S"}, {"prefix": "/s.S/"}])),
        ("{method: {method: M}}", json!([{"regex": "/[^/]+/M"}])),
        ("{method: {type: RegularExpression, service: 's.*'}}", json!([{"regex": "/s.*/.+"}])),
        ("{headers: [{name: x, value: '1'}]}", json!([null])),
    ] {
        let tree: Value = serde_saphyr::from_str(&mirrorctl(&["convert", "-"], &grpc(entry)).ok()).unwrap();
        let uris: Vec<_> =
            tree["rules"][0]["match"].as_array().unwrap().iter().map(|entry| entry["uri"].clone()).collect();
        assert_eq!(json!(uris), expected, "{entry}");
    }
}

#[test]
fn the_only_backend_changes_the_copy_too() {
    let edit = |name: &str| {
        format!("{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: {name}, value: '1'}}]}}}}")
    };
    for (backends, expected) in [
        (format!("{{name: b, filters: [{}]}}", edit("x")), json!({"x": "1"})),
        (format!("{{name: b, filters: [{}]}}, {{name: c, weight: 0}}", edit("x")), json!({"x": "1"})),
    ] {
        let text = route("HTTPRoute", "a", &format!("rules: [{{{FILTER}, backendRefs: [{backends}]}}]"));
        let tree: Value = serde_saphyr::from_str(&mirrorctl(&["convert", "-"], &text).ok()).unwrap();
        assert_eq!(tree["rules"][0]["mirrors"][0]["headers"]["set"], expected, "{backends}");
    }
}

#[test]
fn a_prefix_is_replaced_as_the_proxy_does_it() {
    let rule = |prefix: &str, new: &str| {
        let rewrite = format!(
            "{{type: URLRewrite, urlRewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: {new}}}}}}}"
        );
        let filters = FILTER.replace("filters: [", &format!("filters: [{rewrite}, "));
        format!("{ON_G}, rules: [{{matches: [{{path: {{value: {prefix}}}}}], {filters}, backendRefs: [{{name: b}}]}}]")
    };
    for (controller, prefix, new, expected) in [
        ("istio.io/gateway-controller", "/a", "/b", ["^/a", "/b"]),
        ("istio.io/gateway-controller", "/a/", "/", ["^/a/?", "/"]),
        ("istio.io/gateway-controller", "/", "/b/", ["^/", "/b"]),
        (ENVOY_GATEWAY, "/a", "/", ["^/a/*", "/"]),
        (ENVOY_GATEWAY, "/", "/b", ["^/", "/b"]),
    ] {
        let text = class(controller)
            + &gateway("c", &format!("{{name: x, {ALL}}}"))
            + &route("HTTPRoute", "a", &rule(prefix, new));
        let tree: Value = serde_saphyr::from_str(&mirrorctl(&["convert", "-"], &text).out).unwrap();
        let rewrite = &tree["rules"][0]["mirrors"][0]["rewrite"]["uriRegexRewrite"];
        assert_eq!([&rewrite["match"], &rewrite["rewrite"]], expected, "{controller} {prefix} {new}");
    }
}

#[test]
fn delegates_are_followed_as_istio_merges_them() {
    let root = |http: &str| vs("root", &format!("http: [{{{http}}}]"));
    let delegate = |http: &str| vs("d", &format!("hosts: [], http: [{http}]")).replace("hosts: [], ", "");
    let named =
        |more: &str| root(&format!("match: [{{uri: {{prefix: /a}}}}], delegate: {{name: d, namespace: shop}}{more}"));
    let mirror = |host: &str| format!("mirror: {{host: {host}, port: {{number: 80}}}}");
    let own = || {
        delegate(&format!(
            "{{match: [{{uri: {{prefix: /a/b}}}}], {}}}, {{match: [{{uri: {{prefix: /c}}}}], {}}}",
            mirror("x"),
            mirror("z")
        ))
    };
    hold(vec![
        ("its mirror, and none that contradicts the root", named("") + &own(), &[], &["root-0-0 x.shop:80"], &[]),
        (
            "the root's, where it has none",
            named(&format!(", {MIRROR}")) + &delegate("{}"),
            &[],
            &["root-0-0 m.shop:80"],
            &[],
        ),
        (
            "its own, where both have one",
            named(&format!(", {MIRROR}")) + &delegate(&format!("{{{}}}", mirror("x"))),
            &[],
            &["root-0-0 x.shop:80"],
            &[],
        ),
        (
            "hosts of its own namespace",
            named("")
                .replace("namespace: shop}}", "namespace: other}}")
                .replace("d, namespace: shop", "d, namespace: other")
                + &delegate(&format!("{{{}}}", mirror("x"))).replace("namespace: shop", "namespace: other"),
            &[],
            &["root-0-0 x.other:80"],
            &[],
        ),
        (
            "not in the files: not the root's",
            named(&format!(", {MIRROR}")) + &vs("z", "hosts: [z.test]"),
            &[],
            &["z-0 m.shop:80"],
            &["spec.http[0].delegate: not followed: the VirtualService is not in the files"],
        ),
        (
            "a delegate alone",
            own() + &vs("z", "hosts: [z.test]"),
            &[],
            &["z-0 m.shop:80"],
            &["spec.hosts: missing: a VirtualService that others delegate to is converted with one that does"],
        ),
    ]);
    let out = mirrorctl(&["convert", "-"], &(named("") + &own())).out;
    assert!(out.contains("prefix: /a/b\n") && !out.contains("/c"), "{out}");
}

#[test]
fn mirrors_that_were_not_carried_over_stay_in_the_routes() {
    let left = |text: &str, args: &[&str]| {
        let out = mirrorctl(&[&["convert", "-", "-o", "routes"], args].concat(), text).out;
        ["mirror:", "RequestMirror"].iter().map(|mirror| out.matches(mirror).count()).sum::<usize>()
    };
    let delegate = vs("d", &format!("hosts: [], http: [{{{MIRROR}}}]")).replace("hosts: [], ", "");
    let root = |gateways: &str| vs("root", &format!("gateways: [{gateways}], http: [{{delegate: {{name: d}}}}]"));
    let both = vs("a", "gateways: [gw, mesh]");
    let filters = FILTER.replace(
        "port: 80}}}]",
        "port: 80}}}, {type: RequestMirror, requestMirror: {backendRef: {name: o, namespace: other, port: 80}}}]",
    );
    let refused =
        other("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "x", "other", "spec: {from: [], to: []}");
    for (what, text, args, expected) in [
        ("carried over", both.clone(), &[][..], 0),
        ("to one of two", both.clone(), &["--mesh"], 1),
        ("to all that were chosen", both, &["--mesh", "--gateway", "shop/gw"], 0),
        ("younger", vs("a", "") + &vs("b", ""), &[], 1),
        ("behind a catch-all", vs("a", &format!("http: [{{{MIRROR}}}, {{{MIRROR}}}]")), &[], 1),
        (
            "of a redirect",
            vs(
                "a",
                &format!("http: [{{match: [{{uri: {{exact: /}}}}], redirect: {{uri: /b}}, {MIRROR}}}, {{{MIRROR}}}]"),
            ),
            &[],
            1,
        ),
        (
            "of a parent that is not known",
            route("HTTPRoute", "a", "parentRefs: [{kind: XListenerSet, name: x}, {name: g}]"),
            &[],
            1,
        ),
        ("of no backend", route("HTTPRoute", "a", &format!("rules: [{{{FILTER}}}]")) + &vs("b", ""), &[], 1),
        (
            "one of two that is refused",
            route("HTTPRoute", "a", &format!("rules: [{{{filters}, backendRefs: [{{name: b}}]}}]")) + &refused,
            &[],
            1,
        ),
        ("of a delegate", root("gw") + &delegate, &[], 0),
        ("of a delegate whose root is also for others", root("gw, mesh") + &delegate, &["--mesh"], 1),
        ("of a delegate without a root", delegate.clone() + &vs("b", ""), &[], 1),
    ] {
        assert_eq!(
            left(&text, args),
            expected,
            "{what}: {:?}",
            mirrorctl(&[&["convert", "-", "-o", "routes"], args].concat(), &text)
        );
    }
}

#[test]
fn copies_have_the_host_that_the_proxy_gives_them_or_gave_them_before() {
    let text = vs(
        "a",
        &format!("http: [{{match: [{{uri: {{exact: /}}}}], rewrite: {{authority: 'b:80'}}, {MIRROR}}}, {{{MIRROR}}}]"),
    );
    let hosts = |args: &[&str]| {
        let out = mirrorctl(&[&["convert", "-"], args].concat(), &text).ok();
        let tree: Value = serde_saphyr::from_str(&out).unwrap();
        [0, 1].map(|rule| {
            let mirror = &tree["rules"][rule]["mirrors"][0];
            (mirror["rewrite"]["authority"].clone(), mirror["disableShadowHostSuffixAppend"].clone())
        })
    };
    assert_eq!(hosts(&[]), [(json!("b:80"), Value::Null), (Value::Null, json!(true))]);
    assert_eq!(hosts(&["--shadow-host-suffix"]), [(json!("b-shadow:80"), Value::Null), (Value::Null, Value::Null)]);
}

#[test]
fn what_was_found_out_is_noted() {
    let notes = |text: &str| {
        let ran = mirrorctl(&["convert", "-"], text);
        ran.err.lines().filter_map(|line| line.strip_prefix("note: ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let untimed = "routes without a timeout wait for ever, their copies 5s: `timeout` of a mirror changes it";
    assert_eq!(notes(&vs("a", "")), [untimed]);
    assert!(notes(&vs("a", &format!("http: [{{timeout: 3s, {MIRROR}}}]"))).is_empty());
    let port = "http: [{timeout: 1s, mirror: {host: m}, route: [{destination: {host: m, port: {number: 8080}}}]}]";
    let [found] = &notes(&vs("a", port))[..] else { panic!() };
    assert!(
        found.ends_with("spec.http[0].mirror.port.number: 8080, as routes to m.shop.svc.cluster.local have it"),
        "{found}"
    );
}
