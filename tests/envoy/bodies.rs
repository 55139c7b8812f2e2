//! The body of a copy: gathered whole or left out, and what trailers and long bodies do to it.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use harness::client::{Client, Req, raw, read_until};
use harness::upstream::Answer;
use harness::{Setup, run};

fn one(mirror: Value) -> Value {
    json!({"rules": [{"mirrors": [mirror]}]})
}

/// A body whose every part differs, longer than any buffer on its way.
fn long(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| u8::try_from(n / 7 % 251).unwrap()).collect()
}

#[test]
fn a_body_is_copied_completely() {
    run(Setup::new(one(json!({"cluster": "mirror"}))), async |mesh| {
        let bodies = [b"hello".to_vec(), vec![], b"\0\xff\r\n\r\n".to_vec(), long(1_000_000), long(1 << 20)];
        for (index, body) in bodies.iter().enumerate() {
            mesh.send(Req::post("/", body.clone()).header("content-type", "application/octet-stream")).await;
            let copy = &mesh.mirror.received(index + 1).await[index];
            assert!(copy.body == *body, "{} bytes arrived, not {}", copy.body.len(), body.len());
            let length = (!body.is_empty()).then(|| body.len().to_string());
            assert_eq!(copy.value("content-length").filter(|l| l != "0"), length);
            assert_eq!((copy.method.as_str(), copy.values("transfer-encoding").len()), ("POST", 0));
            assert!(mesh.primary.received(index + 1).await[index].body == *body);
        }
    });
}

#[test]
fn a_chunked_body_is_copied_completely() {
    run(Setup::new(one(json!({"cluster": "mirror"}))), async |mesh| {
        mesh.send(Req::chunked("/", &["one, ", "two, ", "three"])).await;
        let copy = &mesh.mirror.received(1).await[0];
        assert_eq!((&copy.body[..], copy.value("content-length").as_deref()), (&b"one, two, three"[..], Some("15")));
        assert_eq!(copy.value("transfer-encoding"), None);
        assert_eq!(mesh.primary.received(1).await[0].value("transfer-encoding").as_deref(), Some("chunked"));
    });
}

#[test]
fn an_http_1_body_that_ends_in_trailers_is_copied_without_them() {
    run(Setup::new(one(json!({"cluster": "mirror"}))), async |mesh| {
        let request = b"POST /t HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
            5\r\nhello\r\n1\r\n!\r\n0\r\nx-sum: 42\r\n\r\n";
        let mut io = raw(mesh.address("main"), request).await;
        read_until(&mut io, |text| text.starts_with("HTTP/1.1 200") && text.contains("\r\n\r\n")).await;
        let copy = &mesh.mirror.received(1).await[0];
        assert_eq!((&copy.body[..], copy.trailers.len()), (&b"hello!"[..], 0));
        let primary = &mesh.primary.received(1).await[0];
        assert_eq!((&primary.body[..], primary.trailers.len()), (&b"hello!"[..], 1));
    });
}

#[test]
fn an_http_2_body_that_ends_in_trailers_is_copied_without_them() {
    run(Setup::new(one(json!({"cluster": "mirror"}))).h2_upstreams(), async |mesh| {
        let mut client = Client::h2(mesh.address("main")).await;
        client.send(Req::chunked("/t", &["hello", "!"]).trailer("x-sum", "42")).await;
        client.send(Req::new("PUT", "/only").trailer("x-sum", "43")).await;
        let copies = mesh.mirror.received(2).await;
        assert_eq!((&copies[0].body[..], copies[0].trailers.len()), (&b"hello!"[..], 0));
        assert_eq!((&copies[1].body[..], copies[1].trailers.len()), (&b""[..], 0));
        let primary = mesh.primary.received(2).await;
        assert_eq!((&primary[0].body[..], primary[0].trailers.len()), (&b"hello!"[..], 1));
    });
}

