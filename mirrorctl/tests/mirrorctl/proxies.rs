//! `mirrorctl convert` of routes of several proxies: what each gets, where it is installed, and what stays in the routes.

use crate::mirrorctl;
use serde_json::{Value, json};

const MIRROR: &str = "mirror: {host: m, port: {number: 80}}";
const FILTER: &str = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: m, port: 80}}}]";

/// A VirtualService of the host `a.test`, or what else is written first, with a mirror.
fn vs(name: &str, spec: &str) -> String {
    let hosts = (!spec.contains("hosts:")).then(|| "hosts: [a.test]".to_owned());
    let http = (!spec.contains("http:")).then(|| format!("http: [{{{MIRROR}}}]"));
    let parts = [hosts, Some(spec.to_owned()).filter(|spec| !spec.is_empty()), http];
    let spec: Vec<_> = parts.into_iter().flatten().collect();
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{}}}\n",
        spec.join(", ")
    )
}

/// A route of the Gateway API with a mirror and a backend.
fn route(kind: &str, name: &str, spec: &str) -> String {
    let rules = if spec.contains("rules:") {
        String::new()
    } else {
        format!(", rules: [{{{FILTER}, backendRefs: [{{name: b}}]}}]")
    };
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{{spec}{rules}}}\n"
    )
}

fn other(version: &str, kind: &str, name: &str, namespace: &str, rest: &str) -> String {
    format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n{rest}\n")
}

/// Istio's Gateway.
fn istio(name: &str, selector: &str, hosts: &str) -> String {
    let spec = format!("spec: {{selector: {{{selector}}}, servers: [{{hosts: [{hosts}]}}]}}");
    other("networking.istio.io/v1", "Gateway", name, "shop", &spec)
}

/// The Gateway API's Gateway `g` in the namespace `edge`.
fn gateway(class: &str, listeners: &str) -> String {
    let spec = format!("spec: {{gatewayClassName: {class}, listeners: [{listeners}]}}");
    other("gateway.networking.k8s.io/v1", "Gateway", "g", "edge", &spec)
}

fn service(name: &str, namespace: &str, spec: &str) -> String {
    other("v1", "Service", name, namespace, &format!("spec: {{{spec}}}"))
}

fn class(controller: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {{name: c}}\nspec: {{controllerName: {controller}}}\n"
    )
}

const ALL: &str = "allowedRoutes: {namespaces: {from: All}}";
const ON_G: &str = "parentRefs: [{name: g, namespace: edge}]";
const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/gatewayclass-controller";

/// Where a mirror goes.
fn to(mirror: &Value) -> String {
    let destination = &mirror["destination"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match destination["subset"].as_str() {
        _ if destination.is_null() => text(&mirror["cluster"]),
        subset => {
            let host = text(&destination["host"]).replace(".svc.cluster.local", "");
            let port = &destination["port"]["number"];
            format!("{host}:{port}{}", subset.map(|subset| format!("|{subset}")).unwrap_or_default())
        }
    }
}

/// Converts documents; returns a line for each configuration that is written, and what was said but for notes.
fn converted(text: &str, args: &[&str]) -> (Vec<String>, Vec<String>) {
    let ran = mirrorctl(&[&["convert", "-"], args].concat(), text);
    let said = ran.err.lines().filter(|line| !line.starts_with("note: ")).map(str::to_owned).collect();
    let mut lines = Vec::new();
    for document in ran.out.split("---\n") {
        let comment = document.lines().find_map(|line| line.strip_prefix("# For ")).unwrap_or_default();
        let tree: Value = serde_saphyr::from_str(document).unwrap_or_default();
        let rules = tree["rules"].as_array().cloned().unwrap_or_default();
        let rule = |rule: &Value| {
            let mirrors: Vec<_> = rule["mirrors"].as_array().unwrap().iter().map(to).collect();
            format!("{} {}", rule["name"].as_str().unwrap(), mirrors.join("+")).trim().to_owned()
        };
        let rules: Vec<_> = rules.iter().map(rule).collect();
        if !rules.is_empty() {
            lines.push(format!("{comment} {}", rules.join(", ")).trim().to_owned());
        }
    }
    (lines, said)
}

/// A case: what it is about, documents, arguments, what is written, and the ends of what is said.
type Case<'a> = (&'a str, String, &'a [&'a str], &'a [&'a str], &'a [&'a str]);

