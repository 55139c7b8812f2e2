//! How a configuration is taken or refused by a real Envoy, and what the filter writes into its log.

use serde_json::{Value, json};

use harness::bootstrap::{Delivery, Form};
use harness::client::{Client, Req};
use harness::{Setup, eventually, refusal, run};

/// The filter's lines of this level.
fn lines<'a>(log: &'a str, level: &str) -> Vec<&'a str> {
    let level = format!("[{level}][wasm]");
    log.lines().filter(|line| line.contains(&level)).collect()
}

#[test]
fn every_violation_is_logged_on_a_line_of_its_own_and_envoy_does_not_start() {
    let plugin = json!({
        "rules": [
            {"name": "no spaces", "mirrors": [{"cluster": "mirror", "percentage": 140}]},
            {"mirrors": [{"cluster": "mirror", "timeout": "0s"}, {"cluster": "mirror", "body": "half"}]},
        ],
        "limits": {"maxInFlight": -1},
    });
    let expected = [
        "rules[0].mirrors[0].percentage: 140: not between 0 and 100",
        "rules[0].name: ",
        "rules[1].mirrors[0].timeout: ",
        "rules[1].mirrors[1].body: ",
        "limits.maxInFlight: -1: ",
    ];
    for form in [Form::Text, Form::Struct] {
        let log = refusal(plugin.clone(), form);
        let errors = lines(&log, "error");
        for violation in expected {
            let found: Vec<_> = errors.iter().filter(|line| line.contains(violation)).collect();
            assert_eq!(found.len(), 1, "{violation}\n{log}");
            assert!(expected.iter().all(|e| *e == violation || !found[0].contains(e)), "{}", found[0]);
        }
    }
}

#[test]
fn of_very_many_violations_the_first_hundred_are_logged() {
    let rule = json!({"mirrors": [{"cluster": "mirror", "percentage": 140}]});
    let log = refusal(json!({"rules": vec![rule; 20_000]}), Form::Text);
    let said = lines(&log, "error").into_iter().filter(|line| line.contains("wasm log traffic_mirror"));
    let said: Vec<_> = said.collect();
    assert_eq!(said.len(), 101, "{log}");
    assert!(said[99].contains("rules[99].mirrors[0].percentage: 140: ") && said[100].contains(": and 19900 more"));
}

#[test]
fn an_unknown_field_is_refused_by_its_path() {
    let plugin = json!({"rules": [{"mirrors": [{"cluster": "mirror", "percent": 5}]}], "markerheader": "x"});
    let log = refusal(plugin, Form::Text);
    let errors = lines(&log, "error").join("\n");
    assert!(errors.contains("rules[0].mirrors[0].percent"), "{log}");
    assert!(errors.contains("markerheader"), "{log}");
}

#[test]
fn no_configuration_at_all_is_an_error() {
    let log = refusal(Value::Null, Form::Text);
    assert!(!lines(&log, "error").is_empty(), "{log}");
}

