//! Values that are hidden on copies: what the mirror gets of requests that try to get a value through, and of the key.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use harness::bootstrap::{Delivery, Form};
use harness::client::Req;
use harness::ledger::Ledger;
use harness::process::version;
use harness::upstream::Received;
use harness::{Mesh, Setup, eventually, refusal, run};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const KEY: &str = "0123456789abcdef";

fn lists() -> Value {
    json!({
        "headers": ["Authorization", "x-token"],
        "cookies": ["session"],
        "queryParams": ["token", "e mail"],
        "form": ["email"],
        "json": ["/email", "/list/*/*", "/a~1b/c~0d", "/n"],
    })
}

fn hiding(redact: Value) -> Value {
    json!({"rules": [{"mirrors": [{"cluster": "mirror", "redact": redact}]}]})
}

/// A body, as it is sent and as the mirror gets it; `None`: it gets nothing.
type Body = (&'static str, Vec<u8>, Option<Vec<u8>>);

fn bodies() -> Vec<Body> {
    let case = |kind, body: &str, copy: Option<&str>| {
        (kind, body.as_bytes().to_vec(), copy.map(|copy| copy.as_bytes().to_vec()))
    };
    let digits = "7".repeat(400);
    let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
    let many = |count: usize, value: &str| format!(r#"{{"list":[[{}]]}}"#, vec![value; count].join(","));
    vec![
        case(JSON, r#"{"email":"secret","other":"kept"}"#, Some(r#"{"email":"***","other":"kept"}"#)),
        // Names: escaped, repeated, in another case.
        case(JSON, r#"{"\u0065mail":"secret"}"#, Some(r#"{"\u0065mail":"***"}"#)),
        case(JSON, r#"{"email":"secret","email":"secret"}"#, Some(r#"{"email":"***","email":"***"}"#)),
        case(JSON, r#"{"Email":"kept","e\\mail":1}"#, Some(r#"{"Email":"kept","e\\mail":1}"#)),
        case(JSON, r#"{"a/b":{"c~d":"secret","c~0d":"kept"}}"#, Some(r#"{"a/b":{"c~d":"***","c~0d":"kept"}}"#)),
        // Arrays of arrays, and values of each type.
        case(
            JSON,
            r#"{"list":[["secret"],[],[["secret"],{"x":"secret"}]]}"#,
            Some(r#"{"list":[["***"],[],["***","***"]]}"#),
        ),
        case(JSON, r#"{"list":{"x":{"y":"secret"}}}"#, Some(r#"{"list":{"x":{"y":"***"}}}"#)),
        case(JSON, r#" { "email" : {"secret":[1]} , "n":null } "#, Some(r#" { "email" : "***" , "n":"***" } "#)),
        case(JSON, r#"{"email":true,"n":-1.5e+3}"#, Some(r#"{"email":"***","n":"***"}"#)),
        (
            JSON,
            format!(r#"{{"n":{digits},"m":{digits}}}"#).into_bytes(),
            Some(format!(r#"{{"n":"***","m":{digits}}}"#).into_bytes()),
        ),
        // Strings: surrogates, quotes and braces in them.
        case(JSON, r#"{"email":"\ud83d\ude00\"}","m":"\ud83d\ude00"}"#, Some(r#"{"email":"***","m":"\ud83d\ude00"}"#)),
        case(JSON, r#"{"email":"\ud83d"}"#, None),
        // Whatever is no JSON.
        case(JSON, "\u{feff}{\"email\":\"secret\"}", None),
        (JSON, b"{\"email\":\"secret\xff\"}".to_vec(), None),
        case(JSON, "{\"email\":\"secret\",}", None),
        case(JSON, "{\"email\":\"secret\"// c\n}", None),
        case(JSON, "{'email':'secret'}", None),
        case(JSON, "{\"email\":\"secret\"}{\"email\":\"secret\"}", None),
        case(JSON, "{\"email\":\"secret\"", None),
        case(JSON, "email=secret", None),
        case(JSON, " ", None),
        (JSON, "{\"email\":\"secret\"}".encode_utf16().flat_map(u16::to_le_bytes).collect(), None),
        // Too deep, too many, or as much as may be.
        case(JSON, &nested(128, ""), Some(&nested(128, ""))),
        case(JSON, &nested(129, ""), None),
        case(JSON, &"[".repeat(1 << 20), None),
        case(JSON, &many(1000, "\"secret\""), Some(&many(1000, "\"***\""))),
        case(JSON, &many(1001, "\"secret\""), None),
        case(JSON, &many(100_000, "1").replace("list", "kept"), Some(&many(100_000, "1").replace("list", "kept"))),
        // What the body is said to be.
        case("application/vnd.api+json; Charset=\"UTF-8\"", r#"{"email":"secret"}"#, Some(r#"{"email":"***"}"#)),
        case("application/json; charset=utf-16", r#"{"email":"secret"}"#, None),
        case("application/json, text/plain", r#"{"email":"secret"}"#, None),
        case("text/plain", "secret", None),
        case("text/json", r#"{"email":"secret"}"#, None),
        case(
            "multipart/form-data; boundary=b",
            "--b\r\ncontent-disposition: form-data; name=email\r\n\r\nsecret\r\n--b--",
            None,
        ),
        case("", r#"{"email":"secret"}"#, None),
        // Forms.
        case(FORM, "email=secret&other=kept", Some("email=***&other=kept")),
        case(FORM, "%65mail=secret&e%6Dail=%73ecret&emai%6c=", Some("%65mail=***&e%6Dail=***&emai%6c=***")),
        case(FORM, "email&a=b=c&&=&email=a=secret", Some("email&a=b=c&&=&email=***")),
        case(FORM, "EMAIL=kept&e+mail=kept&x=100%&email=secret%", Some("EMAIL=kept&e+mail=kept&x=100%&email=***")),
        case(FORM, "a=1;email=secret", None),
        case(FORM, "a=1& email=secret", None),
        case(FORM, "a=1&+email=secret", None),
        case(FORM, "a=1&email%00=secret", None),
        case(FORM, "\0{\0\"\0e\0m\0a\0i\0l", None),
        case("application/x-www-form-urlencoded x/y+json", "\"&email=secret&\"", None),
        case(FORM, "%u0065mail=secret", None),
        case(FORM, r#"{"email":"secret"}"#, None),
    ]
}

#[test]
fn no_listed_value_of_a_body_reaches_the_mirror_and_all_other_bytes_do() {
    run(Setup::new(hiding(lists())), async |mesh| {
        let (mut copies, mut refused) = (0, 0);
        for (index, (kind, body, expected)) in bodies().into_iter().enumerate() {
            let request = || {
                let request = Req::post("/", body.clone());
                if kind.is_empty() { request } else { request.header("content-type", kind) }
            };
            assert_eq!(mesh.send(request()).await.status, 200);
            let shown = String::from_utf8_lossy(&body[..body.len().min(100)]).into_owned();
            if let Some(expected) = expected {
                let copy = &mesh.mirror.received(copies + 1).await[copies];
                assert!(copy.body == expected, "{kind}: {shown}: {:?}", copy.body);
                let length = copy.value("content-length");
                assert_eq!(length, Some(expected.len().to_string()), "{kind}: {shown}");
                copies += 1;
            } else {
                refused += 1;
                let ledger = mesh.copies("rule-0", "mirror", "redaction_failed", refused).await;
                assert_eq!(
                    ledger.copies("rule-0", "mirror", "sent"),
                    i64::try_from(copies).unwrap(),
                    "{kind}: {shown}"
                );
            }
            // The primary never notices.
            assert!(mesh.primary.received(index + 1).await[index].body == body, "{kind}: {shown}");
        }
        assert!(copies > 15 && refused > 15, "{copies} copies, {refused} refused");
    });
}

#[test]
fn a_body_may_come_in_single_bytes_and_be_said_to_be_two_things() {
    run(Setup::new(hiding(lists())), async |mesh| {
        let body = r#"{"email":"secret","a":[1,2]}"#;
        let bytes: Vec<_> = body.chars().map(String::from).collect();
        let bytes: Vec<_> = bytes.iter().map(String::as_str).collect();
        mesh.send(Req::chunked("/", &bytes).header("content-type", JSON)).await;
        assert_eq!(mesh.mirror.received(1).await[0].body, r#"{"email":"***","a":[1,2]}"#);
        for (name, value) in [
            ("content-type", JSON),
            ("content-type", FORM),
            ("content-encoding", "gzip"),
            ("content-encoding", "identity"),
        ] {
            mesh.send(Req::post("/", body).header("content-type", JSON).header(name, value)).await;
        }
        mesh.copies("rule-0", "mirror", "redaction_failed", 4).await;
        // Without a body nothing has to be looked at.
        mesh.send(Req::post("/empty", "").header("content-type", "text/plain").header("content-encoding", "gzip"))
            .await;
        mesh.send(Req::get("/none")).await;
        assert_eq!(mesh.mirror.received(3).await[2].path, "/none");
    });
}

#[test]
fn no_listed_value_of_headers_cookies_or_the_query_reaches_the_mirror() {
    run(Setup::new(hiding(lists())), async |mesh| {
        let request = Req::get(
            "/p/secret-not?a=1&token=secret&e+mail=secret&e%20mail=secret&t%6Fken=secret&token&TOKEN=kept&token=%",
        )
        .header("AUTHORIZATION", "Bearer secret")
        .header("x-token", "secret")
        .header("x-kept", "kept")
        .header("X-Token", "")
        .header("cookie", "a=1; session=secret; Session=kept")
        .header("cookie", "session=\"secret\";session= secret ;b")
        .header("x-raw", b"caf\xe9");
        assert_eq!(mesh.send(request).await.status, 200);
        let copy = &mesh.mirror.received(1).await[0];
        assert_eq!(
            copy.path,
            "/p/secret-not?a=1&token=***&e+mail=***&e%20mail=***&t%6Fken=***&token&TOKEN=kept&token=***"
        );
        assert_eq!(copy.values("authorization"), ["***"]);
        assert_eq!(copy.values("x-token"), ["***", "***"]);
        let cookies = copy.values("cookie").join("; ");
        assert_eq!(cookies, "a=1; session=***; Session=kept; session=\"***\";session= *** ;b");
        assert_eq!(copy.value("x-kept").as_deref(), Some("kept"));
        assert!(copy.headers.iter().any(|(name, value)| name == "x-raw" && value[..] == b"caf\xe9"[..]));
        assert_eq!(mesh.primary.received(1).await[0].value("authorization").as_deref(), Some("Bearer secret"));

        for (count, (path, cookie)) in [
            ("/?a=1;token=secret", ""),
            ("/?a;t%6Fken=secret", ""),
            ("/?token=secret;token=secret", ""),
            ("/?%u0074oken=secret", ""),
            ("/?t%C1%AFken=secret", ""),
            ("/", "session=\"secret; a=secret\""),
            ("/", "a=1, session=secret"),
            // What some servers take for white space, or for the end of a name.
            ("/?%20token=secret", ""),
            ("/?+token=secret", ""),
            ("/?token%00=secret", ""),
            ("/p??token=secret", ""),
            ("/", "a=1 session=secret"),
            ("/", "=session=secret"),
            ("/", "\u{a0}session=secret"),
            // The last quote is one of the value's.
            ("/", "session=\"a\\\"; secret"),
            ("/", "session=\"a\\\"; secret\""),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(mesh.send(Req::get(path).header("cookie", cookie)).await.status, 200);
            let ledger = mesh.copies("rule-0", "mirror", "redaction_failed", i64::try_from(count).unwrap() + 1).await;
            assert_eq!(ledger.copies("rule-0", "mirror", "sent"), 1, "{path} {cookie}");
        }
        // A `;` that is no matter.
        mesh.send(Req::get("/?a=1;b=2")).await;
        assert_eq!(mesh.mirror.received(2).await[1].path, "/?a=1;b=2");
    });
}

#[test]
fn hidden_values_do_not_decide_where_a_copy_goes_and_edits_come_after() {
    let mirror = json!({
        "clusterHeader": "x-to",
        "redact": {"headers": ["x-to", "x-set"], "queryParams": ["token"]},
        "rewrite": {"uri": "/v2"},
        "headers": {"set": {"x-set": "new"}, "add": {"x-to": "added"}},
    });
    let plugin = json!({"rules": [{"match": [{"uri": {"prefix": "/api"}, "queryParams": {"token": {"exact": "secret"}}}], "mirrors": [mirror]}]});
    run(Setup::new(plugin), async |mesh| {
        mesh.send(Req::get("/api/x?token=secret").header("x-to", "mirror").header("x-set", "secret")).await;
        let copy = &mesh.mirror.received(1).await[0];
        assert_eq!((copy.path.as_str(), copy.value("x-set").as_deref()), ("/v2/x?token=***", Some("new")));
        assert_eq!(copy.values("x-to"), ["***", "added"]);
    });
}

#[test]
fn a_body_that_becomes_longer_than_the_limit_is_not_copied() {
    let mut plugin = hiding(json!({"json": ["/n"]}));
    plugin["limits"] = json!({"maxBodyBytes": 11, "maxBufferedBytes": 11});
    run(Setup::new(plugin), async |mesh| {
        mesh.send(Req::post("/", r#"{"n":1234}"#).header("content-type", JSON)).await;
        assert_eq!(mesh.mirror.received(1).await[0].body, r#"{"n":"***"}"#);
        mesh.send(Req::post("/", r#"{"n":1 }"#).header("content-type", JSON)).await;
        mesh.copies("rule-0", "mirror", "redaction_failed", 1).await;
    });
}

/// Gives the filter's VM an environment, in a bootstrap or in a filter's file.
fn give(config: &mut Value, environment: &Value) {
    match config {
        Value::Object(fields) => {
            if let Some(vm) = fields.get_mut("vm_config") {
                vm["environment_variables"] = environment.clone();
            }
            fields.values_mut().for_each(|field| give(field, environment));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| give(item, environment)),
        _ => {}
    }
}

fn key_of(key: &str) -> Value {
    json!({"key_values": {"TRAFFIC_MIRROR_KEY": key}})
}

fn pseudonyms() -> Value {
    let mut lists = lists();
    lists["with"] = json!("pseudonym");
    hiding(lists)
}

#[test]
fn equal_values_have_one_pseudonym_wherever_they_stand() {
    let setup = Setup::new(pseudonyms()).workers(2).changed(|bootstrap| give(bootstrap, &key_of(&format!("{KEY}\n"))));
    run(setup, async |mesh| {
        // printf 'a b' | openssl dgst -sha256 -hmac 0123456789abcdef
        let hidden = "p_29e562d41e97b951";
        let json = Req::post("/?token=a+b", r#"{"email":"a\u0020b","n":[1, 2]}"#).header("content-type", JSON);
        mesh.send(json.header("x-token", "a b").header("cookie", "session=\"a b\"")).await;
        let copy = &mesh.mirror.received(1).await[0];
        assert_eq!(copy.path, format!("/?token={hidden}"));
        assert_eq!(copy.value("x-token").as_deref(), Some(hidden));
        assert_eq!(copy.value("cookie"), Some(format!("session=\"{hidden}\"")));
        // printf '[1, 2]' | openssl dgst -sha256 -hmac 0123456789abcdef
        assert_eq!(copy.body, format!(r#"{{"email":"{hidden}","n":"p_6d1a47e7b166c1d2"}}"#));
        mesh.send(Req::post("/", "email=%61%20b").header("content-type", FORM)).await;
        assert_eq!(mesh.mirror.received(2).await[1].body, format!("email={hidden}"));
        assert!(!mesh.envoy.log().contains(KEY));
    });
}

#[test]
fn the_key_may_come_from_the_environment_of_the_host() {
    let environment = json!({"host_env_keys": ["TRAFFIC_MIRROR_KEY"]});
    run(Setup::new(pseudonyms()).changed(move |bootstrap| give(bootstrap, &environment)), async |mesh| {
        mesh.send(Req::get("/").header("x-token", "a b")).await;
        assert_eq!(mesh.mirror.received(1).await[0].value("x-token").as_deref(), Some("p_29e562d41e97b951"));
    });
}

#[test]
fn pseudonyms_without_a_key_are_refused() {
    let log = refusal(pseudonyms(), Form::Text);
    let said = "rules[0].mirrors[0].redact.with: \"pseudonym\": needs a key of at least 16 bytes in the VM's environment variable TRAFFIC_MIRROR_KEY";
    assert!(log.contains(said), "{log}");
}

/// Sends a request, and returns its copy, if there is one.
async fn copied(mesh: &Mesh) -> Option<Received> {
    let decided = |ledger: &Ledger| ledger.requests("rule-0") + ledger.unmatched();
    let before = decided(&mesh.ledger().await);
    assert_eq!(mesh.send(Req::get("/").header("x-token", "a b")).await.status, 200);
    let ledger = mesh.until("a request", |ledger| decided(ledger) == before + 1).await;
    let sent = usize::try_from(ledger.copies("rule-0", "mirror", "sent")).unwrap();
    mesh.mirror.received(sent).await.pop()
}

#[test]
fn a_key_comes_with_the_first_push_and_a_new_one_as_the_release_of_envoy_has_it() {
    let setup = Setup::new(pseudonyms()).delivered_by(Delivery::Ecds).changed(|bootstrap| {
        let listeners = &bootstrap["static_resources"]["listeners"];
        let path = listeners.as_array().unwrap().iter().find_map(|listener| {
            let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
            manager["http_filters"][0]["config_discovery"]["config_source"]["path_config_source"]["path"].as_str()
        });
        let path = Path::new(path.unwrap());
        let mut file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        give(&mut file, &key_of(KEY));
        fs::write(path, file.to_string()).unwrap();
    });
    run(setup, async |mesh| {
        let first = copied(mesh).await.unwrap();
        assert_eq!(first.value("x-token").as_deref(), Some("p_29e562d41e97b951"));
        // Another configuration too: the host would go on with the root that it has.
        let mut plugin = pseudonyms();
        plugin["markerHeader"] = json!("x-other");
        mesh.update_filter(&plugin, |config| give(config, &key_of("another key of 24 bytes.")));
        mesh.stat("traffic_mirror.config_reload", 2).await;
        let keeps_the_old = version() < (1, 39);
        let expected = if keeps_the_old { "p_29e562d41e97b951" } else { "p_46c85b370718b700" };
        eventually("the pseudonym of the key at work", async || {
            let copy = copied(mesh).await.ok_or("no copy")?;
            let found = copy.value("x-token").filter(|_| copy.value("x-other").is_some());
            if found.as_deref() == Some(expected) { Ok(()) } else { Err(format!("{copy:?}")) }
        })
        .await;
    });
}
