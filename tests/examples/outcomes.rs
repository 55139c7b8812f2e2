//! What the table in each README promises, seen by the client and in the logs of the services.

use crate::harness::block_on;
use crate::harness::eventually;
use crate::readme::{Row, outcome};
use crate::scene::{Line, Ports, Scene, lines};

/// The port of the listener with the filter, in every example.
const FRONT: u16 = 10000;

#[test]
fn bookinfo() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("bookinfo", "envoy.yaml", &mut ports).await;
        hold("bookinfo", &scene, &mut ports, || lines(&scene.envoy.log())).await;
    });
}

/// Sends what the table says, and checks that what it says comes of it, and nothing else.
async fn hold(example: &str, scene: &Scene, ports: &mut Ports, logged: impl Fn() -> Vec<Line>) {
    let rows: Vec<Row> = outcome(example).into_iter().flat_map(|row| vec![row.clone(); row.times]).collect();
    let mut client = scene.client(FRONT, ports).await;
    let mut due = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let reply = client.send(row.request(number)).await;
        assert_eq!(reply.status, 200, "{example}: {row:?}: {}", reply.text());
        if let Some(answer) = scene.answer_of(&row.answered_by) {
            assert_eq!(reply.text(), answer, "{example}: {row:?}");
        }
        let line = |(service, authority): (&String, &String), is_copy| Line {
            service: service.clone(),
            path: row.numbered(number),
            authority: authority.clone(),
            is_copy,
        };
        due.push(line((&row.answered_by, &row.authority), false));
        due.extend(row.copy.as_ref().map(|(at, authority)| line((at, authority), true)));
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
}
