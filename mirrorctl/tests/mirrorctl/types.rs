//! A value of the wrong type is an error with its path, wherever a field of a resource is read; what is not read may be anything.

use crate::mirrorctl;
use serde_json::{Value, json};

/// How deep values are replaced: this field's own type is the plugin's to check.
const CONFIGURATIONS: [&str; 2] = ["pluginConfig", "config"];

/// Every kind that `convert` reads, with every field that it reads of it.
fn converted() -> [Value; 6] {
    let to = json!({"host": "m", "port": {"number": 80}, "subset": "v1"});
    let request = json!({"request": {"remove": ["a"], "set": {"b": "1"}, "add": {"c": "2"}}});
    let own = json!({"request": {"remove": ["d"], "set": {"e": "1"}, "add": {"f": "2"}}});
    let matched = json!([{"uri": {"exact": "/x"}}]);
    let name = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "a", "namespace": "shop", "creationTimestamp": "2026"}});
    let (istio, gateway_api) = ("networking.istio.io/v1", "gateway.networking.k8s.io/v1");
    let with_spec = |version: &str, kind: &str, spec: Value| {
        let mut resource = name(version, kind);
        resource["spec"] = spec;
        resource
    };
    let backend = json!({"name": "m", "kind": "Service", "namespace": "b", "port": 80});
    [
        with_spec(
            istio,
            "VirtualService",
            json!({"hosts": ["a"], "gateways": ["mesh"], "http": [
                {
                    "name": "first",
                    "match": [{
                        "uri": {"prefix": "/a"}, "ignoreUriCase": true, "method": {"exact": "GET"}, "scheme": {"exact": "http"},
                        "authority": {"regex": "a.*"}, "headers": {"x": {"exact": "1"}, "any": {}},
                        "withoutHeaders": {"y": {"prefix": "1"}}, "queryParams": {"v": {"exact": "2"}},
                    }],
                    "rewrite": {"uri": "/b", "authority": "b"}, "headers": request, "route": [{"headers": own}],
                    "timeout": "3s", "mirror": to, "mirrorPercentage": {"value": 50},
                },
                {
                    "match": matched, "rewrite": {"uriRegexRewrite": {"match": "x", "rewrite": "y"}},
                    "mirrors": [{"destination": to, "percentage": {"value": 1.5}}],
                },
                {"match": matched, "mirror": to, "mirror_percent": 7.5},
                {"match": matched, "redirect": {}},
                {"match": matched, "directResponse": {}},
                {"match": matched, "delegate": {}, "route": [{"headers": {"request": {}}}, {"headers": {"request": {}}}]},
            ]}),
        ),
        with_spec(
            gateway_api,
            "HTTPRoute",
            json!({
                "parentRefs": [{"name": "g", "namespace": "b", "kind": "Gateway"}], "hostnames": ["a.test"],
                "rules": [{
                    "name": "first",
                    "matches": [{
                        "path": {"type": "PathPrefix", "value": "/a"}, "method": "GET",
                        "headers": [{"type": "Exact", "name": "x", "value": "1"}],
                        "queryParams": [{"type": "Exact", "name": "v", "value": "2"}],
                    }],
                    "backendRefs": [{"filters": []}], "timeouts": {"request": "3s"},
                    "filters": [
                        {"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": 7}},
                        {"type": "RequestMirror", "requestMirror": {
                            "backendRef": backend, "fraction": {"numerator": 1, "denominator": 3},
                        }},
                        {"type": "RequestHeaderModifier", "requestHeaderModifier": {
                            "remove": ["a"], "set": [{"name": "b", "value": "1"}], "add": [{"name": "c", "value": "2"}],
                        }},
                        {"type": "URLRewrite", "urlRewrite": {"hostname": "b", "path": {"replacePrefixMatch": "/b"}}},
                        {"type": "URLRewrite", "urlRewrite": {"path": {"replaceFullPath": "/b"}}},
                    ],
                }],
            }),
        ),
        with_spec(istio, "Gateway", json!({"selector": {"istio": "g"}, "servers": [{"hosts": ["a"]}]})),
        with_spec(gateway_api, "Gateway", json!({"listeners": [{"hostname": "a"}]})),
        with_spec("v1", "Service", json!({"ports": [{"port": 80}]})),
        with_spec(istio, "ServiceEntry", json!({"hosts": ["a"], "ports": [{"number": 80}]})),
    ]
}

