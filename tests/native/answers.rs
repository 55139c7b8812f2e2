//! How answers are counted, whenever they come.

use fake_host::books;
use fake_host::envoy::{Envoy, headers, request};
use fake_host::host::Headers;
use std::time::{Duration, Instant};

const ONE: &str = r#"{"rules":[{"mirrors":[{"cluster":"a"}]}]}"#;
const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc+proto")];

/// Returns the class that an answer is counted in, and how many times were recorded.
fn class(more: &[(&str, &str)], answer: Headers) -> (String, usize) {
    let (envoy, root) = Envoy::with(ONE);
    envoy.serve(root, request("/", more), b"");
    let token = Envoy::host(|host| host.sent[0].token);
    envoy.answer(token, answer);
    envoy.check();
    Envoy::host(|host| {
        let classes = books::by(host, "responses_total", "class");
        assert_eq!(classes.len(), 1);
        (classes.into_keys().next().unwrap().to_owned(), books::recorded(host, "response_time_ms").len())
    })
}

#[test]
fn an_answer_is_counted_by_its_status_and_by_who_made_it() {
    let mirrors_own = ("x-envoy-upstream-service-time", "3");
    for (is_grpc, answer, expected) in [
        (false, &[(":status", "101")][..], "1xx"),
        (false, &[(":status", "200")], "2xx"),
        (false, &[(":status", "302")], "3xx"),
        (false, &[(":status", "404"), mirrors_own], "4xx"),
        (false, &[(":status", "503"), mirrors_own], "5xx"),
        (false, &[(":status", "599"), ("x-envoy-upstream-service-time", "")], "5xx"),
        // The host's own answers: refused, garbled, timed out.
        (false, &[(":status", "502")], "failed"),
        (false, &[(":status", "503"), ("content-length", "91")], "failed"),
        (false, &[(":status", "504")], "timeout"),
        (false, &[(":status", "504"), mirrors_own], "5xx"),
        (true, &[(":status", "200"), ("grpc-status", "14"), ("grpc-message", "upstream request timeout")], "timeout"),
        (
            true,
            &[(":status", "200"), mirrors_own, ("grpc-status", "14"), ("grpc-message", "upstream request timeout")],
            "5xx",
        ),
        (true, &[(":status", "200"), ("grpc-status", "14")], "failed"),
        (true, &[(":status", "200"), mirrors_own], "2xx"),
        (true, &[(":status", "200"), mirrors_own, ("grpc-status", "0")], "2xx"),
        (true, &[(":status", "200"), mirrors_own, ("grpc-status", "5")], "4xx"),
        (true, &[(":status", "200"), mirrors_own, ("grpc-status", "13")], "5xx"),
        (false, &[(":status", "200"), mirrors_own, ("grpc-status", "13")], "2xx"),
        // Reset, or nothing that could be a status.
        (false, &[], "failed"),
        (false, &[("server", "x")], "failed"),
        (false, &[(":status", "")], "failed"),
        (false, &[(":status", "x")], "failed"),
        (false, &[(":status", "\u{fffd}")], "failed"),
    ] {
        let (found, times) = class(if is_grpc { GRPC } else { &[] }, headers(answer));
        assert_eq!(found, expected, "{answer:?}");
        assert_eq!(times, usize::from(!["failed", "timeout"].contains(&expected)), "times of {answer:?}");
    }
    assert_eq!(class(&[], vec![(b":status".to_vec(), b"\xff\x00".to_vec())]).0, "failed");
}

