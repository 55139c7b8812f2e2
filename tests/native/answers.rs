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
