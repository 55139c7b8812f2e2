//! What is hidden on copies, and which copies are not sent for it.

use fake_host::books;
use fake_host::envoy::{Envoy, request};
use fake_host::fuzz::redact::Case;
use proptest::prelude::*;
use proptest::sample::select;

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

fn json_text() -> impl Strategy<Value = String> {
    let name = || select(vec![r#""a""#, r#""b""#, r#""\u0061""#, r#""0""#, r#""""#, r#""*""#, r#""é""#, r#""\u00e9""#]);
    let space = || select(vec!["", "", " ", "\n\t"]);
    let leaf =
        select(vec!["1", "-0.5e2", "true", "null", r#""""#, r#""x\"}""#, r#""\ud83d\ude00""#, "[]", "{}", r#""a,b""#]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 60, 6, move |inner| {
        let member = (space(), name(), space(), inner.clone())
            .prop_map(|(a, name, b, value)| format!("{a}{name}{b}:{b}{value}{a}"));
        let item = (space(), inner).prop_map(|(space, value)| format!("{space}{value}"));
        prop_oneof![
            prop::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    })
}

proptest! {
    /// What fuzzing checks, of JSON that has something to hide: another, slower reader finds the same values at the same places,
    /// and all other bytes are as they were.
    #[test]
    fn another_reader_finds_no_hidden_value_in_a_copy_and_all_else_as_it_was(
        text in json_text(),
        places in prop::collection::btree_set(prop::collection::vec(select(vec!["a", "b", "0", "1", "*", "", "é"]), 0..4), 1..4),
        path in select(vec!["/", "/?token=secret&a=1", "/?t%6Fken=x;y&a+b=2"]),
        is_pseudonym: bool,
    ) {
        let places = places.iter().map(|steps| steps.iter().map(|step| (*step).to_owned()).collect()).collect();
        let case = Case {
            places,
            is_pseudonym,
            kind: Some("application/json".to_owned()),
            path: path.into(),
            cookie: b"token=secret; a=1".to_vec(),
            header: b"secret".to_vec(),
            body: text.into_bytes(),
        };
        prop_assert!(case.check(), "not sent");
    }
}
