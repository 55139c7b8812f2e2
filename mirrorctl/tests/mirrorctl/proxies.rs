//! `mirrorctl convert` of routes of several proxies: what each gets, where it is installed, and what stays in the routes.

mod around;
mod ports;

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

/// A VirtualService that mirrors to the subset `v1`, and the DestinationRule of the mirror with these fields.
fn to_subset(fields: &str) -> String {
    let rule = other("networking.istio.io/v1", "DestinationRule", "d", "shop", &format!("spec: {{host: m, {fields}}}"));
    vs("a", &format!("http: [{{{}}}]", MIRROR.replace("host: m", "host: m, subset: v1"))) + &rule
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
            "gateways of one workload and port are one, as their requests are",
            istio("one", "app: x", "'*'")
                + &istio("two", "app: x", "'*'")
                + &vs("a", "gateways: [one]")
                + &vs("b", "hosts: [b.test], gateways: [two], http: [{}]"),
            &[],
            &["a-0 m.shop:80"],
            &[],
        ),
        (
            "a match of one gateway is none of the other",
            vs("a", &format!("gateways: [one, two], http: [{{match: [{{gateways: [one]}}]}}, {{{MIRROR}}}]")),
            &[],
            &["a-1 m.shop:80"],
            &[],
        ),
        (
            "a match of one gateway of its workload is for the requests of both",
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
            &[],
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
    let refused = &["spec.hosts: the Gateway shop/gw takes no such route from shop: not converted for it"][..];
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
        ("another", on("other/a.test"), &[], &[], &[refused, &["nothing is mirrored"]].concat()),
        ("one of two", on("other/a.test, shop/a.test"), &[], mirrored, &[]),
        ("all routes", allowed("{namespaces: {from: All}}"), &[], mirrored, &[]),
        ("of labels", allowed(selector) + &namespace, &[], mirrored, &[]),
        (
            "of other labels",
            allowed(selector) + &namespace.replace("team: a", "team: b"),
            &[],
            &[],
            &["takes no such route from shop", "nothing is mirrored"],
        ),
        (
            "of labels that no file tells",
            allowed(selector),
            &[],
            mirrored,
            &["taken as allowed: the gateway takes routes of namespaces with some labels"],
        ),
        ("of the same namespace", allowed("{}"), &[], &[], &["takes no such route from shop", "nothing is mirrored"]),
        (
            "of another kind",
            allowed("{namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}"),
            &[],
            &[],
            &["takes no such route from shop", "nothing is mirrored"],
        ),
        ("a section", listeners("sectionName: x"), &[], mirrored, &[]),
        ("a port", listeners("port: 81"), &[], mirrored, &[]),
        (
            "a section beside one of the same hosts at another port",
            listeners("sectionName: x").replace("b.test", "a.test"),
            &[],
            mirrored,
            &[],
        ),
        (
            "a section beside one of the same hosts, which the handshake chooses",
            listeners("sectionName: x")
                .replace("b.test", "a.test")
                .replace("81", "80")
                .replace("80, host", "80, protocol: HTTPS, host"),
            &[],
            mirrored,
            &["spec.parentRefs[0]: another listener of the gateway takes requests for the same hosts"],
        ),
        (
            "a section beside a narrower one of the same port",
            listeners("sectionName: z")
                .replace("hostname: b.test, ", "")
                .replace("81", "80")
                .replace("spec: {parentRefs", "spec: {hostnames: [a.test], parentRefs"),
            &[],
            &[],
            &["the Gateway edge/g has another listener that takes all requests for these hosts", "nothing is mirrored"],
        ),
        ("all, which stands for all that a server has", on("other/a.test, '*/*'"), &[], mirrored, &[]),
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