#[test]
fn a_configuration_that_is_none_is_refused() {
    let none = [
        json!(""),
        json!("{"),
        json!("rules: []"),
        json!({}),
        json!({"rules": []}),
        json!({"rules": [{"name": "a"}]}),
        json!(r#"{"rules": [{"mirrors": []}], "rules": [{"mirrors": []}]}"#),
    ];
    let good = json!({"rules": [{"mirrors": [{"cluster": "mirror"}]}]});
    run(Setup::new(good).delivered_by(Delivery::Lds), async |mesh| {
        for (index, plugin) in none.iter().enumerate() {
            mesh.update(plugin);
            mesh.stat("listener_manager.lds.update_rejected", u64::try_from(index).unwrap() + 1).await;
            // Envoy's log may be a moment late.
            eventually("the filter's own line", async || {
                let log = mesh.envoy.log();
                let said = lines(&log, "error").iter().filter(|line| line.contains("wasm log traffic_mirror")).count();
                if said == index + 1 { Ok(()) } else { Err(format!("{said} lines: {plugin}")) }
            })
            .await;
        }
        mesh.send(Req::get("/")).await;
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
    });
}

#[test]
fn what_could_be_read_and_cannot_work_is_refused() {
    let matching = |entry: Value| json!({"match": [entry], "mirrors": []});
    let mirror = |fields: Value| {
        let mut mirror = json!({"cluster": "mirror"});
        mirror.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"match": [{"uri": {"prefix": "/"}}], "mirrors": [mirror]})
    };
    let to = |host: &str| json!({"mirrors": [{"destination": {"host": host, "port": {"number": 80}}}]});
    let (entry, own) = ("match[0]", "mirrors[0]");
    let wrong = [
        (matching(json!({"headers": {"X-A": {}, "x-a": {}}})), entry, ".headers.x-a: x-a: the same header as X-A"),
        (
            matching(json!({"withoutHeaders": {":authority": {}, "host": {}}})),
            entry,
            ".withoutHeaders.host: host: the same header as :authority",
        ),
        (matching(json!({"sourceCidrs": []})), entry, ".sourceCidrs: []: a list of at least one range"),
        (
            matching(json!({"sourceCidrs": ["::ffff:10.0.0.0/8"]})),
            entry,
            ".sourceCidrs[0]: \"::ffff:10.0.0.0/8\": an IPv4",
        ),
        (mirror(json!({"headers": {"remove": ["a", "A"]}})), own, ".headers.remove[1]: A: the same header as a"),
        (mirror(json!({"headers": {"set": {"A": "1", "a": "2"}}})), own, ".headers.set.a: a: the same header as A"),
        (mirror(json!({"headers": {"add": {"A": "1", "a": "2"}}})), own, ".headers.add.a: a: the same header as A"),
        (mirror(json!({"headers": {"remove": ["X-Copy"]}})), own, ".headers.remove[0]: x-copy: the markerHeader"),
        (mirror(json!({"percentage": 0.00001})), own, ".percentage: 0.00001: rounds to none"),
        (mirror(json!({"percentage": 99.99999})), own, ".percentage: 99.99999: rounds to all"),
        (
            mirror(json!({"fraction": {"numerator": 1, "denominator": 3_000_000}})),
            own,
            ".fraction: 1/3000000: rounds to none",
        ),
        (mirror(json!({"rewrite": {"uri": "/a b?c#d"}})), own, ".rewrite.uri: \"/a b?c#d\": not a path"),
        (mirror(json!({"rewrite": {"uri": ""}})), own, ".rewrite.uri: \"\": not a path"),
        (mirror(json!({"cluster": "."})), own, ": cluster .: no label is left"),
        (json!({"mirrors": [{"cluster": "a."}, {"cluster": "a"}]}), "mirrors[1]", ": label a: already the label"),
        (to("http://x"), own, ".destination.host: \"http://x\": not a host"),
        (to("a b"), own, ".destination.host: \"a b\": not a host"),
        (to("a/b"), own, ".destination.host: \"a/b\": not a host"),
        (to("a::b"), own, ".destination.host: \"a::b\": not a host"),
        (to("*"), own, ".destination.host: \"*\": not a host"),
    ];
    let rules: Vec<_> = wrong.iter().map(|(rule, ..)| rule).collect();
    let limits = json!({"maxBodyBytes": 5, "maxBufferedBytes": 4, "maxInFlight": 0});
    let log = refusal(json!({"rules": rules, "markerHeader": "x-copy", "limits": limits}), Form::Text);
    let said = |line: &'_ str| Some(line.split_once("wasm log traffic_mirror: traffic_mirror: ")?.1.to_owned());
    let said: Vec<_> = lines(&log, "error").into_iter().filter_map(said).collect();
    for (index, (_, place, what)) in wrong.iter().enumerate() {
        let expected = format!("rules[{index}].{place}{what}");
        assert!(said.iter().any(|violation| violation.starts_with(&expected)), "{expected}\nnot in\n{said:#?}");
    }
    assert!(said.contains(&"limits.maxBodyBytes: 5: at most maxBufferedBytes, 4".to_owned()), "{said:#?}");
    let none =
        said.iter().find(|violation| violation.starts_with("limits.maxInFlight: 0: not a whole number between 1"));
    assert!(none.is_some_and(|violation| violation.ends_with("has percentage: 0")), "{said:#?}");
    assert_eq!(said.len(), wrong.len() + 2, "{said:#?}");
}