/// Every kind in which `check` finds configurations.
fn checked() -> [Value; 6] {
    let config = json!({"rules": [{"mirrors": [{"cluster": "a"}]}], "onInvalid": "keepLast"});
    let metadata = json!({"name": "traffic-mirror", "namespace": "shop"});
    let resource =
        |kind: &str, spec: Value| json!({"apiVersion": "a/v1", "kind": kind, "metadata": metadata, "spec": spec});
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let any = |kind: &str, value: Value| json!({"@type": format!("t/google.protobuf.{kind}"), "value": value});
    let filter = |any: Value| json!({"@type": wasm, "config": {"name": "traffic_mirror", "configuration": any}});
    [
        resource("WasmPlugin", json!({"pluginConfig": config})),
        resource("TrafficExtension", json!({"wasm": {"pluginConfig": config}})),
        resource("EnvoyExtensionPolicy", json!({"wasm": [{"name": "traffic-mirror", "config": config}]})),
        json!({"apiVersion": "a/v1", "kind": "EnvoyFilter", "spec": {"configPatches": [
            {"patch": {"type_url": wasm, "value": {"config": {"configuration": any("Struct", config.clone())}}}},
        ]}}),
        json!({"static_resources": {"filter": filter(any("StringValue", json!(config.to_string())))}}),
        json!({"static_resources": {"filter": filter(any("Struct", config))}}),
    ]
}

/// Lists the values in a document with their paths and their JSON pointers.
fn values(value: &Value, path: &str, pointer: &str) -> Vec<(String, String)> {
    let mut all = vec![(path.to_owned(), pointer.to_owned())];
    for (name, child) in value.as_object().into_iter().flatten() {
        let child_path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        all.extend(values(child, &child_path, &format!("{pointer}/{name}")));
    }
    for (index, child) in value.as_array().into_iter().flatten().enumerate() {
        all.extend(values(child, &format!("{path}[{index}]"), &format!("{pointer}/{index}")));
    }
    all
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What is said of a value that stands where another is expected; `None`: nothing.
fn mismatch(wrong: &Value, right: &Value) -> Option<String> {
    let expected = match right {
        Value::Bool(_) => "true or false",
        // Percentages of Istio's, of which these are no whole numbers; ports, percents and parts of fractions are.
        Value::Number(number) if number.is_u64() && *right != json!(50) => "a whole number",
        right => type_of(right),
    };
    let shown = match wrong {
        Value::String(_) => "(not shown)".to_owned(),
        Value::Array(_) => "[…]".to_owned(),
        Value::Object(_) => "{…}".to_owned(),
        wrong => wrong.to_string(),
    };
    let hint = match wrong {
        Value::Bool(true) if right.is_string() => {
            "; YAML takes y, yes, on and true for true where they stand without quotes: put it in quotes"
        }
        Value::Number(_) if right.is_string() => "; put it in quotes",
        _ => "",
    };
    if (expected, wrong) == ("a whole number", &json!("text")) {
        return Some("\"text\": not a whole number between".to_owned());
    }
    (type_of(wrong) != type_of(right)).then(|| format!("{shown}: {}, not {expected}{hint}", type_of(wrong)))
}

/// Puts values of all other types in place of each value of a document, one at a time, and checks that each is an error of its
/// own, with its path, and the only one.
fn each_wrong_type_is_told(command: &str, document: &Value, is_read: impl Fn(&str) -> bool) -> usize {
    let mut documents = Vec::new();
    let mut expected = Vec::new();
    for (path, pointer) in values(document, "", "").into_iter().skip(1).filter(|(path, _)| is_read(path)) {
        for wrong in [json!(true), json!(5.5), json!("text"), json!(["text"]), json!({"text": "text"})] {
            let Some(what) = mismatch(&wrong, document.pointer(&pointer).unwrap()) else { continue };
            let mut changed = document.clone();
            *changed.pointer_mut(&pointer).unwrap() = wrong;
            documents.push(changed.to_string());
            expected.push(format!("{path}: {what}"));
        }
    }
    let ran = mirrorctl(&[command, "-"], &documents.join("\n---\n"));
    assert_eq!(ran.code, 1, "{}", ran.err);
    for (number, expected) in (1..).zip(&expected) {
        let start = format!("stdin: document {number}");
        let said: Vec<_> = ran.err.lines().filter_map(|line| line.strip_prefix(&start)).collect();
        let said: Vec<_> = said.into_iter().filter(|line| line.starts_with([':', ' '])).collect();
        let [said] = &said[..] else { panic!("{expected}\n{said:#?}") };
        let (_, said) = said.split_once(": ").unwrap();
        assert!(said.starts_with(expected.as_str()), "{said}\nis not\n{expected}");
    }
    expected.len()
}

#[test]
fn what_convert_reads_has_the_right_type_or_is_an_error() {
    for document in converted() {
        let told = each_wrong_type_is_told("convert", &document, |path| path != "apiVersion");
        assert!(told > 15, "{told}");
    }
    let whole = converted().map(|document| document.to_string()).join("\n---\n");
    assert_eq!(mirrorctl(&["convert", "-"], &whole).code, 0);
}

#[test]
fn what_check_reads_has_the_right_type_or_is_an_error() {
    for document in checked() {
        let is_envoy = document.get("static_resources").is_some() || document["kind"] == "EnvoyFilter";
        let told = each_wrong_type_is_told("check", &document, |path| {
            let last = path.rsplit('.').next().unwrap();
            let is_below = CONFIGURATIONS.iter().any(|name| path.contains(&format!("{name}."))) && !is_envoy;
            let is_read = if is_envoy {
                // Only what leads from the filter to its configuration, however deep the filter stands.
                path.ends_with("config")
                    || path.ends_with("configuration")
                    || path.ends_with("configuration.@type")
                    || path.ends_with("patch.value")
                    || path.ends_with(".value") && document.to_string().contains("StringValue")
            } else {
                last != "apiVersion" && !CONFIGURATIONS.contains(&last) && !path.starts_with("spec.wasm[0].name")
            };
            is_read && !is_below
        });
        assert!(told > 5, "{told}");
    }
    let whole = checked().map(|document| document.to_string()).join("\n---\n");
    assert_eq!(mirrorctl(&["check", "-"], &whole).code, 0);
}

#[test]
fn what_yaml_takes_for_a_boolean_is_told_with_the_way_out() {
    let document = |word: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: a, namespace: {word}}}\nspec: {{hostnames: [a.b], rules: \
             [{{filters: [{{type: RequestMirror, requestMirror: {{backendRef: {{name: m, port: 80}}}}}}], backendRefs: [{{name: b}}]}}]}}\n"
        )
    };
    for (words, value, others) in [
        ("n N no No NO off Off false", "false", "n, no, off and false"),
        ("y Y yes YES on ON true", "true", "y, yes, on and true"),
    ] {
        for word in words.split(' ') {
            let ran = mirrorctl(&["convert", "-"], &document(word));
            let expected = format!(
                "stdin: document 1 (HTTPRoute a): metadata.namespace: {value}: a boolean, not a string; YAML takes {others} for \
                 {value} where they stand without quotes: put it in quotes\n"
            );
            assert_eq!((ran.code, &*ran.out, ran.err), (1, "", expected), "{word}");
            let quoted = mirrorctl(&["convert", "-"], &document(&format!("'{word}'"))).ok();
            assert!(quoted.contains(&format!("host: m.{word}.svc.cluster.local")), "{quoted}");
        }
    }
}