fn hold(cases: Vec<Case<'_>>) {
    for (what, text, args, expected, warnings) in cases {
        let (lines, said) = converted(&text, args);
        assert_eq!(lines, expected, "{what}: {said:#?}\n{text}");
        let warnings_are_said =
            said.len() == warnings.len() && said.iter().zip(warnings).all(|(line, expected)| line.contains(expected));
        assert!(warnings_are_said, "{what}: {said:#?}\n{warnings:#?}\n{text}");
    }
}

#[test]
fn there_is_a_configuration_for_each_gateway_and_for_the_mesh() {
    let two = || vs("a", "gateways: [mesh]") + &vs("b", &format!("gateways: [gw], http: [{{}}, {{{MIRROR}}}]"));
    let both = || vs("a", "gateways: [gw, mesh]");
    let apart = || {
        route("HTTPRoute", "a", "hostnames: [a.test], parentRefs: [{name: g1}]")
            + &route("HTTPRoute", "b", "hostnames: [a.test], parentRefs: [{name: g2}], rules: [{}]")
    };
    hold(vec![
        ("a rule of the gateway is none of the mesh", two(), &[], &["a-0 m.shop:80"], &[]),
        ("one route for both", both(), &[], &["the mesh. a-0 m.shop:80", "the gateway shop/gw. a-0 m.shop:80"], &[]),
        ("the gateway alone", both(), &["--gateway", "shop/gw"], &["a-0 m.shop:80"], &[]),
        ("the mesh alone", both(), &["--mesh"], &["a-0 m.shop:80"], &[]),
        (
            "both by name",
            both(),
            &["--mesh", "--gateway", "shop/gw"],
            &["the mesh. a-0 m.shop:80", "the gateway shop/gw. a-0 m.shop:80"],
            &[],
        ),
        (
            "two gateways with one hostname",
            apart(),
            &["-o", "config"],
            &["a-0 m.shop:80"],
            &["spec.parentRefs: whose gateway shop/g1 is, no file tells"],
        ),
        ("gateways that nothing tells apart are one", vs("a", "gateways: [one, two]"), &[], &["a-0 m.shop:80"], &[]),
        (
            "gateways of one workload are one, and what differs is told",
            istio("one", "app: x", "'*'")
                + &istio("two", "app: x", "'*'")
                + &vs("a", "gateways: [one]")
                + &vs("b", "hosts: [b.test], gateways: [two], http: [{}]"),
            &[],
            &["a-0 m.shop:80"],
            &["spec.gateways: mirrored at the gateway shop/two too: they share one workload"],
        ),
        (
            "a match of one gateway is none of the other",
            vs("a", &format!("gateways: [one, two], http: [{{match: [{{gateways: [one]}}]}}, {{{MIRROR}}}]")),
            &[],
            &["a-1 m.shop:80"],
            &[],
        ),
        (
            "a match of one gateway of its workload is left out",
            istio("one", "app: x", "'*'")
                + &istio("two", "app: x", "'*'")
                + &vs(
                    "a",
                    &format!(
                        "gateways: [one, two], http: [{{match: [{{gateways: [one], uri: {{exact: /a}}}}], {MIRROR}}}]"
                    ),
                ),
            &[],
            &["a-0 m.shop:80"],
            &["match[0].gateways: left out: the plugin does not know which of the gateways"],
        ),
    ]);
    for (args, expected) in [
        (
            &["--gateway", "shop/other"][..],
            "--gateway shop/other: no route in these files is for it; they are for the gateway shop/gw, the mesh",
        ),
        (&["--gateway", "gw"], "not NAMESPACE/NAME"),
        (&["--namespace", "A b"], "not a name in Kubernetes"),
        (&["--cluster-domain", "a..b"], "not a domain"),
        (&["--port", "other=1"], "--port other: no mirror in these files names this host"),
    ] {
        let ran = mirrorctl(&[&["convert", "-"], args].concat(), &both());
        assert!(ran.code == 2 && ran.out.is_empty() && ran.err.contains(expected), "{ran:?}");
    }
    let mesh = mirrorctl(&["convert", "-", "--mesh"], &vs("a", "gateways: [gw]"));
    assert!(mesh.code == 2 && mesh.err.contains("--mesh: no route in these files is for the mesh"), "{mesh:?}");
}

