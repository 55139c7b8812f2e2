//! The primary and its client see the same with the filter and without it, whatever the request and the mirror.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::time::Duration;

use harness::client::{Client, Fields, Reply, Req, raw, read_until};
use harness::upstream::{Answer, Received, Service};
use harness::{Mesh, Setup, run};

/// A filter that edits all that can be edited, on copies alone.
fn busy() -> Value {
    json!({"rules": [{"mirrors": [
        {
            "cluster": "mirror",
            "timeout": "1s",
            "rewrite": {"authority": "other.test", "uriRegexRewrite": {"match": ".*", "rewrite": "/other"}},
            "headers": {"remove": ["x-a", "cookie"], "set": {"x-b": "set"}, "add": {"x-c": "added"}},
        },
        {"cluster": "refused"},
    ]}]})
}

/// Leaves out what differs between any two requests.
fn constant(fields: &Fields) -> Fields {
    let varies = ["date", "x-request-id", "x-envoy-upstream-service-time"];
    fields.iter().filter(|(name, _)| !varies.contains(&name.as_str())).cloned().collect()
}

fn answers(r: &Received) -> Answer {
    let headers = vec![("set-cookie", "a=1"), ("x-answer", "one"), ("set-cookie", "b=2"), ("x-answer", "two")];
    let reply = |status, body, trailers| Answer::Reply { status, headers, body, trailers, after: Duration::ZERO };
    match r.path.as_str() {
        "/404" => reply(404, "not here", vec![]),
        "/204" => reply(204, "", vec![]),
        "/trailers" => reply(200, "before", vec![("x-sum", "42")]),
        "/half" => Answer::Half,
        _ => reply(200, "answer", vec![]),
    }
}

/// Sends the same through both listeners, and compares what the client and the primary get.
async fn compare(mesh: &Mesh, h2: bool, req: Req) {
    let mut seen: Vec<(Result<Reply, String>, Vec<_>)> = Vec::new();
    for listener in ["plain", "main"] {
        let before = mesh.primary.so_far().len();
        let to = mesh.address(listener);
        let mut client = if h2 { Client::h2(to).await } else { Client::h1(to).await };
        let mut reply = client.try_send(req.clone()).await;
        if let Ok(reply) = &mut reply {
            reply.headers = constant(&reply.headers);
        }
        let requests = mesh.primary.so_far().into_iter().skip(before).map(|r| {
            let Received { method, path, authority, headers, body, trailers, version } = r;
            (method, path, authority, constant(&headers), body, trailers, version)
        });
        seen.push((reply, requests.collect()));
    }
    let (with, without) = (seen.pop().unwrap(), seen.pop().unwrap());
    assert_eq!(without.0.is_ok(), with.0.is_ok());
    assert_eq!(without.0.ok(), with.0.ok());
    assert_eq!(without.1, with.1);
}

fn requests() -> Vec<Req> {
    let headers = |r: Req| {
        let r = r.header("x-a", b"caf\xe9").header("x-b", "1").header("x-a", "2").header("cookie", "a=b");
        r.header("x-request-id", "00000000-0000-0000-0000-000000000000").authority("a.test:8080")
    };
    vec![
        headers(Req::get("/?q=1&q=2")),
        headers(Req::get("/404")),
        headers(Req::get("/204")),
        headers(Req::new("HEAD", "/")),
        headers(Req::get("/half")),
        headers(Req::post("/", "body")),
        headers(Req::post("/", vec![b'x'; 3 << 20])),
        headers(Req::chunked("/", &["a", "b", "c"])),
        headers(Req::get("/trailers").header("te", "trailers")),
        headers(Req::new("DELETE", "/direct")),
    ]
}

#[test]
fn http_1_is_the_same_with_the_filter() {
    let setup = Setup::new(busy()).primary(Service::script(answers));
    run(setup, async |mesh| {
        for req in requests() {
            compare(mesh, false, req).await;
        }
    });
}

