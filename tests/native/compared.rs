//! Responses that are compared in full: which are looked at, what is kept of them, what is counted and logged.

use fake_host::books;
use fake_host::envoy::{Envoy, headers, request};
use fake_host::host::{Headers, WARN};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const FROM_MIRROR: (&str, &str) = ("x-envoy-upstream-service-time", "1");

fn configuration(compare: &Value, limits: &Value) -> String {
    json!({ "rules": [{ "name": "r", "compare": compare, "mirrors": [{ "cluster": "a" }] }], "limits": limits })
        .to_string()
}

fn content() -> Value {
    json!({ "status": true, "headers": ["x-v"], "body": { "json": { "ignore": ["/id"] }, "maxBytes": 1000 } })
}

fn ok(more: &[(&str, &str)]) -> Headers {
    headers(&[&[(":status", "200"), FROM_MIRROR], more].concat())
}

/// A response: its headers, and its body.
type Response<'a> = (&'a [(&'a str, &'a str)], &'a str);

/// Serves a request to which primary and mirror respond so; the primary in two chunks, and first.
fn serve(envoy: &Envoy, root: u32, id: &str, primary: Response<'_>, mirror: Response<'_>) {
    let stream = envoy.begin(root, request("/", &[("x-request-id", id)]), true);
    envoy.response_headers(stream, ok(primary.0), false);
    let (first, second) = primary.1.split_at(primary.1.len() / 2);
    envoy.response_body(stream, first.as_bytes(), false);
    envoy.response_body(stream, second.as_bytes(), true);
    envoy.end_answered(stream, Some(200));
    Envoy::host(|host| host.answer_body = mirror.1.as_bytes().to_vec());
    let token = Envoy::host(|host| *host.in_flight.keys().last().unwrap());
    envoy.answer(token, ok(mirror.0));
}

fn results() -> BTreeMap<String, i64> {
    Envoy::host(|host| {
        let own = |(name, count): (&str, i64)| (name.to_owned(), count);
        books::by(host, "compared_total", "result").into_iter().map(own).collect()
    })
}

fn fields() -> BTreeMap<String, i64> {
    Envoy::host(|host| {
        let own = |(name, count): (&str, i64)| (name.to_owned(), count);
        books::by(host, "differences_total", "field").into_iter().map(own).collect()
    })
}

fn counts(expected: &[(&str, i64)]) -> BTreeMap<String, i64> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// The lines of the log that tell of differences.
fn logged() -> Vec<String> {
    Envoy::host(|host| {
        let lines = host.logs.iter().filter(|(level, line)| *level >= WARN && line.contains("differs"));
        lines.map(|(_, line)| line.clone()).collect()
    })
}

