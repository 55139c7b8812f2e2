//! What the filter does not do: ask for more than it needs, fill the log, tell secrets.

use fake_host::envoy::{Envoy, headers, request};
use fake_host::host::{DEBUG, WARN};

/// Returns what the filter asked on behalf of one request, whose client got an answer.
fn asked(rules: &str, path: &str, more: &[(&str, &str)], has_body: bool) -> Vec<String> {
    let (envoy, root) = Envoy::with(&format!(r#"{{"rules":{rules}}}"#));
    Envoy::host(|host| host.properties.insert("source.address".into(), b"10.0.0.1:80".to_vec()));
    let stream = envoy.begin(root, request(path, more), !has_body);
    if has_body {
        envoy.body(stream, b"body", true);
    }
    let asked = envoy.end_answered(stream, Some(200)).asked;
    envoy.answer_all("200");
    envoy.check();
    asked
}

#[test]
fn with_every_mirror_at_0_percent_the_host_is_asked_for_what_decides_and_nothing_more() {
    let all = [("x-a", "1"), ("x-mirrored-request", "true")];
    for (rules, expected) in [
        (
            r#"[{"mirrors":[{"cluster":"a","percentage":0},{"clusterHeader":"x-to","fraction":{"numerator":0,"denominator":1}}]}]"#,
            &[][..],
        ),
        (r#"[{"mirrors":[]}]"#, &[]),
        (
            r#"[{"match":[{"headers":{"x-b":{}},"sourceCidrs":["10.0.0.0/8"]}],"mirrors":[{"cluster":"a","percentage":0}]}]"#,
            &["header x-b"],
        ),
        (
            r#"[{"match":[{"sourceCidrs":["10.0.0.0/8"]}],"mirrors":[{"cluster":"a","percentage":0}]}]"#,
            &["property source.address"],
        ),
        (r#"[{"match":[{"uri":{"prefix":"/"}}],"mirrors":[]},{"mirrors":[{"cluster":"a"}]}]"#, &["all headers"]),
    ] {
        assert_eq!(asked(rules, "/", &all, true), expected, "{rules}");
    }
}

#[test]
fn the_host_is_asked_for_all_headers_at_most_once_and_for_a_body_only_if_a_copy_has_it() {
    let many = r#"[{"match":[{"headers":{"x-a":{},"x-b":{},"x-c":{}}},{"headers":{"x-d":{},"x-e":{},"x-f":{}}},
        {"uri":{"prefix":"/x"},"cookies":{"c":{}},"queryParams":{"q":{}},"method":{"exact":"POST"}}],
        "mirrors":[{"cluster":"a"},{"cluster":"b"},{"cluster":"c","consistentHash":{"httpHeaderName":"x-a"},"percentage":50}]}]"#;
    let by_address = r#"[{"match":[{"sourceCidrs":["192.0.2.0/24"]},{"sourceCidrs":["10.0.0.0/8"]}],
        "mirrors":[{"cluster":"a","consistentHash":{"useSourceIp":true},"percentage":99.9999}]}]"#;
    let omitted = r#"[{"mirrors":[{"cluster":"a","body":"omit"}]}]"#;
    for (rules, path, more, wants_body) in [
        (many, "/x?q=1", &[("x-a", "1"), ("x-b", "2"), ("cookie", "c=1")][..], true),
        (many, "/x", &[("x-a", "1"), ("x-d", "2")], false),
        (many, "/", &[], false),
        (by_address, "/", &[], true),
        (omitted, "/", &[], false),
        (omitted, "/", &[("x-mirrored-request", "true")], false),
    ] {
        let asked = asked(rules, path, more, true);
        // No question is put twice, or the host would note a misuse.
        assert!(asked.iter().filter(|what| *what == "all headers").count() <= 1, "{asked:?}");
        assert_eq!(asked.iter().any(|what| what == "body"), wants_body, "{rules}: {asked:?}");
    }
}

#[test]
fn a_request_without_the_header_that_every_rule_wants_costs_one_question() {
    let rules = r#"[{"match":[{"headers":{"x-a":{"exact":"1"}}}],"mirrors":[{"cluster":"a"}]},
        {"match":[{"headers":{"x-a":{"prefix":"2"}}}],"mirrors":[{"cluster":"b"}]}]"#;
    assert_eq!(asked(rules, "/", &[("x-b", "1")], true), ["header x-a"]);
}

