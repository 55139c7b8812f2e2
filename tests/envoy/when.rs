//! `when`: copies that are sent once the primary's response is over, and only if it is such a one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use harness::client::{Req, raw, read_until};
use harness::upstream::{Answer, Received, Service};
use harness::{Mesh, Setup, eventually, run};

/// One rule with one mirror that waits for such a response.
fn waiting(when: &Value) -> Value {
    json!({"rules": [{"name": "r", "mirrors": [{"cluster": "mirror", "when": when}]}]})
}

fn errors() -> Value {
    waiting(&json!([{"status": ["5xx", 429, "none"]}]))
}

/// Answers with the status, and after the milliseconds, that the path has: `/503-50`; `never` never answers.
fn by_path() -> Service {
    Service::script(|request: &Received| {
        let wanted = request.path.split('/').nth(1).unwrap();
        let Some((status, delay)) = wanted.split_once('-') else { return Answer::Never };
        let after = Duration::from_millis(delay.parse().unwrap());
        Answer::Reply { status: status.parse().unwrap(), headers: vec![], body: "", trailers: vec![], after }
    })
}

async fn outcomes(mesh: &Mesh, sent: i64, not_wanted: i64) {
    let copies = |outcome| move |ledger: &harness::ledger::Ledger| ledger.copies("r", "mirror", outcome);
    let what = format!("{sent} sent, {not_wanted} not wanted");
    mesh.until(&what, |ledger| copies("sent")(ledger) == sent && copies("not_wanted")(ledger) == not_wanted).await;
    mesh.settle().await;
}