#[test]
fn a_resource_is_installed_where_the_files_say_and_says_what_they_do_not() {
    let labels = "app: edge";
    let workload = service("edge", "istio-system", "selector: {app: edge, more: x}, ports: [{port: 80}]");
    let deployment =
        other("apps/v1", "Deployment", "edge", "istio-system", "spec: {template: {metadata: {labels: {app: edge}}}}");
    let on_gateway = || istio("gw", labels, "'*'") + &vs("a", "gateways: [gw]");
    let target = json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}]);
    let selector = json!({"matchLabels": {"app": "edge"}});
    for (what, text, namespace, field, expected, change) in [
        ("Istio's gateway", on_gateway() + &workload, "istio-system", "selector", &selector, None),
        ("its Deployment", on_gateway() + &deployment, "istio-system", "selector", &selector, None),
        (
            "no workload",
            on_gateway(),
            "shop",
            "selector",
            &selector,
            Some("the workload that it selects may be in another"),
        ),
        (
            "no gateway",
            vs("a", "gateways: [edge/gw]"),
            "edge",
            "selector",
            &Value::Null,
            Some("add the selector of the gateway edge/gw"),
        ),
        (
            "another gateway",
            istio("other", labels, "'*'") + &vs("a", "gateways: [gw]"),
            "shop",
            "selector",
            &Value::Null,
            Some("add the selector"),
        ),
        ("the mesh", vs("a", ""), "shop", "selector", &Value::Null, Some("act where requests are sent from")),
        ("a mesh of one namespace", vs("a", "exportTo: [.]"), "shop", "selector", &Value::Null, None),
        ("the Gateway API's", route("HTTPRoute", "a", ON_G), "edge", "targetRefs", &target, None),
    ] {
        for form in ["wasmplugin", "trafficextension"] {
            let ran = mirrorctl(&["convert", "-", "-o", form], &text);
            let tree: Value = serde_saphyr::from_str(&ran.out).unwrap_or_else(|_| panic!("{what}: {ran:?}"));
            assert_eq!(tree["metadata"], json!({"name": "traffic-mirror", "namespace": namespace}), "{what}");
            assert_eq!(tree["spec"].get(field).unwrap_or(&Value::Null), expected, "{what}");
            let changes: Vec<_> = ran.out.lines().filter(|line| line.starts_with("# CHANGE: ")).collect();
            assert_eq!(changes.len(), 1 + usize::from(change.is_some()), "{what}: {changes:?}");
            assert!(change.is_none_or(|change| changes[1].contains(change)), "{what}: {changes:?}");
        }
    }
    let both = mirrorctl(&["convert", "-", "-o", "wasmplugin"], &vs("a", "gateways: [gw, mesh]")).out;
    let names: Vec<_> = both.lines().filter(|line| line.starts_with("  name: ")).collect();
    assert_eq!(names, ["  name: traffic-mirror-mesh", "  name: traffic-mirror-gw"]);
}