#[test]
fn mapped_ranges_are_ipv4_and_a_body_is_as_long_as_what_may_be_buffered() {
    let rule = json!({"match": [{"sourceCidrs": ["::ffff:127.0.0.0/104"]}], "mirrors": [{"cluster": "mirror"}]});
    run(Setup::new(json!({"rules": [rule], "limits": {"maxBufferedBytes": 4}})), async |mesh| {
        mesh.send(Req::post("/", "four")).await;
        mesh.send(Req::post("/", "five5")).await;
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        mesh.copies("rule-0", "mirror", "body_too_large", 1).await;
    });
}

#[test]
fn json_text_and_a_struct_mean_the_same() {
    let plugin = |name: &str| {
        json!({
            "rules": [{
                "name": name,
                "match": [{"headers": {"end-user": {"regex": "t.st\\w+"}}, "uri": {"prefix": "/reviews"}}],
                "mirrors": [{
                    "destination": {"host": "mirror.test", "port": {"number": 9080}, "subset": "v1"},
                    "fraction": {"numerator": 3, "denominator": 3},
                    "consistentHash": {"httpHeaderName": "x-user-id", "seed": "9007199254740993"},
                    "rewrite": {"uri": "/v2"},
                    "headers": {"set": {"x-env": "staging"}},
                    "timeout": "1.5s",
                }],
            }],
            "limits": {"maxBodyBytes": 4.0, "maxInFlight": "100", "maxRequestsPerSecond": 1000},
        })
    };
    let setup = Setup::new(plugin("text")).also_as("struct", plugin("struct"), Form::Struct);
    run(setup, async |mesh| {
        for listener in ["main", "struct"] {
            let mut client = Client::h1(mesh.address(listener)).await;
            for req in [Req::post("/reviews/1", "four"), Req::post("/reviews/1", "five5"), Req::get("/other")] {
                client.send(req.header("end-user", "tester").header("x-user-id", "1")).await;
            }
        }
        let mirror = "outbound|9080|v1|mirror.test";
        for rule in ["text", "struct"] {
            let ledger = mesh.responses(rule, mirror, "2xx", 1).await;
            assert_eq!((ledger.requests(rule), ledger.copies(rule, mirror, "body_too_large")), (2, 1));
        }
        for copy in mesh.mirror.received(2).await {
            assert_eq!((copy.path.as_str(), &copy.body[..]), ("/v2/1", &b"four"[..]));
            assert_eq!(copy.value("x-envoy-expected-rq-timeout-ms").as_deref(), Some("1500"));
        }
    });
}

#[test]
fn the_names_of_the_metrics_become_labels_by_istios_tag_convention() {
    let destination = json!({"host": "mirror.test", "port": {"number": 9080}, "subset": "v1"});
    let plugin =
        json!({"rules": [{"name": "tester", "mirrors": [{"destination": destination}, {"clusterHeader": "x-to"}]}]});
    run(Setup::new(plugin), async |mesh| {
        mesh.send(Req::get("/")).await;
        mesh.send(Req::get("/").header("x-mirrored-request", "true")).await;
        let (rule, mirror) = (("rule", "tester"), ("mirror", "outbound|9080|v1|mirror.test"));
        mesh.responses(rule.1, mirror.1, "2xx", 1).await;
        let header = ("mirror", "header:x-to");
        for (name, labels, value) in [
            ("requests_total", &[rule][..], 1.0),
            ("ignored_total", &[("reason", "marked")], 1.0),
            ("copies_total", &[rule, mirror, ("outcome", "sent")], 1.0),
            ("copies_total", &[rule, header, ("outcome", "no_cluster_header")], 1.0),
            ("copies_total", &[rule, header, ("outcome", "sent")], 0.0),
            ("responses_total", &[rule, mirror, ("class", "2xx")], 1.0),
            ("in_flight", &[], 0.0),
            ("buffered_bytes", &[], 0.0),
        ] {
            let seen = mesh.prometheus(&format!("traffic_mirror_{name}"), labels).await;
            assert_eq!(seen, Some(value), "{name} {labels:?}");
        }
    });
}

