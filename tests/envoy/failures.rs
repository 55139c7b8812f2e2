//! Mirrors that fail: each failure has its name in the metrics, and the primary's client never learns of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Response;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use harness::client::{Client, Req, full, read_until};
use harness::ledger::CLASSES;
use harness::process::ROOT;
use harness::upstream::{Answer, Received, Service};
use harness::{Mesh, Setup, eventually, run};

fn to(cluster: &str, timeout: &str) -> Value {
    json!({"rules": [{"mirrors": [{"cluster": cluster, "timeout": timeout}]}]})
}

/// How often `response_time_ms` of the rule and this mirror was recorded, and the sum of its values.
async fn response_times(mesh: &Mesh, mirror: &str) -> (f64, f64) {
    let labels = [("rule", "rule-0"), ("mirror", mirror)];
    let count = mesh.prometheus("traffic_mirror_response_time_ms_count", &labels).await;
    (count.unwrap_or(0.0), mesh.prometheus("traffic_mirror_response_time_ms_sum", &labels).await.unwrap_or(0.0))
}

#[test]
fn a_response_is_counted_in_the_class_of_its_status() {
    let script = |r: &Received| Answer::status(r.path.trim_start_matches('/').parse().unwrap());
    run(Setup::new(to("mirror", "5s")).mirror(Service::script(script)), async |mesh| {
        let mut client = mesh.client().await;
        // 502, 503 and 504 are also what Envoy says when there is no answer; here the mirror says so itself.
        for status in [200, 204, 301, 404, 499, 500, 502, 503, 504, 299] {
            assert_eq!(client.send(Req::get(&format!("/{status}"))).await.status, 200);
        }
        let ledger = mesh.until("10 answers", |l| l.requests("rule-0") == 10 && l.in_flight() == 0).await;
        let classes = CLASSES.map(|c| ledger.responses("rule-0", "mirror", c));
        assert_eq!(classes, [0, 3, 1, 2, 4, 0, 0]);
        eventually("10 response times", async || {
            let (count, _) = response_times(mesh, "mirror").await;
            if count > 9.5 { Ok(()) } else { Err(format!("{count}")) }
        })
        .await;
    });
}

#[test]
fn a_mirror_that_never_responds_is_a_timeout_and_has_no_response_time() {
    let script = |r: &Received| if r.path == "/never" { Answer::Never } else { Answer::status(200) };
    run(Setup::new(to("mirror", "300ms")).mirror(Service::script(script)), async |mesh| {
        assert_eq!(mesh.send(Req::get("/never")).await.status, 200);
        let ledger = mesh.responses("rule-0", "mirror", "timeout", 1).await;
        assert_eq!((ledger.copies("rule-0", "mirror", "sent"), ledger.in_flight()), (1, 0));
        // Envoy merges histograms a moment later: a real answer's value must then be the only one.
        mesh.send(Req::get("/")).await;
        eventually("one response time", async || {
            let (count, sum) = response_times(mesh, "mirror").await;
            assert!(count < 1.5 && sum < 300.0, "{count} response times, {sum} ms in all");
            if count > 0.5 { Ok(()) } else { Err(format!("{count}")) }
        })
        .await;
    });
}

#[test]
fn a_response_that_is_not_complete_within_the_timeout_is_a_timeout() {
    let endless = Service::Raw(Arc::new(|mut io| {
        Box::pin(async move {
            read_until(&mut io, |text| text.contains("\r\n\r\n")).await;
            io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await.unwrap();
            std::future::pending::<()>().await;
        })
    }));
    run(Setup::new(to("mirror", "300ms")).mirror(endless), async |mesh| {
        assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        mesh.responses("rule-0", "mirror", "timeout", 1).await;
    });
}

