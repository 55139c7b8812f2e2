//! `mirrorctl stats`: the figures of a real Envoy, with the calculator of the examples, and counters that do not add up.

use crate::{ROOT, Ran, mirrorctl};
use harness::client::Req;
use harness::scene::{Ports, Scene};
use harness::{block_on, eventually};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// The calculator's only mirror.
pub const V3: &str = "outbound|80|v3|calcbackendsvc.calc.svc.cluster.local";
/// What the calculator's clients connect to.
pub const FRONT: u16 = 10000;

/// A request to the calculator.
pub fn calculation(path: &str) -> Req {
    Req::get(path).authority("calcbackendsvc")
}

/// Runs mirrorctl beside an Envoy that the test goes on to look after.
pub async fn beside(args: &[&str]) -> Ran {
    let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let run = move || mirrorctl(&args.iter().map(|arg| &**arg).collect::<Vec<_>>(), "");
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[test]
fn figures_are_what_was_sent() {
    block_on(async {
        let mut ports = Ports::default();
        let scene = Scene::start("calcbackend", "envoy.yaml", &mut ports).await;
        let mut client = scene.client(FRONT, &mut ports).await;
        for path in ["/fibonacci", "/fibonacci", "/lucas", "/fibonacci"] {
            client.send(calculation(path)).await;
        }
        client.send(calculation("/").header("user-agent", "Mobile")).await;
        client.send(calculation("/").header("x-mirrored-request", "true")).await;
        scene.settle().await;
        let admin = scene.envoy.admin.to_string();
        let mut shown = Value::Null;
        // Envoy shows what its histograms hold a few seconds later.
        eventually("the histograms", async || {
            shown = serde_json::from_str(&beside(&["stats", &admin, "--json"]).await.ok()).unwrap();
            let mirror = &shown["rules"][0]["mirrors"][0];
            if mirror["responseTimeMs"]["count"] == 4 { Ok(()) } else { Err(shown.to_string()) }
        })
        .await;
        let mut mirror = shown["rules"][0]["mirrors"][0].take();
        let counted = |counts: &mut Value| {
            let counts = counts.take();
            let counts = counts.as_object().unwrap().iter().filter(|(_, count)| **count != 0);
            json!(counts.map(|(label, count)| (label.clone(), count.clone())).collect::<serde_json::Map<_, _>>())
        };
        for (field, expected) in [
            ("copies", json!({ "sent": 4 })),
            ("answers", json!({ "2xx": 3, "5xx": 1 })),
            ("compared", json!({ "same": 3, "mirror_error": 1 })),
        ] {
            assert_eq!(counted(&mut mirror[field]), expected, "{field}");
        }
        // v3 takes 20 ms, or 600 ms; v1 always 200 ms.
        let within = |value: &Value, low: f64, high: f64| (low..=high).contains(&value.as_f64().unwrap());
        assert!(within(&mirror["responseTimeMs"]["p50"], 10.0, 50.0), "{mirror}");
        assert!(within(&mirror["responseTimeMs"]["p99"], 500.0, 1000.0), "{mirror}");
        assert!(within(&mirror["fasterMs"]["p50"], 100.0, 250.0) && mirror["fasterMs"]["count"] == 3, "{mirror}");
        assert!(within(&mirror["slowerMs"]["p50"], 250.0, 500.0) && mirror["slowerMs"]["count"] == 1, "{mirror}");
        assert_eq!((&mirror["mirror"], &mirror["share"]), (&json!(V3), &json!(1.0)));
        let rules = [("desktop", 4), ("mobile", 1)];
        for (rule, (name, requests)) in shown["rules"].as_array().unwrap().iter().zip(rules) {
            assert_eq!((&rule["rule"], &rule["requests"]), (&json!(name), &json!(requests)));
        }
        assert_eq!((&shown["inFlight"], &shown["bufferedBytes"]), (&json!(0), &json!(0)));
        assert_eq!((&shown["ignored"]["marked"], &shown["balanced"]), (&json!(1), &json!(true)));

        let text = beside(&["stats", &format!("http://{admin}/stats/prometheus")]).await.ok();
        for line in [
            &*format!("desktop → {V3}"),
            "  requests     4",
            "  decided      4, 0 of them waiting for an outcome",
            "  share        100 %",
            "  copies       4 sent",
            "  responses    3 2xx, 1 5xx",
            "               25 % 5xx: the mirror's own errors: see its log [mirror-errors]",
            "  primary      4 2xx",
            "  compared     3 same, 1 mirror_error",
            "  same status  75 % (95 % confidence: 30.1 % to 95.4 %)",
            "mobile: mirrored nowhere",
            "Seen: 6 requests; decided: 5; ignored: 1 marked; unmatched: 0",
            "In flight: 0 copies; buffered: 0 bytes",
            "The counters add up.",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.starts_with("Seen: 6 requests") && text.lines().all(|line| line.chars().count() <= 80), "{text}");
        // The document's example is of another run: only its figures differ.
        let page = fs::read_to_string(format!("{ROOT}/docs/mirrorctl.md")).unwrap();
        let shown = page.split_once("$ mirrorctl stats 127.0.0.1:9901\n").unwrap().1.split_once("```").unwrap().0;
        let figure = Regex::new(r"-?[0-9.]*[0-9]").unwrap();
        let printed: BTreeSet<_> = text.lines().map(|line| figure.replace_all(line, "#")).collect();
        for line in shown.lines() {
            assert!(printed.contains(&figure.replace_all(line, "#")), "docs/mirrorctl.md: {line}\n{text}");
        }

        let mut watch = Command::new(env!("CARGO_BIN_EXE_mirrorctl"));
        let mut watch = watch.args(["stats", &admin, "--watch=1"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut watched = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
        // First the totals alone, then with what came meanwhile.
        assert!(
            watched.any(|line| line == "  requests     4") && watched.any(|line| line == "  requests     4 (0.0/s)")
        );

        let page = scene.envoy.admin("/stats/prometheus").await;
        let saved = mirrorctl(&["stats", "-"], &page).ok();
        assert_eq!(saved, text);
        let lost = page.replace("traffic_mirror_decided_total{rule=\"desktop\",mirror=\"outbound|80|v3|calcbackendsvc.calc.svc.cluster.local\"} 4", "traffic_mirror_decided_total{rule=\"desktop\",mirror=\"outbound|80|v3|calcbackendsvc.calc.svc.cluster.local\"} 5");
        let ran = mirrorctl(&["stats", "-", "--json"], &lost);
        let shown: Value = serde_json::from_str(&ran.out).unwrap();
        let imbalance = format!("desktop → {V3}: 4 outcomes and 0 waiting of 5 requests");
        assert!(ran.code == 1 && ran.err.starts_with(&format!("The counters do not add up: {imbalance}\n")), "{ran:?}");
        assert_eq!((&shown["balanced"], &shown["imbalances"]), (&json!(false), &json!([imbalance])));

        // Without the Envoy it waits for it to come back.
        drop(scene);
        assert!(watched.any(|line| line.contains("onnection refused")));
        assert!(watch.try_wait().unwrap().is_none());
        watch.kill().unwrap();
        watch.wait().unwrap();
    });
}

#[test]
fn where_nothing_can_be_read_it_was_not_used_as_it_should_be() {
    // A port that is held and never listens.
    let refused = Ports::default().address(1).to_string();
    for (args, stdin, said) in [
        (&["stats", &refused][..], "", "onnection refused"),
        (&["stats", "https://127.0.0.1:9901"], "", "Envoy's admin endpoint has no TLS"),
        (&["stats", "no-such-file"], "", "neither a file nor HOST:PORT"),
        (&["stats", "--watch", "-"], "", "a file cannot be watched"),
        (&["stats", "-"], "", "nothing of the filter's here"),
        (&["stats", "-"], "traffic_mirror_requests_total{rule=\"r\" 1\n", "line 1 is not in Prometheus' text format"),
    ] {
        let ran = mirrorctl(args, stdin);
        assert_eq!((ran.code, &*ran.out), (2, ""), "{args:?}");
        assert!(ran.err.contains(said), "{args:?}: {}", ran.err);
    }
}
