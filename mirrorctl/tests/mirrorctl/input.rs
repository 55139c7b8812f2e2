//! What mirrorctl reads: files, folders and patterns; YAML and JSON of one and of many documents, in each encoding.

use crate::mirrorctl;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{env, fs};

/// A VirtualService as kubectl hands it out: what the user wrote is the smaller part.
fn virtual_service(number: usize) -> Value {
    let name = format!("svc-{number}");
    let to = json!({"host": name, "port": {"number": 80}});
    let mut route = json!({"route": [{"destination": to}]});
    if number.is_multiple_of(10) {
        route["mirror"] = json!({"host": "mirror", "port": {"number": 80}});
    }
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {
            "name": name, "namespace": "shop", "uid": "0", "resourceVersion": "1",
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {".": {}, "f:hosts": {}, "f:http": {}}}}],
        },
        "spec": {"hosts": [name], "http": [{"match": [{"uri": {"prefix": "/health"}}]}, route]},
    })
}

/// Writes documents in a form.
fn written(documents: &[Value], form: &str) -> String {
    let yaml = |value: &Value| serde_saphyr::to_string(value).unwrap();
    let each =
        |write: &dyn Fn(&Value) -> String, between: &str| documents.iter().map(write).collect::<Vec<_>>().join(between);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": documents, "metadata": {"resourceVersion": ""}});
    match form {
        "YAML documents" => each(&yaml, "---\n"),
        "kubectl's YAML" => yaml(&list),
        "kubectl's JSON" => serde_json::to_string_pretty(&list).unwrap(),
        "JSON lines" => each(&Value::to_string, "\n"),
        "JSON one after another" => each(&|value| serde_json::to_string_pretty(value).unwrap(), ""),
        "JSON documents of YAML" => each(&Value::to_string, "\n---\n"),
        "a JSON array" => Value::from(documents).to_string(),
        "a YAML list" => yaml(&Value::from(documents)),
        _ => panic!("{form}"),
    }
}

/// A folder of its own for a test, empty.
fn folder(name: &str) -> PathBuf {
    let folder = env::temp_dir().join(format!("mirrorctl-input-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn many_resources_are_read_in_each_form() {
    let documents: Vec<_> = (0..1100).map(virtual_service).collect();
    let expected = mirrorctl(&["convert", "-"], &written(&documents, "YAML documents")).ok();
    assert_eq!(expected.matches("host: mirror.shop.svc").count(), 110);
    for form in [
        "kubectl's YAML",
        "kubectl's JSON",
        "JSON lines",
        "JSON one after another",
        "JSON documents of YAML",
        "a JSON array",
        "a YAML list",
    ] {
        assert_eq!(mirrorctl(&["convert", "-"], &written(&documents, form)).ok(), expected, "{form}");
    }
}

#[test]
fn a_list_of_any_length_is_read() {
    let [first, last] = [0, 10].map(|number| written(&[virtual_service(number)], "a YAML list"));
    let other = format!("- kind: ConfigMap\n  data: [{}]\n", "a, ".repeat(300_000));
    let text = ["apiVersion: v1\nkind: List\nitems:\n", &first, &other, &last].concat();
    assert_eq!(mirrorctl(&["convert", "-"], &text).ok().matches("host: mirror.shop.svc").count(), 2);
}

/// A gateway's routes, each of a host of its own, and their Gateway: one server of all hosts, or one for each.
fn on_one_gateway(number: usize, servers: usize, api: &str) -> Vec<Value> {
    let host = |number: usize| format!("svc-{number}.test");
    let hosts: Vec<_> = (0..number).map(host).collect();
    let gateway = if api == "Istio's" {
        let server = |(place, hosts): (usize, &[String])| json!({"port": {"number": 80, "name": place, "protocol": "HTTP"}, "hosts": hosts});
        let servers: Vec<_> = hosts.chunks(number.div_ceil(servers)).enumerate().map(server).collect();
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "gw", "namespace": "shop"},
            "spec": {"selector": {"app": "edge"}, "servers": servers},
        })
    } else {
        let listener = |host: &String| json!({"name": host, "port": 443, "protocol": "HTTPS", "hostname": host});
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "gw", "namespace": "shop"},
            "spec": {"gatewayClassName": "istio", "listeners": hosts.iter().map(listener).collect::<Vec<_>>()},
        })
    };
    let route = |number: usize| {
        if api == "Istio's" {
            let mut route = virtual_service(number);
            route["spec"]["gateways"] = json!(["gw"]);
            route["spec"]["hosts"] = json!([host(number)]);
            return route;
        }
        let mirror = json!({"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "mirror", "port": 80}}});
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": format!("svc-{number}"), "namespace": "shop"},
            "spec": {
                "parentRefs": [{"name": "gw", "sectionName": host(number)}],
                "rules": [{"backendRefs": [{"name": "b"}], "filters": if number.is_multiple_of(10) { json!([mirror]) } else { json!([]) }}],
            },
        })
    };
    (0..number).map(route).chain([gateway]).collect()
}

