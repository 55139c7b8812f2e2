//! `mirrorctl convert`: what is read, written, warned of and refused. That it decides as the original is tested on Envoy.

use crate::mirrorctl;
use serde_json::{Value, json};

const FILES: [&str; 3] = [
    "mirrorctl/tests/mirrorctl/routes/reviews.yaml",
    "mirrorctl/tests/mirrorctl/routes/shop.yaml",
    "mirrorctl/tests/mirrorctl/routes/gateway-api.yaml",
];

/// A VirtualService for the host `a` with one route.
fn virtual_service(route: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: a}}\nspec: {{hosts: [a], http: [{{{route}}}]}}\n"
    )
}

/// An HTTPRoute for every host with one rule, which has a backend unless it names its own.
fn http_route(rule: &str) -> String {
    let backend = if rule.contains("backendRefs") { "" } else { ", backendRefs: [{name: b, port: 80}]" };
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: a}}\nspec: {{rules: [{{{rule}{backend}}}]}}\n"
    )
}

fn documents(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// Converts a text, and returns its rules and what was said.
fn rules(text: &str, args: &[&str]) -> (Value, String) {
    let ran = mirrorctl(&[&["convert", "-"], args].concat(), text);
    assert_eq!(ran.code, 0, "{}\n{text}", ran.err);
    (documents(&ran.out)[0]["rules"].take(), said(&ran.err))
}

/// Takes what is only worth knowing out of what was said.
fn said(lines: &str) -> String {
    lines.lines().filter(|line| !line.starts_with("note: ")).map(|line| format!("{line}\n")).collect()
}

/// Converts a text, and returns the mirrors of its only rule.
fn mirrors(text: &str) -> Value {
    let (mut rules, said) = rules(text, &[]);
    assert_eq!((rules.as_array().unwrap().len(), &*said), (1, ""), "{rules}");
    rules[0]["mirrors"].take()
}

#[test]
fn mirrors_carry_over_in_each_spelling() {
    let destination = json!({"host": "m.default.svc.cluster.local", "port": {"number": 80}});
    let to = "{host: m, port: {number: 80}}";
    for (route, share) in [
        (format!("mirror: {to}"), None),
        (format!("mirror: {to}, mirror_percent: 7"), Some(json!(7))),
        (format!("mirror: {to}, mirrorPercent: 7"), Some(json!(7))),
        (format!("mirror: {to}, mirrorPercentage: {{value: 0.5}}"), Some(json!(0.5))),
        (format!("mirror: {to}, mirror_percentage: {{value: 50.0}}"), Some(json!(50))),
        (format!("mirror: {to}, mirrorPercentage: {{value: 33.33339}}, mirrorPercent: 7"), Some(json!(33.3333))),
        (format!("mirror: {to}, mirrorPercentage: {{}}"), Some(json!(0))),
        (format!("mirrors: [{{destination: {to}}}]"), None),
        (
            format!("mirrors: [{{destination: {to}, percentage: {{value: 1}}}}], mirrorPercentage: {{value: 50}}"),
            Some(json!(1)),
        ),
    ] {
        let mut expected =
            json!({"destination": destination, "disableShadowHostSuffixAppend": true, "trace": "unsampled"});
        if let Some(share) = share {
            expected["percentage"] = share;
        }
        assert_eq!(mirrors(&virtual_service(&route)), json!([expected]), "{route}");
    }
    for port in ["80", "'80'", "80.0", "8e1"] {
        let route = format!("mirror: {{host: m, port: {{number: {port}}}}}");
        assert_eq!(mirrors(&virtual_service(&route))[0]["destination"], destination, "{port}");
    }
    for (share, expected) in [
        ("", json!({})),
        ("percent: 7", json!({"percentage": 7})),
        ("fraction: {numerator: 5}", json!({"fraction": {"numerator": 5, "denominator": 100}})),
        ("fraction: {numerator: 1, denominator: 3}", json!({"fraction": {"numerator": 1, "denominator": 3}})),
    ] {
        let filter = format!("{{type: RequestMirror, requestMirror: {{backendRef: {{name: m, port: 80}}, {share}}}}}");
        let mirrors = mirrors(&http_route(&format!("filters: [{filter}, {filter}]")));
        let mut mirror =
            json!({"destination": destination, "disableShadowHostSuffixAppend": true, "trace": "unsampled"});
        mirror.as_object_mut().unwrap().extend(expected.as_object().unwrap().clone());
        let expected = ["m-default-1", "m-default-2"].map(|name| {
            let mut mirror = mirror.clone();
            mirror["name"] = name.into();
            mirror
        });
        assert_eq!(mirrors, json!(expected), "{share}");
    }
}

#[test]
fn mirrors_of_one_route_to_one_cluster_get_names() {
    let names = |text: &str| {
        let name = |mirror: &Value| mirror["name"].as_str().unwrap_or("-").to_owned();
        mirrors(text).as_array().unwrap().iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let long = format!("{}.example", "a_b-".repeat(20));
    for (hosts, expected) in [
        (&["m", "o"][..], "- -"),
        (&["m", "o", "m"], "m-default-1 - m-default-2"),
        (&["m", "m.other.svc.cluster.local"], "- -"),
        (
            &["m", "m", "m.other.svc.cluster.local", "m.other.svc.cluster.local"],
            "m-default-1 m-default-2 m-other-1 m-other-2",
        ),
        // One name by two spellings, and two that would have one name.
        (&["m.example", "m.example."], "m-example-1 m-example-2"),
        (&["a-b.c", "a.b-c", "a-b.c", "a.b-c"], "a-b-c-1 a-b-c-2 a-b-c-3 a-b-c-4"),
        (
            &[&long, &long],
            "a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_-1 a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_b-a_-2",
        ),
    ] {
        let mirror = |host: &&str| format!("{{destination: {{host: {host}, port: {{number: 80}}}}}}");
        let list: Vec<_> = hosts.iter().map(mirror).collect();
        assert_eq!(names(&virtual_service(&format!("mirrors: [{}]", list.join(", ")))), expected, "{hosts:?}");
    }
    let to = |more: &str| format!("{{destination: {{host: m, {more}}}}}");
    let list = [
        "port: {number: 80}, subset: v1",
        "port: {number: 80}",
        "port: {number: 81}",
        "port: {number: 80}, subset: v1",
    ];
    let text = virtual_service(&format!("mirrors: [{}]", list.map(to).join(", ")));
    assert_eq!(names(&text), "m-default-v1-1 - - m-default-v1-2");
}

#[test]
fn what_a_route_changes_in_its_requests_carries_over() {
    let mirror = "mirror: {host: m, port: {number: 80}}";
    for (route, field, expected) in [
        ("timeout: 3s", "/timeout", json!("3s")),
        ("timeout: 0s", "/timeout", Value::Null),
        ("rewrite: {authority: 'b:80'}", "/rewrite", json!({"authority": "b:80"})),
        (
            "headers: {request: {set: {host: b, a: '1'}}}",
            "",
            json!({"rewrite": {"authority": "b"}, "headers": {"set": {"a": "1"}}}),
        ),
        ("route: [{headers: {request: {remove: [a]}}}]", "/headers", json!({"remove": ["a"]})),
        (
            "headers: {request: {remove: [a], set: {x: '1', b: '2'}}}, route: [{headers: {request: {remove: [A], set: {X: '3'}}}}]",
            "/headers",
            json!({"remove": ["a"], "set": {"b": "2", "X": "3"}}),
        ),
        ("rewrite: {uri: /b}, match: [{uri: {exact: /a}}]", "/rewrite", json!({"uri": "/b"})),
        ("rewrite: {uri: /b}, match: [{method: {exact: GET}}]", "/rewrite", json!({"uri": "/b"})),
        ("rewrite: {uri: /b}", "/rewrite", json!({"uri": "/b"})),
        ("rewrite: {uri: '/\\b'}, match: [{uri: {regex: /a}}]", "/rewrite/uriRegexRewrite/rewrite", json!("/\\\\b")),
    ] {
        let mut mirrors = mirrors(&virtual_service(&format!("{route}, {mirror}")));
        for field in ["destination", "disableShadowHostSuffixAppend", "trace"] {
            mirrors[0].as_object_mut().unwrap().remove(field);
        }
        assert_eq!(mirrors[0].pointer(field).unwrap_or(&Value::Null), &expected, "{route}");
    }
    // A redirect answers by itself: nothing is sent, and nothing copied.
    let redirect = format!("redirect: {{uri: /b}}, {mirror}");
    let said = mirrorctl(&["convert", "-"], &virtual_service(&redirect)).err;
    assert!(said.starts_with("nothing is mirrored in these files: read: 1 VirtualService\n"), "{said}");
}

#[test]
fn a_list_of_kubectls_is_its_items() {
    let item = |text: String| text.replace('\n', "\n  ");
    let text = virtual_service("mirror: {host: m, port: {number: 80}}");
    let list = format!("kind: List\napiVersion: v1\nitems:\n- {}", item(text.clone()));
    assert_eq!(rules(&list, &[]), rules(&text, &[]));
}

#[test]
fn hosts_are_full_by_namespace_and_domain_and_ports_are_found() {
    let service = |namespace: &str, ports: &str| {
        format!("---\nkind: Service\nmetadata: {{name: m, namespace: {namespace}}}\nspec: {{ports: [{ports}]}}\n")
    };
    let entry = "---\nkind: ServiceEntry\nmetadata: {name: e}\nspec: {hosts: [m.example], ports: [{number: 81}]}\n";
    for (to, more, args, host, port) in [
        ("m", service("default", "{port: 8080}"), &[][..], "m.default.svc.cluster.local", 8080),
        ("m", service("ns", "{port: 8080}"), &["--namespace", "ns"], "m.ns.svc.cluster.local", 8080),
        ("m", service("default", "{port: 1}"), &["--cluster-domain", "mesh.test"], "m.default.svc.mesh.test", 1),
        ("m", service("default", "{port: 1}, {port: 2}"), &["--port", "m=2"], "m.default.svc.cluster.local", 2),
        ("m", String::new(), &["--port", "m.default.svc.cluster.local=2"], "m.default.svc.cluster.local", 2),
        ("m", String::new(), &["--port", "*=2"], "m.default.svc.cluster.local", 2),
        ("m", String::new(), &["--port", "*=2", "--port", "m=3"], "m.default.svc.cluster.local", 3),
        ("m", service("default", "{port: 8080}"), &["--port", "*=2"], "m.default.svc.cluster.local", 8080),
        ("m.example", entry.to_owned(), &[], "m.example", 81),
    ] {
        let text = virtual_service(&format!("mirror: {{host: {to}}}")) + &more;
        let (rules, _) = rules(&text, args);
        assert_eq!(rules[0]["mirrors"][0]["destination"], json!({"host": host, "port": {"number": port}}), "{text}");
    }
    for (more, args, expected) in [
        (
            String::new(),
            &[][..],
            "missing: give a file with its Service too, or say which with --port m.default.svc.cluster.local=PORT",
        ),
        (service("other", "{port: 1}"), &[], "missing: give a file with its Service too"),
        (
            service("default", "{port: 1}, {port: 2}"),
            &[],
            "missing: the Service m.default.svc.cluster.local has 2 ports; say which",
        ),
    ] {
        let ran = mirrorctl(&[&["convert", "-"], args].concat(), &(virtual_service("mirror: {host: m}") + &more));
        let place = "stdin: document 1 (VirtualService a): spec.http[0].mirror.port.number: ";
        assert!(ran.code == 1 && ran.err.starts_with(&format!("{place}{expected}")), "{ran:?}");
    }
}

#[test]
fn hosts_are_those_that_the_gateway_takes_too() {
    let mirror = "mirror: {host: m, port: {number: 80}}";
    let istio =
        |hosts: &str| format!("---\nkind: Gateway\nmetadata: {{name: g}}\nspec: {{servers: [{{hosts: [{hosts}]}}]}}\n");
    let bound = |gateways: &str, hosts: &str| {
        virtual_service(mirror).replace("hosts: [a]", &format!("gateways: [{gateways}], hosts: [{hosts}]"))
    };
    let listeners =
        |names: &str| format!("---\nkind: Gateway\nmetadata: {{name: g}}\nspec: {{listeners: [{names}]}}\n");
    let filter = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: m, port: 80}}}]";
    let attached =
        |more: &str| http_route(filter).replace("rules:", &format!("parentRefs: [{{name: g}}], {more} rules:"));
    let (any, narrow) = (Value::Null, json!(r".+\.b\.c(:[^:]*)?"));
    for (text, expected) in [
        (bound("g", "'*'"), any.clone()),
        (bound("g", "'*'") + &istio("'*'"), any.clone()),
        (bound("g", "'*'") + &istio("'default/*.b.c'"), narrow.clone()),
        (bound("default/g", "'*'") + &istio("'*.b.c'"), narrow.clone()),
        (bound("g", "'*.b.c', x.y"), narrow.clone()),
        (bound("g", "'*.b.c', x.d") + &istio("'*.c'"), narrow.clone()),
        (attached("") + &listeners("{name: a}"), any),
        (attached("") + &listeners("{hostname: '*.b.c'}"), narrow.clone()),
        (attached("hostnames: ['*.b.c', x.y],") + &listeners("{hostname: '*.c'}"), narrow),
    ] {
        let (rules, _) = rules(&text, &[]);
        let last = rules.as_array().unwrap().last().unwrap();
        assert_eq!(last.pointer("/match/0/authority/regex").unwrap_or(&Value::Null), &expected, "{text}");
    }
}

