//! `mirrorctl check`: every place in which a configuration may stand, and what is said of it.

use crate::mirrorctl;
use harness::bootstrap::Form;
use harness::{Setup, refusal, run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const BAD: &str = "{rules: [{mirrors: [{cluster: a, percentage: 140, tiemout: 5s}]}]}";

/// What the plugin says of [`BAD`], below a path.
fn said_of_bad(path: &str) -> [String; 2] {
    let fields = "name, cluster, destination, clusterHeader, allowedClusters, percentage, fraction, ramp, consistentHash, rewrite, headers, redact, \
                  disableShadowHostSuffixAppend, body, onOversizedBody, timeout, from, until, maxInFlight, when, trace";
    [
        format!("{path}rules[0].mirrors[0].tiemout: (not shown): unknown field; known here: {fields}"),
        format!("{path}rules[0].mirrors[0].percentage: 140: not between 0 and 100"),
    ]
}

#[test]
fn the_files_of_this_repository_are_fine() {
    let ran = mirrorctl(&["check", "envoy.yaml", "wasmplugin.yaml"], "");
    assert_eq!((ran.code, &*ran.err), (0, "notes: unsafe-methods; `--notes` explains\n"));
    let expected = "envoy.yaml: document 1: ok: 2 rules, 2 mirrors\n\
                    wasmplugin.yaml: document 1 (WasmPlugin test/traffic-mirror): ok: 1 rule, 1 mirror\n";
    assert_eq!(ran.out, expected);
}

#[test]
fn each_violation_is_named_with_file_document_and_path() {
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let bad_json = r#"{"rules":[{"mirrors":[{"cluster":"a","percentage":140,"tiemout":"5s"}]}]}"#;
    let filter = |configuration: &str| format!(r#"{{"@type": {wasm}, config: {{configuration: {configuration}}}}}"#);
    let envoy = |configuration: &str| format!("static_resources: {{listeners: [{{f: {}}}]}}", filter(configuration));
    let any =
        |kind: &str, value: &str| format!(r#"{{"@type": type.googleapis.com/google.protobuf.{kind}, value: {value}}}"#);
    let typed = format!("{{type_url: {wasm}, value: {{config: {{configuration: {}}}}}}}", any("Struct", BAD));
    for (document, resource, path) in [
        (BAD.to_owned(), "", ""),
        (bad_json.to_owned(), "", ""),
        (
            format!(
                "{{apiVersion: a, kind: WasmPlugin, metadata: {{name: m, namespace: test}}, spec: {{pluginConfig: {BAD}}}}}"
            ),
            " (WasmPlugin test/m)",
            "spec.pluginConfig.",
        ),
        (
            format!(
                "{{apiVersion: a, kind: TrafficExtension, metadata: {{name: m}}, spec: {{wasm: {{pluginConfig: {BAD}}}}}}}"
            ),
            " (TrafficExtension m)",
            "spec.wasm.pluginConfig.",
        ),
        (
            format!(
                "{{apiVersion: a, kind: EnvoyExtensionPolicy, metadata: {{name: m}}, spec: {{wasm: [{{config: {BAD}}}]}}}}"
            ),
            " (EnvoyExtensionPolicy m)",
            "spec.wasm[0].config.",
        ),
        (
            format!("{{apiVersion: extensions.higress.io/v1alpha1, kind: WasmPlugin, spec: {{defaultConfig: {BAD}}}}}"),
            " (WasmPlugin)",
            "spec.defaultConfig.",
        ),
        (
            format!(
                "{{apiVersion: kuma.io/v1alpha1, kind: MeshProxyPatch, spec: {{default: {{appendModifications: [{{httpFilter: {{value: {}}}}}]}}}}}}",
                json!(format!("typed_config: {}", filter(&any("Struct", BAD))))
            ),
            " (MeshProxyPatch)",
            "spec.default.appendModifications[0].httpFilter.value.typed_config.config.configuration.value.",
        ),
        (
            format!(
                "{{apiVersion: consul.hashicorp.com/v1alpha1, kind: ServiceDefaults, spec: {{envoyExtensions: \
                 [{{name: builtin/wasm, arguments: {{pluginConfig: {{configuration: '{bad_json}'}}}}}}]}}}}"
            ),
            " (ServiceDefaults)",
            "spec.envoyExtensions[0].arguments.pluginConfig.configuration.",
        ),
        (
            format!("{{apiVersion: a, kind: EnvoyFilter, spec: {{configPatches: [{{patch: {{value: {typed}}}}}]}}}}"),
            " (EnvoyFilter)",
            "spec.configPatches[0].patch.value.value.config.configuration.value.",
        ),
        (envoy(&any("Struct", BAD)), "", "static_resources.listeners[0].f.config.configuration.value."),
        (
            envoy(&any("StringValue", &format!("'{bad_json}'"))),
            "",
            "static_resources.listeners[0].f.config.configuration.value.",
        ),
    ] {
        let ran = mirrorctl(&["check", "-"], &document);
        let mut expected = said_of_bad(path).map(|line| format!("stdin: document 1{resource}: {line}"));
        let mut said: Vec<_> = ran.err.lines().collect();
        expected.sort();
        said.sort_unstable();
        assert_eq!((ran.code, said, &*ran.out), (1, expected.iter().map(String::as_str).collect(), ""), "{document}");
    }
}

#[test]
fn all_documents_are_checked_whatever_stands_between_them() {
    let documents = [
        "# Nothing of ours.\napiVersion: v1\nkind: Service\nmetadata: {name: x}\n",
        "rules: [{mirrors: []}]\n",
        "a: 1\na: 2\n",
        "apiVersion: x\nkind: WasmPlugin\nmetadata: {name: other}\nspec: {pluginConfig: {greeting: hello}}\n",
        "apiVersion: x\nkind: WasmPlugin\nmetadata: {name: traffic-mirror}\nspec: {pluginConfig: {rulez: 1}}\n",
        "apiVersion: x\nkind: WasmPlugin\nmetadata: {name: traffic-mirror}\nspec: {url: a}\n",
        "a: [\n",
    ];
    let ran = mirrorctl(&["check", "-"], &documents.join("---\n"));
    let said: Vec<_> = ran.err.lines().collect();
    let expected = [
        "stdin: document 3: duplicate mapping key: a",
        "stdin: document 4 (WasmPlugin other): spec.pluginConfig: skipped: not a configuration of this plugin",
        "stdin: document 5 (WasmPlugin traffic-mirror): spec.pluginConfig.rulez: 1: unknown field; known here: rules,",
        "stdin: document 5 (WasmPlugin traffic-mirror): spec.pluginConfig.rules: missing: a list of at least one rule",
        "stdin: document 6 (WasmPlugin traffic-mirror): spec.pluginConfig: nothing: a configuration with at least one",
        "stdin: document 7: ",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}\nis not\n{expected}");
    }
    assert_eq!((ran.code, &*ran.out), (1, "stdin: document 2: ok: 1 rule, 0 mirrors\n"));
}

#[test]
fn what_only_the_text_shows_is_found_in_the_text() {
    for (text, expected) in [
        (
            r#"{"rules":[{"name":"a","name":"b","mirrors":[]}]}"#,
            "stdin: document 1: rules[0].name: stands twice: each field once",
        ),
        (
            r#"{"rulez":[]}"#,
            "stdin: document 1: rulez: (not shown): unknown field; known here: rules, markerHeader, limits, onInvalid",
        ),
        (
            r#"{"@type": "x.v3.Wasm", "config": {"configuration": {"@type": "t/google.protobuf.BytesValue"}}}"#,
            "-: no plugin configuration found",
        ),
        ("apiVersion: v1\nkind: Pod\n", "-: no plugin configuration found"),
        ("", "-: no plugin configuration found"),
    ] {
        let ran = mirrorctl(&["check", "-"], text);
        assert_eq!((ran.code, ran.err.lines().next()), (1, Some(expected)), "{text}");
    }
    // A whole number is one with `.0` too, as in the plugin.
    mirrorctl(&["check", "-"], "rules: [{mirrors: []}]\nlimits: {maxInFlight: 5.0}\n").ok();
}

/// Checks a text, with and without `--strict`, and returns what is said by this code, without the document.
pub fn said_by(code: &str, text: &str) -> Vec<String> {
    let ran = mirrorctl(&["check", "--notes", "-"], text);
    assert_eq!(ran.code, 0, "{}\n{text}", ran.err);
    let strict = mirrorctl(&["check", "--notes", "--strict", "-"], text);
    assert_eq!((&strict.out, &strict.err), (&ran.out, &ran.err), "{text}");
    assert_eq!(strict.code, i32::from(!ran.err.is_empty()), "{text}");
    let place = "stdin: document ";
    let lines = ran.err.lines().map(|line| line.strip_prefix(place).unwrap().split_once(": ").unwrap().1.to_owned());
    lines.filter(|line| line.ends_with(&format!(" [{code}]"))).collect()
}

#[test]
fn bodies_that_stall_a_worker_are_noted() {
    let configuration = |mirrors: &[&str], limits: &str| {
        let mirror = |(number, more): (usize, &&str)| format!("{{cluster: c{number}, {more}}}");
        let mirrors: Vec<_> = mirrors.iter().enumerate().map(mirror).collect();
        format!("rules: [{{mirrors: []}}, {{mirrors: [{}]}}]\nlimits: {{{limits}}}\n", mirrors.join(", "))
    };
    let stall = "and the worker serves nothing else meanwhile, some 1.5 ms a MiB";
    let of_one = |size: &str| {
        format!(
            "limits.maxBodyBytes: note: a body of up to {size} is copied at once, {stall}: at most 8 MiB [large-bodies]"
        )
    };
    let of_many = |size: &str, mirrors: usize, all: &str| {
        format!(
            "rules[1].mirrors: note: a body of up to {size} is copied to {mirrors} mirrors at once, {all} together, {stall}: at \
             most 8 MiB together: fewer mirrors, `body: omit`, or a smaller limits.maxBodyBytes [large-bodies]"
        )
    };
    for (mirrors, limits, expected) in [
        (&[""][..], "", None),
        (&[""], "maxBodyBytes: 8388608", None),
        (&[""], "maxBodyBytes: 8388609", Some(of_one("8 MiB"))),
        (&["", ""], "maxBodyBytes: 15728640", Some(of_one("15 MiB"))),
        (&["body: omit", "percentage: 0"], "maxBodyBytes: 15728640", None),
        (&[], "maxBodyBytes: 15728640", None),
        (&[""; 8], "", None),
        (&[""; 9], "", Some(of_many("1 MiB", 9, "9 MiB"))),
        (&[["percentage: 0.5"; 5], [""; 5]].concat(), "", Some(of_many("1 MiB", 10, "10 MiB"))),
        (&[["body: omit"; 5], [""; 5]].concat(), "", None),
        (&[["percentage: 0"; 5], [""; 5]].concat(), "", None),
        (&["", ""], "maxBodyBytes: 4194304", None),
        (&["", "", ""], "maxBodyBytes: 4299162", Some(of_many("4.1 MiB", 3, "12.3 MiB"))),
    ] {
        let text = configuration(mirrors, limits);
        assert_eq!(said_by("large-bodies", &text), Vec::from_iter(expected), "{text}");
    }
    let plugin = "kind: WasmPlugin\napiVersion: a\nspec: {pluginConfig: {onInvalid: keepLast, rules: [{mirrors: [{cluster: a}]}], limits: {maxBodyBytes: 9000000}}}\n";
    assert!(said_by("large-bodies", plugin)[0].starts_with("spec.pluginConfig.limits.maxBodyBytes: note: "));
}

#[test]
fn a_configuration_that_goes_by_ecds_and_does_not_keep_the_last_is_warned_of() {
    let resource = |kind: &str, spec: &str| format!("{{apiVersion: a, kind: {kind}, spec: {spec}}}\n");
    let wasm = "{'@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {configuration: \
                {'@type': type.googleapis.com/google.protobuf.Struct, value: GIVEN}}}";
    let ecds = format!(
        "{{'@type': type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig, name: traffic_mirror, typed_config: {wasm}}}"
    );
    let patch =
        |to: &str| format!("{{configPatches: [{{applyTo: {to}, patch: {{value: {{typed_config: {wasm}}}}}}}]}}");
    let in_wasm = "config.configuration.value.onInvalid";
    let delivered = [
        (resource("WasmPlugin", "{pluginConfig: GIVEN}"), "spec.pluginConfig.onInvalid".to_owned()),
        (resource("TrafficExtension", "{wasm: {pluginConfig: GIVEN}}"), "spec.wasm.pluginConfig.onInvalid".to_owned()),
        (resource("EnvoyExtensionPolicy", "{wasm: [{config: GIVEN}]}"), "spec.wasm[0].config.onInvalid".to_owned()),
        (format!("{{resources: [{ecds}]}}\n"), format!("resources[0].typed_config.{in_wasm}")),
        (
            format!("{{configs: [{{ecds_filters: [{{ecds_filter: {ecds}}}]}}]}}\n"),
            format!("configs[0].ecds_filters[0].ecds_filter.typed_config.{in_wasm}"),
        ),
        (
            resource("EnvoyFilter", &patch("EXTENSION_CONFIG")),
            format!("spec.configPatches[0].patch.value.typed_config.{in_wasm}"),
        ),
    ];
    let refusing = [r"{rules: [{mirrors: []}]}", "{rules: [{mirrors: []}], onInvalid: refuse}"];
    let keeping = "{rules: [{mirrors: []}], onInvalid: keepLast}";
    for (file, path) in delivered {
        for refusing in refusing {
            let expected = format!(
                "{path}: warning: a proxy that starts with a wrong configuration answers every request with 500: set \
                 onInvalid: keepLast [no-keep-last]"
            );
            assert_eq!(said_by("no-keep-last", &file.replace("GIVEN", refusing)), [expected], "{file}");
        }
        assert_eq!(said_by("no-keep-last", &file.replace("GIVEN", keeping)), [""; 0], "{file}");
        // What is wrong is a violation all the same.
        let wrong = file.replace("GIVEN", "{rules: 1, onInvalid: keepLast}");
        assert_eq!(mirrorctl(&["check", "-"], &wrong).code, 1, "{file}");
    }
    for file in [
        "GIVEN\n".to_owned(),
        format!("{{static_resources: {{listeners: [{wasm}], x: {}}}}}\n", ecds.replace("GIVEN", keeping)),
        resource("EnvoyFilter", &patch("HTTP_FILTER")),
    ] {
        assert_eq!(said_by("no-keep-last", &file.replace("GIVEN", refusing[0])), [""; 0], "{file}");
    }
}

#[test]
fn clusters_of_mirrors_that_send_copies_again_are_warned_of() {
    let file = |clusters: &str, mirrors: &str| {
        let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
        let any = format!(
            "{{'@type': type.googleapis.com/google.protobuf.Struct, value: {{rules: [{{mirrors: [{mirrors}]}}]}}}}"
        );
        let filter = format!("{{'@type': {wasm}, config: {{configuration: {any}}}}}");
        format!("static_resources: {{filters: [{filter}], clusters: [{clusters}]}}\n")
    };
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let cluster = |name_of: &str, options: &str| {
        let options = format!("{{'@type': type.googleapis.com/{name}, explicit_http_config: {{}}, {options}}}");
        format!("{{name: {name_of}, typed_extension_protocol_options: {{{name}: {options}}}}}")
    };
    let retries = "retry_policy: {retry_on: 5xx}";
    let mirrors = "request_mirror_policies: [{cluster: other}]";
    let said = |path: &str, field: &str| {
        let what = match field {
            "retry_policy" => "retries the copies that it gets: one may be sent several times, and is counted once",
            _ => "mirrors the copies that it gets: copies of copies, which nothing counts",
        };
        format!(
            "{path}.typed_extension_protocol_options.{name}.{field}: warning: the cluster m {what}: give the mirror a cluster \
             without {field} [retries-copies]"
        )
    };
    let first = "static_resources.clusters[0]";
    for (clusters, to, expected) in [
        (cluster("m", retries), "{cluster: m}", vec![said(first, "retry_policy")]),
        (cluster("m", mirrors), "{cluster: m}", vec![said(first, "request_mirror_policies")]),
        (
            cluster("m", &format!("{mirrors}, {retries}")),
            "{cluster: m}",
            vec![said(first, "retry_policy"), said(first, "request_mirror_policies")],
        ),
        (
            cluster("m", "retryPolicy: {retryOn: reset, numRetries: 3}"),
            "{cluster: m}",
            vec![said(first, "retry_policy").replace("retry_policy", "retryPolicy")],
        ),
        (
            format!("{}, {}", cluster("primary", retries), cluster("m", retries)),
            "{clusterHeader: x-to, allowedClusters: [m]}",
            vec![said("static_resources.clusters[1]", "retry_policy")],
        ),
        (
            cluster("'outbound|80||m.test'", retries).replace("name: 'outbound", "alt_stat_name: y, name: 'outbound"),
            "{destination: {host: m.test, port: {number: 80}}}",
            vec![said(first, "retry_policy").replace("cluster m ", "cluster outbound|80||m.test ")],
        ),
        // Nothing of these sends a copy again.
        (cluster("m", "retry_policy: {num_retries: 3}"), "{cluster: m}", vec![]),
        (cluster("m", "retry_policy: {retry_on: 5xx, num_retries: 0}"), "{cluster: m}", vec![]),
        (cluster("m", "request_mirror_policies: []"), "{cluster: m}", vec![]),
        (cluster("primary", retries), "{cluster: m}", vec![]),
        (cluster("m", retries), "{clusterHeader: x-to}", vec![]),
        (format!("{{name: m, routes: [{{route: {{{retries}, {mirrors}}}}}]}}"), "{cluster: m}", vec![]),
    ] {
        let text = file(&clusters, to);
        assert_eq!(said_by("retries-copies", &text), expected, "{text}");
    }
    // A configuration alone, and the clusters in a document of their own: of CDS, or of a dump.
    for (document, path) in [
        (format!("resources: [{}]", cluster("m", retries)), "resources[0]"),
        (
            format!("configs: [{{dynamic_active_clusters: [{{cluster: {}}}]}}]", cluster("m", retries)),
            "configs[0].dynamic_active_clusters[0].cluster",
        ),
    ] {
        let text = format!("rules: [{{mirrors: [{{cluster: m}}]}}]\n---\n{document}\n");
        assert_eq!(said_by("retries-copies", &text), [said(path, "retry_policy")], "{text}");
    }
}

/// Returns what `check` says of credentials, each without the document's place.
fn said_of_credentials(text: &str) -> Vec<String> {
    let ran = mirrorctl(&["check", "-"], text);
    assert_eq!(ran.code, 0, "{}\n{text}", ran.err);
    let lines = ran.err.lines().filter(|line| line.ends_with("[credentials-leave]"));
    lines.map(|line| line.strip_prefix("stdin: document ").unwrap().split_once(": ").unwrap().1.to_owned()).collect()
}

#[test]
fn credentials_that_go_to_another_namespace_or_to_any_cluster_are_warned_of() {
    let file = |namespace: &str, mirror: &str| {
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{name: m, namespace: {namespace}}}\nspec:\n  \
             pluginConfig: {{onInvalid: keepLast, rules: [{{mirrors: [{{{mirror}}}]}}]}}\n"
        )
    };
    let test = "destination: {host: m.test.svc.cluster.local, port: {number: 80}}";
    let said = |carried: &str, to: &str| {
        vec![format!(
            "spec.pluginConfig.rules[0].mirrors[0]: warning: copies carry {carried} as clients sent them to {to}: redact them, or \
             name them in headers.remove [credentials-leave]"
        )]
    };
    let (both, other) = ("authorization and cookie", "the namespace test");
    for (namespace, mirror, expected) in [
        ("shop", test.to_owned(), said(both, other)),
        ("shop", "cluster: outbound|80|v1|m.test.svc.cluster.local".to_owned(), said(both, other)),
        ("shop", format!("{test}, redact: {{headers: [authorization]}}"), said("cookie", other)),
        (
            "shop",
            format!("{test}, headers: {{remove: [Cookie], add: {{authorization: a}}}}"),
            said("authorization", other),
        ),
        ("shop", format!("{test}, redact: {{headers: [authorization], cookies: [session]}}"), vec![]),
        ("shop", format!("{test}, headers: {{remove: [cookie], set: {{authorization: own}}}}"), vec![]),
        ("test", test.to_owned(), vec![]),
        ("istio-system", test.to_owned(), vec![]),
        ("shop", "cluster: mirror".to_owned(), vec![]),
        ("shop", "clusterHeader: x-to".to_owned(), said(both, "the cluster that x-to names")),
        ("shop", "clusterHeader: x-to, headers: {remove: [authorization, cookie]}".to_owned(), vec![]),
    ] {
        assert_eq!(said_of_credentials(&file(namespace, &mirror)), expected, "{namespace} {mirror}");
    }
    let plain = "rules: [{mirrors: [{clusterHeader: x-to}]}]\n";
    assert!(said_of_credentials(plain)[0].starts_with("rules[0].mirrors[0]: warning: copies carry"));
}