/// Puts a field into an object of a document.
fn with(document: &Value, pointer: &str, name: &str, value: Value) -> Value {
    let mut document = document.clone();
    document.pointer_mut(pointer).unwrap()[name] = value;
    document
}

#[test]
fn what_is_not_read_may_be_anything() {
    let plain = converted();
    let mut more = plain.clone();
    for document in &mut more {
        for (number, value) in
            [json!(true), json!(5), json!([null]), json!({"a": [1]}), json!("x")].into_iter().enumerate()
        {
            document["metadata"][format!("other{number}")] = value;
        }
        document["status"] = json!(["n"]);
        document["other"] = Value::Null;
        document["metadata"]["annotations"] = json!({"a": false});
        document["metadata"]["labels"] = Value::Null;
        let kind = document["kind"].clone();
        for (list, field) in [
            ("/spec/http", "retries"),
            ("/spec/http", "corsPolicy"),
            ("/spec/rules", "retry"),
            ("/spec/ports", "targetPort"),
            ("/spec/servers", "tls"),
        ] {
            for item in document.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                item[field] = if kind == "HTTPRoute" { json!(true) } else { json!("three") };
            }
        }
    }
    let other = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": true, "namespace": 5}, "spec": [], "data": 7});
    let run = |documents: &[Value]| {
        let text: Vec<_> = documents.iter().map(Value::to_string).collect();
        let ran = mirrorctl(&["convert", "-"], &text.join("\n---\n"));
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    };
    assert_eq!(run(&[&more[..], &[other]].concat()), run(&plain));
}

