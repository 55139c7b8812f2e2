//! `mirrorctl report`: what it says of the calculator's v3, which is fast, and wrong and slow where Lucas numbers are asked.

use crate::Ran;
use crate::harness::block_on;
use crate::mirrorctl;
use crate::scene::{Ports, Scene};
use crate::stats::{FRONT, V3, beside, calculation};
use std::time::Duration;

/// Clients that ask at the same time, and how often each does: in half of the period. The other half is for Envoy's histograms,
/// which show what they hold some seconds late.
const CLIENTS: usize = 10;
const TIMES: usize = 10;

/// Watches while one in `per` requests asks for Lucas numbers, and none if that is 0.
async fn watched(scene: &Scene, ports: &mut Ports, per: usize, args: &[&str]) -> Ran {
    let admin = scene.envoy.admin.to_string();
    let mut command = vec!["report", &admin, "--for", "9s", "--interval", "500ms", "--agreement", "95"];
    command.extend(args);
    let ask = async {
        // The first reading comes before the first request.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = scene.client(FRONT, ports).await;
            clients.push(tokio::spawn(async move {
                for number in 0..TIMES {
                    let path = if per > 0 && number % per == 0 { "/lucas" } else { "/fibonacci" };
                    assert_eq!(client.send(calculation(path)).await.status, 200);
                }
            }));
        }
        for client in clients {
            client.await.unwrap();
        }
    };
    tokio::join!(beside(&command), ask).0
}

#[test]
fn v3_is_worse_where_it_is_wrong_and_better_elsewhere() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("calcbackend", "envoy.yaml", &mut ports).await;
        let good = watched(&scene, &mut ports, 0, &[]).await.ok();
        for line in [
            &*format!("desktop → {V3}"),
            "  verdict      better: of 100 pairs, 100 % (95 % confidence: 96.3 % to 100 %) have the same status; \
             more than 5 ms slower in 0 %, faster in 100 %",
            "  requests     100",
            "  copies       100 sent",
            "  answers      100 2xx",
            "  failures     0 of 5xx and failed: 0 %",
            "  compared     100 same",
            "mobile: mirrored nowhere",
        ] {
            assert!(good.lines().any(|found| found == line), "{line}\n{good}");
        }

        // Now one in five is wrong; what was counted before is no part of it.
        let bad = watched(&scene, &mut ports, 5, &["--markdown"]).await;
        assert_eq!((bad.code, bad.err), (1, format!("Worse: desktop → {V3}\n")), "{}", bad.out);
        let escaped = V3.replace('|', "\\|");
        for line in [
            &*format!("## desktop → {escaped}"),
            "**worse**: of 100 pairs, 80 % (95 % confidence: 71.1 % to 86.7 %) have the same status; wanted are 95 %",
            "| answers | 80 2xx, 20 5xx |",
            "| failures | 20 of 5xx and failed: 20 % |",
            "| compared | 20 different, 80 same |",
        ] {
            assert!(bad.out.lines().any(|found| found == line), "{line}\n{}", bad.out);
        }
        let by = bad.out.lines().find(|line| line.starts_with("| slower by |")).unwrap();
        let times: Vec<f64> = by.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // Of five, four take 180 ms less, and one 400 ms more.
        assert!(
            (-250.0..=-100.0).contains(&times[0]) && times[1..].iter().all(|time| (250.0..=500.0).contains(time)),
            "{by}"
        );

        let few = beside(&["report", &scene.envoy.admin.to_string(), "--for", "1s"]).await.ok();
        assert!(few.contains("too few to say: of 0 pairs"), "{few}");
    });
}

#[test]
fn what_cannot_be_watched_is_wrong_usage() {
    for args in [
        &["report", "Cargo.toml"][..],
        &["report", "-"],
        &["report", "127.0.0.1:1", "--agreement", "100"],
        &["report", "127.0.0.1:1", "--tolerance", "-1"],
        &["report", "127.0.0.1:1", "--for", "soon"],
    ] {
        let ran = mirrorctl(args, "");
        assert_eq!((ran.code, &*ran.out), (2, ""), "{args:?}");
    }
}