#[test]
fn a_request_of_which_no_copy_is_made_costs_what_decides_that_and_nothing_more() {
    let rules = r#"[{"match":[{"sourceCidrs":["10.0.0.0/8"]}],"mirrors":[]},{"mirrors":[{"cluster":"a"}]}]"#;
    let excluded = (rules, &["property source.address"][..]);
    let unsampled = (r#"[{"mirrors":[{"cluster":"a","percentage":0}]},{"mirrors":[{"cluster":"a"}]}]"#, &[][..]);
    let by_address = r#"[{"mirrors":[{"cluster":"a","percentage":0.0001,"consistentHash":{"useSourceIp":true}}]}]"#;
    for (rules, expected) in [excluded, unsampled, (by_address, &["property source.address"])] {
        for more in [&[][..], &[("x-mirrored-request", "true")], &[("upgrade", "x"), ("connection", "upgrade")]] {
            assert_eq!(asked(rules, "/", more, true), expected, "{rules}, {more:?}");
        }
    }
}

#[test]
fn whether_there_is_a_cluster_is_asked_only_where_a_copy_depends_on_it() {
    let mirror = r#""mirrors":[{"cluster":"a"}]"#;
    let by_header = r#""mirrors":[{"clusterHeader":"x-to"},{"cluster":"a","percentage":0}]"#;
    let mirrored = r#""unrouted":"mirror","mirrors":[{"cluster":"a"}]"#;
    for (rule, more, is_asked) in [
        (mirror, &[][..], true),
        (mirror, &[("x-mirrored-request", "true")], false),
        (mirror, &[("upgrade", "x"), ("connection", "upgrade")], false),
        (by_header, &[("x-to", "a")], true),
        (by_header, &[], false),
        (mirrored, &[], false),
        // Once, also where a match needs it and the copy too.
        (&format!(r#""match":[{{"clusterName":{{"exact":"primary"}}}}],{mirror}"#), &[], true),
        (r#""match":[{"clusterName":{"exact":"primary"}}],"mirrors":[]"#, &[], true),
    ] {
        let asked = asked(&format!("[{{{rule}}}]"), "/", more, true);
        let questions = asked.iter().filter(|what| *what == "property xds.cluster_name").count();
        assert_eq!(questions, usize::from(is_asked), "{rule} {more:?}: {asked:?}");
    }
}

#[test]
fn how_the_client_was_answered_is_asked_only_where_a_copy_that_is_compared_was_sent() {
    for (mirror, compare, more, is_asked) in [
        (r#""cluster":"a""#, r#"{"status":true}"#, None, true),
        (r#""cluster":"a""#, r#"{"status":false}"#, None, false),
        (r#""cluster":"a""#, "null", None, false),
        (r#""cluster":"a""#, r#"{"status":true}"#, Some("x-mirrored-request"), false),
        (r#""cluster":"unknown""#, r#"{"status":true}"#, None, false),
        (r#""cluster":"a","percentage":0"#, r#"{"status":true}"#, None, false),
    ] {
        // The other mirror, which never gets a copy, keeps the filter from being off.
        let rules = format!(
            r#"[{{"compare":{compare},"mirrors":[{{{mirror}}},{{"clusterHeader":"x-none"}}]}},{{"mirrors":[]}}]"#
        );
        let more: Vec<_> = more.iter().map(|name| (*name, "true")).collect();
        let asked = asked(&rules, "/", &more, true);
        assert_eq!(asked.iter().any(|what| what == "property response.code"), is_asked, "{rules}: {asked:?}");
    }
}

#[test]
fn after_a_request_whose_headers_were_needed_those_of_the_next_are_read_at_once() {
    let rules = r#"{"rules":[{"match":[{"headers":{"x-a":{}}}],"mirrors":[{"cluster":"a"}]}]}"#;
    let (envoy, root) = Envoy::with(rules);
    for (has_it, expected) in [
        (false, &["header x-a"][..]),
        (true, &["header x-a", "all headers", "property xds.cluster_name"]),
        (true, &["all headers", "property xds.cluster_name"]),
        (false, &["all headers"]),
        (false, &["header x-a"]),
    ] {
        let more = if has_it { &[("x-a", "1")][..] } else { &[] };
        let stream = envoy.begin(root, request("/", more), true);
        assert_eq!(Envoy::host(|host| host.streams[&stream].asked.clone()), expected);
        envoy.end(stream);
    }
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn a_mirror_that_fails_is_warned_of_at_powers_of_two() {
    for (cluster, answers, text) in [("unknown", false, "no_cluster"), ("a", true, "did not respond")] {
        let rules = format!(r#"{{"rules":[{{"name":"r","mirrors":[{{"cluster":"{cluster}"}}]}}]}}"#);
        let (envoy, root) = Envoy::with(&rules);
        let mut warned = Vec::new();
        for number in 1..=40 {
            envoy.serve(root, request("/", &[]), b"");
            if answers {
                let token = Envoy::host(|host| *host.in_flight.keys().next().unwrap());
                envoy.answer(token, Vec::new());
            }
            let warnings: Vec<_> =
                Envoy::host(|host| host.logs.drain(..).filter(|(level, _)| *level >= WARN).collect());
            for (level, line) in &warnings {
                let says = ["r", cluster, text, &number.to_string()].iter().all(|part| line.contains(part));
                assert!(*level == WARN && says, "{warnings:?}");
                warned.push(number);
            }
        }
        assert_eq!(warned, [1, 2, 4, 8, 16, 32], "{text}");
        envoy.check();
    }
}

#[test]
fn a_failure_is_logged_in_the_hosts_words_each_cause_for_itself_and_at_most_sixteen() {
    let (envoy, root) = Envoy::with(r#"{"rules":[{"name":"r","mirrors":[{"cluster":"a"}]}]}"#);
    let fail = |words: &str, response: &[(&str, &str)]| {
        Envoy::host(|host| host.answer_body = words.into());
        envoy.serve(root, request("/", &[]), b"");
        let token = Envoy::host(|host| *host.in_flight.keys().next().unwrap());
        envoy.answer(token, headers(response));
        Envoy::host(|host| {
            host.logs.drain(..).filter(|(level, _)| *level == WARN).map(|(_, line)| line).collect::<Vec<_>>()
        })
    };
    let mut last = Vec::new();
    for number in 0..20 {
        last = fail(&format!("cause {number}.\u{1b}\n"), &[(":status", "503")]);
        let cause = if number < 16 { format!("cause {number}.") } else { "other".to_owned() };
        let count = if number < 16 { 1 } else { number - 15 };
        if count != 3 {
            assert!(
                last[0].ends_with(&format!("did not respond: {cause} ({count} so far on this worker)")),
                "{last:?}"
            );
        }
    }
    assert_eq!(last.len(), 1);
    let again = fail("cause 0.", &[(":status", "504")]);
    assert!(again[0].ends_with("did not respond in time: cause 0. (2 so far on this worker)"), "{again:?}");
    // What the mirror says is no business of the log's.
    assert_eq!(fail("secret", &[(":status", "503"), ("x-envoy-upstream-service-time", "1")]), [""; 0]);
    envoy.check();
}

#[test]
fn each_line_begins_with_the_plugins_name() {
    let envoy = Envoy::start();
    Envoy::host(|host| host.properties.insert("plugin_name".into(), b"ns.mirror".to_vec()));
    assert_eq!(envoy.configure(br#"{"rules":[],"x":1}"#), None);
    let root = envoy.configure(br#"{"rules":[{"mirrors":[{"cluster":"a"},{"cluster":"unknown"}]}]}"#).unwrap();
    envoy.serve(root, request("/", &[]), b"");
    let token = Envoy::host(|host| *host.in_flight.keys().next().unwrap());
    envoy.answer(token, headers(&[]));
    envoy.check();
    Envoy::host(|host| {
        let lines: Vec<_> = host.logs.iter().filter(|(level, _)| *level >= WARN).map(|(_, line)| line).collect();
        // Two violations, a stream's, and a root's.
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines.iter().all(|line| line.starts_with("ns.mirror: ")), "{lines:?}");
    });
}

#[test]
fn requests_that_go_well_leave_nothing_in_the_log_above_debug() {
    let rules =
        r#"{"rules":[{"mirrors":[{"cluster":"a"},{"cluster":"b","percentage":50},{"cluster":"c","percentage":0}]}]}"#;
    let (envoy, root) = Envoy::with(rules);
    for _ in 0..20 {
        envoy.serve(root, request("/", &[]), b"body");
        envoy.serve(root, request("/", &[("x-mirrored-request", "true")]), b"body");
        envoy.answer_all("404");
    }
    envoy.check();
    Envoy::host(|host| {
        let loud: Vec<_> = host.logs.iter().filter(|(level, _)| *level > DEBUG).collect();
        assert!(loud.is_empty(), "{loud:?}");
    });
}

#[test]
fn values_of_headers_and_bodies_are_never_logged() {
    const SECRET: &str = "hunter2";
    let set = format!(r#""headers":{{"set":{{"authorization":"{SECRET}"}},"add":{{"x-key":"{SECRET}"}}}}"#);
    let rules = format!(
        r#"{{"rules":[{{"mirrors":[{{"cluster":"a",{set}}},{{"cluster":"unknown",{set}}},{{"clusterHeader":"x-to"}},
        {{"clusterHeader":"x-other","allowedClusters":["a"]}}]}}],"limits":{{"maxInFlight":1,"maxBodyBytes":9}}}}"#
    );
    let (envoy, root) = Envoy::with(&rules);
    let secrets = ["authorization", "cookie", "x-to", "x-other", ":scheme", "content-type"].map(|name| (name, SECRET));
    for body in ["", SECRET, "longer than hunter2"] {
        envoy.serve(root, request("/hunter2?hunter2", &secrets), body.as_bytes());
        envoy.answer_all(SECRET);
    }
    let broken = envoy.begin(root, request("/hunter2", &secrets), false);
    envoy.body(broken, SECRET.as_bytes(), false);
    envoy.end(broken);
    envoy.check();
    // A value that is refused is a header's value too.
    for value in [r#""hunter2\n""#, r#"["hunter2"]"#, r#"{"hunter2":"hunter2"}"#] {
        let mirror = format!(r#"{{"cluster":"a","headers":{{"set":{{"authorization":{value}}}}}}}"#);
        assert_eq!(envoy.configure(format!(r#"{{"rules":[{{"mirrors":[{mirror}]}}]}}"#).as_bytes()), None);
    }
    Envoy::host(|host| {
        assert!(!host.logs.is_empty());
        let telling: Vec<_> = host.logs.iter().filter(|(_, line)| line.contains(SECRET)).collect();
        assert!(telling.is_empty(), "{telling:?}");
    });
}