#[test]
fn each_place_that_differs_is_counted_and_named_in_the_log_without_its_values() {
    let (envoy, root) = Envoy::with(&configuration(&content(), &json!({})));
    let same = r#"{"id":1,"price":10,"name":"secret"}"#;
    for (mirror, x_v) in [
        (r#"{"id":2,"price":10.0,"name":"secret"}"#, "1"),
        (r#"{"id":3,"price":11,"name":"secret"}"#, "1"),
        (r#"{"id":4,"price":11,"name":"public"}"#, "2"),
        (r#"{"id":5,"price":11,"name":"secret"}"#, "1"),
        (r#"{"id":6,"price":11,"name":"secret"}"#, "1"),
    ] {
        serve(&envoy, root, "an-id", (&[("x-v", "1")], same), (&[("x-v", x_v)], mirror));
    }
    assert_eq!(results(), counts(&[("same", 1), ("different_body", 3), ("different_headers", 1)]));
    assert_eq!(fields(), counts(&[("body/price", 4), ("body/name", 1), ("headers/x-v", 1)]));
    let log = logged();
    assert_eq!(log.len(), 3, "{log:#?}");
    assert!(log[0].ends_with("body/price (1); x-request-id: an-id"), "{log:#?}");
    assert!(log[1].contains("body/price (2)") && log[1].contains("headers/x-v (1)"), "{log:#?}");
    assert!(log[2].contains("body/price (4)"), "{log:#?}");
    assert!(!log.iter().any(|line| line.contains("secret") || line.contains("public") || line.contains("11")));
    envoy.check();
}

#[test]
fn no_place_is_counted_or_logged_without_fields() {
    let mut compare = content();
    compare["fields"] = false.into();
    let (envoy, root) = Envoy::with(&configuration(&compare, &json!({})));
    serve(&envoy, root, "an-id", (&[], r#"{"a":1}"#), (&[("x-v", "1")], r#"{"a":2}"#));
    let stream = envoy.serve(root, request("/", &[]), b"");
    assert!(stream > 0);
    envoy.answer_all("503");
    assert_eq!(results()["different_headers"], 1);
    assert_eq!((fields(), logged()), (counts(&[]), Vec::new()));
    Envoy::host(|host| assert!(!host.metrics.iter().any(|metric| metric.what == "differences_total")));
    envoy.check();
}

#[test]
fn a_request_id_that_is_odd_cannot_forge_the_log() {
    let (envoy, root) = Envoy::with(&configuration(&content(), &json!({})));
    let long = format!("a b\n{}", "x".repeat(200));
    serve(&envoy, root, &long, (&[], "1"), (&[], "2"));
    let log = logged();
    assert!(log[0].ends_with(&format!("body (1); x-request-id: a_b_{}", "x".repeat(124))), "{log:#?}");
    envoy.check();
}

#[test]
fn what_is_not_compared_is_not_read() {
    let status = json!({ "status": true });
    let body = json!({ "body": { "exact": true, "maxBytes": 3 } });
    let grpc = ("content-type", "application/grpc");
    let everything = |envoy: &Envoy, stream| {
        envoy.response_headers(stream, ok(&[]), false);
        envoy.response_body(stream, b"ab", false);
        envoy.response_body(stream, b"cd", false);
        envoy.response_body(stream, b"e", false);
        envoy.response_trailers(stream, headers(&[("grpc-status", "0")]));
    };
    for (compare, request, expected) in [
        (Value::Null, request("/", &[]), &[][..]),
        (status.clone(), request("/", &[]), &[]),
        (status, request("/", &[grpc]), &["response: all headers", "response: header grpc-status"]),
        (json!({ "headers": ["x-v"] }), request("/", &[grpc]), &["response: all headers"]),
        // Of what is too long nothing more is read.
        (body.clone(), request("/", &[]), &["response: all headers", "response: body"]),
        // Of a request that is never mirrored, nothing.
        (body, request("/", &[("x-mirrored-request", "true")]), &[]),
    ] {
        let (envoy, root) = Envoy::with(&configuration(&compare, &json!({})));
        let stream = envoy.begin(root, request, true);
        everything(&envoy, stream);
        let asked = envoy.end_answered(stream, Some(200)).asked;
        let asked: Vec<_> = asked.iter().filter(|asked| asked.starts_with("response: ")).collect();
        assert_eq!(asked, expected, "{compare}");
        envoy.answer_all("200");
        envoy.check();
    }
}

#[test]
fn nothing_is_read_of_a_response_whose_request_was_not_copied() {
    let (envoy, root) = Envoy::with(&configuration(&content(), &json!({ "maxBodyBytes": 1 })));
    let stream = envoy.begin(root, request("/", &[]), false);
    envoy.response_headers(stream, ok(&[]), false);
    envoy.response_body(stream, b"abc", false);
    assert_eq!(buffered(), 3);
    envoy.body(stream, b"too long", true);
    assert_eq!(buffered(), 0, "no copy was sent");
    envoy.response_body(stream, b"def", true);
    assert_eq!(buffered(), 0);
    envoy.end_answered(stream, Some(200));
    envoy.check();
}

fn buffered() -> i64 {
    Envoy::host(|host| books::sum(host, "buffered_bytes", &[]))
}

#[test]
fn bodies_under_comparison_yield_to_those_of_requests() {
    let (envoy, root) = Envoy::with(&configuration(&content(), &json!({ "maxBufferedBytes": 25 })));
    let begin = |chunk: &[u8]| {
        let stream = envoy.begin(root, request("/", &[]), true);
        envoy.response_headers(stream, ok(&[]), false);
        envoy.response_body(stream, chunk, true);
        stream
    };
    let (first, second, third) = (begin(b"1234567890"), begin(b"1234567890"), begin(b"1234567890"));
    assert_eq!(buffered(), 20, "the third finds no room");
    let upload = envoy.begin(root, request("/", &[]), false);
    envoy.body(upload, b"123456", false);
    assert_eq!(buffered(), 16, "the first went");
    envoy.body(upload, b"1234567890123456789", false);
    assert_eq!(buffered(), 25, "all went");
    envoy.body(upload, b"", true);
    envoy.end(upload);
    let fourth = begin(b"1234567890");
    Envoy::host(|host| host.answer_body = b"1234567890".to_vec());
    for stream in [first, second, third, fourth] {
        envoy.end_answered(stream, Some(200));
    }
    envoy.answer_all("200");
    assert_eq!(results(), counts(&[("not_compared", 3), ("same", 1), ("mirror_only", 1)]));
    envoy.check();
}

#[test]
fn a_mirror_that_responds_first_waits_for_the_primary() {
    let (envoy, root) = Envoy::with(&configuration(&content(), &json!({})));
    let stream = envoy.begin(root, request("/", &[]), true);
    Envoy::host(|host| host.answer_body = b"[1]".to_vec());
    envoy.answer_all("200");
    assert_eq!(buffered(), 3);
    envoy.response_headers(stream, ok(&[]), false);
    envoy.response_body(stream, b"[2]", true);
    assert_eq!(buffered(), 6);
    envoy.end_answered(stream, Some(200));
    assert_eq!((results(), fields()), (counts(&[("different_body", 1)]), counts(&[("body/*", 1)])));
    envoy.check();
}

#[test]
fn a_response_that_comes_before_the_end_of_its_request_is_compared_too() {
    let (envoy, root) = Envoy::with(&configuration(&content(), &json!({})));
    let stream = envoy.begin(root, request("/", &[]), false);
    envoy.response_headers(stream, ok(&[]), false);
    envoy.body(stream, b"x", false);
    envoy.response_body(stream, b"1", false);
    envoy.trailers(stream);
    envoy.response_trailers(stream, headers(&[]));
    envoy.end_answered(stream, Some(200));
    Envoy::host(|host| host.answer_body = b"1.0".to_vec());
    envoy.answer_all("200");
    assert_eq!(results(), counts(&[("same", 1)]));
    envoy.check();
}

#[test]
fn grpc_calls_are_compared_by_their_grpc_status_wherever_it_stands() {
    let grpc = [("content-type", "application/grpc")];
    // Of the primary and the mirror: the status in headers, and that in trailers.
    for (primary, mirror, expected) in [
        ((None, Some("0")), (None, Some("0")), "same"),
        ((None, Some("0")), (Some("0"), None), "same"),
        ((Some("5"), None), (None, Some("5")), "same"),
        ((None, Some("5")), (None, Some("0")), "different"),
        ((None, Some("0")), (None, Some("14")), "mirror_error"),
        ((Some("13"), None), (None, Some("0")), "primary_error"),
        ((None, Some("13")), (None, Some("14")), "different"),
        ((None, None), (None, Some("0")), "not_compared"),
        ((None, Some("0")), (None, None), "not_compared"),
    ] {
        let (envoy, root) = Envoy::with(&configuration(&json!({ "status": true }), &json!({})));
        let stream = envoy.begin(root, request("/", &grpc), true);
        let status = |status: Option<&'static str>| status.map(|status| ("grpc-status", status));
        let in_headers = |found| ok(&Vec::from_iter(status(found)));
        envoy.response_headers(stream, in_headers(primary.0), false);
        envoy.response_trailers(stream, headers(&Vec::from_iter(status(primary.1))));
        envoy.end_answered(stream, Some(200));
        let token = Envoy::host(|host| *host.in_flight.keys().next().unwrap());
        envoy.answer_with_trailers(token, in_headers(mirror.0), headers(&Vec::from_iter(status(mirror.1))));
        assert_eq!(results(), counts(&[(expected, 1)]), "{primary:?} {mirror:?}");
        let differs = !["same", "not_compared"].contains(&expected);
        assert_eq!(fields(), if differs { counts(&[("status", 1)]) } else { counts(&[]) });
        envoy.check();
    }
}

#[test]
fn what_a_replaced_configuration_kept_is_given_back_when_its_last_pair_is_complete() {
    let (envoy, root) = Envoy::with(&configuration(&content(), &json!({})));
    let stream = envoy.begin(root, request("/", &[]), true);
    envoy.response_headers(stream, ok(&[]), false);
    envoy.response_body(stream, b"123", true);
    envoy.configure(configuration(&json!({ "status": true }), &json!({})).as_bytes()).unwrap();
    envoy.retire(root);
    envoy.end_answered(stream, Some(200));
    assert_eq!(buffered(), 3);
    Envoy::host(|host| host.answer_body = b"123".to_vec());
    envoy.answer_all("200");
    assert_eq!((results(), buffered()), (counts(&[("same", 1)]), 0));
    envoy.check();
}

#[test]
fn a_mirror_that_fails_has_no_response_to_compare() {
    let (envoy, root) = Envoy::with(&configuration(&content(), &json!({})));
    let stream = envoy.begin(root, request("/", &[]), true);
    envoy.response_headers(stream, ok(&[]), true);
    envoy.end_answered(stream, Some(200));
    Envoy::host(|host| host.answer_body = b"upstream connect error".to_vec());
    let token = Envoy::host(|host| *host.in_flight.keys().next().unwrap());
    envoy.answer(token, headers(&[(":status", "503")]));
    assert_eq!((results(), fields()), (counts(&[("primary_only", 1)]), counts(&[])));
    envoy.check();
}
