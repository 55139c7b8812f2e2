//! What each port of a gateway gets, and who sees a VirtualService and what its mirrors name.

use super::*;

/// Istio's Gateway with a server for each port, and who its hosts are for.
fn ports(servers: &[(u64, &str)]) -> String {
    let servers: Vec<_> = servers
        .iter()
        .map(|(port, hosts)| format!("{{port: {{number: {port}, name: p{port}, protocol: HTTP}}, hosts: [{hosts}]}}"))
        .collect();
    let spec = format!("spec: {{selector: {{app: edge}}, servers: [{}]}}", servers.join(", "));
    other("networking.istio.io/v1", "Gateway", "gw", "shop", &spec)
}

#[test]
fn ports_that_mirror_in_different_ways_have_configurations_of_their_own() {
    let at = |port: u64, rules: &str| format!("the gateway shop/gw, port {port}. {rules}");
    let own = |name: &str, namespace: &str, spec: &str| {
        vs(name, &format!("gateways: [shop/gw], {spec}")).replace("namespace: shop", &format!("namespace: {namespace}"))
    };
    let (one, two) = (|| own("a", "shop", "hosts: [a.test]"), || own("b", "other", "hosts: [a.test]"));
    let apart = || ports(&[(80, "shop/a.test"), (8080, "other/a.test")]);
    let by_port = |entry: &str| own("a", "shop", &format!("http: [{{match: [{entry}], {MIRROR}}}, {{}}]"));
    for (what, text, expected) in [
        (
            "one host of two namespaces",
            apart() + &one() + &two(),
            vec![at(80, "a-0 m.shop:80"), at(8080, "b-0 m.other:80")],
        ),
        (
            "one of them without a mirror",
            apart() + &one() + &own("b", "other", "http: [{}]"),
            vec![at(80, "a-0 m.shop:80")],
        ),
        ("one of them without routes", apart() + &one(), vec!["a-0 m.shop:80".to_owned()]),
        ("the same for both", ports(&[(80, "a.test"), (443, "a.test")]) + &one(), vec!["a-0 m.shop:80".to_owned()]),
        (
            "other hosts on each",
            ports(&[(80, "a.test"), (443, "'*'")]) + &one() + &own("b", "shop", "hosts: [b.test]"),
            vec!["a-0 m.shop:80, b-0 m.shop:80".to_owned()],
        ),
        (
            "a host that another route has on one of them",
            ports(&[(80, "a.test"), (443, "'*'")]) + &one() + &own("b", "shop", "hosts: ['*']"),
            vec![at(80, "a-0 m.shop:80"), at(443, "a-0 m.shop:80, b-0 m.shop:80")],
        ),
        (
            "a route of all hosts, narrowed on one of them",
            ports(&[(80, "a.test"), (443, "'*'")]) + &own("b", "shop", "hosts: ['*']"),
            vec!["b-0 m.shop:80, b-0-2 m.shop:80".to_owned()],
        ),
        (
            "three, of which two are alike",
            ports(&[(80, "shop/a.test"), (81, "other/a.test"), (82, "shop/a.test")]) + &one() + &two(),
            vec!["the gateway shop/gw, ports 80 and 82. a-0 m.shop:80".to_owned(), at(81, "b-0 m.other:80")],
        ),
        (
            "a host that the handshake brings to another server",
            ports(&[(443, "'other/*.test'"), (443, "shop/a.test")]).replace("HTTP}", "HTTPS}")
                + &one()
                + &own(
                    "b",
                    "other",
                    "hosts: [b.test, a.test], http: [{match: [{uri: {prefix: /b}}], mirror: {host: m, port: {number: 80}}}]",
                ),
            vec!["a-0 m.shop:80, b-0 m.other:80".to_owned()],
        ),
        (
            "a match of a port",
            ports(&[(80, "a.test"), (81, "a.test")]) + &by_port("{port: 81}"),
            vec![at(81, "a-0 m.shop:80")],
        ),
        (
            "a match of the only port",
            ports(&[(80, "a.test")]) + &by_port("{port: 80}"),
            vec!["a-0 m.shop:80".to_owned()],
        ),
    ] {
        let (lines, said) = converted(&text, &[]);
        assert_eq!(lines, expected, "{what}: {said:#?}\n{text}");
        assert!(said.is_empty(), "{what}: {said:#?}");
    }
    let both = apart() + &one() + &two();
    let service = |ports: &str| service("edge", "istio-system", &format!("selector: {{app: edge}}, ports: [{ports}]"));
    let mapped = service("{port: 80, targetPort: 8080}, {port: 8080, targetPort: 9090}");
    for form in ["wasmplugin", "trafficextension"] {
        // Istio means the ports of the workload.
        for (around, expected, is_told) in [
            ("", [80, 8080], false),
            (&*mapped, [8080, 9090], true),
            (&*service("{port: 80}, {port: 443}"), [80, 8080], true),
            (&*service("{port: 80, targetPort: http}, {port: 8080}"), [80, 8080], false),
        ] {
            let out = mirrorctl(&["convert", "-", "-o", form], &(both.clone() + around)).ok();
            let trees: Vec<Value> = serde_saphyr::from_multiple(&out).unwrap();
            let found: Vec<_> = trees.iter().map(|tree| (&tree["metadata"]["name"], &tree["spec"]["match"])).collect();
            let [first, second] = [(80, expected[0]), (8080, expected[1])].map(|(port, number)| {
                (json!(format!("traffic-mirror-gw-{port}")), json!([{"mode": "CLIENT", "ports": [{"number": number}]}]))
            });
            assert_eq!(found, [(&first.0, &first.1), (&second.0, &second.1)], "{form} {around}");
            assert_eq!(!out.contains("# CHANGE: the ports in `match`"), is_told, "{form} {around}\n{out}");
        }
    }
    let of_gateway_api = |listeners: &str| {
        class(ENVOY_GATEWAY)
            + &gateway("c", listeners)
            + &route("HTTPRoute", "a", "hostnames: [a.test], parentRefs: [{name: g, namespace: edge, port: 80}]")
            + &route(
                "HTTPRoute",
                "b",
                "hostnames: [a.test], rules: [{backendRefs: [{name: b}]}], parentRefs: [{name: g, namespace: edge, port: 81}]",
            )
    };
    let listeners =
        format!("{{name: x, port: 80, protocol: HTTP, {ALL}}}, {{name: z, port: 81, protocol: HTTP, {ALL}}}");
    let out = mirrorctl(&["convert", "-", "-o", "envoyextensionpolicy"], &of_gateway_api(&listeners)).ok();
    assert!(out.starts_with("# For the gateway edge/g, port 80.\n# CHANGE: "), "{out}");
    assert!(out.contains("# CHANGE: a `sectionName` in targetRefs for each listener of the port"), "{out}");
}