#[test]
fn a_body_can_be_left_out() {
    run(Setup::new(one(json!({"cluster": "mirror", "body": "omit"}))), async |mesh| {
        mesh.send(Req::post("/length", "hello").header("content-type", "text/plain")).await;
        mesh.send(Req::chunked("/chunked", &["a", "b"])).await;
        // Longer than `maxBodyBytes`, which is no matter when the body is not wanted.
        mesh.send(Req::post("/long", long(2 << 20))).await;
        mesh.responses("rule-0", "mirror", "2xx", 3).await;
        for copy in mesh.mirror.received(3).await {
            assert_eq!((copy.method.as_str(), copy.body.len()), ("POST", 0), "{}", copy.path);
            assert!(matches!(copy.value("content-length").as_deref(), None | Some("0")), "{copy:?}");
        }
        assert_eq!(mesh.primary.received(3).await[0].body, "hello");
    });
}

#[test]
fn a_body_above_the_limit_costs_the_copy_or_is_left_out() {
    let mirrors = json!([{"cluster": "mirror"}, {"cluster": "mirror2", "onOversizedBody": "omit"}]);
    let plugin = json!({"rules": [{"mirrors": mirrors}], "limits": {"maxBodyBytes": 10}});
    run(Setup::new(plugin), async |mesh| {
        mesh.send(Req::post("/ten", "0123456789")).await;
        mesh.send(Req::post("/eleven", "0123456789a")).await;
        mesh.send(Req::chunked("/chunked", &["0123456789", "a", "b"])).await;
        let ledger = mesh.responses("rule-0", "mirror2", "2xx", 3).await;
        assert_eq!((ledger.copies("rule-0", "mirror", "sent"), ledger.copies("rule-0", "mirror2", "sent")), (1, 3));
        assert_eq!(ledger.copies("rule-0", "mirror", "body_too_large"), 2);
        assert_eq!(mesh.mirror.received(1).await[0].body, "0123456789");
        for copy in mesh.mirror2.received(3).await {
            assert_eq!(copy.body.len(), if copy.path == "/ten" { 10 } else { 0 }, "{}", copy.path);
        }
        let whole: Vec<usize> = mesh.primary.received(3).await.iter().map(|r| r.body.len()).collect();
        assert_eq!(whole, [10, 11, 12]);
    });
}

#[test]
fn a_body_is_1_mib_at_most_unless_configured() {
    let plugin = json!({"rules": [{"mirrors": [{"cluster": "mirror"}]}]});
    run(Setup::new(plugin), async |mesh| {
        assert_eq!(mesh.send(Req::post("/", long((1 << 20) + 1))).await.status, 200);
        mesh.copies("rule-0", "mirror", "body_too_large", 1).await;
        assert_eq!(mesh.primary.received(1).await[0].body.len(), (1 << 20) + 1);
    });
}

#[test]
fn one_request_is_copied_with_and_without_its_body() {
    let mirrors = json!([{"cluster": "mirror", "body": "include"}, {"cluster": "mirror2", "body": "omit"}]);
    let setup = Setup::new(json!({"rules": [{"mirrors": mirrors}]})).primary(Answer::status(201));
    run(setup, async |mesh| {
        assert_eq!(mesh.send(Req::post("/", "hello")).await.status, 201);
        assert_eq!(mesh.mirror.received(1).await[0].body, "hello");
        assert_eq!(mesh.mirror2.received(1).await[0].body, "");
    });
}

#[test]
fn what_a_body_takes_is_given_back_the_moment_it_passes_the_limit() {
    run(Setup::new(one(json!({"cluster": "mirror"}))), async |mesh| {
        let head = b"POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let mut upload = raw(mesh.address("main"), head).await;
        mesh.until("the first chunk to be held", |l| l.buffered_bytes() == 5).await;
        upload.write_all(&[&b"200000\r\n"[..], &long(1 << 21), b"\r\n"].concat()).await.unwrap();
        // The request has not ended yet.
        mesh.until("nothing to be held", |l| l.buffered_bytes() == 0).await;
        upload.write_all(b"0\r\n\r\n").await.unwrap();
        mesh.copies("rule-0", "mirror", "body_too_large", 1).await;
        assert_eq!(mesh.primary.received(1).await[0].body.len(), 5 + (1 << 21));
    });
}