#[test]
fn names_that_are_not_known_are_errors_where_they_may_decide_and_else_warnings() {
    let [route, http_route, istio, gateway_api, _, entry] = converted();
    for (document, pointer, name, expected) in [
        (&route, "", "http", "http: 5: unknown field; known here: apiVersion, kind, metadata, spec, status"),
        (&route, "/spec", "host", "spec.host: 5: unknown field; did you mean hosts?"),
        (
            &route,
            "/spec/http/0",
            "mirrorPercentages",
            "spec.http[0].mirrorPercentages: 5: unknown field; did you mean mirrorPercentage?",
        ),
        (&route, "/spec/http/0", "matches", "spec.http[0].matches: 5: unknown field; did you mean match?"),
        (
            &route,
            "/spec/http/0/match/0",
            "path",
            "spec.http[0].match[0].path: 5: unknown field; known here: name, uri,",
        ),
        (
            &route,
            "/spec/http/0/match/0/uri",
            "suffix",
            "spec.http[0].match[0].uri.suffix: 5: unknown field; known here: exact, prefix, regex",
        ),
        (
            &route,
            "/spec/http/0/mirror",
            "weight",
            "spec.http[0].mirror.weight: 5: unknown field; known here: host, subset, port",
        ),
        (
            &route,
            "/spec/http/1/mirrors/0",
            "percent",
            "spec.http[1].mirrors[0].percent: 5: unknown field; did you mean percentage?",
        ),
        (
            &route,
            "/spec/http/0/mirrorPercentage",
            "percent",
            "spec.http[0].mirrorPercentage.percent: 5: unknown field; known here: value",
        ),
        (&http_route, "/spec/rules/0", "match", "spec.rules[0].match: 5: unknown field; did you mean matches?"),
        (
            &http_route,
            "/spec/rules/0/filters/0",
            "mirror",
            "spec.rules[0].filters[0].mirror: 5: unknown field; known here: type,",
        ),
        (
            &http_route,
            "/spec/rules/0/filters/0/requestMirror",
            "percentage",
            "spec.rules[0].filters[0].requestMirror.percentage: 5: unknown field; did you mean percent?",
        ),
        (
            &http_route,
            "/spec/rules/0/matches/0/path",
            "prefix",
            "spec.rules[0].matches[0].path.prefix: 5: unknown field; known here: type, value",
        ),
    ] {
        let changed = with(document, pointer, name, json!(5)).to_string();
        let ran = mirrorctl(&["convert", "-"], &changed);
        let said = ran.err.lines().find(|line| !line.starts_with("warning: ")).unwrap_or_default();
        assert!(ran.code == 1 && ran.out.is_empty(), "{ran:?}");
        assert!(said.split_once("): ").is_some_and(|(_, said)| said.starts_with(expected)), "{said}\n{expected}");
    }
    for (document, pointer, name) in [
        (&http_route, "/spec/parentRefs/0", "newer"),
        (&istio, "/spec", "newer"),
        (&istio, "/spec/servers/0", "newer"),
        (&gateway_api, "/spec/listeners/0", "newer"),
        (&entry, "/spec", "newer"),
    ] {
        let all = [&route.to_string(), "\n---\n", &with(document, pointer, name, json!(5)).to_string()].concat();
        let ran = mirrorctl(&["convert", "-"], &all);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let mut said = ran.err.lines().filter(|line| line.starts_with("warning: stdin: document 2 ("));
        assert!(said.any(|said| said.contains(".newer: 5: unknown field; known here: ")), "{}", ran.err);
        assert_eq!(mirrorctl(&["convert", "--strict", "-"], &all).code, 1);
    }
}

#[test]
fn an_expression_that_the_plugin_does_not_take_is_told_where_it_stands() {
    let route = |regex: &str| {
        json!({"kind": "VirtualService", "metadata": {"name": "a"}, "spec": {"hosts": ["a"], "http": [
            {"match": [{"headers": {"x": {"regex": regex}}}], "mirror": {"host": "m", "port": {"number": 80}}}]}})
    };
    for (regex, expected) in [
        ("(", "\"(\": not a regular expression: unclosed group"),
        ("a\": (?!b)", r#""a\": (?!b)": not a regular expression: look-around"#),
    ] {
        let ran = mirrorctl(&["convert", "-"], &route(regex).to_string());
        let expected =
            format!("stdin: document 1 (VirtualService a): spec.http[0].match[0].headers.x.regex: {expected}");
        assert!(ran.code == 1 && ran.err.starts_with(&expected) && ran.err.lines().count() == 1, "{ran:?}\n{expected}");
    }
    assert_eq!(mirrorctl(&["convert", "-"], &route("*").to_string()).code, 0);
    let two = with(&route("a"), "/spec/http/0/match/0/headers/x", "exact", json!("b"));
    let ran = mirrorctl(&["convert", "-"], &two.to_string());
    let expected = "spec.http[0].match[0].headers.x: {…}: more than one of exact, prefix and regex\n";
    assert!(ran.code == 1 && ran.err.ends_with(expected), "{ran:?}");
}

#[test]
fn a_list_of_resources_is_a_list() {
    let ran = mirrorctl(&["convert", "-"], r#"{"apiVersion": "v1", "kind": "List", "items": {"a": 1}}"#);
    assert_eq!((ran.code, &*ran.err), (1, "stdin: document 1 (List): items: {…}: an object, not a list\n"));
}
