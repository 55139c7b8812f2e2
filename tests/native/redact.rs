//! What is hidden on copies, and which copies are not sent for it.

use fake_host::books;
use fake_host::envoy::{Envoy, request};

/// Serves a request with this body, and returns the body of its copy, or the outcome where there is none.
fn serve(mirror: &str, limits: &str, headers: &[(&str, &str)], body: &str) -> Result<String, String> {
    let rules = format!(r#"{{"rules":[{{"mirrors":[{{{mirror}}}]}}],"limits":{{{limits}}}}}"#);
    let (envoy, root) = Envoy::with(&rules);
    envoy.serve(root, request("/?token=secret", headers), body.as_bytes());
    envoy.answer_all("200");
    envoy.check();
    Envoy::host(|host| {
        let outcomes = books::by(host, "copies_total", "outcome");
        let (outcome, _) = outcomes.into_iter().next().unwrap();
        let sent = host.sent.first().map(|call| String::from_utf8_lossy(&call.body).into_owned());
        assert_eq!(sent.is_some(), outcome == "sent");
        sent.ok_or_else(|| outcome.to_owned())
    })
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[test]
fn a_copy_whose_values_cannot_be_hidden_is_not_sent() {
    let failed = || Err("redaction_failed".to_owned());
    let hides = r#""cluster":"a","redact":{"json":["/a"]}"#;
    let omits = r#""cluster":"a","redact":{"json":["/a"]},"body":"omit""#;
    let oversized = r#""cluster":"a","redact":{"json":["/a"]},"onOversizedBody":"omit""#;
    let small = r#""maxBodyBytes":8"#;
    for (mirror, limits, headers, body, expected) in [
        (hides, "", &[JSON][..], r#"{"a":1}"#, Ok(r#"{"a":"***"}"#.to_owned())),
        (hides, "", &[JSON], r#"{"b":1}"#, Ok(r#"{"b":1}"#.to_owned())),
        (hides, "", &[JSON], "{", failed()),
        (hides, "", &[], r#"{"a":1}"#, failed()),
        (hides, "", &[], "", Ok(String::new())),
        (omits, "", &[], "{", Ok(String::new())),
        (oversized, small, &[], "{ too long", Ok(String::new())),
        (hides, small, &[JSON], r#"{"a":1}"#, failed()),
        (hides, small, &[JSON], r#"{"b":1}"#, Ok(r#"{"b":1}"#.to_owned())),
        (hides, small, &[JSON], "{ too long", Err("body_too_large".to_owned())),
        (hides, r#""maxBufferedBytes":8"#, &[JSON], r#"{"a":1}"#, failed()),
        (r#""cluster":"unknown","redact":{"json":["/a"]}"#, "", &[JSON], "{", failed()),
        (r#""cluster":"unknown","redact":{"json":["/a"]}"#, "", &[JSON], "{}", Err("no_cluster".to_owned())),
    ] {
        assert_eq!(serve(mirror, limits, headers, body), expected, "{mirror} {limits} {headers:?} {body}");
    }
}

#[test]
fn a_copy_that_cannot_be_sent_gives_its_token_back() {
    let rules =
        r#"{"rules":[{"mirrors":[{"cluster":"a","redact":{"json":["/a"]}}]}],"limits":{"maxRequestsPerSecond":1}}"#;
    let (envoy, root) = Envoy::with(rules);
    for body in ["{", "{", "{}", "{", "{}"] {
        envoy.serve(root, request("/", &[JSON]), body.as_bytes());
    }
    envoy.answer_all("200");
    envoy.check();
    Envoy::host(|host| {
        let expected = [("rate_limit", 2), ("redaction_failed", 2), ("sent", 1)].into();
        assert_eq!(books::by(host, "copies_total", "outcome"), expected);
    });
}

#[test]
fn no_value_gets_into_a_log() {
    let mirror = r#""cluster":"a","redact":{"headers":["x-a"],"cookies":["s"],"queryParams":["token"],"json":["/a"],"form":["a"]}"#;
    for with in ["mask", "pseudonym"] {
        let mirror = mirror.replace(r#""json""#, &format!(r#""with":"{with}","json""#));
        for (kind, body) in [
            ("application/json", r#"{"a":"secret"}"#),
            ("application/json", r#"{"a":"secret"#),
            ("text/secret", "secret"),
        ] {
            Envoy::start();
            let headers = [("x-a", "secret"), ("cookie", "s=secret"), ("content-type", kind)];
            let rules = format!(r#"{{"rules":[{{"mirrors":[{{{mirror}}}]}}]}}"#);
            let envoy = Envoy::start();
            Envoy::host(|host| host.log_level = 0);
            let root = envoy.configure(rules.as_bytes()).unwrap();
            envoy.serve(root, request("/?token=secret", &headers), body.as_bytes());
            envoy.answer_all("200");
            envoy.check();
            Envoy::host(|host| {
                assert!(!host.logs.is_empty());
                assert!(!format!("{:?}", host.logs).contains("secret"), "{:?}", host.logs);
                assert!(!format!("{:?}", host.logs).contains(fake_host::abi::KEY), "{:?}", host.logs);
                assert!(host.sent.iter().all(|call| !format!("{:?}", call.body).contains("secret")));
            });
        }
    }
}
