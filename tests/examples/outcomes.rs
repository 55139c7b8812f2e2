//! What the table in each README promises, seen by the client and in the logs of the services.

use crate::httpbin::Httpbin;
use harness::block_on;
use harness::client::Reply;
use harness::eventually;
use harness::readme::{Row, outcome};
use harness::scene::{Line, Ports, Scene, lines};

/// The port of the listener with the filter, in every example.
pub const FRONT: u16 = 10000;

/// Version 3 of the calculator, as the metrics name it.
const V3: &str = "outbound|80|v3|calcbackendsvc.calc.svc.cluster.local";

#[test]
fn bookinfo() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("bookinfo", "envoy.yaml", &mut ports).await;
        hold("bookinfo", &scene, &mut ports, || lines(&scene.envoy.log())).await;
    });
}

#[test]
fn nginx_versions() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("nginx-versions", "envoy.yaml", &mut ports).await;
        let replies = hold("nginx-versions", &scene, &mut ports, || lines(&scene.envoy.log())).await;
        assert!(replies.iter().all(|reply| reply.text() == "This is version 1\n"));
        let ledger = scene.settle().await;
        assert_eq!(ledger.ignored("marked"), 1, "{ledger:#?}");
    });
}

#[test]
fn failing_requests() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("failing-requests", "envoy.yaml", &mut ports).await;
        hold("failing-requests", &scene, &mut ports, || lines(&scene.envoy.log())).await;
        let (ledger, mirror) = (scene.settle().await, "outbound|8000|debug|orders.default.svc.cluster.local");
        assert_eq!(["sent", "not_wanted"].map(|outcome| ledger.copies("went-wrong", mirror, outcome)), [2, 9]);
    });
}

#[test]
fn calcbackend() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("calcbackend", "envoy.yaml", &mut ports).await;
        let replies = hold("calcbackend", &scene, &mut ports, || lines(&scene.envoy.log())).await;
        assert!(replies.iter().all(|reply| !reply.text().contains("v3")));
        let ledger = scene.settle().await;
        assert_eq!((ledger.requests("mobile"), ledger.requests("desktop")), (3, 6), "{ledger:#?}");
        // What v1 and v3 answered is compared: the same, and v3 is the faster one, but for the path where it fails.
        let compared = |result| ledger.compared("desktop", V3, result);
        assert_eq!([compared("same"), compared("mirror_error")], [5, 1], "{ledger:#?}");
        eventually("by how much v3 was faster five times, and slower once", async || {
            let text = scene.envoy.admin("/stats/prometheus?filter=traffic_mirror").await;
            let value = |part: &str| {
                let line = text.lines().find(|line| line.starts_with(&format!("traffic_mirror_{part}{{")));
                line.map_or(0.0, |line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
            };
            let counts = ["faster_ms_count", "slower_ms_count"].map(value);
            let is_due = counts[0] > 4.5 && counts[1] > 0.5 && value("faster_ms_sum") > 5.0 * 50.0;
            if is_due { Ok(()) } else { Err(format!("{counts:?}, {} ms", value("faster_ms_sum"))) }
        })
        .await;
    });
}

#[test]
fn httpbin_gateway_api() {
    block_on(async {
        let mut ports = Ports::default();
        let servers = [("httpbin-v1", 10001), ("httpbin-v2", 10002)];
        let [v1, v2] = servers.map(|(name, port)| Httpbin::start(name, ports.address(port)));
        v1.ready().await;
        v2.ready().await;
        let scene = Scene::start("httpbin-gateway-api", "envoy.yaml", &mut ports).await;
        let logged = || lines(&(v1.log() + &v2.log()));
        let replies = hold("httpbin-gateway-api", &scene, &mut ports, logged).await;
        // httpbin answers with what it has got: the client's Host as it was.
        assert!(replies[0].text().contains("\"Host\": \"httpbin:8000\""), "{}", replies[0].text());
    });
}

#[test]
fn private_data() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("private-data", "envoy.yaml", &mut ports).await;
        hold("private-data", &scene, &mut ports, || lines(&scene.envoy.log())).await;
        let ledger = scene.settle().await;
        let copies = |outcome| ledger.copies("orders", "outbound|80||shop.test.svc.cluster.local", outcome);
        assert_eq!([copies("sent"), copies("redaction_failed")], [4, 1], "{ledger:#?}");
    });
}

#[test]
fn compare_json() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("compare-json", "envoy.yaml", &mut ports).await;
        hold("compare-json", &scene, &mut ports, || lines(&scene.envoy.log())).await;
        let ledger = scene.settle().await;
        assert_eq!(ledger.requests("catalogue"), 5, "{ledger:#?}");
        let stats = scene.envoy.admin("/stats?filter=differences_total").await;
        for (mirror, different) in [("candidate", 1), ("baseline", 0)] {
            assert_eq!(ledger.compared("catalogue", mirror, "different_body"), 5, "{ledger:#?}");
            for (field, expected) in [("id", 5), ("time", 5), ("items/*/price", different), ("items/*/name", 0)] {
                let name = format!("rule=.=catalogue;.;mirror=.={mirror};.;field=.=body/{field};.;differences_total: ");
                let counted = stats.lines().find_map(|line| line.split_once(&name));
                assert_eq!(
                    counted.map_or(0, |(_, count)| count.parse().unwrap()),
                    expected,
                    "{mirror} {field}: {stats}"
                );
            }
        }
    });
}

/// Sends what the table says, and checks that what it says comes of it, and nothing else.
async fn hold(example: &str, scene: &Scene, ports: &mut Ports, logged: impl Fn() -> Vec<Line>) -> Vec<Reply> {
    let rows: Vec<Row> = outcome(example).into_iter().flat_map(|row| vec![row.clone(); row.times]).collect();
    let mut client = scene.client(FRONT, ports).await;
    let mut due = Vec::new();
    let mut replies = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let reply = client.send(row.request(number)).await;
        assert_eq!(reply.status, row.status, "{example}: {row:?}: {}", reply.text());
        if let Some(answer) = scene.answer_of(&row.answered_by) {
            assert_eq!(reply.text(), answer, "{example}: {row:?}");
        }
        replies.push(reply);
        due.extend(row.lines(number));
    }
    let ledger = scene.settle().await;
    // Nothing is under way any more; the logs are complete when they have a line for each request that Envoy has sent.
    let sent = scene.sent().await;
    let mut seen = Vec::new();
    eventually("the services' logs", async || {
        seen = logged();
        if seen.len() >= sent { Ok(()) } else { Err(format!("{} lines for {sent} requests", seen.len())) }
    })
    .await;
    due.sort();
    seen.sort();
    assert_eq!(seen, due, "{example}: {ledger:#?}");
    replies
}