#[test]
fn methods_in_lower_case_are_warned_of() {
    let said = |path: &str, method: &str, upper: &str| {
        format!(
            "{path}.method: warning: {method}: methods are case-sensitive, and clients send upper case: {upper}, or \
             ignoreCase: true [lower-case-method]"
        )
    };
    for (matches, expected) in [
        ("{method: {exact: post}}", vec![said("rules[0].match[0]", "post", "POST")]),
        (
            "{method: {exact: GET}}, {method: {exact: Put}}, {method: {exact: get}}",
            vec![said("rules[0].match[1]", "Put", "PUT"), said("rules[0].match[2]", "get", "GET")],
        ),
        ("{method: {exact: post, ignoreCase: true}}", vec![]),
        ("{method: {prefix: p}}, {method: {regex: 'g.*'}}, {method: {exact: M-SEARCH}}, {uri: {exact: /post}}", vec![]),
    ] {
        let text = format!("rules: [{{match: [{matches}], mirrors: []}}]\n");
        assert_eq!(said_by("lower-case-method", &text), expected, "{text}");
    }
    let plugin = "kind: WasmPlugin\napiVersion: a\nspec: {pluginConfig: {rules: [{match: [{method: {exact: get}}], mirrors: []}]}}\n";
    assert!(
        said_by("lower-case-method", plugin)[0]
            .starts_with("spec.pluginConfig.rules[0].match[0].method: warning: get: ")
    );
}

