//! `compare` in full: headers, bodies and the status of gRPC, by the module that looks at responses.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use harness::bootstrap::Form;
use harness::client::{Client, Req, full, raw, read_until, stream};
use harness::upstream::{Answer, Handler, Received, Service};
use harness::{Mesh, Setup, refusal, run};
use hyper::body::Bytes;
use hyper::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest body that is compared.
const MOST: usize = 64 << 10;

/// `{"price":10,"id":2}`
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\x2a\x28\xca\x4c\x4e\x55\xb2\x32\x34\xd0\x51\xca\x4c\x51\xb2\x32\xaa\x05\x00\x67\x18\x83\x79\x13\x00\x00\x00";

fn comparing() -> Value {
    let body = json!({"json": {"ignore": ["/id", "/items/*/at"]}});
    let compare = json!({"status": true, "headers": ["x-v", "location"], "body": body});
    json!({"rules": [{"name": "r", "compare": compare, "mirrors": [{"cluster": "mirror", "timeout": "2s"}]}]})
}

/// How a body comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// With a content-length.
    Long,
    /// In pieces of so many bytes, its length not announced.
    Pieces(usize),
    /// The same, and then it breaks off.
    Cut(usize),
}

/// A response.
#[derive(Clone)]
struct Side {
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: Bytes,
    how: How,
}

fn side(body: impl Into<Bytes>) -> Side {
    Side { status: 200, headers: &[], body: body.into(), how: How::Long }
}

impl Side {
    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    fn headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }

    fn how(self, how: How) -> Self {
        Self { how, ..self }
    }

    fn response(&self) -> Response<harness::client::Body> {
        let pieces = |size: usize| self.body.chunks(size).map(Bytes::copy_from_slice).collect();
        let mut response = Response::new(match self.how {
            How::Long => full(self.body.clone()),
            How::Pieces(size) => stream(pieces(size), None, false),
            How::Cut(size) => stream(pieces(size), None, true),
        });
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        for (name, value) in self.headers {
            response.headers_mut().append(*name, value.parse().unwrap());
        }
        response
    }
}

/// What primary and mirror respond, and what is to come of it: the result, and the fields that differ.
struct Case(&'static str, Side, Side, &'static str, &'static [&'static str]);