#[test]
fn http_2_is_the_same_with_the_filter() {
    let setup = Setup::new(busy()).primary(Service::script(answers)).h2_upstreams();
    run(setup, async |mesh| {
        for req in requests() {
            compare(mesh, true, req).await;
        }
        compare(mesh, true, Req::chunked("/trailers", &["a", "b"]).trailer("x-sum", "1").header("te", "trailers"))
            .await;
        // All but the one with the long body, and the one that Envoy responds to itself.
        let copies = mesh.mirror.received(9).await;
        assert!(copies.iter().all(|c| c.version == hyper::Version::HTTP_2 && c.authority == "other.test"));
    });
}

#[test]
fn a_mirror_that_never_reads_changes_nothing_for_the_client() {
    let setup = Setup::new(busy()).primary(Service::script(answers)).mirror(Service::deaf());
    run(setup, async |mesh| {
        for req in requests() {
            compare(mesh, false, req).await;
        }
    });
}

/// Sends the same bytes through both listeners; each must lead to an answer after which the connection is closed.
async fn compare_raw(mesh: &Mesh, name: &str, bytes: &[u8]) {
    let mut seen = Vec::new();
    for listener in ["plain", "main"] {
        let before = mesh.primary.so_far().len();
        let mut io = raw(mesh.address(listener), bytes).await;
        let answer = read_until(&mut io, |_| false).await;
        let _ = io.shutdown().await;
        let varies = ["date:", "x-envoy-upstream-service-time:", "x-request-id:"];
        let lines = answer.lines().filter(|line| !varies.iter().any(|v| line.starts_with(v)));
        let answer: Vec<String> = lines.map(String::from).collect();
        let all = mesh.primary.so_far().into_iter().skip(before);
        let requests = all.map(|r| (r.method, r.path, constant(&r.headers), r.body));
        seen.push((answer, requests.collect::<Vec<_>>()));
    }
    assert!(!seen[0].0.is_empty(), "{name}: no answer");
    assert_eq!(seen[0], seen[1], "{name}");
}

const HOST: &str = "host: a.test";
const CLOSE: &str = "connection: close";

/// A request of these lines, after which the connection is closed.
fn closing(first: &str, fields: &[&str], body: &str) -> Vec<u8> {
    message(first, &[&[HOST, CLOSE], fields].concat(), body)
}

fn message(first: &str, fields: &[&str], body: &str) -> Vec<u8> {
    format!("{first}\r\n{}\r\n{body}", fields.iter().map(|f| format!("{f}\r\n")).collect::<String>()).into()
}

fn get(fields: &[&str]) -> Vec<u8> {
    closing("GET / HTTP/1.1", fields, "")
}

fn post(fields: &[&str], body: &str) -> Vec<u8> {
    closing("POST / HTTP/1.1", fields, body)
}