#[test]
fn of_a_primary_that_fails_one_request_in_ten_those_are_copied_with_their_bodies() {
    run(Setup::new(errors()).primary(by_path()), async |mesh| {
        let mut client = mesh.client().await;
        for number in 0..100 {
            let status = if number % 10 == 3 { 503 } else { 200 };
            let body = format!("{number:03}").repeat(1 + number * 700);
            let request =
                Req::post(&format!("/{status}-0/{number}"), body).header("x-mirrored-primary-ms", "a client's");
            assert_eq!(client.send(request).await.status, status);
        }
        let copies = mesh.mirror.received(10).await;
        let numbers: BTreeSet<_> = copies.iter().map(|copy| copy.path.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(numbers, (0..10).map(|ten| (ten * 10 + 3).to_string()).collect());
        for copy in copies {
            let number: usize = copy.path.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(copy.body, format!("{number:03}").repeat(1 + number * 700).as_bytes(), "{}", copy.path);
            assert_eq!(copy.value("x-mirrored-primary-status").as_deref(), Some("503"));
            let took: u64 = copy.value("x-mirrored-primary-ms").unwrap().parse().unwrap();
            assert!(took < 5000, "{took} ms");
        }
        outcomes(mesh, 10, 90).await;
        assert_eq!(mesh.ledger().await.buffered_bytes(), 0);
    });
}

#[test]
fn requests_without_a_body_wait_too_and_count_as_waiting() {
    run(Setup::new(errors()).primary(by_path()), async |mesh| {
        let client = raw(mesh.address("main"), b"GET /503-400 HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
        mesh.until("a waiting request", |ledger| ledger.waiting("r", "mirror") == 1).await;
        mesh.until("its copy", |ledger| ledger.copies("r", "mirror", "sent") == 1).await;
        drop(client);
        outcomes(mesh, 1, 0).await;
    });
}

#[test]
fn neither_a_slow_upload_nor_a_slow_client_makes_a_primary_slow() {
    let plugin = waiting(&json!([{"slowerThan": "300ms"}]));
    run(Setup::new(plugin).primary(by_path()), async |mesh| {
        for (path, upload, expected) in
            [("/200-0", 600, (0, 1)), ("/200-600", 0, (1, 1)), ("/404-600", 0, (2, 1)), ("/200-0", 600, (2, 2))]
        {
            let head = format!("POST {path} HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\na");
            let mut client = raw(mesh.address("main"), head.as_bytes()).await;
            tokio::time::sleep(Duration::from_millis(upload)).await;
            client.write_all(b"b").await.unwrap();
            read_until(&mut client, |text| text.contains("\r\n\r\n")).await;
            outcomes(mesh, expected.0, expected.1).await;
        }
        let copy = mesh.mirror.received(2).await.swap_remove(0);
        assert_eq!(copy.value("x-mirrored-primary-status").as_deref(), Some("200"));
        let took: u64 = copy.value("x-mirrored-primary-ms").unwrap().parse().unwrap();
        assert!((300..5000).contains(&took), "{took} ms");
    });
}

/// The response is far larger than what Envoy and the sockets take, so that the upstream waits for the client.
#[test]
fn a_client_that_reads_slowly_leaves_the_primary_as_fast_as_its_upstream_was() {
    let plugin = waiting(&json!([{"status": ["2xx"], "slowerThan": "2s"}]));
    run(Setup::new(plugin).primary(Answer::Huge(1)), async |mesh| {
        let mut client = raw(mesh.address("main"), b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        read_until(&mut client, |text| text.len() > 1 << 20).await;
        drop(client);
        outcomes(mesh, 0, 1).await;
    });
}

#[test]
fn a_client_that_leaves_without_a_response_got_none() {
    run(Setup::new(errors()).primary(by_path()), async |mesh| {
        let client =
            raw(mesh.address("main"), b"POST /never HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\nab").await;
        mesh.until("a waiting request", |ledger| ledger.waiting("r", "mirror") == 1 && ledger.buffered_bytes() == 2)
            .await;
        mesh.primary.received(1).await;
        drop(client);
        outcomes(mesh, 1, 0).await;
        let copy = mesh.mirror.received(1).await.remove(0);
        assert_eq!(
            (copy.body.as_ref(), copy.value("x-mirrored-primary-status").as_deref()),
            (&b"ab"[..], Some("none"))
        );
        assert_eq!(copy.value("x-mirrored-primary-ms"), None);
    });
}

#[test]
fn a_request_that_never_became_complete_is_incomplete_whatever_the_response() {
    run(Setup::new(errors()).primary(by_path()), async |mesh| {
        let head = b"POST /503-0 HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9\r\n\r\nab";
        let client = raw(mesh.address("main"), head).await;
        mesh.until("a part of a body", |ledger| ledger.buffered_bytes() == 2).await;
        drop(client);
        mesh.until("an outcome", |ledger| ledger.copies("r", "mirror", "incomplete") == 1).await;
        outcomes(mesh, 0, 0).await;
    });
}

#[test]
fn what_envoy_responds_itself_counts_and_took_nobody_any_time() {
    // The primary takes the request and closes the connection: the client gets Envoy's 503.
    let closing = Service::Raw(Arc::new(|_| Box::pin(async {})));
    let plugin = waiting(&json!([{"status": [503]}, {"slowerThan": "1ms"}]));
    run(Setup::new(plugin).primary(closing), async |mesh| {
        assert_eq!(mesh.send(Req::get("/")).await.status, 503);
        let copy = mesh.mirror.received(1).await.remove(0);
        assert_eq!(copy.value("x-mirrored-primary-status").as_deref(), Some("503"));
        outcomes(mesh, 1, 0).await;
    });
}

#[test]
fn a_primary_that_is_retried_responds_once() {
    let is_second = std::sync::atomic::AtomicBool::new(false);
    let shaky = Service::script(move |_| {
        Answer::status(if is_second.swap(true, std::sync::atomic::Ordering::Relaxed) { 200 } else { 503 })
    });
    run(Setup::new(errors()).primary(shaky), async |mesh| {
        let request = Req::get("/").header("x-envoy-retry-on", "5xx").header("x-envoy-max-retries", "1");
        assert_eq!(mesh.send(request).await.status, 200);
        mesh.primary.received(2).await;
        outcomes(mesh, 0, 1).await;
    });
}

#[test]
fn mirrors_of_one_rule_wait_or_not_each_for_itself_and_are_compared() {
    let mirrors = json!([{"cluster": "mirror", "when": [{"status": ["5xx"]}]}, {"cluster": "mirror2"}]);
    let rules = json!({"rules": [{"name": "r", "compare": {"status": true}, "mirrors": mirrors}]});
    run(Setup::new(rules).primary(by_path()).mirror(Answer::status(503)), async |mesh| {
        let mut client = mesh.client().await;
        for path in ["/503-200", "/200-0", "/503-0"] {
            client.send(Req::post(path, "body")).await;
        }
        let ledger = mesh
            .until("the pairs", |ledger| {
                ledger.compared("r", "mirror", "same") == 2 && ledger.compared("r", "mirror2", "same") == 1
            })
            .await;
        assert_eq!(ledger.compared("r", "mirror2", "primary_error"), 2);
        outcomes(mesh, 2, 1).await;
        eventually("a primary that took 200 ms", async || {
            let labels = [("rule", "r"), ("mirror", "mirror")];
            let faster = mesh.prometheus("traffic_mirror_faster_ms_sum", &labels).await.unwrap_or(0.0);
            if (100.0..5000.0).contains(&faster) { Ok(()) } else { Err(format!("{faster}")) }
        })
        .await;
    });
}

#[test]
fn bodies_that_wait_take_half_of_the_room() {
    let mut plugin = errors();
    plugin["limits"] = json!({"maxBufferedBytes": 1000, "maxBodyBytes": 600});
    run(Setup::new(plugin).primary(by_path()), async |mesh| {
        let mut clients = Vec::new();
        let body = "x".repeat(400);
        let request = format!("POST /503-1500 HTTP/1.1\r\nhost: a.test\r\ncontent-length: 400\r\n\r\n{body}");
        clients.push(raw(mesh.address("main"), request.as_bytes()).await);
        mesh.until("a waiting body", |ledger| ledger.waiting("r", "mirror") == 1 && ledger.buffered_bytes() == 400)
            .await;
        clients.push(raw(mesh.address("main"), request.as_bytes()).await);
        mesh.until("no room", |ledger| ledger.copies("r", "mirror", "buffer_limit") == 1).await;
        for client in &mut clients {
            assert!(read_until(client, |text| text.contains("\r\n\r\n")).await.starts_with("HTTP/1.1 503"));
        }
        outcomes(mesh, 1, 0).await;
        assert_eq!(mesh.ledger().await.buffered_bytes(), 0);
    });
}

#[test]
fn one_dead_mirror_does_not_take_every_slot() {
    let mirrors = json!([{"cluster": "mirror", "maxInFlight": 2, "timeout": "3s"}, {"cluster": "mirror2"}]);
    let plugin = json!({"rules": [{"name": "r", "mirrors": mirrors}], "limits": {"maxInFlight": 3}});
    run(Setup::new(plugin).mirror(Answer::Never), async |mesh| {
        let mut client = mesh.client().await;
        for number in 1..=5 {
            client.send(Req::get("/")).await;
            mesh.until("the live mirror", |ledger| ledger.responses("r", "mirror2", "2xx") == number).await;
        }
        let ledger = mesh.ledger().await;
        assert_eq!(["sent", "in_flight_limit"].map(|outcome| ledger.copies("r", "mirror", outcome)), [2, 3]);
        assert_eq!(ledger.copies("r", "mirror2", "sent"), 5);
    });
}