#[test]
fn the_labels_of_mirrors_are_the_ones_that_come_out_of_envoy() {
    let mirrors = json!([
        {"cluster": "mirror"},
        {"cluster": "mirror", "name": "Candidate_2"},
        {"cluster": ".", "name": "dot"},
        {"cluster": "a."},
        {"cluster": ".a"},
        {"cluster": "a..b"},
    ]);
    run(Setup::new(json!({"rules": [{"name": "r", "mirrors": mirrors}]})), async |mesh| {
        mesh.send(Req::get("/")).await;
        for mirror in ["mirror", "Candidate_2"] {
            mesh.responses("r", mirror, "2xx", 1).await;
        }
        for mirror in ["dot", "a", ".a", "a..b"] {
            mesh.copies("r", mirror, "no_cluster", 1).await;
            let labels = [("rule", "r"), ("mirror", mirror), ("outcome", "no_cluster")];
            assert_eq!(mesh.prometheus("traffic_mirror_copies_total", &labels).await, Some(1.0), "{mirror}");
        }
        assert_eq!(mesh.mirror.received(2).await.len(), 2);
    });
}

#[test]
fn an_outcome_is_warned_of_at_its_1st_2nd_4th_and_8th_occurrence() {
    let plugin = json!({"rules": [{"name": "warned", "mirrors": [{"cluster": "unknown"}]}]});
    run(Setup::new(plugin), async |mesh| {
        let mut client = mesh.client().await;
        for _ in 0..9 {
            client.send(Req::get("/")).await;
        }
        mesh.copies("warned", "unknown", "no_cluster", 9).await;
        eventually("the warnings", async || {
            let log = mesh.envoy.log();
            let warnings = lines(&log, "warning");
            let named = |line: &&&str| ["warned", "unknown", "no_cluster"].iter().all(|word| line.contains(word));
            let count = warnings.iter().filter(named).count();
            if count == 4 { Ok(()) } else { Err(format!("{count}: {warnings:#?}")) }
        })
        .await;
    });
}

#[test]
fn what_requests_say_stays_out_of_the_log() {
    let rules = json!({"rules": [
        {
            "match": [{"uri": {"prefix": "/a"}}],
            "mirrors": [{"cluster": "unknown"}, {"cluster": "refused"}, {"cluster": "dead"}],
        },
        {"mirrors": [{"clusterHeader": "x-mirror-cluster", "allowedClusters": ["mirror"]}]},
    ], "limits": {"maxBodyBytes": 40}});
    run(Setup::new(rules), async |mesh| {
        let mut client = mesh.client().await;
        for path in ["/a", "/b"] {
            for body in ["body-s3cr3t", &"body-s3cr3t".repeat(10)] {
                let req = Req::post(path, body.to_owned()).header("authorization", "head-s3cr3t");
                let req = req.header("cookie", "session=head-s3cr3t").header("x-mirror-cluster", "head-s3cr3t");
                client.send(req).await;
            }
        }
        mesh.copies("rule-0", "unknown", "no_cluster", 1).await;
        mesh.until("every request", |l| l.requests("rule-0") == 2 && l.requests("rule-1") == 2).await;
        eventually("a warning of each rule", async || {
            let log = mesh.envoy.log();
            let warned = |rule| lines(&log, "warning").iter().any(|line| line.contains(rule));
            if warned("rule-0") && warned("rule-1") { Ok(()) } else { Err(log) }
        })
        .await;
        let log = mesh.envoy.log();
        assert!(!log.contains("s3cr3t"), "{log}");
    });
}