#[test]
fn what_not_everybody_sees_is_mirrored_where_it_is_seen() {
    let on =
        |export: &str| istio("gw", "app: edge", "'*'") + &vs("a", &format!("gateways: [gw], exportTo: [{export}]"));
    let workload = |namespace: &str| service("edge", namespace, "selector: {app: edge}, ports: [{port: 80}]");
    let nothing = ["nothing is mirrored"];
    let unseen = |by: &'static str| [&[by][..], &nothing].concat();
    let mirrored = &["a-0 m.shop:80"][..];
    let seen_by = |export: &str| to_subset(&format!("exportTo: [{export}], subsets: [{{name: v1}}]"));
    let mirror = |annotation: &str| {
        service("m", "shop", "ports: [{port: 80}]").replace(
            "namespace: shop",
            &format!("namespace: shop, annotations: {{networking.istio.io/exportTo: '{annotation}'}}"),
        )
    };
    hold(vec![
        ("everybody", on("'*'"), &[], mirrored, &[]),
        ("the gateway's namespace", on("edge") + &workload("edge"), &[], mirrored, &[]),
        (
            "another namespace",
            on("edge") + &workload("other"),
            &[],
            &[],
            &unseen("spec.exportTo: not converted for the gateway shop/gw: only edge sees the VirtualService"),
        ),
        ("its own, which the gateway is in", on(".") + &workload("shop"), &[], mirrored, &[]),
        (
            "its own, which the gateway is not in",
            on(".") + &workload("edge"),
            &[],
            &[],
            &unseen("only shop sees the VirtualService"),
        ),
        ("nobody", on("'~'"), &[], &[], &unseen("nobody sees the VirtualService")),
        (
            "a gateway that is in no file",
            on("edge"),
            &[],
            mirrored,
            &[
                "only gateways in edge see the VirtualService, and no file tells where the workload of the gateway shop/gw is",
            ],
        ),
        (
            "some clients of the mesh",
            vs("a", "exportTo: [., other]"),
            &[],
            mirrored,
            &["only clients in other and shop see the VirtualService: install the plugin there alone"],
        ),
        ("all clients of the mesh that there are", vs("a", "exportTo: [.]"), &[], mirrored, &[]),
        ("a mirror that others see", vs("a", "") + &mirror("*"), &[], mirrored, &[]),
        (
            "a mirror that some see",
            vs("a", "") + &mirror("., other"),
            &[],
            mirrored,
            &["spec.http[0].mirror: only other and shop see m.shop.svc.cluster.local: copies of others reach nobody"],
        ),
        (
            "a mirror that the gateway does not see",
            on("'*'") + &workload("edge") + &mirror("."),
            &[],
            mirrored,
            &["spec.http[0].mirror: only shop sees m.shop.svc.cluster.local: its copies reach nobody"],
        ),
        ("a subset that others see", seen_by("'*'"), &[], &["a-0 m.shop:80|v1"], &[]),
        (
            "a subset that some see",
            seen_by("."),
            &[],
            &["a-0 m.shop:80|v1"],
            &["v1: only shop sees the DestinationRule: copies of others reach nobody"],
        ),
    ]);
    let older = |text: String| text.replace("namespace", "creationTimestamp: '2020-01-01T00:00:00Z', namespace");
    // What a gateway's own namespace has for itself alone decides before what is older.
    let text = on("'*'")
        + &workload("shop")
        + &older(vs("z", "gateways: [gw], http: [{}]"))
        + &vs("b", &format!("gateways: [gw], exportTo: [.], http: [{{match: [{{uri: {{prefix: /b}}}}], {MIRROR}}}]"));
    assert_eq!(converted(&text, &[]).0, ["b-0 m.shop:80"]);
}