#[test]
fn a_response_that_breaks_off_is_a_timeout_once_the_timeout_is_over() {
    for (timeout, is_late) in [("1h", false), ("1ms", true)] {
        let rules = format!(r#"{{"rules":[{{"mirrors":[{{"cluster":"a","timeout":"{timeout}"}}]}}]}}"#);
        let (envoy, root) = Envoy::with(&rules);
        envoy.serve(root, request("/", &[]), b"");
        let sent = Instant::now();
        while is_late && sent.elapsed() < Duration::from_millis(1) {
            std::hint::spin_loop();
        }
        let token = Envoy::host(|host| host.sent[0].token);
        envoy.answer(token, Headers::new());
        envoy.check();
        let class = if is_late { "timeout" } else { "failed" };
        assert_eq!(Envoy::host(|host| books::by(host, "responses_total", "class").get(class).copied()), Some(1));
    }
}

#[test]
fn answers_are_counted_before_and_after_their_streams_end_and_in_any_order() {
    let (envoy, root) = Envoy::with(ONE);
    let streams = [(); 4].map(|()| envoy.begin(root, request("/", &[]), true));
    let tokens: Vec<_> = Envoy::host(|host| host.sent.iter().map(|call| call.token).collect());
    let answer = |index: usize| envoy.answer(tokens[index], headers(&[(":status", "204")]));
    let in_flight = || Envoy::host(|host| books::sum(host, "in_flight", &[]));
    answer(3);
    answer(0);
    assert_eq!(in_flight(), 2);
    for stream in streams {
        envoy.end(stream);
    }
    answer(2);
    answer(1);
    assert_eq!(in_flight(), 0);
    envoy.check();
    assert_eq!(Envoy::host(|host| books::sum(host, "responses_total", &[("class", "2xx")])), 4);
}

#[test]
fn an_answer_may_come_while_a_request_is_being_uploaded() {
    let (envoy, root) = Envoy::with(ONE);
    let upload = envoy.begin(root, request("/", &[]), false);
    envoy.body(upload, b"first,", false);
    envoy.serve(root, request("/", &[]), b"");
    envoy.answer_all("200");
    envoy.body(upload, b"second", true);
    envoy.end(upload);
    assert_eq!(Envoy::host(|host| host.sent[1].body.clone()), b"first,second");
    envoy.answer_all("200");
    envoy.check();
}

#[test]
fn a_grpc_status_in_trailers_counts_and_what_is_grpc_is_told_by_the_copy() {
    let made_grpc =
        r#"{"rules":[{"mirrors":[{"cluster":"a","headers":{"set":{"content-type":"application/grpc"}}}]}]}"#;
    let made_plain = r#"{"rules":[{"mirrors":[{"cluster":"a","headers":{"remove":["content-type"]}}]}]}"#;
    let from_upstream = headers(&[(":status", "200"), ("x-envoy-upstream-service-time", "1")]);
    for (configuration, kind, response, trailers, expected) in [
        (ONE, "application/grpc", &from_upstream, &[("grpc-status", "14")][..], "5xx"),
        (ONE, "application/grpc", &from_upstream, &[("grpc-status", "0")], "2xx"),
        (ONE, "application/grpc-web", &from_upstream, &[("grpc-status", "14")], "2xx"),
        (made_grpc, "text/plain", &from_upstream, &[("grpc-status", "14")], "5xx"),
        // The host's own answer to a gRPC request that its mirror did not answer.
        (made_grpc, "text/plain", &headers(&[(":status", "200"), ("grpc-status", "14")]), &[], "failed"),
        (made_plain, "application/grpc", &from_upstream, &[("grpc-status", "14")], "2xx"),
    ] {
        let (envoy, root) = Envoy::with(configuration);
        envoy.serve(root, request("/", &[("content-type", kind)]), b"");
        let token = Envoy::host(|host| host.sent[0].token);
        envoy.answer_with_trailers(token, response.clone(), headers(trailers));
        envoy.check();
        let classes = Envoy::host(|host| {
            books::by(host, "responses_total", "class").into_keys().map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(classes, [expected], "{configuration} {kind} {trailers:?}");
    }
}

#[test]
fn what_a_client_got_is_a_final_status_that_reached_it() {
    let compares = r#"{"rules":[{"mirrors":[{"cluster":"a"}],"compare":{"status":true}}]}"#;
    for (status, details, expected) in [
        (Some(200), "via_upstream", "same"),
        (Some(404), "via_upstream", "different"),
        (Some(302), "via_upstream", "different"),
        (Some(503), "via_upstream", "primary_error"),
        // Envoy followed the redirect by itself, as another request.
        (Some(302), "internal_redirect", "mirror_only"),
        // The client left after `100 Continue`.
        (Some(100), "downstream_remote_disconnect", "mirror_only"),
        (Some(103), "downstream_remote_disconnect", "mirror_only"),
        (None, "downstream_remote_disconnect", "mirror_only"),
    ] {
        let (envoy, root) = Envoy::with(compares);
        Envoy::host(|host| host.properties.insert("response.code_details".into(), details.into()));
        let stream = envoy.begin(root, request("/", &[]), true);
        envoy.end_answered(stream, status);
        envoy.answer_all("200");
        envoy.check();
        let results = Envoy::host(|host| {
            books::by(host, "compared_total", "result").into_keys().map(str::to_owned).collect::<Vec<_>>()
        });
        assert_eq!(results, [expected], "{status:?} {details}");
    }
}

/// Lets a primary and its mirror answer, or not; returns how the pair is counted, and how the primary.
fn compared(kind: &str, primary: Option<u16>, copy: Option<&str>) -> (String, String) {
    let compares = r#"{"rules":[{"mirrors":[{"cluster":"a"}],"compare":{"status":true}}]}"#;
    let (envoy, root) = Envoy::with(compares);
    let stream = envoy.begin(root, request("/", &[("content-type", kind)]), true);
    match copy {
        Some(status) => envoy.answer_all(status),
        None => envoy.answer(Envoy::host(|host| host.sent[0].token), Headers::new()),
    }
    envoy.end_answered(stream, primary);
    envoy.check();
    Envoy::host(|host| {
        let one = |what, tag| {
            let found = books::by(host, what, tag);
            assert_eq!(found.values().sum::<i64>(), 1, "{what}: {found:?}");
            found.into_keys().next().unwrap().to_owned()
        };
        (one("compared_total", "result"), one("primary_responses_total", "class"))
    })
}

#[test]
fn a_pair_says_which_side_has_an_error() {
    const PLAIN: &str = "text/plain";
    for (kind, primary, copy, expected, class) in [
        (PLAIN, Some(200), Some("200"), "same", "2xx"),
        (PLAIN, Some(200), Some("500"), "mirror_error", "2xx"),
        (PLAIN, Some(404), Some("500"), "mirror_error", "4xx"),
        (PLAIN, Some(500), Some("200"), "primary_error", "5xx"),
        (PLAIN, Some(302), Some("404"), "different", "3xx"),
        (PLAIN, Some(500), Some("503"), "different", "5xx"),
        (PLAIN, Some(404), None, "primary_only", "4xx"),
        (PLAIN, Some(503), None, "neither", "5xx"),
        (PLAIN, None, Some("500"), "mirror_only", "none"),
        (PLAIN, None, None, "neither", "none"),
        // The status of gRPC is in what the filter does not look at; that of HTTP tells what it can.
        ("application/grpc", Some(200), Some("200"), "not_compared", "2xx"),
        ("application/grpc", Some(200), Some("503"), "mirror_error", "2xx"),
        ("application/grpc", Some(200), None, "primary_only", "2xx"),
    ] {
        let found = compared(kind, primary, copy);
        assert_eq!((found.0.as_str(), found.1.as_str()), (expected, class), "{kind} {primary:?} {copy:?}");
    }
}

#[test]
fn of_two_mirrors_of_a_request_the_primary_is_counted_once() {
    let compares = r#"{"rules":[{"mirrors":[{"cluster":"a"},{"cluster":"b"}],"compare":{"status":true}}]}"#;
    let (envoy, root) = Envoy::with(compares);
    let stream = envoy.begin(root, request("/", &[]), true);
    envoy.answer(Envoy::host(|host| host.sent[1].token), Headers::new());
    envoy.end_answered(stream, Some(200));
    envoy.answer_all("200");
    envoy.check();
    Envoy::host(|host| {
        assert_eq!(books::sum(host, "primary_responses_total", &[("class", "2xx")]), 1);
        assert_eq!(books::recorded(host, "primary_response_time_ms").len(), 1);
    });
}

#[test]
fn the_primary_took_as_long_as_its_upstream_did_or_as_its_stream_whichever_is_less() {
    let compares = r#"{"rules":[{"mirrors":[{"cluster":"a"}],"compare":{"status":true}}]}"#;
    let waits = Duration::from_millis(20);
    for (latency_ms, expected) in
        [(Some(3i64), 3..4), (Some(3_600_000), 20..10_000), (None, 20..10_000), (Some(-1), 20..10_000)]
    {
        let (envoy, root) = Envoy::with(compares);
        if let Some(latency) = latency_ms {
            let nanoseconds = (latency * 1_000_000).to_le_bytes().to_vec();
            Envoy::host(|host| host.properties.insert("response.backend_latency".into(), nanoseconds));
        }
        let stream = envoy.begin(root, request("/", &[]), true);
        envoy.answer_all("200");
        let since = Instant::now();
        while since.elapsed() < waits {
            std::hint::spin_loop();
        }
        envoy.end_answered(stream, Some(200));
        envoy.check();
        let took = Envoy::host(|host| books::recorded(host, "primary_response_time_ms"));
        assert!(took.len() == 1 && expected.contains(&took[0]), "{latency_ms:?}: {took:?}");
        // The mirror answered at once, so it was faster by as much.
        let faster = Envoy::host(|host| books::recorded(host, "faster_ms"));
        assert!(faster.len() == 1 && faster[0].abs_diff(took[0]) < 15, "{latency_ms:?}: {faster:?} {took:?}");
    }
}