#[test]
fn configurations_of_one_document_are_told_apart_by_listener_filter_chain_and_filter() {
    let wasm = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
    let any = "{'@type': type.googleapis.com/google.protobuf.Struct, value: {rules: [{mirrors: []}]}}";
    let filter = format!("{{name: mirror, typed_config: {{'@type': {wasm}, config: {{configuration: {any}}}}}}}");
    let manager = format!("{{typed_config: {{http_filters: [{{name: other}}, {filter}]}}}}");
    let listener = format!("{{filter_chains: [{{filters: [{manager}]}}]}}");
    let text = format!("static_resources: {{listeners: [{listener}, {listener}]}}\n");
    let line = |listener: usize| {
        let filter = "filter_chains[0].filters[0].typed_config.http_filters[1].typed_config.config.configuration.value";
        format!("stdin: document 1: static_resources.listeners[{listener}].{filter}: ok: 1 rule, 0 mirrors\n")
    };
    assert_eq!(mirrorctl(&["check", "-"], &text).ok(), line(0) + &line(1));
}

/// Lists the YAML files in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let inside = entries.map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    inside.flatten().filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).collect()
}

#[test]
fn no_file_of_this_repository_is_warned_of() {
    let root = Path::new(crate::ROOT);
    let folders = ["examples", "deploy"].map(|folder| files(&root.join(folder)));
    let alone = ["envoy.yaml", "wasmplugin.yaml"].map(|file| vec![root.join(file)]);
    let mut checked = 0;
    for file in folders.into_iter().chain(alone).flatten() {
        let ran = mirrorctl(&["check", file.to_str().unwrap()], "");
        assert!(!ran.err.contains("warning: ") && !ran.err.contains("not shown"), "{}", ran.err);
        checked += usize::from(ran.out.contains(": ok: "));
    }
    assert!(checked > 15, "{checked} files with a configuration");
}

