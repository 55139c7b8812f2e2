//! A new configuration replaces the old one while requests flow and copies are in flight: nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

use harness::bootstrap::Delivery;
use harness::client::{Client, Req, raw, read_until};
use harness::upstream::Answer;
use harness::{Mesh, Setup, run};

fn rule(name: &str, cluster: &str) -> Value {
    json!({"rules": [{"name": name, "mirrors": [{"cluster": cluster}]}]})
}

fn bad() -> Value {
    json!({"rules": [{"name": "bad", "mirrors": [{"cluster": "mirror", "percentage": 140}]}]})
}

/// Requests, one after the other, each on a connection of its own, until told to stop.
pub struct Flow {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    task: JoinHandle<Vec<String>>,
}

impl Flow {
    pub fn start(mesh: &Mesh) -> Self {
        let (stop, sent, to) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), mesh.address("main"));
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            let mut failures = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let reply = match Client::try_h1(to).await {
                    Ok(mut client) => client.try_send(Req::post("/flow", "body")).await,
                    Err(e) => Err(e),
                };
                match reply {
                    Ok(reply) if reply.status == 200 => {}
                    other => failures.push(format!("{other:?}")),
                }
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            failures
        });
        Self { stop, sent, task }
    }

    /// Stops, and hands over how many requests were answered.
    pub async fn stop(self) -> i64 {
        self.stop.store(true, Ordering::Relaxed);
        assert_eq!(self.task.await.unwrap(), Vec::<String>::new(), "requests that failed");
        i64::try_from(self.sent.load(Ordering::Relaxed)).unwrap()
    }
}

/// An update while the flow goes on: every request is counted under one rule or the other, every copy is answered.
fn replaced_while_requests_flow(delivery: Delivery, updated: &str) {
    let setup = Setup::new(rule("old", "mirror")).delivered_by(delivery).mirror(Answer::after(Duration::from_secs(2)));
    run(setup.workers(2), async |mesh| {
        let flow = Flow::start(mesh);
        mesh.until("copies in flight", |l| l.in_flight() >= 5).await;
        mesh.update(&rule("new", "mirror2"));
        mesh.stat(updated, 2).await;
        let ledger = mesh.until("the new rule", |l| l.copies("new", "mirror2", "sent") >= 5).await;
        assert!(ledger.in_flight() > 0, "the old copies were to be in flight: {ledger:?}");
        let sent = flow.stop().await;
        let ledger = mesh.until("every answer", |l| l.in_flight() == 0).await;
        assert_eq!(ledger.requests("old") + ledger.requests("new"), sent);
        assert_eq!(ledger.responses("old", "mirror", "2xx"), ledger.copies("old", "mirror", "sent"));
        assert_eq!(ledger.copies("old", "mirror", "sent"), ledger.requests("old"));
        mesh.mirror.received(usize::try_from(ledger.requests("old")).unwrap()).await;
        mesh.mirror2.received(usize::try_from(ledger.requests("new")).unwrap()).await;
    });
}

/// A configuration that the filter refuses changes nothing.
fn refused_while_requests_flow(delivery: Delivery, rejected: &str, (updated, count): (&str, u64)) {
    let setup =
        Setup::new(rule("old", "mirror")).delivered_by(delivery).mirror(Answer::after(Duration::from_millis(500)));
    run(setup, async |mesh| {
        let flow = Flow::start(mesh);
        mesh.until("copies in flight", |l| l.in_flight() >= 3).await;
        mesh.update(&bad());
        mesh.stat(rejected, 1).await;
        let before = mesh.ledger().await.requests("old");
        mesh.until("more of the old rule", |l| l.requests("old") >= before + 10).await;
        // And the next good one is taken.
        mesh.update(&rule("new", "mirror2"));
        mesh.stat(updated, count).await;
        mesh.until("the new rule", |l| l.responses("new", "mirror2", "2xx") >= 3).await;
        let sent = flow.stop().await;
        let ledger = mesh.until("every answer", |l| l.in_flight() == 0).await;
        assert_eq!(ledger.requests("old") + ledger.requests("new"), sent);
        assert_eq!(ledger.requests("bad"), 0);
    });
}

const LDS_UPDATED: &str = "listener_manager.lds.update_success";
const LDS_REJECTED: &str = "listener_manager.lds.update_rejected";
const ECDS_UPDATED: &str = "traffic_mirror.config_reload";
const ECDS_REJECTED: &str = "traffic_mirror.update_rejected";

#[test]
fn a_listener_is_replaced_while_requests_flow() {
    replaced_while_requests_flow(Delivery::Lds, LDS_UPDATED);
}

#[test]
fn a_bad_listener_is_refused_and_the_old_one_keeps_mirroring() {
    refused_while_requests_flow(Delivery::Lds, LDS_REJECTED, (LDS_UPDATED, 2));
}

#[test]
fn a_filter_is_replaced_while_requests_flow() {
    replaced_while_requests_flow(Delivery::Ecds, ECDS_UPDATED);
}

#[test]
fn a_bad_filter_is_refused_and_the_old_one_keeps_mirroring() {
    // Envoy counts the refused one among the reloads too.
    refused_while_requests_flow(Delivery::Ecds, ECDS_REJECTED, (ECDS_UPDATED, 3));
}

#[test]
fn an_upload_that_began_under_the_old_configuration_is_mirrored_by_it() {
    run(Setup::new(rule("old", "mirror")).delivered_by(Delivery::Ecds), async |mesh| {
        let head = b"POST /old HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";
        let mut upload = raw(mesh.address("main"), head).await;
        mesh.until("the half to be held", |l| l.buffered_bytes() == 5).await;
        mesh.update(&rule("new", "mirror2"));
        mesh.stat(ECDS_UPDATED, 2).await;
        mesh.send(Req::get("/new")).await;
        mesh.responses("new", "mirror2", "2xx", 1).await;
        upload.write_all(b"world").await.unwrap();
        read_until(&mut upload, |text| text.contains("\r\n\r\n")).await;
        mesh.responses("old", "mirror", "2xx", 1).await;
        assert_eq!(mesh.mirror.received(1).await[0].body, "helloworld");
    });
}

#[test]
fn configurations_that_come_one_after_the_other_lose_no_copy() {
    let setup =
        Setup::new(rule("v0", "mirror")).delivered_by(Delivery::Ecds).mirror(Answer::after(Duration::from_secs(1)));
    run(setup, async |mesh| {
        for n in 0..4 {
            mesh.send(Req::get("/")).await;
            mesh.copies(&format!("v{n}"), "mirror", "sent", 1).await;
            mesh.update(&rule(&format!("v{}", n + 1), "mirror"));
            mesh.stat(ECDS_UPDATED, n + 2).await;
        }
        for n in 0..4 {
            mesh.responses(&format!("v{n}"), "mirror", "2xx", 1).await;
        }
    });
}