#[test]
fn catch_alls_come_last_in_a_gateway_and_end_the_routes_of_a_resource() {
    let some = format!("{{match: [{{uri: {{prefix: /b}}}}], {MIRROR}}}");
    let http = |first: &str| {
        vs("a", &format!("gateways: [gw], http: [{{{first}}}, {some}]"))
            + &vs("b", &format!("gateways: [gw], http: [{some}]"))
    };
    hold(vec![
        ("an expression for all", http("match: [{uri: {regex: '.*'}}]"), &[], &["b-0 m.shop:80"], &[]),
        ("a rewrite of all", http("rewrite: {uri: /x}"), &[], &["b-0 m.shop:80"], &[]),
        (
            "an entry of a list",
            http("match: [{uri: {exact: /y}}, {uri: {prefix: /}}, {uri: {exact: /z}}]"),
            &[],
            &["a-0, b-0 m.shop:80"],
            &[],
        ),
        (
            "not one with a method",
            http("match: [{method: {exact: GET}}]"),
            &[],
            &["a-0, a-1 m.shop:80, b-0 m.shop:80"],
            &[],
        ),
        (
            "not one with a header",
            http("match: [{uri: {prefix: /}, headers: {x: {exact: '1'}}}]"),
            &[],
            &["a-0, a-1 m.shop:80, b-0 m.shop:80"],
            &[],
        ),
        (
            "several, the older first",
            vs("z", &format!("gateways: [gw], http: [{{{MIRROR}}}]"))
                .replace("namespace", "creationTimestamp: '2020-01-01T00:00:00Z', namespace")
                + &vs("a", "gateways: [gw], http: [{}]")
                    .replace("namespace", "creationTimestamp: '2021-01-01T00:00:00Z', namespace"),
            &[],
            &["z-0 m.shop:80"],
            &[],
        ),
    ]);
}