#[test]
fn of_very_many_violations_the_first_hundred_are_named() {
    let rule = "{mirrors: [{cluster: a, percentage: 140}]}";
    let rules = vec![rule; 20_000].join(", ");
    let document = format!("kind: WasmPlugin\nspec: {{pluginConfig: {{rules: [{rules}]}}}}\n---\n{BAD}\n");
    let ran = mirrorctl(&["check", "-"], &document);
    let said: Vec<_> = ran.err.lines().collect();
    // Each configuration has its own hundred.
    assert_eq!((ran.code, said.len()), (1, 101 + 2), "{said:#?}");
    let place = "stdin: document 1 (WasmPlugin): ";
    let path = "spec.pluginConfig.rules[99].mirrors[0].percentage";
    assert_eq!(said[99], format!("{place}{path}: 140: not between 0 and 100"));
    assert_eq!(said[100], format!("{place}and 19900 more"));
}

#[test]
fn a_file_that_cannot_be_read_is_wrong_usage_and_the_others_are_checked() {
    let missing = "mirrorctl: no such file: No such file or directory (os error 2)\n";
    let ran = mirrorctl(&["check", "no such file"], "");
    assert_eq!((ran.code, &*ran.out, &*ran.err), (2, "", missing));
    let noted = format!("{missing}notes: unsafe-methods; `--notes` explains\n");
    let good = "envoy.yaml: document 1: ok: 2 rules, 2 mirrors\n";
    for files in [["envoy.yaml", "no such file"], ["no such file", "envoy.yaml"]] {
        let ran = mirrorctl(&[&["check"][..], &files].concat(), "");
        assert_eq!((ran.code, &*ran.out, &*ran.err), (2, good, &*noted), "{files:?}");
    }
    let ran = mirrorctl(&["check", "no such file", "-"], BAD);
    assert_eq!((ran.code, &*ran.out, ran.err.lines().count()), (2, "", 3), "{}", ran.err);
}

