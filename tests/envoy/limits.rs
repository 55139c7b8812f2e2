//! What the limits do: they cost copies, are counted, and are free again afterwards. The primary never notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use harness::bootstrap::Delivery;
use harness::client::{Client, Req, raw, read_until};
use harness::ledger::Ledger;
use harness::upstream::Answer;
use harness::{Mesh, Setup, eventually, run};

fn limited(mirror: Value, limits: Value) -> Value {
    json!({"rules": [{"mirrors": [mirror]}], "limits": limits})
}

#[test]
fn bodies_buffered_for_copies_share_one_limit_and_give_back_what_they_took() {
    let plugin = limited(json!({"cluster": "mirror"}), json!({"maxBufferedBytes": 100_000, "maxBodyBytes": 90_000}));
    run(Setup::new(plugin), async |mesh| {
        let (length, half) = (80_000, vec![b'x'; 60_000]);
        let head = format!("POST /slow HTTP/1.1\r\nhost: a.test\r\ncontent-length: {length}\r\n\r\n");
        let mut upload = raw(mesh.address("main"), &[head.as_bytes(), &half].concat()).await;
        mesh.until("the half to be held", |l| l.buffered_bytes() >= 60_000).await;

        assert_eq!(mesh.send(Req::post("/second", vec![b'y'; 50_000])).await.status, 200);
        mesh.copies("rule-0", "mirror", "buffer_limit", 1).await;

        upload.write_all(&vec![b'x'; 20_000]).await.unwrap();
        read_until(&mut upload, |text| text.contains("\r\n\r\n")).await;
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
        mesh.until("nothing to be held", |l| l.buffered_bytes() == 0).await;

        mesh.send(Req::post("/third", vec![b'z'; 50_000])).await;
        mesh.responses("rule-0", "mirror", "2xx", 2).await;
        let lengths: Vec<usize> = mesh.mirror.received(2).await.iter().map(|r| r.body.len()).collect();
        assert_eq!(lengths, [80_000, 50_000]);
        mesh.primary.received(3).await;
    });
}

#[test]
fn copies_in_flight_are_limited_until_they_are_answered() {
    let plugin = limited(json!({"cluster": "mirror", "timeout": "1500ms"}), json!({"maxInFlight": 2}));
    let mirror = |r: &harness::upstream::Received| match r.path.as_str() {
        "/never" => Answer::Never,
        _ => Answer::status(200),
    };
    run(Setup::new(plugin).mirror(harness::upstream::Service::script(mirror)), async |mesh| {
        let mut client = mesh.client().await;
        for _ in 0..5 {
            assert_eq!(client.send(Req::get("/never")).await.status, 200);
        }
        let ledger = mesh.copies("rule-0", "mirror", "in_flight_limit", 3).await;
        assert_eq!((ledger.in_flight(), ledger.copies("rule-0", "mirror", "sent")), (2, 2));
        mesh.balance().await;
        mesh.responses("rule-0", "mirror", "timeout", 2).await;
        mesh.until("nothing in flight", |l| l.in_flight() == 0).await;
        client.send(Req::get("/")).await;
        mesh.responses("rule-0", "mirror", "2xx", 1).await;
    });
}

#[test]
fn copies_per_second_are_limited_after_a_burst() {
    let plugin = limited(json!({"cluster": "mirror"}), json!({"maxRequestsPerSecond": 1, "burst": 5}));
    run(Setup::new(plugin), async |mesh| {
        let mut client = mesh.client().await;
        for _ in 0..30 {
            client.send(Req::get("/")).await;
        }
        let ledger = mesh.until("30 requests", |l| l.requests("rule-0") == 30).await;
        let sent = ledger.copies("rule-0", "mirror", "sent");
        assert!((5..=8).contains(&sent), "{sent} of 30");
        assert_eq!(ledger.copies("rule-0", "mirror", "rate_limit"), 30 - sent);
        eventually("the bucket to fill again", async || {
            client.send(Req::get("/later")).await;
            let now = mesh.ledger().await.copies("rule-0", "mirror", "sent");
            if now > sent { Ok(()) } else { Err(format!("{now} sent")) }
        })
        .await;
    });
}