#[test]
fn four_times_the_resources_take_some_four_times_as_long() {
    let converted = |documents: Vec<Value>| {
        let text = written(&documents, "JSON lines");
        let start = Instant::now();
        mirrorctl(&["convert", "-"], &text).ok();
        start.elapsed()
    };
    type Make = fn(usize) -> Vec<Value>;
    for (what, make) in [
        ("of the mesh", (|number| (0..number).map(virtual_service).collect()) as Make),
        ("of hosts of one server", |number| on_one_gateway(number, 1, "Istio's")),
        ("of servers of one gateway", |number| on_one_gateway(number, number, "Istio's")),
        ("of listeners of one gateway", |number| on_one_gateway(number, number, "the Gateway API's")),
    ] {
        // Sixteen times, if each were compared with each. The machine may be busy with something else once.
        let is_linear = |_| converted(make(4000)) < converted(make(1000)) * 9 + Duration::from_millis(200);
        assert!((0..5).any(is_linear), "{what}");
    }
}

#[test]
fn files_of_windows_are_read_too() {
    let folder = folder("encodings");
    let text = virtual_service(0).to_string();
    let expected = mirrorctl(&["convert", "-"], &text).ok();
    let wide = |unit: fn(u16) -> [u8; 2], text: &str| text.encode_utf16().flat_map(unit).collect::<Vec<_>>();
    let marked = format!("\u{feff}{text}\r\n");
    for (name, bytes) in [
        ("utf-8.yaml", marked.clone().into_bytes()),
        ("utf-16le.yaml", wide(u16::to_le_bytes, &marked)),
        ("utf-16be.yaml", wide(u16::to_be_bytes, &marked)),
    ] {
        let file = folder.join(name);
        fs::write(&file, bytes).unwrap();
        assert_eq!(mirrorctl(&["convert", file.to_str().unwrap()], "").ok(), expected, "{name}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn folders_and_patterns_are_the_files_in_them() {
    let folder = folder("folders");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::create_dir_all(path("b/.hidden")).unwrap();
    fs::create_dir_all(path("empty")).unwrap();
    for (name, number) in [("a.yaml", 0), ("b/c.yml", 10), ("b/d.json", 20), ("b/.hidden/e.yaml", 30), ("f.txt", 40)] {
        fs::write(path(name), virtual_service(number).to_string()).unwrap();
    }
    let names = |arguments: &[&str]| {
        let files: Vec<_> = arguments.iter().map(|name| path(name)).collect();
        let arguments: Vec<_> = ["convert"].into_iter().chain(files.iter().map(String::as_str)).collect();
        let out = mirrorctl(&arguments, "").ok();
        let names = out.lines().filter_map(|line| line.strip_prefix("- name: svc-")?.strip_suffix("-1"));
        names.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    for (arguments, expected) in [
        (&[""][..], "0 10 20"),
        (&["b"], "10 20"),
        (&["b/"], "10 20"),
        (&["*.yaml"], "0"),
        (&["b/*"], "10 20"),
        (&["**/*.json"], "20"),
        (&["b/d.json", "a.yaml"], "20 0"),
        // Each file once.
        (&["a.yaml", ""], "0 10 20"),
        (&["f.txt"], "40"),
    ] {
        assert_eq!(names(arguments), expected, "{arguments:?}");
    }
    for (argument, expected) in [
        ("empty", "no file in it that ends in .yaml, .yml or .json"),
        ("*.toml", "no file matches"),
        ("nowhere.yaml", "No such file or directory"),
    ] {
        for command in ["convert", "check"] {
            let ran = mirrorctl(&[command, &path(argument)], "");
            assert!(ran.code == 2 && ran.err.starts_with("mirrorctl: ") && ran.err.contains(expected), "{ran:?}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn check_passes_over_other_files_where_it_is_told_to() {
    let folder = folder("others");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::write(path("other.yaml"), "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n").unwrap();
    let check = |arguments: &[&str]| mirrorctl(&[&["check", &path("")], arguments].concat(), "");
    let ran = check(&[]);
    assert!(ran.code == 1 && ran.err.ends_with("other.yaml: no plugin configuration found\n"), "{ran:?}");
    let ran = check(&["--ignore-others"]);
    let said = "/: error: no plugin configuration found in any file: name a file with a configuration of the plugin [no-plugin]\n";
    assert!(ran.code == 1 && ran.err.ends_with(said), "{ran:?}");
    fs::write(path("plugin.yaml"), "rules: [{mirrors: [{cluster: a}]}]\n").unwrap();
    assert_eq!(check(&[]).code, 1);
    let ran = check(&["--ignore-others"]);
    assert!(ran.code == 0 && ran.out.ends_with("plugin.yaml: document 1: ok: 1 rule, 1 mirror\n"), "{ran:?}");
    fs::write(path("wrong.yaml"), "rules: [{mirrors: [{cluster: a, percentage: 140}]}]\n").unwrap();
    assert_eq!(check(&["--ignore-others"]).code, 1);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_routes_alone_are_the_files_without_mirrors_and_else_as_they_were_written() {
    let folder = folder("routes");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let one = "# Who owns this.\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}   # Odd.\nspec:\n  http:\n  \
               - mirror:          # Old.\n      host: m\n      port: {number: 80}\n    route:\n    - destination: {host: 'a'}  \
               # Quoted.\n    # The end.\n  hosts: [\"a\"]\n";
    let left = "# Who owns this.\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}   # Odd.\nspec:\n  http:\n  \
                - route:\n    - destination: {host: 'a'}  # Quoted.\n    # The end.\n  hosts: [\"a\"]\n";
    let service = "---\n# Another.\napiVersion: v1\nkind: Service\nmetadata: {name: m}\n";
    fs::write(path("1.yaml"), format!("{one}{service}")).unwrap();
    assert_eq!(mirrorctl(&["convert", "-o", "routes", &path("1.yaml")], "").ok(), format!("{left}{service}"));
    // What a cluster writes goes, in whatever form it comes.
    let mut live = virtual_service(0);
    live["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
    live["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    live["metadata"]["generation"] = json!(3);
    live["status"] = json!({"a": "b"});
    let mut expected = virtual_service(0);
    expected["metadata"] = json!({"name": "svc-0", "namespace": "shop"});
    expected["spec"]["http"][1].as_object_mut().unwrap().remove("mirror");
    for form in ["YAML documents", "kubectl's YAML", "kubectl's JSON", "JSON lines", "a JSON array"] {
        let out = mirrorctl(&["convert", "-o", "routes", "-"], &written(std::slice::from_ref(&live), form)).ok();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&out).unwrap();
        assert_eq!(documents, [expected.clone()], "{form}\n{out}");
    }
    // A comment names each of several files.
    fs::write(path("2.json"), live.to_string()).unwrap();
    let out = mirrorctl(&["convert", "-o", "routes", &path("")], "").ok();
    let second = format!("---\n# {}\n{{\"apiVersion\"", path("2.json"));
    assert!(out.starts_with(&format!("# {}\n{left}{service}{second}", path("1.yaml"))), "{out}");
    // Behind the configuration they are documents of their own.
    let all = mirrorctl(&["convert", "--routes", &path("1.yaml")], "").ok();
    assert!(all.starts_with("rules:\n") && all.ends_with(&format!("---\n{left}{service}")), "{all}");
    fs::remove_dir_all(folder).unwrap();
}