#[test]
fn the_log_says_in_envoys_words_why_a_mirror_did_not_respond() {
    let unwell = json!({"name": "unwell", "cluster": "mirror", "headers": {"set": {"x-status": "503"}}});
    let silent = json!({"name": "silent", "cluster": "mirror", "timeout": "300ms"});
    let rules =
        json!({"rules": [{"name": "r", "mirrors": [{"cluster": "refused"}, silent, unwell, {"cluster": "unknown"}]}]});
    let mirror = |copy: &Received| match copy.value("x-status") {
        // What a mirror itself says is not for the log.
        Some(_) => {
            Answer::Reply { status: 503, headers: vec![], body: "secret", trailers: vec![], after: Duration::ZERO }
        }
        None => Answer::Never,
    };
    run(Setup::new(rules).mirror(Service::script(mirror)), async |mesh| {
        for _ in 0..3 {
            assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        }
        mesh.responses("r", "refused", "failed", 3).await;
        mesh.responses("r", "silent", "timeout", 3).await;
        mesh.responses("r", "unwell", "5xx", 3).await;
        let log = mesh.envoy.log();
        // What streams log and what roots do begins alike.
        let own: Vec<_> = log.lines().filter(|line| line.contains("[wasm]")).collect();
        assert!(own.len() == 6 && own.iter().all(|line| line.contains(": traffic_mirror: rule r, mirror ")), "{log}");
        let said = |mirror: &str, words: &str| {
            let about = format!("rule r, mirror {mirror}: ");
            log.lines().filter(|line| line.contains(&about) && line.contains(words)).count()
        };
        // At the first and the second time of each.
        assert_eq!(said("refused", "did not respond: upstream connect error or disconnect"), 2, "{log}");
        assert_eq!(said("silent", "did not respond in time: upstream request timeout ("), 2, "{log}");
        assert_eq!(said("unwell", ""), 0, "{log}");
    });
}

#[test]
fn a_mirror_that_answers_a_second_after_the_primary_is_counted() {
    run(Setup::new(to("mirror", "5s")).mirror(Answer::after(Duration::from_secs(1))), async |mesh| {
        let started = Instant::now();
        assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        assert!(started.elapsed() < Duration::from_millis(900), "the primary's answer took {:?}", started.elapsed());
        let ledger = mesh.copies("rule-0", "mirror", "sent", 1).await;
        assert_eq!(ledger.in_flight(), 1);
        let ledger = mesh.responses("rule-0", "mirror", "2xx", 1).await;
        assert_eq!(ledger.in_flight(), 0);
        eventually("the response time", async || {
            let (count, sum) = response_times(mesh, "mirror").await;
            if count > 0.5 && (900.0..4000.0).contains(&sum) { Ok(()) } else { Err(format!("{count}, {sum} ms")) }
        })
        .await;
    });
}

#[test]
fn a_copy_has_5_s_to_be_answered_unless_configured() {
    let mirrors = json!([{"cluster": "mirror"}, {"cluster": "mirror2", "timeout": "1m30s"}]);
    run(Setup::new(json!({"rules": [{"mirrors": mirrors}]})), async |mesh| {
        mesh.send(Req::get("/")).await;
        // Envoy tells the mirror how long it will wait.
        let timeout = |copy: &Received| copy.value("x-envoy-expected-rq-timeout-ms");
        assert_eq!(timeout(&mesh.mirror.received(1).await[0]).as_deref(), Some("5000"));
        assert_eq!(timeout(&mesh.mirror2.received(1).await[0]).as_deref(), Some("90000"));
    });
}

#[test]
fn a_cluster_that_envoy_does_not_know_is_no_cluster() {
    run(Setup::new(to("unknown", "5s")), async |mesh| {
        assert_eq!(mesh.send(Req::post("/", "x")).await.status, 200);
        mesh.copies("rule-0", "unknown", "no_cluster", 1).await;
    });
}

#[test]
fn a_cluster_without_a_host_or_with_an_open_circuit_breaker_is_no_upstream() {
    let rules = json!({"rules": [{"mirrors": [{"cluster": "dead"}, {"cluster": "broken"}, {"cluster": "mirror"}]}]});
    run(Setup::new(rules), async |mesh| {
        for _ in 0..3 {
            assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        }
        mesh.copies("rule-0", "dead", "no_upstream", 3).await;
        mesh.copies("rule-0", "broken", "no_upstream", 3).await;
        mesh.responses("rule-0", "mirror", "2xx", 3).await;
        mesh.mirror.received(3).await;
    });
}

#[test]
fn a_refused_connection_counts_as_failed() {
    run(Setup::new(to("refused", "5s")), async |mesh| {
        assert_eq!(mesh.send(Req::post("/", "x")).await.status, 200);
        mesh.responses("rule-0", "refused", "failed", 1).await;
    });
}

#[test]
fn half_a_response_counts_as_failed_over_http_1_and_http_2() {
    for h2 in [false, true] {
        let setup = Setup::new(to("mirror", "5s")).mirror(Answer::Half);
        run(if h2 { setup.h2_upstreams() } else { setup }, async |mesh| {
            let mut client = mesh.client().await;
            for n in 1..=3 {
                assert_eq!(client.send(Req::get("/")).await.status, 200);
                mesh.responses("rule-0", "mirror", "failed", n).await;
            }
        });
    }
}