fn cases() -> Vec<Case> {
    let json = |text: &'static str| side(text.as_bytes());
    let long = |size: usize, last: &str| side(format!("\"{}{last}\"", "x".repeat(size - 2 - last.len())));
    let price = || json(r#"{"price":10,"id":1}"#);
    vec![
        Case("two empty bodies", json(""), json(""), "same", &[]),
        Case("the same text", json("hello"), json("hello"), "same", &[]),
        Case("other text, which is no JSON", json("hello"), json("hullo"), "not_compared", &[]),
        Case("a body and none", price(), json(""), "different_body", &["body"]),
        Case("the same JSON, written otherwise", price(), json("{ \"id\": 2,\n \"price\": 1.0e1 }"), "same", &[]),
        Case("another price", price(), json(r#"{"price":11,"id":1}"#), "different_body", &["body/price"]),
        Case("no price", price(), json(r#"{"id":1}"#), "different_body", &["body/price"]),
        Case("no object", price(), json("[]"), "different_body", &["body"]),
        Case(
            "another item, and one that is too many",
            json(r#"{"items":[{"n":1,"at":1}]}"#),
            json(r#"{"items":[{"n":2,"at":2},{"n":3}]}"#),
            "different_body",
            &["body/items/*", "body/items/*/n"],
        ),
        Case("another header", price().headers(&[("x-v", "1")]), price(), "different_headers", &["headers/x-v"]),
        Case(
            "two lines of a header and one",
            price().headers(&[("x-v", "1"), ("x-v", "2")]),
            price().headers(&[("x-v", "1,2"), ("x-other", "")]),
            "same",
            &[],
        ),
        Case(
            "another header and another body",
            price().headers(&[("x-v", "1")]),
            json("1"),
            "different_headers",
            &["body", "headers/x-v"],
        ),
        Case("another status", price(), price().status(404), "different", &["status"]),
        Case("an error of the mirror's", price(), json("[]").status(503), "mirror_error", &["body", "status"]),
        Case("an error of the primary's", price().status(500), price(), "primary_error", &["status"]),
        Case("gzip and none", side(GZIP).headers(&[("content-encoding", "gzip")]), price(), "same", &[]),
        Case(
            "what is said to be gzip",
            price().headers(&[("content-encoding", "gzip")]),
            json("1"),
            "not_compared",
            &[],
        ),
        Case(
            "another encoding of the same bytes",
            json("1").headers(&[("content-encoding", "br")]),
            json("1").headers(&[("content-encoding", "br")]),
            "same",
            &[],
        ),
        Case("another encoding", json("1").headers(&[("content-encoding", "br")]), json("2"), "not_compared", &[]),
        Case("pieces", price().how(How::Pieces(1)), price().how(How::Pieces(3)), "same", &[]),
        Case("the longest body", long(MOST, ""), long(MOST, ""), "same", &[]),
        Case("the longest body in pieces", long(MOST, "").how(How::Pieces(999)), long(MOST, ""), "same", &[]),
        Case("the longest body, with another end", long(MOST, "1"), long(MOST, "2"), "different_body", &["body"]),
        Case("a primary's that is too long", long(MOST + 1, ""), json("1"), "not_compared", &[]),
        Case("a mirror's that is too long", json("1"), long(MOST + 1, ""), "not_compared", &[]),
        Case(
            "a header beside what is too long",
            long(MOST + 1, "").headers(&[("x-v", "1")]),
            json("1"),
            "different_headers",
            &["headers/x-v"],
        ),
        Case("204", json("").status(204), json("").status(204), "same", &[]),
        Case(
            "304",
            json("").status(304),
            json("").status(304).headers(&[("x-v", "1")]),
            "different_headers",
            &["headers/x-v"],
        ),
        Case(
            "a redirect elsewhere",
            json("").status(302).headers(&[("location", "/a")]),
            json("").status(302).headers(&[("location", "/b")]),
            "different_headers",
            &["headers/location"],
        ),
        Case("a mirror's that breaks off", price(), price().how(How::Cut(9)), "primary_only", &[]),
    ]
}

/// Responds with one side of the case whose number is the path.
fn server(part: fn(&Case) -> &Side) -> Service {
    let sides: Vec<_> = cases().iter().map(|case| part(case).clone()).collect();
    Service::script(move |request: &Received| {
        let side = sides[request.path[1..].parse::<usize>().unwrap()].clone();
        let handler: Handler = Arc::new(move |_| {
            let response = side.response();
            Box::pin(async move { response })
        });
        Answer::Handled(handler)
    })
}

fn table() -> Setup {
    Setup::new(comparing()).comparing().primary(server(|case| &case.1)).mirror(server(|case| &case.2))
}

/// Sends the requests of all cases, and checks each.
async fn check_cases(mesh: &Mesh, client: &mut Client, method: &str) {
    let (mut results, mut fields) = (BTreeMap::new(), BTreeMap::new());
    for (number, Case(name, primary, mirror, result, differ)) in cases().into_iter().enumerate() {
        let reply = client.send(Req::new(method, &format!("/{number}"))).await;
        let has_body = method != "HEAD" && ![204, 304].contains(&primary.status);
        let expected = if has_body { primary.body } else { Bytes::new() };
        assert_eq!((reply.status, &reply.body), (primary.status, &expected), "{name}");
        // Without bodies, only the rest can differ.
        let (result, differ) = if method == "HEAD" {
            let differ: Vec<_> = differ.iter().copied().filter(|field| !field.starts_with("body")).collect();
            let result = match result {
                "different_body" | "not_compared" | "primary_only" if mirror.status < 500 => "same",
                result => result,
            };
            (result, differ)
        } else {
            (result, differ.to_vec())
        };
        *results.entry(result).or_default() += 1;
        differ.iter().for_each(|field| *fields.entry((*field).to_owned()).or_default() += 1);
        assert_eq!(mesh.pairs("r", "mirror", i64::try_from(number + 1).unwrap()).await, results, "{name}");
        let found = mesh.until(name, |ledger| ledger.differences("r", "mirror") == fields).await;
        assert_eq!(found.differences("r", "mirror"), fields, "{name}");
    }
}

#[test]
fn planted_differences_are_found_over_http_1() {
    run(table(), async |mesh| check_cases(mesh, &mut mesh.client().await, "GET").await);
}

#[test]
fn planted_differences_are_found_over_http_2() {
    run(table().h2_upstreams(), async |mesh| {
        check_cases(mesh, &mut Client::h2(mesh.address("main")).await, "GET").await;
    });
}

#[test]
fn responses_to_head_are_compared_by_all_but_their_bodies() {
    run(table(), async |mesh| check_cases(mesh, &mut mesh.client().await, "HEAD").await);
}

/// A message as gRPC frames it.
fn message(text: &str) -> Bytes {
    [&[0, 0, 0, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat().into()
}

/// A gRPC server that sends these messages and then this status, which is in the headers where there is no message and the flag says so.
fn grpc(part: usize) -> Service {
    Service::script(move |request: &Received| {
        let wanted = request.path.split('/').nth(part).unwrap().to_owned();
        let handler: Handler = Arc::new(move |_| {
            let (messages, status) = wanted.split_once('-').unwrap();
            let mut trailers = HeaderMap::new();
            trailers.append("grpc-status", status.trim_end_matches('h').parse().unwrap());
            let in_headers = status.ends_with('h');
            let body = messages.chars().map(|text| message(&text.to_string())).collect();
            let mut response = Response::new(stream(body, (!in_headers).then(|| trailers.clone()), false));
            if in_headers {
                *response.body_mut() = full(Bytes::new());
                response.headers_mut().extend(trailers);
            }
            response.headers_mut().append("content-type", "application/grpc".parse().unwrap());
            Box::pin(async move { response })
        });
        Answer::Handled(handler)
    })
}

#[test]
fn grpc_calls_are_compared_by_their_grpc_status_and_their_messages() {
    // What the primary responds, and the mirror: messages, and a status; `h`: in headers, without a message.
    let cases = [
        ("/a-0/a-0", "same", "same"),
        ("/a-0/b-0", "same", "different_body"),
        ("/abc-0/abc-0", "same", "same"),
        ("/abc-0/ab-0", "same", "different_body"),
        ("/-5h/-5h", "same", "same"),
        ("/-5/-5h", "same", "same"),
        ("/-5h/a-0", "different", "different"),
        ("/abc-0/ab-14", "mirror_error", "mirror_error"),
        ("/ab-13/abc-0", "primary_error", "primary_error"),
        ("/a-13/a-14", "different", "different"),
    ];
    let mirrors = json!([{"cluster": "mirror"}]);
    let plugin = json!({"rules": [
        {"name": "status", "match": [{"headers": {"x-rule": {"exact": "status"}}}], "mirrors": mirrors, "compare": {"status": true}},
        {"name": "body", "mirrors": mirrors, "compare": {"status": true, "body": {"exact": true}}},
    ]});
    run(Setup::new(plugin).comparing().h2_upstreams().primary(grpc(1)).mirror(grpc(2)), async |mesh| {
        let mut client = Client::h2(mesh.address("main")).await;
        for rule in ["status", "body"] {
            let mut results = BTreeMap::new();
            for (number, (path, by_status, by_body)) in cases.into_iter().enumerate() {
                let request = Req::post(path, message("hello")).header("content-type", "application/grpc");
                let reply = client.send(request.header("te", "trailers").header("x-rule", rule)).await;
                let messages = path.split(['/', '-']).nth(1).unwrap();
                assert_eq!(reply.body.len(), 6 * messages.len(), "{path}");
                *results.entry(if rule == "status" { by_status } else { by_body }).or_default() += 1;
                let count = i64::try_from(number + 1).unwrap();
                assert_eq!(mesh.pairs(rule, "mirror", count).await, results, "{rule} {path}");
            }
        }
        assert_eq!(mesh.ledger().await.differences("status", "mirror"), [("status".to_owned(), 4)].into());
    });
}

/// Sends these bytes at once to whoever connects, reads what comes, and closes when that is over.
fn saying(bytes: Vec<u8>, closes: bool) -> Service {
    let bytes = Arc::new(bytes);
    Service::Raw(Arc::new(move |mut io: TcpStream| {
        let bytes = Arc::clone(&bytes);
        Box::pin(async move {
            let mut read = vec![0; 1 << 16];
            let _ = io.read(&mut read).await;
            let _ = io.write_all(&bytes).await;
            while !closes && io.read(&mut read).await.is_ok_and(|count| count > 0) {}
        }) as Pin<Box<dyn Future<Output = ()> + Send>>
    }))
}

#[test]
fn a_primary_that_breaks_off_is_not_compared() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf".to_vec();
    run(Setup::new(comparing()).comparing().primary(saying(half, true)), async |mesh| {
        let mut client = raw(mesh.address("main"), b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
        let read = read_until(&mut client, |_| false).await;
        assert!(read.ends_with("half"), "{read}");
        assert_eq!(mesh.pairs("r", "mirror", 1).await, [("not_compared", 1)].into());
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_response_leaves_nothing_kept() {
    let part = [&b"HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n"[..], &[b'x'; 40_000]].concat();
    run(Setup::new(comparing()).comparing().primary(saying(part, false)), async |mesh| {
        let mut client = raw(mesh.address("main"), b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
        read_until(&mut client, |text| text.len() > 40_000).await;
        mesh.until("what is kept", |ledger| ledger.buffered_bytes() == 40_000).await;
        drop(client);
        assert_eq!(mesh.pairs("r", "mirror", 1).await, [("not_compared", 1)].into());
        mesh.until("nothing kept", |ledger| ledger.buffered_bytes() == 0).await;
    });
}

#[test]
fn an_early_response_to_a_request_that_never_ends_makes_no_pair() {
    let early = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno".to_vec();
    run(Setup::new(comparing()).comparing().primary(saying(early, true)), async |mesh| {
        let half = b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";
        let mut client = raw(mesh.address("main"), half).await;
        let read = read_until(&mut client, |text| text.ends_with("no")).await;
        assert!(read.starts_with("HTTP/1.1 413"), "{read}");
        drop(client);
        mesh.copies("r", "mirror", "incomplete", 1).await;
        let ledger = mesh.until("nothing kept", |ledger| ledger.buffered_bytes() == 0).await;
        assert_eq!(ledger.compared("r", "mirror", "different"), 0);
    });
}

#[test]
fn a_mirror_that_hangs_keeps_no_response_from_its_client() {
    let mut plugin = comparing();
    plugin["rules"][0]["mirrors"][0]["timeout"] = json!("300ms");
    let body = "x".repeat(MOST);
    let primary = side(body.clone());
    let handler: Handler = Arc::new(move |_| {
        let response = primary.response();
        Box::pin(async move { response })
    });
    let setup = Setup::new(plugin).comparing().primary(Answer::Handled(handler)).mirror(Service::deaf());
    run(setup, async |mesh| {
        let mut client = mesh.client().await;
        for _ in 0..10 {
            assert_eq!(client.send(Req::get("/")).await.text(), body);
        }
        assert_eq!(mesh.pairs("r", "mirror", 10).await, [("primary_only", 10)].into());
    });
}

#[test]
fn responses_under_comparison_yield_to_bodies_of_requests() {
    let mut plugin = comparing();
    plugin["limits"] = json!({"maxBufferedBytes": 70_000});
    let late = Service::script(|request: &Received| match request.path.as_str() {
        "/slow" => {
            Answer::Reply { status: 200, headers: vec![], body: "1", trailers: vec![], after: Duration::from_secs(1) }
        }
        _ => Answer::status(200),
    });
    let primary = Service::script(|request: &Received| match request.path.as_str() {
        "/slow" => {
            let handler: Handler = Arc::new(|_| {
                let response = side("x".repeat(60_000)).response();
                Box::pin(async move { response })
            });
            Answer::Handled(handler)
        }
        _ => Answer::status(200),
    });
    run(Setup::new(plugin).comparing().primary(primary).mirror(late), async |mesh| {
        let mut client = mesh.client().await;
        assert_eq!(client.send(Req::get("/slow")).await.body.len(), 60_000);
        mesh.until("a response that is kept", |ledger| ledger.buffered_bytes() == 60_000).await;
        assert_eq!(client.send(Req::post("/upload", "y".repeat(65_000))).await.status, 200);
        mesh.copies("r", "mirror", "sent", 2).await;
        assert_eq!(mesh.pairs("r", "mirror", 2).await, [("not_compared", 1), ("same", 1)].into());
    });
}

#[test]
fn a_copy_that_is_sent_after_the_primarys_response_is_compared_with_it() {
    let mut plugin = comparing();
    plugin["rules"][0]["mirrors"][0]["when"] = json!([{"status": ["5xx"]}]);
    let reply = |status, body| Answer::Reply { status, headers: vec![], body, trailers: vec![], after: Duration::ZERO };
    let primary =
        Service::script(move |request: &Received| reply(if request.path == "/bad" { 500 } else { 200 }, "[1]"));
    run(Setup::new(plugin).comparing().primary(primary).mirror(reply(500, "[2]")), async |mesh| {
        let mut client = mesh.client().await;
        for path in ["/good", "/bad"] {
            client.send(Req::post(path, "x")).await;
        }
        assert_eq!(mesh.pairs("r", "mirror", 1).await, [("different_body", 1)].into());
        assert_eq!(mesh.ledger().await.differences("r", "mirror"), [("body/*".to_owned(), 1)].into());
    });
}

#[test]
fn the_module_that_does_not_look_at_responses_says_which_one_does() {
    let log = refusal(comparing(), Form::Text);
    for field in ["headers", "body"] {
        let line = log.lines().find(|line| line.contains(&format!("rules[0].compare.{field}")));
        assert!(line.is_some_and(|line| line.contains("traffic_mirror_compare.wasm")), "{log}");
    }
}

#[test]
fn the_other_module_counts_differences_of_status_alone() {
    let compare = json!({"status": true});
    let plugin = json!({"rules": [{"name": "r", "compare": compare, "mirrors": [{"cluster": "mirror"}]}]});
    for setup in [Setup::new(plugin.clone()), Setup::new(plugin).comparing()] {
        run(setup.mirror(Answer::status(404)), async |mesh| {
            mesh.send(Req::get("/").header("x-request-id", "abc")).await;
            assert_eq!(mesh.pairs("r", "mirror", 1).await, [("different", 1)].into());
            let ledger = mesh.until("the field", |ledger| !ledger.differences("r", "mirror").is_empty()).await;
            assert_eq!(ledger.differences("r", "mirror"), [("status".to_owned(), 1)].into());
        });
    }
}
