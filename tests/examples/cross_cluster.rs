//! Two gateways: half of A's requests also reach B, and whatever becomes of B, the clients of A do not feel it.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::outcomes::FRONT;
use harness::client::{Client, Req};
use harness::readme::{Row, outcome};
use harness::scene::{Line, Ports, Scene, lines};
use harness::{block_on, eventually};

const RULE: &str = "headers";
const MIRROR: &str = "outbound|80||httpbin.mirror.cluster-b";
/// Clients of A that send without a pause.
const CLIENTS: usize = 4;

/// The two gateways, B first.
async fn start(ports: &mut Ports) -> (Scene, Scene) {
    let b = Scene::start("cross-cluster", "envoy-b.yaml", ports).await;
    (Scene::start("cross-cluster", "envoy.yaml", ports).await, b)
}

#[test]
fn half_of_the_requests_reach_b_under_their_own_host_with_shadow() {
    block_on(async {
        let mut ports = Ports::default();
        let (a, b) = start(&mut ports).await;
        let rows: Vec<Row> =
            outcome("cross-cluster").into_iter().flat_map(|row| vec![row.clone(); row.times]).collect();
        let mut client = a.client(FRONT, &mut ports).await;
        let (mut primaries, mut copies) = (BTreeSet::new(), BTreeSet::new());
        for (number, row) in rows.iter().enumerate() {
            let reply = client.send(row.request(number)).await;
            assert_eq!((reply.status, reply.text().as_str()), (200, "httpbin-a\n"));
            for line in row.lines(number) {
                if line.is_copy {
                    copies.insert(line)
                } else {
                    primaries.insert(line)
                };
            }
        }
        let ledger = a.settle().await;
        let sent = usize::try_from(ledger.copies(RULE, MIRROR, "sent")).unwrap();
        // 200 draws: that fewer than 60 or more than 140 are copied is less likely than one in ten million.
        assert!((60..=140).contains(&sent) && copies.len() == 200, "{sent} of {}", copies.len());
        logs(&a, rows.len(), |seen| assert_eq!(seen, primaries)).await;
        logs(&b, sent, |seen| assert!(seen.is_subset(&copies), "{seen:#?}")).await;
    });
}

/// Waits until the log has that many lines, checks that there is no more and that none stands there twice.
async fn logs(scene: &Scene, count: usize, check: impl FnOnce(BTreeSet<Line>)) {
    let mut seen = Vec::new();
    eventually("the log", async || {
        seen = lines(&scene.envoy.log());
        if seen.len() >= count { Ok(()) } else { Err(format!("{} of {count} lines", seen.len())) }
    })
    .await;
    let different: BTreeSet<Line> = seen.iter().cloned().collect();
    assert_eq!((seen.len(), different.len()), (count, count));
    check(different);
}

#[test]
fn b_hangs_and_is_killed_under_load_and_no_client_of_a_feels_it() {
    block_on(async {
        let mut ports = Ports::default();
        let (a, b) = start(&mut ports).await;
        let pid = b.envoy.pid().to_string();
        let signal = |name: &str| assert!(Command::new("kill").args([name, pid.as_str()]).status().unwrap().success());

        let answered = Arc::new(AtomicUsize::new(0));
        let enough = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let client = a.client(FRONT, &mut ports).await;
            clients.push(tokio::spawn(keep_asking(client, Arc::clone(&answered), Arc::clone(&enough))));
        }
        let until = async |what: &str, holds: &dyn Fn() -> bool| {
            eventually(what, async || if holds() { Ok(()) } else { Err(format!("{answered:?} answers")) }).await;
        };

        until("answers while B is well", &|| answered.load(Ordering::Relaxed) > 100).await;
        signal("-STOP");
        eventually("copies that the cap keeps back", async || {
            let ledger = a.ledger().await;
            if ledger.copies(RULE, MIRROR, "in_flight_limit") > 0 { Ok(()) } else { Err(format!("{ledger:#?}")) }
        })
        .await;
        signal("-KILL");
        let (before, failed) = (answered.load(Ordering::Relaxed), a.ledger().await.responses(RULE, MIRROR, "failed"));
        until("answers without B", &|| answered.load(Ordering::Relaxed) > before + 500).await;
        enough.store(true, Ordering::Relaxed);

        let mut slowest = Duration::ZERO;
        for client in clients {
            slowest = slowest.max(client.await.unwrap());
        }
        // A client that had waited for B would have waited for the copy's timeout, 2 s.
        assert!(slowest < Duration::from_millis(1500), "the slowest answer took {slowest:?}");
        let ledger = a.settle().await;
        assert!(ledger.responses(RULE, MIRROR, "failed") > failed, "{failed} failed before: {ledger:#?}");
    });
}

/// Sends requests one after the other, each of which has to be answered by A; returns how long the slowest took.
async fn keep_asking(mut client: Client, answered: Arc<AtomicUsize>, enough: Arc<AtomicBool>) -> Duration {
    let mut slowest = Duration::ZERO;
    while !enough.load(Ordering::Relaxed) {
        let started = Instant::now();
        let reply = client.send(Req::get("/headers").authority("shop.example")).await;
        slowest = slowest.max(started.elapsed());
        assert_eq!((reply.status, reply.text().as_str()), (200, "httpbin-a\n"));
        answered.fetch_add(1, Ordering::Relaxed);
    }
    slowest
}