#[test]
fn a_response_that_is_too_large_for_envoy_counts_as_failed() {
    run(Setup::new(to("mirror", "20s")).mirror(Answer::Huge(40)), async |mesh| {
        assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        mesh.responses("rule-0", "mirror", "failed", 1).await;
    });
}

/// `limit`: where Envoy gets the runtime key from, which says how long an answer may be that it holds.
fn a_response_above_64_kib_fails(limit: Value) {
    let mirror = |r: &Received| {
        let length = r.path.trim_start_matches('/').parse().unwrap();
        Answer::Handled(Arc::new(move |_| Box::pin(async move { Response::new(full(vec![b'x'; length])) })))
    };
    let setup = Setup::new(to("mirror", "20s")).primary(Answer::Huge(1)).mirror(Service::script(mirror));
    run(setup.changed(|bootstrap| bootstrap["layered_runtime"] = limit), async |mesh| {
        for length in [0, 65_536, 65_537, 1 << 20] {
            let reply = mesh.send(Req::post(&format!("/{length}"), "body")).await;
            assert_eq!((reply.status, reply.body.len()), (200, 1 << 20), "what the client gets is not limited");
        }
        mesh.responses("rule-0", "mirror", "2xx", 2).await;
        mesh.responses("rule-0", "mirror", "failed", 2).await;
    });
}

#[test]
fn envoy_yaml_lets_envoy_buffer_64_kib_of_a_response() {
    let text = std::fs::read_to_string(Path::new(ROOT).join("envoy.yaml")).unwrap();
    let shipped: Value = serde_saphyr::from_str(&text).unwrap();
    a_response_above_64_kib_fails(shipped["layered_runtime"].clone());
}

#[test]
fn the_limit_of_a_response_may_be_text_as_istio_writes_it() {
    let layer = json!({"http.async_response_buffer_limit": "65536"});
    a_response_above_64_kib_fails(json!({"layers": [{"name": "global config", "static_layer": layer}]}));
}

#[test]
fn a_response_that_is_no_http_counts_as_failed() {
    let garbage = Service::Raw(Arc::new(|mut io| {
        Box::pin(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut io, b"SSH-2.0-mirror\r\n").await;
        })
    }));
    run(Setup::new(to("mirror", "5s")).mirror(garbage), async |mesh| {
        assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        mesh.responses("rule-0", "mirror", "failed", 1).await;
    });
}

#[test]
fn a_mirror_that_fails_leaves_the_other_mirrors_their_copies() {
    let rules = json!({"rules": [{"mirrors": [
        {"cluster": "refused"},
        {"cluster": "unknown"},
        {"cluster": "mirror", "timeout": "300ms"},
        {"cluster": "mirror2"},
    ]}]});
    run(Setup::new(rules).mirror(Service::deaf()), async |mesh| {
        assert_eq!(mesh.send(Req::post("/", "body")).await.status, 200);
        mesh.responses("rule-0", "mirror2", "2xx", 1).await;
        mesh.responses("rule-0", "mirror", "timeout", 1).await;
        mesh.responses("rule-0", "refused", "failed", 1).await;
        mesh.copies("rule-0", "unknown", "no_cluster", 1).await;
        assert_eq!(mesh.mirror2.received(1).await[0].body, "body");
    });
}

#[test]
fn a_mirror_that_never_reads_does_not_slow_down_an_upload() {
    const MIB: usize = 1 << 20;
    let gathered = json!({
        "rules": [{"name": "gathered", "mirrors": [{"cluster": "mirror", "timeout": "2s"}]}],
        "limits": {"maxBodyBytes": 32 * MIB},
    });
    run(Setup::new(to("mirror", "2s")).also("gathered", gathered).mirror(Service::deaf()), async |mesh| {
        let mut times = Vec::new();
        for listener in ["plain", "main", "gathered"] {
            let mut client = Client::h1(mesh.address(listener)).await;
            let started = Instant::now();
            assert_eq!(client.send(Req::post("/", vec![b'x'; 20 * MIB])).await.status, 200);
            times.push(started.elapsed());
        }
        for time in &times[1..] {
            assert!(*time < times[0] * 5 + Duration::from_secs(1), "without and with the filter: {times:?}");
        }
        mesh.copies("rule-0", "mirror", "body_too_large", 1).await;
        mesh.copies("gathered", "mirror", "sent", 1).await;
        mesh.responses("gathered", "mirror", "timeout", 1).await;
        assert!(mesh.primary.received(3).await.iter().all(|r| r.body.len() == 20 * MIB));
    });
}
