//! Requests that are no whole requests: broken off, answered early, upgraded, tunnelled. None of them is mirrored.

use std::sync::Arc;

use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use harness::client::{Client, Req, empty, raw, read_until};
use harness::upstream::Service;
use harness::{Mesh, Setup, run};

fn all() -> Value {
    json!({"rules": [{"mirrors": [{"cluster": "mirror"}, {"cluster": "mirror2", "body": "omit"}]}]})
}

/// The same, of requests too that no upstream gets.
fn unrouted_too() -> Value {
    let mut plugin = all();
    plugin["rules"][0]["unrouted"] = json!("mirror");
    plugin
}

const HALF: &[u8] = b"POST /half HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";

#[test]
fn a_request_whose_client_goes_away_is_incomplete() {
    run(Setup::new(all()), async |mesh| {
        let upload = raw(mesh.address("main"), HALF).await;
        mesh.until("the half to be held", |l| l.buffered_bytes() == 5).await;
        drop(upload);
        mesh.copies("rule-0", "mirror", "incomplete", 1).await;
        mesh.copies("rule-0", "mirror2", "incomplete", 1).await;
        mesh.until("nothing to be held", |l| l.buffered_bytes() == 0).await;
        assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        assert_eq!(mesh.mirror.received(1).await[0].path, "/");
    });
}

#[test]
fn an_http_2_request_that_is_reset_is_incomplete() {
    run(Setup::new(all()), async |mesh| {
        let mut client = Client::h2(mesh.address("main")).await;
        assert!(client.try_send(Req::chunked("/reset", &["hello"]).breaking_off()).await.is_err());
        mesh.copies("rule-0", "mirror", "incomplete", 1).await;
        assert_eq!(client.send(Req::chunked("/whole", &["hello"])).await.status, 200);
        assert_eq!(mesh.mirror.received(1).await[0].path, "/whole");
    });
}