/// HTTP that few clients send, and some that none should.
fn odd() -> Vec<(&'static str, Vec<u8>)> {
    let numbered = |count: u32| (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect::<String>();
    let (many, too_many) = (numbered(85), numbered(120));
    let long = format!("x-long: {}", "v".repeat(50_000));
    let pipelined = [
        message("GET /1 HTTP/1.1", &[HOST], ""),
        message("POST /2 HTTP/1.1", &[HOST, "content-length: 2"], "hi"),
        closing("GET /3 HTTP/1.1", &[], ""),
    ];
    let h2c = [HOST, "connection: close, upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"];
    vec![
        ("OPTIONS *", closing("OPTIONS * HTTP/1.1", &[], "")),
        ("HTTP/1.0", message("GET / HTTP/1.0", &[], "")),
        ("HTTP/1.0 with a body", message("POST / HTTP/1.0", &[HOST, "content-length: 5"], "hello")),
        ("HTTP/0.9", message("GET /", &[], "")),
        ("no host", message("GET / HTTP/1.1", &[CLOSE], "")),
        ("an empty host", message("GET / HTTP/1.1", &["host:", CLOSE], "")),
        ("two hosts", get(&["host: b.test"])),
        ("absolute form", closing("GET http://b.test/x?y HTTP/1.1", &[], "")),
        ("pipelined", pipelined.concat()),
        ("many fields", get(&[many.trim_end()])),
        ("too many fields", get(&[too_many.trim_end()])),
        ("one field many times", get(&["x-same: v"; 80])),
        ("a long value", get(&[&long])),
        ("too long a value", get(&[&long, &long])),
        ("a long path", closing(&format!("GET /{} HTTP/1.1", "p".repeat(50_000)), &[], "")),
        ("bytes", b"GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\nx-v: \x80\xff\xfe caf\xe9\r\n\r\n".into()),
        ("a byte in the path", b"GET /caf\xe9 HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n".into()),
        ("a fragment", closing("GET /a#b HTTP/1.1", &[], "")),
        ("odd escapes", closing("GET /%00%zz/..//a?%&=&?;#=%e9 HTTP/1.1", &[], "")),
        ("an unknown method", closing("PURGE /a HTTP/1.1", &[], "")),
        ("a made-up method", closing("X!#$%&'*+-.^_`|~ /a HTTP/1.1", &[], "")),
        ("TRACE", closing("TRACE / HTTP/1.1", &[], "")),
        ("a field name of symbols", get(&["!#$%&'*+-.^_`|~: v"])),
        ("a bad field name", get(&["a b: v"])),
        ("an odd cookie", get(&["cookie: ;;=;a;=b;\t= ;"])),
        ("length and chunks", post(&["content-length: 5", "transfer-encoding: chunked"], "0\r\n\r\n")),
        ("a bad chunk", post(&["transfer-encoding: chunked"], "zz\r\n")),
        ("a GET with a body", closing("GET / HTTP/1.1", &["content-length: 5"], "hello")),
        ("a continuation", post(&["expect: 100-continue", "content-length: 5"], "hello")),
        ("another expectation", post(&["expect: miracles", "content-length: 5"], "hello")),
        (
            "an upgrade nobody knows",
            message("GET / HTTP/1.1", &[HOST, "connection: close, upgrade", "upgrade: tea"], ""),
        ),
        ("an upgrade to h2c", message("GET / HTTP/1.1", &h2c, "")),
        ("named hop by hop", message("GET / HTTP/1.1", &[HOST, "connection: close, x-hop, te", "x-hop: 1"], "")),
        ("not HTTP", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".into()),
    ]
}

#[test]
fn odd_requests_are_answered_as_without_the_filter() {
    let cases = odd();
    run(Setup::new(busy()), async |mesh| {
        for (name, bytes) in &cases {
            compare_raw(mesh, name, bytes).await;
        }
    });
}

#[test]
fn random_requests_get_the_same_responses_as_without_the_filter() {
    // A linear congruential generator: the same requests in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit
    };
    let mut requests = Vec::new();
    for _ in 0..150 {
        let mut text = |limit: u64, bytes: &[u8]| -> Vec<u8> {
            let length = below(limit);
            (0..length).map(|_| bytes[usize::try_from(below(bytes.len() as u64)).unwrap()]).collect()
        };
        // Envoy refuses a fragment, and hyper what is no path.
        let visible: Vec<u8> = (0x21..0x7f).filter(|b| !b"#<>`^\\\"{|}".contains(b)).collect();
        let any: Vec<u8> = (0x20..0x7f).chain(0x80..=0xff).chain([b'\t']).collect();
        let mut request =
            [b"POST /", &text(60, &visible)[..], b" HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n"].concat();
        let fields = text(60, b"x").len();
        for n in 0..fields {
            let names: [&[u8]; 6] = [b"x-", b"Cookie", b"X-A", b"Via", b"traceparent", b"x-envoy-"];
            request.extend(
                [names[n % 6], b"-", &text(12, b"abcXYZ-_09")[..], b": ", &text(200, &any)[..], b"\r\n"].concat(),
            );
        }
        let body = text(5000, &any);
        if fields % 2 == 0 {
            request.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
            request.extend(body);
        } else {
            request.extend(format!("transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len() + 1).into_bytes());
            request.extend([&body[..], b"!\r\n0\r\n\r\n"].concat());
        }
        requests.push(request);
    }
    run(Setup::new(busy()), async |mesh| {
        for (n, bytes) in requests.iter().enumerate() {
            compare_raw(mesh, &format!("request {n}: {}", String::from_utf8_lossy(bytes)), bytes).await;
        }
        let ledger = mesh.ledger().await;
        assert!(ledger.requests("rule-0") > 100, "most of them should be whole requests: {ledger:?}");
    });
}
