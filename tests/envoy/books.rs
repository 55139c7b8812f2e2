//! The books balance after any mix of traffic, at every moment in between, and on several workers at once.

use serde_json::json;

use harness::client::{Client, Req, raw};
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