#[test]
fn rules_that_decide_nothing_are_left_out() {
    let mirror = "mirror: {host: m, port: {number: 80}}";
    let document = |host: &str, http: &str| {
        format!(
            "---\nkind: VirtualService\nmetadata: {{name: '{host}'}}\nspec: {{hosts: ['{host}.example'], http: [{http}]}}\n"
        )
    };
    let plain = "{match: [{uri: {exact: /a}}]}";
    let some = format!("{{match: [{{uri: {{exact: /b}}}}], {mirror}}}");
    let all = format!("{{{mirror}}}");
    for (documents, expected) in [
        // After the last mirror of a host that shares no request with another, nothing has to be said.
        (vec![document("a", &format!("{some}, {plain}")), document("b", &all)], "a-0 b-0"),
        (vec![document("a", &format!("{plain}, {some}")), document("b", &all)], "a-0 a-1 b-0"),
        // A host that is part of another keeps its requests from it.
        (vec![document("*", &all), document("a", &format!("{plain}, {some}"))], "a-0 a-1 a-1-rest --0"),
        (vec![document("*", &all), document("a", plain)], "a-0 a-0-rest --0"),
        (vec![document("*", "{}"), document("a", plain), document("b", &some)], "b-0"),
        // What comes after a route for every request is never reached.
        (vec![document("a", &format!("{some}, {{}}, {all}"))], "a-0"),
    ] {
        let (rules, _) = rules(&documents.concat(), &[]);
        let names: Vec<_> = rules.as_array().unwrap().iter().map(|rule| rule["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(" "), expected, "{documents:?}");
    }
}

#[test]
fn what_the_plugin_cannot_know_is_warned_of_or_refused() {
    let mirror = "mirror: {host: m, port: {number: 80}}";
    let route = |entry: &str| virtual_service(&format!("match: [{{uri: {{exact: /a}}, {entry}}}], {mirror}"));
    let filter = "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: m, port: 80}}}]";
    let parent = |parent: &str| http_route(filter).replace("rules:", &format!("parentRefs: [{parent}], rules:"));
    let more = |field: &str| virtual_service(&format!("{mirror}, {field}"));
    for (text, path) in [
        (
            route("port: 80"),
            "spec.http[0].match[0].port: 80: not checked: the rule also matches requests to other ports",
        ),
        (
            route("sourceLabels: {app: x}"),
            "spec.http[0].match[0].sourceLabels: {\"app\":\"x\"}: not checked: the rule also matches requests of other workloads",
        ),
        (
            route("source_labels: {app: x}"),
            "spec.http[0].match[0].source_labels: {\"app\":\"x\"}: not checked: the rule also matches requests of other workloads",
        ),
        (
            route("sourceNamespace: x"),
            "spec.http[0].match[0].sourceNamespace: \"x\": not checked: the rule also matches requests of other namespaces",
        ),
        (
            route("headers: {'@request.auth.claims.sub': {exact: x}}"),
            "spec.http[0].match[0].headers.@request.auth.claims.sub: not checked: the rule also matches requests with other tokens",
        ),
        (
            more("delegate: {name: x}")
                .replace("http: [", &format!("http: [{{match: [{{uri: {{exact: /a}}}}], {mirror}}}, ")),
            "spec.http[1].delegate: not followed",
        ),
        (
            more("timeout: 2h"),
            "spec.http[0].timeout: 2h: not carried over, copies wait 5s: the plugin waits between 1ms and 1h",
        ),
        (
            more("headers: {request: {set: {host2: '%PROTOCOL%'}}}"),
            "spec.http[0].headers.request.set.host2: not done to the copy: the plugin does not fill in",
        ),
        (
            more("headers: {request: {add: {a: b}}}, route: [{headers: {request: {add: {A: c}}}}]"),
            "spec.http[0].route[0].headers.request.add.A: added once more: the copy has it once",
        ),
        (
            more("headers: {request: {remove: [te]}}"),
            "spec.http[0].headers.request.remove: not done to the copy: te belongs to one hop",
        ),
        (
            more("route: [{}, {headers: {request: {set: {a: b}}}}]"),
            "spec.http[0].route[1].headers.request: not done to the copy",
        ),
        (
            http_route(
                "matches: [{path: {value: /a}}, {path: {value: /b}}], filters: [{type: RequestHeaderModifier, \
                        requestHeaderModifier: {remove: [te]}}, {type: RequestMirror, requestMirror: {backendRef: {name: m, port: 80}}}]",
            ),
            "spec.rules[0].filters[0].requestHeaderModifier.remove: not done to the copy: te belongs to one hop",
        ),
        (
            parent("{kind: Service, name: s, port: 80}"),
            "spec.parentRefs[0].port: not checked: the rule also matches requests to other ports of the Service",
        ),
        (
            parent("{kind: Service, name: s, namespace: other}"),
            "spec.parentRefs[0].namespace: a route of another namespace",
        ),
        (parent("{name: g}"), "spec.parentRefs: whose gateway default/g is, no file tells"),
        (
            http_route(&format!("matches: [{{path: {{type: RegularExpression, value: /a}}}}], {filter}")),
            "spec.rules[0].matches[0].path: which of a prefix and an expression decides is left open",
        ),
        (
            http_route(&format!(
                "backendRefs: [{{name: b, filters: [{{type: RequestHeaderModifier}}]}}, {{name: c}}], {filter}"
            )),
            "spec.rules[0].backendRefs[0].filters[0]: not done to the copy",
        ),
    ] {
        let (_, said) = rules(&text, &[]);
        let kind = if text.contains("HTTPRoute") { "HTTPRoute" } else { "VirtualService" };
        assert!(said.starts_with(&format!("warning: stdin: document 1 ({kind} a): {path}")), "{said}\n{text}");
        assert_eq!(said.lines().count(), 1, "{said}");
        let strict = mirrorctl(&["convert", "-", "--strict"], &text);
        assert_eq!((strict.code, &*strict.out), (1, ""), "{text}");
        assert!(said.ends_with(&self::said(&strict.err)), "{said}\n{}", strict.err);
    }
}

#[test]
fn what_cannot_be_converted_is_refused_with_its_path() {
    let to = "{host: m, port: {number: 80}}";
    for (text, expected) in [
        (
            virtual_service(&format!("mirror: {to}, mirrors: [{{destination: {to}}}]")),
            "spec.http[0]: mirror and mirrors: at most one",
        ),
        (
            virtual_service(&format!("mirror: {to}, mirrorPercent: 140")),
            "spec.http[0].mirrorPercent: not a number between 0 and 100",
        ),
        (
            virtual_service(&format!("mirrors: [{{destination: {to}, percentage: {{value: -1}}}}]")),
            "spec.http[0].mirrors[0].percentage.value: not",
        ),
        (virtual_service("mirrors: [{}]"), "spec.http[0].mirrors[0].destination: missing"),
        (virtual_service("mirror: {subset: v1}"), "spec.http[0].mirror.host: missing"),
        (
            virtual_service("mirror: {host: m, port: {number: x}}"),
            "spec.http[0].mirror.port.number: \"x\": not a whole number between 1 and 65535",
        ),
        (
            virtual_service("mirror: {host: m, port: {number: '+1'}}"),
            "spec.http[0].mirror.port.number: \"+1\": not a whole",
        ),
        (
            virtual_service("mirror: {host: m, port: {number: 65536}}"),
            "spec.http[0].mirror.port.number: 65536: not a whole",
        ),
        (
            virtual_service("mirror: {host: m, port: {number: 0.5}}"),
            "spec.http[0].mirror.port.number: 0.5: not a whole",
        ),
        (virtual_service(&format!("mirror: {to}")).replace("[a]", "['a b']"), "spec.hosts[0]: \"a b\": not a host"),
        (http_route("filters: [{type: RequestMirror}]"), "spec.rules[0].filters[0].requestMirror: missing"),
        (
            http_route("filters: [{type: RequestMirror, requestMirror: {backendRef: {kind: Bucket, name: b}}}]"),
            "spec.rules[0].filters[0].requestMirror.backendRef.kind: Bucket: not Service or Hostname",
        ),
        (
            http_route(
                "filters: [{type: RequestMirror, requestMirror: {percent: 1, fraction: {numerator: 1}, backendRef: {name: b, port: 1}}}]",
            ),
            "spec.rules[0].filters[0].requestMirror: percent and fraction: at most one",
        ),
        (http_route("matches: [{path: {type: Glob}}]"), "spec.rules[0].matches[0].path.type: Glob: not Exact"),
        (
            http_route("matches: [{headers: [{type: Glob, name: a}]}]"),
            "spec.rules[0].matches[0].headers[0].type: Glob: not Exact",
        ),
    ] {
        let kind = if text.contains("HTTPRoute") { "HTTPRoute" } else { "VirtualService" };
        let ran = mirrorctl(&["convert", "-"], &text);
        let expected = format!("stdin: document 1 ({kind} a): {expected}");
        assert!(ran.code == 1 && ran.out.is_empty() && ran.err.starts_with(&expected), "{ran:?}\n{text}");
    }
    let nothing = mirrorctl(&["convert", "-"], &virtual_service(""));
    assert_eq!((nothing.code, &*nothing.err), (1, "nothing is mirrored in these files: read: 1 VirtualService\n"));
    let port = mirrorctl(&["convert", "-", "--port", "a=0"], "");
    assert!(port.code == 2 && port.err.contains("not a port"), "{port:?}");
}

#[test]
fn each_form_is_one_that_check_finds_and_takes() {
    for file in FILES {
        let config = mirrorctl(&["convert", file], "").out;
        for (form, path) in [
            ("config", "rules"),
            ("wasmplugin", "spec.pluginConfig.rules"),
            ("trafficextension", "spec.wasm.pluginConfig.rules"),
            ("envoy", "typed_config.config.configuration.value.rules"),
        ] {
            let ran = mirrorctl(&["convert", file, "-o", form], "");
            for (document, config) in documents(&ran.out).iter().zip(documents(&config)) {
                let found = path.split('.').fold(document, |value, name| &value[name]);
                assert_eq!(*found, config["rules"], "{form} {file}");
            }
            let checked = mirrorctl(&["check", "-"], &ran.out);
            assert!(checked.code == 0 && checked.out.contains(": ok: "), "{form} {file}: {}", checked.err);
        }
    }
}

#[test]
fn a_plugin_is_installed_where_the_files_say() {
    let [reviews, shop, gateway_api] =
        FILES.map(|file| documents(&mirrorctl(&["convert", file, "-o", "wasmplugin"], "").out).pop().unwrap());
    assert_eq!(reviews["metadata"], json!({"name": "traffic-mirror", "namespace": "test"}));
    assert_eq!((reviews["spec"].get("selector"), reviews["spec"].get("targetRefs")), (None, None));
    assert_eq!(shop["spec"]["selector"], json!({"matchLabels": {"istio": "ingressgateway"}}));
    let gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"});
    assert_eq!(gateway_api["spec"]["targetRefs"], json!([gateway]));
    assert_eq!(gateway_api["spec"]["match"], json!([{"mode": "CLIENT"}]));
}

#[test]
fn the_original_is_written_without_its_mirrors_and_otherwise_as_it_is() {
    for file in FILES {
        let original = std::fs::read_to_string(format!("{}/{file}", crate::ROOT)).unwrap();
        let ran = mirrorctl(&["convert", file, "--routes"], "");
        let mut expected = documents(&original);
        for document in &mut expected {
            for field in ["http", "rules"] {
                for route in document["spec"].get_mut(field).and_then(Value::as_array_mut).into_iter().flatten() {
                    let route = route.as_object_mut().unwrap();
                    route.retain(|name, _| !name.starts_with("mirror"));
                    if let Some(filters) = route.get_mut("filters").and_then(Value::as_array_mut) {
                        filters.retain(|filter| filter["type"] != "RequestMirror");
                    }
                    route.retain(|name, value| name != "filters" || *value != json!([]));
                }
            }
        }
        let all = documents(&ran.out);
        let configurations = all.len() - expected.len();
        assert_eq!(all[configurations..], expected, "{file}");
        // Fields stand in the order in which they were written.
        assert!(ran.out.contains("\nkind: ") && ran.out.contains("\n---\napiVersion: "), "{}", ran.out);
        let routes = ran.out.splitn(configurations + 1, "---\n").last().unwrap();
        let again = mirrorctl(&["convert", "-"], routes);
        assert!(again.err.contains("nothing is mirrored in these files: read: "), "{}", again.err);
    }
}