/// Regular expressions on both sides of each limit, and whether they are taken.
fn at_the_limits() -> Vec<(Value, bool)> {
    let regex = |pattern: &str| json!({"match": [{"uri": {"regex": pattern}}]});
    let rewrite = |pattern: &str, rewrite: &str| {
        let rewrite = json!({"uriRegexRewrite": {"match": pattern, "rewrite": rewrite}});
        json!({"mirrors": [{"cluster": "mirror", "rewrite": rewrite}]})
    };
    let many = |count: usize| "a".repeat(count);
    let mut cases = vec![
        // Characters.
        (regex(&format!("{}b+", "é".repeat(1022))), true),
        (regex(&format!("{}b+", "é".repeat(1023))), false),
        (rewrite("a", &many(1024)), true),
        (rewrite("a", &many(1025)), false),
        // RE2's repetitions.
        (regex("a{1000}"), true),
        (regex("a{1001}"), false),
        (regex("(?:a{2}){500}"), true),
        (regex("(?:a{2}){501}"), false),
        (regex("/(?:ab|cd|ef){4000}"), false),
        // Positions.
        (regex(".*[ab].{124}[cd]"), true),
        (regex(".*[ab].{125}[cd]"), false),
        // The size of a table, by its states and by its classes.
        (regex("[a-f]{130}(?:a|b)*a(?:a|b){12}"), true),
        (regex("[a-f]{130}(?:a|b)*a(?:a|b){13}"), false),
        (regex("\\pL{1,6}"), true),
        (regex("\\pL{1,7}"), false),
        (regex("\\pL{1,30}"), false),
        (regex("(?:0123456789a){1000}"), true),
        (regex("(?:0123456789abcdef){1000}"), false),
        // Of which groups are found.
        (rewrite("a{1000}b{1000}", "/"), true),
        (rewrite("a{1000}b{1000}c{100}", "/"), false),
    ];
    // All together: what comes last.
    cases.extend((0..24).map(|n| (regex(&format!("\\pL{{1,6}}{n}")), true)));
    cases.extend((24..26).map(|n| (regex(&format!("\\pL{{1,6}}{n}")), false)));
    cases
}