#[test]
fn a_burst_is_as_large_as_the_rate_unless_configured() {
    run(Setup::new(limited(json!({"cluster": "mirror"}), json!({"maxRequestsPerSecond": 10}))), async |mesh| {
        let mut client = mesh.client().await;
        let started = Instant::now();
        for _ in 0..40 {
            client.send(Req::get("/")).await;
        }
        let ledger = mesh.until("40 requests", |l| l.requests("rule-0") == 40).await;
        let refilled = i64::try_from(started.elapsed().as_millis() / 100).unwrap() + 1;
        let sent = ledger.copies("rule-0", "mirror", "sent");
        assert!((10..=10 + refilled).contains(&sent), "{sent} of 40 when {refilled} more were due");
    });
}

#[test]
fn a_copy_that_is_too_large_or_waits_in_vain_costs_no_token() {
    let plugin = limited(
        json!({"cluster": "mirror", "timeout": "1h"}),
        json!({"maxBodyBytes": 3, "maxInFlight": 1, "maxRequestsPerSecond": 1, "burst": 2}),
    );
    run(Setup::new(plugin).mirror(Answer::after(Duration::from_secs(2))), async |mesh| {
        let mut client = mesh.client().await;
        client.send(Req::post("/large", "four")).await;
        client.send(Req::get("/sent")).await;
        client.send(Req::post("/large", "four")).await;
        for _ in 0..5 {
            client.send(Req::get("/limited")).await;
        }
        let ledger = mesh.until("8 requests", |l| l.requests("rule-0") == 8).await;
        let counted = ["body_too_large", "sent", "in_flight_limit", "rate_limit"];
        assert_eq!(counted.map(|o| ledger.copies("rule-0", "mirror", o)), [2, 1, 5, 0]);
    });
}

/// The outcomes of copies that a rate decides, of two rules, after so many requests were counted.
async fn decided(mesh: &Mesh, requests: i64) -> (i64, i64) {
    let of =
        |ledger: &Ledger, outcome| ["a", "b"].map(|rule| ledger.copies(rule, "mirror", outcome)).iter().sum::<i64>();
    let is_counted = |ledger: &Ledger| of(ledger, "sent") + of(ledger, "rate_limit") == requests;
    let ledger = mesh.until("all requests", is_counted).await;
    (of(&ledger, "sent"), of(&ledger, "rate_limit"))
}

/// Four workers and two listeners, whose filter comes from one file.
fn of_the_complete_envoy(limits: Value) -> (Setup, impl Fn(&str) -> Value) {
    let plugin =
        move |name: &str| json!({"rules": [{"name": name, "mirrors": [{"cluster": "mirror"}]}], "limits": limits});
    let setup = Setup::new(plugin("a")).also("other", plugin("a")).workers(4).delivered_by(Delivery::Ecds);
    (setup, plugin)
}

/// Sends requests to both listeners, on many connections at once, so that all workers have some.
async fn flood(mesh: &Mesh, connections: usize, each: usize) -> i64 {
    let to = [mesh.address("main"), mesh.address("other")];
    let client = |at: usize| async move {
        let mut client = Client::h1(to[at % 2]).await;
        for _ in 0..each {
            assert_eq!(client.send(Req::get("/")).await.status, 200);
        }
    };
    let clients: Vec<_> = (0..connections).map(|at| tokio::spawn(client(at))).collect();
    for client in clients {
        client.await.unwrap();
    }
    i64::try_from(connections * each).unwrap()
}

