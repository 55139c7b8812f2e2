//! The counters add up after any mix of traffic, at every moment in between, through edits, and on several workers at once.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use harness::bootstrap::Delivery;
use harness::client::{Client, Req, raw, read_until};
use harness::ledger::Ledger;
use harness::upstream::{Answer, Received, Service};
use harness::{Setup, run};

const TASKS: usize = 8;
const ROUNDS: usize = 12;

#[test]
fn the_counters_add_up_after_any_mix_of_traffic() {
    let mirrors = json!([
        {"cluster": "mirror", "timeout": "700ms"},
        {"cluster": "mirror2", "percentage": 30, "onOversizedBody": "omit"},
        {"cluster": "refused", "body": "omit"},
        {"cluster": "dead", "consistentHash": {"httpHeaderName": "x-n"}, "percentage": 50},
        {"cluster": "unknown"},
        {"clusterHeader": "x-to", "allowedClusters": ["mirror2"]},
    ]);
    let plugin = json!({
        "rules": [
            {"name": "excluded", "match": [{"uri": {"exact": "/excluded"}}], "mirrors": []},
            {"name": "mixed", "mirrors": mirrors},
        ],
        "limits": {
            "maxBodyBytes": 10_000, "maxBufferedBytes": 30_000, "maxInFlight": 20,
            "maxRequestsPerSecond": 100, "burst": 50,
        },
    });
    let mirror = |r: &Received| match r.body.len() % 3 {
        0 => Answer::status(204),
        1 => Answer::Half,
        _ => Answer::Never,
    };
    run(Setup::new(plugin).workers(2).mirror(Service::script(mirror)), async |mesh| {
        let to = mesh.address("main");
        let tasks: Vec<_> = (0..TASKS)
            .map(|task| {
                tokio::spawn(async move {
                    for n in 0..ROUNDS {
                        let mut client = if task % 2 == 0 { Client::h1(to).await } else { Client::h2(to).await };
                        let body = vec![b'x'; 100 * n + task];
                        for req in [
                            Req::get("/").header("x-n", n.to_string()),
                            Req::post("/", body).header("x-to", "mirror2"),
                            Req::post("/", vec![b'x'; 20_000]).header("x-to", "mirror"),
                            Req::chunked("/", &["a", "b"]),
                            Req::get("/excluded"),
                            Req::get("/").header("x-mirrored-request", "true"),
                            // No mirror would have got it, so that it counts like any other.
                            Req::get("/excluded").header("x-mirrored-request", "true"),
                        ] {
                            client.send(req).await;
                        }
                        if task % 2 == 1 {
                            // Over HTTP/1.1, hyper would not even begin to send it.
                            let _ = client.try_send(Req::chunked("/", &["half"]).breaking_off()).await;
                        }
                        drop(raw(to, b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 9\r\n\r\nhalf").await);
                    }
                })
            })
            .collect();
        for task in tasks {
            mesh.balance().await;
            task.await.unwrap();
        }
        let rounds = i64::try_from(TASKS * ROUNDS).unwrap();
        let broken_off = rounds + rounds / 2;
        let total = 4 * rounds + broken_off;
        let ledger = mesh.until("every request", |l| l.requests("mixed") == total && l.in_flight() == 0).await;
        assert_eq!((ledger.requests("excluded"), ledger.ignored("marked")), (2 * rounds, rounds));
        assert_eq!(ledger.copies("mixed", "mirror", "incomplete"), broken_off);
        assert_eq!(ledger.copies("mixed", "mirror", "body_too_large"), rounds);
    });
}

#[test]
fn every_request_that_the_filter_sees_is_counted_once() {
    let plugin = json!({"rules": [
        {"name": "none", "match": [{"uri": {"exact": "/none"}}], "mirrors": []},
        {"name": "never", "match": [{"uri": {"exact": "/never"}}], "mirrors": [{"cluster": "mirror", "percentage": 0}]},
        {"name": "all", "match": [{"uri": {"exact": "/all"}}], "mirrors": [{"cluster": "mirror"}]},
    ]});
    run(Setup::new(plugin), async |mesh| {
        for path in ["/none", "/never", "/all", "/other"] {
            for marked in [false, true] {
                let marker = if marked { "x-mirrored-request" } else { "x-other" };
                mesh.send(Req::get(path).header(marker, "true")).await;
                mesh.send(Req::post(path, "body").header(marker, "true")).await;
            }
        }
        // Its headers are broken off, so that the filter sees no request.
        drop(raw(mesh.address("main"), b"GET /all HTTP/1.1\r\nhost: a.te").await);
        let seen = |l: &Ledger| {
            let decided: i64 = ["none", "never", "all"].iter().map(|rule| l.requests(rule)).sum();
            decided + l.ignored("marked") + l.unmatched()
        };
        let ledger = mesh.until("every request", |l| seen(l) == 16).await;
        let requests = ["none", "never", "all"].map(|rule| ledger.requests(rule));
        assert_eq!((requests, ledger.ignored("marked"), ledger.unmatched()), ([4, 4, 2], 2, 4));
        assert_eq!((ledger.decided("never", "mirror"), ledger.decided("all", "mirror")), (4, 2));
    });
}

#[test]
fn the_counters_add_up_through_edits_of_a_rules_mirrors_and_while_requests_wait() {
    let rule = |mirrors: Value| json!({"rules": [{"name": "r", "mirrors": mirrors}]});
    let (one, never) = (json!({"cluster": "mirror"}), json!({"cluster": "dead", "percentage": 0}));
    let second = json!({"cluster": "mirror2"});
    let setup = Setup::new(rule(json!([one, never]))).delivered_by(Delivery::Ecds);
    run(setup, async |mesh| {
        let half = b"POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";
        let counts = |l: &Ledger, mirror: &str| (l.decided("r", mirror), l.waiting("r", mirror));
        let accounts = [("r".to_owned(), ["mirror", "dead", "mirror2"].map(String::from).to_vec())];
        let mut uploads = Vec::new();
        for (update, mirrors, expected) in [
            (1, None, [(1, 1), (1, 0), (0, 0)]),
            (2, Some(json!([one, second])), [(2, 2), (1, 0), (1, 1)]),
            (3, Some(json!([second])), [(2, 2), (1, 0), (2, 2)]),
            (4, Some(json!([second, never])), [(2, 2), (2, 0), (3, 3)]),
        ] {
            if let Some(mirrors) = mirrors {
                mesh.update(&rule(mirrors));
                mesh.stat("traffic_mirror.config_reload", update).await;
            }
            uploads.push(raw(mesh.address("main"), half).await);
            let found = |l: &Ledger| ["mirror", "dead", "mirror2"].map(|mirror| counts(l, mirror));
            let ledger = mesh.until("the upload", |l| l.requests("r") == i64::try_from(update).unwrap()).await;
            assert_eq!(found(&ledger), expected);
            assert_eq!((ledger.requests("r"), ledger.imbalance(&accounts)), (i64::try_from(update).unwrap(), None));
        }
        // One of them is broken off.
        drop(uploads.pop());
        for upload in &mut uploads {
            upload.write_all(b"world").await.unwrap();
            read_until(upload, |text| text.contains("\r\n\r\n")).await;
        }
        let ledger = mesh.until("every outcome", |l| l.unsettled(&accounts).is_none()).await;
        let outcomes = |mirror| ["sent", "incomplete", "unsampled"].map(|outcome| ledger.copies("r", mirror, outcome));
        assert_eq!(["mirror", "dead", "mirror2"].map(outcomes), [[2, 0, 0], [0, 0, 2], [2, 1, 0]]);
    });
}