#[test]
fn expressions_at_the_limits_are_judged_as_by_the_finished_module() {
    let plugin = |cases: &[Value]| {
        let rule = |case: &Value| {
            let mut rule = json!({"mirrors": []});
            rule.as_object_mut().unwrap().append(&mut case.as_object().unwrap().clone());
            rule
        };
        json!({"rules": cases.iter().map(rule).collect::<Vec<_>>()})
    };
    let (all, are_taken): (Vec<_>, Vec<_>) = at_the_limits().into_iter().unzip();
    let all = plugin(&all);
    let ran = mirrorctl(&["check", "-"], &all.to_string());
    let said: Vec<_> = ran.err.lines().map(|line| line.strip_prefix("stdin: document 1: ").unwrap()).collect();
    let refused = |n: usize| said.iter().any(|line| line.starts_with(&format!("rules[{n}].")));
    let found: Vec<_> = (0..are_taken.len()).map(|n| !refused(n)).collect();
    assert_eq!(found, are_taken, "{said:#?}");

    let log = refusal(all, Form::Text);
    let logged = log.lines().filter_map(|line| Some(line.split_once("wasm log traffic_mirror: traffic_mirror: ")?.1));
    assert_eq!(logged.collect::<Vec<_>>(), said);

    let taken: Vec<_> = at_the_limits().into_iter().filter(|(_, is_taken)| *is_taken).map(|(case, _)| case).collect();
    let taken = plugin(&taken);
    assert_eq!(mirrorctl(&["check", "-"], &taken.to_string()).code, 0);
    run(Setup::plain().also("main", taken), async |_| {});
}