#[test]
fn a_rate_is_that_of_all_workers_and_listeners_together() {
    let (setup, _) = of_the_complete_envoy(json!({"maxRequestsPerSecond": 50, "burst": 50}));
    run(setup, async |mesh| {
        let (began, mut requests) = (Instant::now(), 0);
        while began.elapsed() < Duration::from_secs(2) {
            requests += flood(mesh, 16, 10).await;
        }
        let due = 50 + i64::try_from(began.elapsed().as_millis() / 20).unwrap();
        let (sent, limited) = decided(mesh, requests).await;
        // Fewer where a worker of a busy machine gets no time for a while.
        assert!((due * 3 / 4..=due + 1).contains(&sent), "{sent} sent where {due} were due, {limited} not");
        assert!(limited > 0);
    });
}

#[test]
fn a_push_that_does_not_change_the_rate_neither_grows_nor_fills_the_bucket() {
    let (setup, plugin) = of_the_complete_envoy(json!({"maxRequestsPerSecond": 1, "burst": 40}));
    run(setup, async |mesh| {
        let began = Instant::now();
        let mut requests = flood(mesh, 8, 10).await;
        let (sent, _) = decided(mesh, requests).await;
        assert!(sent >= 40, "{sent} of the burst");
        mesh.update(&plugin("b"));
        let is_everywhere = async || {
            let before = mesh.ledger().await.requests("a");
            requests += flood(mesh, 16, 2).await;
            decided(mesh, requests).await;
            let after = mesh.ledger().await.requests("a");
            if before == after { Ok(()) } else { Err(format!("{} requests of the old rule", after - before)) }
        };
        eventually("the new rule", is_everywhere).await;
        let (sent, _) = decided(mesh, requests).await;
        let due = 40 + i64::try_from(began.elapsed().as_secs()).unwrap() + 1;
        assert!(sent <= due, "{sent} sent where {due} were due");
    });
}

#[test]
fn limits_count_for_each_worker() {
    let plugin = limited(json!({"cluster": "mirror", "timeout": "4s"}), json!({"maxInFlight": 1}));
    run(Setup::new(plugin).mirror(Answer::Never).workers(2), async |mesh| {
        for _ in 0..20 {
            assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        }
        let ledger = mesh.until("20 requests", |l| l.requests("rule-0") == 20).await;
        // One for each worker; the kernel deals connections out, and might favour one.
        let sent = ledger.copies("rule-0", "mirror", "sent");
        assert!((1..=2).contains(&sent), "{ledger:?}");
        assert_eq!(ledger.copies("rule-0", "mirror", "in_flight_limit"), 20 - sent);
    });
}

#[test]
fn a_body_announced_above_what_32_bits_count_is_never_buffered() {
    run(Setup::new(limited(json!({"cluster": "mirror"}), json!({}))), async |mesh| {
        for length in ["4294967301", "18446744073709551615"] {
            let head = format!("POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: {length}\r\n\r\nhello");
            let upload = raw(mesh.address("main"), head.as_bytes()).await;
            mesh.until("the outcome", |l| l.copies("rule-0", "mirror", "body_too_large") > 0).await;
            drop(upload);
        }
        mesh.copies("rule-0", "mirror", "body_too_large", 2).await;
    });
}

#[test]
fn small_chunks_of_many_uploads_take_little_memory() {
    const UPLOADS: usize = 300;
    run(Setup::new(limited(json!({"cluster": "mirror"}), json!({}))), async |mesh| {
        let mut uploads = Vec::new();
        for _ in 0..UPLOADS {
            let head = b"POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n";
            uploads.push(raw(mesh.address("main"), head).await);
        }
        mesh.until("the first chunks", |l| l.buffered_bytes() == 300).await;
        let before = mesh.envoy.data_kib();
        for upload in &mut uploads {
            upload.write_all(b"1\r\nb\r\n").await.unwrap();
        }
        mesh.until("the second chunks", |l| l.buffered_bytes() == 600).await;
        // What would be 16 KiB for each, 4,800 together, is some hundred bytes. Envoy's allocator takes 2 MiB at once from the system.
        let grown = mesh.envoy.data_kib().saturating_sub(before);
        assert!(grown < 4_000, "{grown} KiB for {UPLOADS} chunks of one byte");
        drop(uploads);
        mesh.copies("rule-0", "mirror", "incomplete", 300).await;
    });
}
