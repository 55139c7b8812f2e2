//! What is sent, when, and on whose behalf; and what becomes of a copy that is not.

use fake_host::books;
use fake_host::envoy::{Envoy, headers, request};
use fake_host::host::Call;

const ONE: &str = r#"{"rules":[{"name":"r","mirrors":[{"cluster":"a","timeout":"1500ms"}]}]}"#;

/// What comes of a request after its headers.
#[derive(Debug, Clone, Copy)]
enum Part {
    Chunk(&'static str),
    LastChunk(&'static str),
    Trailers,
}

/// Serves a request part by part, and returns the calls that each part made.
fn serve(envoy: &Envoy, root: u32, parts: &[Part]) -> Vec<usize> {
    let sent = || Envoy::host(|host| host.sent.len());
    let stream = envoy.begin(root, request("/", &[]), parts.is_empty());
    let mut made = vec![sent()];
    for part in parts {
        let before = sent();
        match part {
            Part::Chunk(chunk) => envoy.body(stream, chunk.as_bytes(), false),
            Part::LastChunk(chunk) => envoy.body(stream, chunk.as_bytes(), true),
            Part::Trailers => envoy.trailers(stream),
        }
        made.push(sent() - before);
    }
    envoy.end(stream);
    made
}

/// Returns the outcomes of copies, and ends the test's streams, calls and checks.
fn outcomes(envoy: &Envoy) -> Vec<(String, i64)> {
    envoy.answer_all("200");
    envoy.check();
    Envoy::host(|host| {
        let outcomes = books::by(host, "copies_total", "outcome");
        outcomes.into_iter().map(|(outcome, count)| (outcome.to_owned(), count)).collect()
    })
}

fn only_call() -> Call {
    Envoy::host(|host| {
        assert_eq!(host.sent.len(), 1);
        host.sent[0].clone()
    })
}

#[test]
fn a_copy_is_sent_in_the_callback_that_completes_its_request_and_in_no_other() {
    use Part::{Chunk, LastChunk, Trailers};
    for (parts, made, body) in [
        (&[][..], &[1][..], ""),
        (&[LastChunk("")], &[0, 1], ""),
        (&[LastChunk("whole")], &[0, 1], "whole"),
        (&[Chunk("who"), Chunk(""), Chunk("le"), LastChunk("")], &[0, 0, 0, 0, 1], "whole"),
        (&[Chunk("who"), Trailers], &[0, 0, 1], "who"),
        (&[Trailers], &[0, 1], ""),
    ] {
        let (envoy, root) = Envoy::with(ONE);
        assert_eq!(serve(&envoy, root, parts), made, "{parts:?}");
        assert_eq!(only_call().body, body.as_bytes(), "{parts:?}");
        assert_eq!(outcomes(&envoy), [("sent".to_owned(), 1)]);
    }
}

#[test]
fn a_request_that_breaks_off_is_not_copied_and_lets_go_of_its_body() {
    for parts in [&[Part::Chunk("who")][..], &[Part::Chunk("")], &[Part::Chunk("who"), Part::Chunk("le")]] {
        let (envoy, root) = Envoy::with(ONE);
        assert_eq!(serve(&envoy, root, parts).iter().sum::<usize>(), 0, "{parts:?}");
        assert_eq!(outcomes(&envoy), [("incomplete".to_owned(), 1)], "{parts:?}");
    }
}

#[test]
fn a_request_that_is_refused_before_its_headers_came_is_not_counted() {
    let (envoy, root) = Envoy::with(ONE);
    let stream = envoy.open(root, request("/", &[]));
    envoy.end(stream);
    assert_eq!(outcomes(&envoy), []);
}

#[test]
fn what_never_gets_a_copy_is_ignored_only_where_it_would_have_got_one() {
    let rule = |name, mirrors| {
        format!(r#"{{"name":"{name}","match":[{{"authority":{{"exact":"{name}"}}}}],"mirrors":{mirrors}}}"#)
    };
    let rules = [
        rule("excluded", "[]"),
        rule("unsampled", r#"[{"cluster":"a","percentage":0}]"#),
        rule("nowhere", r#"[{"clusterHeader":"x-to"},{"clusterHeader":":method","allowedClusters":["a"]}]"#),
        rule("copied", r#"[{"cluster":"a","percentage":0},{"cluster":"b"}]"#),
    ];
    let marked = ("POST", &[("x-mirrored-request", "")][..]);
    let upgrade = ("GET", &[("upgrade", "websocket"), ("connection", "Upgrade")][..]);
    let (connect, unrouted) = (("CONNECT", &[][..]), ("GET", &[][..]));
    for (reason, (method, more)) in
        [("marked", marked), ("upgrade", upgrade), ("connect", connect), ("unrouted", unrouted)]
    {
        let (envoy, root) = Envoy::with(&format!(r#"{{"rules":[{}]}}"#, rules.join(",")));
        if reason == "unrouted" {
            Envoy::host(|host| host.properties.clear());
        }
        for authority in ["excluded", "unsampled", "nowhere", "copied", "other"] {
            let pseudo = [(":authority", authority), (":path", "/"), (":method", method), (":scheme", "http")];
            let stream = envoy.begin(root, headers(&[&pseudo[..], more].concat()), false);
            envoy.body(stream, b"frame", false);
            envoy.end(stream);
        }
        let counted = [("cluster_not_allowed", 1), ("no_cluster_header", 1), ("unsampled", 1)];
        assert_eq!(outcomes(&envoy), counted.map(|(outcome, count)| (outcome.to_owned(), count)), "{reason}");
        Envoy::host(|host| {
            assert_eq!(books::by(host, "ignored_total", "reason"), [(reason, 1)].into());
            let requests = books::by(host, "requests_total", "rule");
            assert_eq!(requests, [("excluded", 1), ("nowhere", 1), ("unsampled", 1)].into(), "{reason}");
        });
    }
}

#[test]
fn a_copy_belongs_to_the_root_and_has_the_mirrors_timeout_and_raw_bytes() {
    let (envoy, root) = Envoy::with(ONE);
    let mut sent = request("/p?q", &[("x-a", "1"), ("x-b", ""), ("x-a", "2")]);
    sent.push((b"x-raw".to_vec(), b"caf\xe9".to_vec()));
    let stream = envoy.serve(root, sent.clone(), b"\x00\xff");
    let call = only_call();
    assert_eq!((call.root, call.stream, call.cluster.as_str(), call.timeout), (root, stream, "a", 1500));
    assert_eq!(call.body, b"\x00\xff");
    sent[0].1 = b"primary.test-shadow".to_vec();
    sent.extend(headers(&[("x-mirrored-request", "true")]));
    assert_eq!(call.headers, sent);
    outcomes(&envoy);
}

#[test]
fn each_reason_for_not_sending_a_copy_has_its_outcome() {
    for (mirror, limits, body, expected) in [
        (r#""cluster":"unknown""#, "", "", [("no_cluster", 3)].as_slice()),
        (r#""cluster":"drained""#, "", "", &[("no_upstream", 3)]),
        (r#""clusterHeader":"x-none""#, "", "", &[("no_cluster_header", 3)]),
        (r#""clusterHeader":"x-to","allowedClusters":["b"]"#, "", "", &[("cluster_not_allowed", 3)]),
        (r#""clusterHeader":"x-to""#, "", "", &[("sent", 3)]),
        (r#""cluster":"a","percentage":0.0"#, "", "", &[("unsampled", 3)]),
        (r#""cluster":"a""#, r#""maxBodyBytes":3"#, "body", &[("body_too_large", 3)]),
        (r#""cluster":"a","onOversizedBody":"omit""#, r#""maxBodyBytes":3"#, "body", &[("sent", 3)]),
        (r#""cluster":"a""#, r#""maxBufferedBytes":3"#, "body", &[("body_too_large", 3)]),
        (r#""cluster":"a","body":"omit""#, r#""maxBufferedBytes":3"#, "body", &[("sent", 3)]),
        (r#""cluster":"a""#, r#""maxInFlight":2"#, "", &[("in_flight_limit", 1), ("sent", 2)]),
        (r#""cluster":"a""#, r#""maxRequestsPerSecond":1,"burst":2"#, "body", &[("rate_limit", 1), ("sent", 2)]),
        (r#""cluster":"drained""#, r#""maxRequestsPerSecond":1"#, "", &[("no_upstream", 3)]),
        (r#""cluster":"drained""#, r#""maxInFlight":1"#, "", &[("no_upstream", 3)]),
    ] {
        let more = r#"{"name":"on","match":[{"uri":{"exact":"/on"}}],"mirrors":[{"cluster":"b"}]}"#;
        let rules = format!(r#"[{more},{{"mirrors":[{{{mirror}}}]}}]"#);
        let (envoy, root) = Envoy::with(&format!(r#"{{"rules":{rules},"limits":{{{limits}}}}}"#));
        for _ in 0..3 {
            envoy.serve(root, request("/", &[("x-to", "a")]), body.as_bytes());
        }
        let outcomes = outcomes(&envoy);
        let outcomes: Vec<_> = outcomes.iter().map(|(outcome, count)| (outcome.as_str(), *count)).collect();
        assert_eq!(outcomes, expected, "{mirror}, {limits}");
    }
}

#[test]
fn an_answer_makes_room_for_the_next_copy() {
    let (envoy, root) = Envoy::with(r#"{"rules":[{"mirrors":[{"cluster":"a"}]}],"limits":{"maxInFlight":1}}"#);
    for _ in 0..3 {
        envoy.serve(root, request("/", &[]), b"");
        envoy.answer_all("200");
    }
    assert_eq!(outcomes(&envoy), [("sent".to_owned(), 3)]);
}

#[test]
fn bodies_that_are_held_at_one_time_share_the_limit() {
    let rules = r#"{"rules":[{"mirrors":[{"cluster":"a"}]}],"limits":{"maxBufferedBytes":10}}"#;
    let (envoy, root) = Envoy::with(rules);
    let streams = [(); 3].map(|()| envoy.begin(root, request("/", &[]), false));
    for stream in streams {
        envoy.body(stream, b"12345", false);
        assert!(Envoy::host(|host| books::sum(host, "buffered_bytes", &[])) <= 10);
    }
    envoy.end(streams[0]);
    let late = envoy.begin(root, request("/", &[]), false);
    envoy.body(late, b"1234", true);
    envoy.body(streams[1], b"", true);
    for stream in [late, streams[1], streams[2]] {
        envoy.end(stream);
    }
    let expected = [("buffer_limit", 1), ("incomplete", 1), ("sent", 2)];
    assert_eq!(outcomes(&envoy), expected.map(|(outcome, count)| (outcome.to_owned(), count)));
}

#[test]
fn a_body_that_no_copy_will_have_is_let_go_at_once_though_copies_without_it_wait() {
    for (limit, other) in [(r#""maxBodyBytes":8"#, &b""[..]), (r#""maxBufferedBytes":12"#, b"other")] {
        let mirrors = r#"[{"cluster":"a","onOversizedBody":"omit"},{"cluster":"b","body":"omit"}]"#;
        let (envoy, root) = Envoy::with(&format!(r#"{{"rules":[{{"mirrors":{mirrors}}}],"limits":{{{limit}}}}}"#));
        let upload = envoy.begin(root, request("/", &[]), false);
        envoy.body(upload, other, false);
        let stream = envoy.begin(root, request("/", &[]), false);
        let held = [5, 0, 0].map(|expected| {
            envoy.body(stream, b"12345", false);
            let held = Envoy::host(|host| books::sum(host, "buffered_bytes", &[]));
            (held - i64::try_from(other.len()).unwrap(), expected)
        });
        assert!(held.iter().all(|(held, expected)| held == expected), "{limit}: {held:?}");
        envoy.trailers(stream);
        envoy.end(stream);
        envoy.end(upload);
        assert!(Envoy::host(|host| host.sent.iter().all(|call| call.body.is_empty())));
        outcomes(&envoy);
    }
}

#[test]
fn a_chunk_that_the_host_does_not_hand_over_costs_the_copy_and_nothing_else() {
    let (envoy, root) = Envoy::with(ONE);
    let stream = envoy.begin(root, request("/", &[]), false);
    envoy.body(stream, b"first", false);
    Envoy::host(|host| host.hides_body = true);
    envoy.body(stream, b"second", false);
    envoy.body(stream, b"third", true);
    envoy.end(stream);
    assert_eq!(outcomes(&envoy), [("buffer_limit".to_owned(), 1)]);
}

#[test]
fn a_request_that_the_host_cannot_send_is_counted() {
    let many: Vec<_> = (0..1100).map(|_| ("x-many", "1")).collect();
    let large = "v".repeat(1 << 20);
    let no_path = headers(&[(":authority", "primary.test"), (":method", "GET")]);
    for headers in [request("/", &many), request("/", &[("x-large", &large)]), no_path, Vec::new()] {
        let (envoy, root) = Envoy::with(ONE);
        envoy.serve(root, headers, b"");
        assert_eq!(outcomes(&envoy), [("no_cluster".to_owned(), 1)]);
    }
}

#[test]
fn properties_are_asked_for_by_the_paths_that_envoy_knows() {
    for (condition, property, value) in [
        (r#""sourceCidrs":["fd00::/8"]"#, "source.address", "[fd00::1]:80"),
        (r#""routeName":{"exact":"shop"}"#, "xds.route_name", "shop"),
        (r#""clusterName":{"exact":"shop"}"#, "xds.cluster_name", "shop"),
    ] {
        let rules = format!(r#"{{"rules":[{{"match":[{{{condition}}}],"mirrors":[{{"cluster":"a"}}]}}]}}"#);
        let (envoy, root) = Envoy::with(&rules);
        envoy.serve(root, request("/", &[]), b"");
        Envoy::host(|host| host.properties.insert(property.to_owned(), value.as_bytes().to_vec()));
        envoy.serve(root, request("/", &[]), b"");
        assert_eq!(outcomes(&envoy), [("sent".to_owned(), 1)], "{condition}");
    }
}

#[test]
fn the_headers_of_uploads_under_way_have_a_limit_too_and_make_room_when_they_end() {
    let (envoy, root) = Envoy::with(ONE);
    let large = "x".repeat(1 << 19);
    let begin = || envoy.begin(root, request("/", &[("x-large", &large)]), false);
    // Each is a little more than half a MiB, of 64 MiB in all.
    let mut uploads: Vec<_> = (0..128).map(|_| begin()).collect();
    let outcome = |name: &str| Envoy::host(|host| books::sum(host, "copies_total", &[("outcome", name)]));
    assert_eq!(outcome("buffer_limit"), 1);
    // What has ended with its headers needs no room, and is sent.
    envoy.serve(root, request("/", &[("x-large", &large)]), b"");
    assert_eq!((outcome("buffer_limit"), outcome("sent")), (1, 1));
    let ended = uploads.remove(0);
    envoy.body(ended, b"", true);
    uploads.push(begin());
    assert_eq!((outcome("buffer_limit"), outcome("sent")), (1, 2));
    for upload in uploads {
        envoy.end(upload);
    }
    envoy.end(ended);
    // Broken off, they make room as well.
    let again: Vec<_> = (0..127).map(|_| begin()).collect();
    assert_eq!(outcome("buffer_limit"), 1);
    again.into_iter().for_each(|upload| envoy.end(upload));
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn a_rule_at_0_percent_counts_its_requests_as_any_other() {
    let off = r#"{"rules":[{"name":"one","match":[{"uri":{"exact":"/one"}}],"mirrors":[{"cluster":"a","percentage":0}]},
        {"name":"two","mirrors":[{"cluster":"a","percentage":0},{"cluster":"b","percentage":0}]}]}"#;
    let (envoy, root) = Envoy::with(off);
    for path in ["/one", "/two", "/three"] {
        envoy.serve(root, request(path, &[]), b"body");
    }
    envoy.check();
    Envoy::host(|host| {
        assert_eq!(books::by(host, "requests_total", "rule"), [("one", 1), ("two", 2)].into());
        assert_eq!(books::by(host, "copies_total", "outcome"), [("unsampled", 5)].into());
    });
}