#[test]
fn hosts_are_those_that_a_gateway_takes_from_a_namespace() {
    let on = |hosts: &str| istio("gw", "app: x", hosts) + &vs("a", "gateways: [gw]");
    let refused = &["spec.hosts: the Gateway shop/gw takes no such route from shop: left out"][..];
    let allowed = |allowed: &str| {
        gateway("istio", &format!("{{name: x, allowedRoutes: {allowed}}}")) + &route("HTTPRoute", "a", ON_G)
    };
    let namespace = other("v1", "Namespace", "shop", "x", "").replace("namespace: x", "labels: {team: a}");
    let selector = "{namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}";
    let listeners = |section: &str| {
        gateway(
            "istio",
            &format!("{{name: x, port: 80, hostname: a.test, {ALL}}}, {{name: z, port: 81, hostname: b.test, {ALL}}}"),
        ) + &route("HTTPRoute", "a", &format!("parentRefs: [{{name: g, namespace: edge, {section}}}]"))
    };
    let mirrored = &["a-0 m.shop:80"][..];
    hold(vec![
        ("its own", on("shop/a.test"), &[], mirrored, &[]),
        ("each", on("'*/a.test'"), &[], mirrored, &[]),
        ("the gateway's", on("./a.test"), &[], mirrored, &[]),
        (
            "another",
            on("other/a.test"),
            &[],
            &[],
            &[refused, &["nothing is mirrored", "nothing is sent there"]].concat(),
        ),
        ("one of two", on("other/a.test, shop/a.test"), &[], mirrored, &[]),
        ("all routes", allowed("{namespaces: {from: All}}"), &[], mirrored, &[]),
        ("of labels", allowed(selector) + &namespace, &[], mirrored, &[]),
        (
            "of other labels",
            allowed(selector) + &namespace.replace("team: a", "team: b"),
            &[],
            &[],
            &["takes no such route from shop", "nothing is mirrored", "nothing is sent there"],
        ),
        (
            "of labels that no file tells",
            allowed(selector),
            &[],
            mirrored,
            &["taken as allowed: the gateway takes routes of namespaces with some labels"],
        ),
        (
            "of the same namespace",
            allowed("{}"),
            &[],
            &[],
            &["takes no such route from shop", "nothing is mirrored", "nothing is sent there"],
        ),
        (
            "of another kind",
            allowed("{namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}"),
            &[],
            &[],
            &["takes no such route from shop", "nothing is mirrored", "nothing is sent there"],
        ),
        ("a section", listeners("sectionName: x"), &[], mirrored, &[]),
        ("a port", listeners("port: 81"), &[], mirrored, &[]),
        (
            "a section beside one of the same hosts",
            listeners("sectionName: x").replace("b.test", "a.test"),
            &[],
            mirrored,
            &["spec.parentRefs[0]: another listener of the gateway takes requests for the same hosts"],
        ),
    ]);
    let host = |section: &str| {
        let out = mirrorctl(&["convert", "-"], &listeners(section)).out;
        [r"a\.test", r"b\.test"].map(|host| out.contains(host))
    };
    assert_eq!(
        [host("sectionName: x"), host("port: 81"), host("port: 80")],
        [[true, false], [false, true], [true, false]]
    );
}

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
            &["left out: the gateway edge/g is Envoy Gateway's", "nothing is mirrored", "nothing is sent there"],
        ),
        (
            "nor Istio's in its own",
            gateway("istio", &any) + &http(),
            &["-o", "envoyextensionpolicy"],
            &[],
            &["left out: the gateway edge/g is Istio's", "nothing is mirrored", "nothing is sent there"],
        ),
        (
            "another controller",
            files("example.com/x", &any, http()),
            &[],
            &[],
            &["left out: the gateway edge/g is made by example.com/x", "nothing is mirrored", "nothing is sent there"],
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
        assert!(mirrorctl(&["check", "-"], &out).ok().contains(": ok: 1 rule, 1 mirror"));
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
    let refused = &[
        "backendRef.namespace: not mirrored: no ReferenceGrant in other allows it",
        "nothing is mirrored",
        "nothing is sent there",
    ][..];
    let external = || service("m", "shop", "type: ExternalName, externalName: m.example");
    let entry = other(
        "networking.istio.io/v1",
        "ServiceEntry",
        "e",
        "shop",
        "spec: {hosts: [m.example], ports: [{number: 80}]}",
    );
    let subset = |subsets: &str| {
        vs("a", &format!("http: [{{{}}}]", MIRROR.replace("host: m", "host: m, subset: v1")))
            + &other(
                "networking.istio.io/v1",
                "DestinationRule",
                "d",
                "shop",
                &format!("spec: {{host: m, subsets: [{subsets}]}}"),
            )
    };
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
        ("a subset", subset("{name: v1}"), &[], &["a-0 m.shop:80|v1"], &[]),
        (
            "no such subset",
            subset("{name: v2}"),
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
                "VirtualService shop/b): spec.hosts: left out: a sidecar takes the older of two for one host: shop/a (without creationTimestamp",
            ],
        ),
        (
            "the older",
            old(vs("b", ""), "2020") + &old(vs("a", ""), "2021"),
            &[],
            &["b-0 m.shop:80"],
            &["VirtualService shop/a): spec.hosts: left out: a sidecar takes the older of two for one host: shop/b"],
        ),
        ("of two hosts", two("hosts: [b.test]"), &[], &["b-0 m.shop:80, a-0 m.shop:80"], &[]),
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
            &["spec.parentRefs[0].kind: XListenerSet: left out"],
        ),
        (
            "another mesh",
            http("{kind: Mesh, name: x}") + &plain,
            &[],
            mesh,
            &["spec.parentRefs[0].kind: Mesh: left out"],
        ),
        ("an entry", http("{kind: ServiceEntry, name: x}") + &plain, &[], mesh, &["ServiceEntry: left out"]),
        (
            "AppMesh's",
            vs("a", "").replace("networking.istio.io/v1", "appmesh.k8s.aws/v1beta2") + &plain,
            &[],
            mesh,
            &["apiVersion: appmesh.k8s.aws: left out: not a VirtualService of networking.istio.io"],
        ),
        (
            "Gloo's",
            vs("a", "").replace("networking.istio.io", "gateway.solo.io") + &plain,
            &[],
            mesh,
            &["gateway.solo.io: left out"],
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