#[test]
fn a_request_that_is_answered_before_its_body_was_read_is_incomplete() {
    run(Setup::new(unrouted_too()), async |mesh| {
        let head = b"POST /direct HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";
        let mut upload = raw(mesh.address("main"), head).await;
        let answer = read_until(&mut upload, |text| text.ends_with("direct")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        drop(upload);
        mesh.copies("rule-0", "mirror", "incomplete", 1).await;
        mesh.copies("rule-0", "mirror2", "incomplete", 1).await;
        mesh.mirror.received(0).await;
    });
}

#[test]
fn a_request_that_a_primary_answers_before_its_end_is_incomplete() {
    let hasty = Service::Raw(Arc::new(|mut io| {
        Box::pin(async move {
            read_until(&mut io, |text| text.ends_with("hello")).await;
            let answer = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            io.write_all(answer).await.unwrap();
        })
    }));
    run(Setup::new(all()).primary(hasty), async |mesh| {
        let mut upload = raw(mesh.address("main"), HALF).await;
        let answer = read_until(&mut upload, |text| text.contains("\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        mesh.copies("rule-0", "mirror", "incomplete", 1).await;
        mesh.mirror.received(0).await;
    });
}

#[test]
fn a_complete_request_that_envoy_responds_to_itself_is_mirrored_where_the_rule_says_so() {
    run(Setup::new(unrouted_too()), async |mesh| {
        assert_eq!(mesh.send(Req::get("/direct")).await.text(), "direct");
        assert_eq!(mesh.mirror.received(1).await[0].path, "/direct");
    });
}

#[test]
fn a_web_socket_works_and_is_not_mirrored() {
    run(Setup::new(all()).primary(Service::echo()), async |mesh| {
        let request = b"GET /chat HTTP/1.1\r\nhost: a.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let mut socket = raw(mesh.address("main"), request).await;
        let answer = read_until(&mut socket, |text| text.ends_with("\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        for frame in ["one", "two"] {
            socket.write_all(frame.as_bytes()).await.unwrap();
            assert_eq!(read_until(&mut socket, |text| text.len() == 3).await, frame);
        }
        drop(socket);
        let ledger = mesh.until("the upgrade to be counted", |l| l.ignored("upgrade") == 1).await;
        assert_eq!(ledger.requests("rule-0"), 0);
        mesh.mirror.received(0).await;
    });
}

#[test]
fn a_tunnel_works_and_is_not_mirrored() {
    run(Setup::new(all()).primary(Service::echo()), async |mesh| {
        let mut tunnel = raw(mesh.address("main"), b"CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n").await;
        let answer = read_until(&mut tunnel, |text| text.ends_with("\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for frame in ["one", "two"] {
            tunnel.write_all(frame.as_bytes()).await.unwrap();
            assert_eq!(read_until(&mut tunnel, |text| text.len() == 3).await, frame);
        }
        drop(tunnel);
        let ledger = mesh.until("the tunnel to be counted", |l| l.ignored("connect") == 1).await;
        assert_eq!(ledger.requests("rule-0"), 0);
        mesh.mirror.received(0).await;
    });
}

/// Opens a tunnel over HTTP/2, and sends something there and back.
async fn through_http_2(mesh: &Mesh, uri: &str, protocol: Option<Protocol>) {
    let io = TokioIo::new(TcpStream::connect(mesh.address("main")).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request = |method, uri: &str| {
        let mut request = Request::new(empty());
        (*request.method_mut(), *request.uri_mut()) = (method, uri.parse().unwrap());
        request
    };
    // Once an answer is there, so are the settings, without which nothing but plain CONNECT may be asked for.
    sender.send_request(request(Method::GET, "http://a.test/direct")).await.unwrap();
    let mut connect = request(Method::CONNECT, uri);
    if let Some(protocol) = protocol {
        connect.extensions_mut().insert(protocol);
    }
    let response = sender.send_request(connect).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut tunnel = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    for frame in ["one", "two"] {
        tunnel.write_all(frame.as_bytes()).await.unwrap();
        let mut echo = [0; 3];
        tunnel.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, frame.as_bytes());
    }
}

#[test]
fn tunnels_and_web_sockets_over_http_2_work_and_are_not_mirrored() {
    run(Setup::new(all()).primary(Service::echo()), async |mesh| {
        through_http_2(mesh, "a.test:443", None).await;
        mesh.until("the tunnel to be counted", |l| l.ignored("connect") == 1).await;
        through_http_2(mesh, "http://a.test/chat", Some(Protocol::from_static("websocket"))).await;
        let ledger = mesh.until("the upgrade to be counted", |l| l.ignored("upgrade") == 1).await;
        assert_eq!(["connect", "unrouted"].map(|reason| ledger.ignored(reason)), [1, 2]);
        assert_eq!(ledger.requests("rule-0"), 0);
        mesh.mirror.received(0).await;
    });
}

/// Requests over HTTP/2 that end with their headers, as bytes: no client library sends such a CONNECT.
async fn ends_with_its_headers(mesh: &Mesh, pseudo: &[(&str, &str)]) -> TcpStream {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // Literals without indexing, with new names: lengths below 127 are one byte.
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let block: Vec<u8> =
        pseudo.iter().flat_map(|(name, value)| [vec![0], literal(name), literal(value)].concat()).collect();
    let (settings, headers, ends) = (4, 1, 0x5);
    let bytes =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(settings, 0, 0, b""), frame(headers, ends, 1, &block)];
    raw(mesh.address("main"), &bytes.concat()).await
}

#[test]
fn a_tunnel_or_an_upgrade_that_ends_with_its_headers_is_not_mirrored_either() {
    run(Setup::new(all()).primary(Service::echo()), async |mesh| {
        let connect = [(":method", "CONNECT"), (":authority", "a.test:443")];
        let extended = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", "/chat"),
            (":authority", "a.test"),
        ];
        let tunnel = ends_with_its_headers(mesh, &connect).await;
        mesh.until("the tunnel to be counted", |l| l.ignored("connect") == 1).await;
        let socket = ends_with_its_headers(mesh, &extended).await;
        let ledger = mesh.until("the upgrade to be counted", |l| l.ignored("upgrade") == 1).await;
        assert_eq!((ledger.requests("rule-0"), ledger.ignored("connect")), (0, 1));
        drop((tunnel, socket));
        mesh.mirror.received(0).await;
    });
}
