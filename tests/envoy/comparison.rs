//! `compare`: primary and mirror side by side, each pair counted once, whoever answers first or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use harness::client::{Client, Req, raw, read_until};
use harness::ledger::COMPARED;
use harness::upstream::{Answer, Received, Service};
use harness::{Mesh, Setup, eventually, run};

/// One rule that compares the primary with `mirror`, which gets 300 ms.
fn comparing() -> Value {
    json!({"rules": [{"name": "r", "compare": {"status": true}, "mirrors": [{"cluster": "mirror", "timeout": "300ms"}]}]})
}

/// Answers with the status and after the milliseconds that the path has for this server: `/404-50/200-0` says that the primary
/// answers 404 after 50 ms, and the mirror 200 at once. `never` never answers.
fn by_path(part: usize) -> Service {
    Service::script(move |request: &Received| {
        let wanted = request.path.split('/').nth(part).unwrap().to_owned();
        let Some((status, delay)) = wanted.split_once('-') else { return Answer::Never };
        let after = Duration::from_millis(delay.parse().unwrap());
        Answer::Reply { status: status.parse().unwrap(), headers: vec![], body: "", trailers: vec![], after }
    })
}

fn setup() -> Setup {
    Setup::new(comparing()).primary(by_path(1)).mirror(by_path(2))
}

/// Waits for a result of the rule `r` and the mirror `mirror`, and says how often there is each.
async fn compared(mesh: &Mesh, result: &str, count: i64) -> Vec<i64> {
    let what = format!("{count} {result}");
    let ledger = mesh.until(&what, |ledger| ledger.compared("r", "mirror", result) == count).await;
    COMPARED.iter().map(|result| ledger.compared("r", "mirror", result)).collect()
}

/// Waits for the first value of one of the mirror's histograms, and returns it.
async fn first_value(mesh: &Mesh, histogram: &str) -> f64 {
    first_of(mesh, histogram, &[("rule", "r"), ("mirror", "mirror")]).await
}

/// Waits for the primary's first time, and returns it.
async fn primary_time(mesh: &Mesh) -> f64 {
    first_of(mesh, "primary_response_time_ms", &[("rule", "r")]).await
}

async fn first_of(mesh: &Mesh, histogram: &str, labels: &[(&str, &str)]) -> f64 {
    let mut sum = 0.0;
    eventually(histogram, async || {
        let count = mesh.prometheus(&format!("traffic_mirror_{histogram}_count"), labels).await.unwrap_or(0.0);
        sum = mesh.prometheus(&format!("traffic_mirror_{histogram}_sum"), labels).await.unwrap_or(0.0);
        if count == 1.0 { Ok(()) } else { Err(format!("{count} values")) }
    })
    .await;
    sum
}

#[test]
fn pairs_are_told_apart_by_their_status_codes_and_by_who_has_an_error() {
    run(setup(), async |mesh| {
        let mut client = mesh.client().await;
        for (path, status) in [
            ("/200-0/200-0", 200),
            ("/404-0/404-0", 404),
            ("/200-0/201-0", 200),
            ("/500-0/503-0", 500),
            ("/500-0/200-0", 500),
            ("/404-0/503-0", 404),
            ("/200-0/never", 200),
            ("/503-0/never", 503),
        ] {
            assert_eq!(client.send(Req::post(path, "x")).await.status, status);
        }
        mesh.until("8 pairs", |l| COMPARED.iter().map(|result| l.compared("r", "mirror", result)).sum::<i64>() == 8)
            .await;
        assert_eq!(compared(mesh, "primary_only", 1).await, [2, 1, 1, 2, 0, 0, 0, 1, 0, 1]);
        let ledger = mesh.ledger().await;
        assert_eq!(
            ["2xx", "3xx", "4xx", "5xx", "none"].map(|class| ledger.primary_responses("r", class)),
            [3, 0, 2, 3, 0]
        );
    });
}

#[test]
fn the_primary_takes_as_long_as_its_upstream_however_slow_the_upload_and_the_client_are() {
    run(setup(), async |mesh| {
        let head = "POST /200-300/200-0 HTTP/1.1\r\nhost: a.test\r\ncontent-length: 2\r\n\r\n";
        let mut client = raw(mesh.address("main"), head.as_bytes()).await;
        client.write_all(b"a").await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        client.write_all(b"b").await.unwrap();
        read_until(&mut client, |text| text.contains("\r\n\r\n")).await;
        compared(mesh, "same", 1).await;
        let took = primary_time(mesh).await;
        assert!((250.0..600.0).contains(&took), "{took} ms");
    });
}

#[test]
fn a_mirror_that_answers_first_waits_for_the_primary() {
    run(setup(), async |mesh| {
        assert_eq!(mesh.send(Req::get("/200-600/200-0")).await.status, 200);
        assert_eq!(compared(mesh, "same", 1).await, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let faster = first_value(mesh, "faster_ms").await;
        assert!((300.0..5000.0).contains(&faster), "{faster} ms");
        assert_eq!(
            mesh.prometheus("traffic_mirror_slower_ms_count", &[("rule", "r"), ("mirror", "mirror")])
                .await
                .unwrap_or(0.0),
            0.0
        );
    });
}

#[test]
fn a_mirror_that_answers_last_is_slower_by_so_much() {
    run(setup(), async |mesh| {
        assert_eq!(mesh.send(Req::get("/200-0/503-200")).await.status, 200);
        assert_eq!(compared(mesh, "mirror_error", 1).await, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let slower = first_value(mesh, "slower_ms").await;
        assert!((100.0..300.0).contains(&slower), "{slower} ms");
    });
}

#[test]
fn a_client_that_goes_away_before_the_primary_responds_got_no_response() {
    run(setup(), async |mesh| {
        for (path, result) in [("/200-2000/200-0", "mirror_only"), ("/200-2000/never", "neither")] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n");
            let client = raw(mesh.address("main"), request.as_bytes()).await;
            mesh.until("the copy", |ledger| ledger.in_flight() == 1 || ledger.responses("r", "mirror", "2xx") == 1)
                .await;
            drop(client);
            compared(mesh, result, 1).await;
        }
        assert_eq!(compared(mesh, "neither", 1).await, [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    });
}

#[test]
fn what_envoy_responds_itself_is_the_primarys_response() {
    // The primary takes the request and closes the connection: the client gets Envoy's 503.
    let closing = Service::Raw(Arc::new(|_| Box::pin(async {})));
    run(Setup::new(comparing()).primary(closing).mirror(by_path(2)), async |mesh| {
        assert_eq!(mesh.send(Req::get("/x/503-0")).await.status, 503);
        assert!((0.0..5000.0).contains(&primary_time(mesh).await));
        assert_eq!(mesh.send(Req::get("/x/200-0")).await.status, 503);
        assert_eq!(compared(mesh, "primary_error", 1).await, [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn a_direct_response_is_the_primarys_response_too() {
    let mut plugin = comparing();
    plugin["rules"][0]["unrouted"] = json!("mirror");
    run(Setup::new(plugin), async |mesh| {
        assert_eq!(mesh.send(Req::get("/direct")).await.status, 200);
        assert_eq!(compared(mesh, "same", 1).await, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
}

#[test]
fn a_primary_that_is_retried_responds_once() {
    let is_second = AtomicBool::new(false);
    let shaky =
        Service::script(move |_| Answer::status(if is_second.swap(true, Ordering::Relaxed) { 200 } else { 503 }));
    run(Setup::new(comparing()).primary(shaky).mirror(by_path(2)), async |mesh| {
        let request = Req::get("/x/200-0").header("x-envoy-retry-on", "5xx").header("x-envoy-max-retries", "1");
        assert_eq!(mesh.send(request).await.status, 200);
        mesh.primary.received(2).await;
        assert_eq!(compared(mesh, "same", 1).await, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
}

/// Envoy makes a new stream of a request that it redirects by itself: the filter sees a second request, and copies it too.
#[test]
fn what_envoy_redirects_by_itself_are_two_requests() {
    let redirecting = Service::script(|request: &Received| match request.path.as_str() {
        "/old/200-0" => Answer::Reply {
            status: 302,
            headers: vec![("location", "http://a.test/new/200-0")],
            body: "",
            trailers: vec![],
            after: Duration::ZERO,
        },
        _ => Answer::status(200),
    });
    let setup = Setup::new(comparing()).primary(redirecting).mirror(by_path(2)).changed(|bootstrap| {
        let route = "/static_resources/listeners/1/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/3/route";
        bootstrap.pointer_mut(route).unwrap()["internal_redirect_policy"] = json!({});
    });
    run(setup, async |mesh| {
        assert_eq!(mesh.send(Req::get("/old/200-0").authority("a.test")).await.status, 200);
        let copies = mesh.mirror.received(2).await;
        let paths: Vec<_> = copies.iter().map(|copy| copy.path.as_str()).collect();
        assert_eq!(paths, ["/old/200-0", "/new/200-0"]);
        // Of the first the client got no response: it got the second's.
        assert_eq!(compared(mesh, "mirror_only", 1).await, [1, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    });
}

#[test]
fn each_mirror_makes_a_pair_and_what_is_not_sent_makes_none() {
    let mirrors = json!([{"cluster": "mirror"}, {"cluster": "mirror2"}, {"cluster": "refused", "percentage": 0}, {"cluster": "unknown"}]);
    let rules = json!({"rules": [{"name": "r", "compare": {"status": true}, "mirrors": mirrors}]});
    run(Setup::new(rules).mirror(Answer::status(404)), async |mesh| {
        let mut client = Client::h2(mesh.address("main")).await;
        for _ in 0..3 {
            client.send(Req::chunked("/", &["a", "b"]).trailer("x-sum", "1")).await;
        }
        let ledger = mesh
            .until("6 pairs", |l| l.compared("r", "mirror", "different") + l.compared("r", "mirror2", "same") == 6)
            .await;
        let none = |mirror| COMPARED.iter().map(|result| ledger.compared("r", mirror, result)).sum::<i64>();
        assert_eq!([none("refused"), none("unknown")], [0, 0]);
    });
}

#[test]
fn a_request_that_breaks_off_makes_no_pair() {
    run(setup(), async |mesh| {
        let half = b"POST /200-0/200-0 HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";
        drop(raw(mesh.address("main"), half).await);
        let ledger = mesh.copies("r", "mirror", "incomplete", 1).await;
        assert_eq!(COMPARED.map(|result| ledger.compared("r", "mirror", result)), COMPARED.map(|_| 0));
    });
}

#[test]
fn pairs_of_a_configuration_that_is_replaced_are_settled() {
    let setup = setup().delivered_by(harness::bootstrap::Delivery::Lds);
    run(setup, async |mesh| {
        let mut client = mesh.client().await;
        let answer = tokio::spawn(async move { client.send(Req::get("/200-700/never")).await.status });
        mesh.copies("r", "mirror", "sent", 1).await;
        mesh.update(&json!({"rules": [{"name": "other", "mirrors": []}]}));
        assert_eq!(answer.await.unwrap(), 200);
        assert_eq!(compared(mesh, "primary_only", 1).await, [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
    });
}

#[test]
fn a_rule_that_does_not_compare_has_no_such_series() {
    let rules = json!({"rules": [
        {"name": "r", "compare": {"status": false}, "mirrors": [{"cluster": "mirror"}]},
        {"name": "s", "match": [{"uri": {"exact": "/s"}}], "compare": null, "mirrors": [{"cluster": "mirror"}]},
    ]});
    run(Setup::new(rules), async |mesh| {
        mesh.send(Req::get("/")).await;
        mesh.responses("r", "mirror", "2xx", 1).await;
        let stats = mesh.envoy.admin("/stats?filter=wasmcustom").await;
        assert!(
            !["compared_total", "slower_ms", "faster_ms", "primary_response"].iter().any(|name| stats.contains(name)),
            "{stats}"
        );
    });
}

#[test]
fn an_informational_response_is_none_for_a_client_that_leaves() {
    // The primary says 103 and no more; and Envoy itself says 100 to a client that asks for it.
    let hints = Service::Raw(Arc::new(|mut io| {
        Box::pin(async move {
            read_until(&mut io, |text| text.contains("\r\n\r\n")).await;
            io.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").await.unwrap();
            std::future::pending::<()>().await;
        })
    }));
    let proxied = |config: &mut Value| {
        for listener in config["static_resources"]["listeners"].as_array_mut().unwrap() {
            listener["filter_chains"][0]["filters"][0]["typed_config"]["proxy_100_continue"] = json!(true);
        }
    };
    run(Setup::new(comparing()).primary(hints).mirror(by_path(2)).changed(proxied), async |mesh| {
        for (count, body) in [(1, &b""[..]), (2, b"hello")] {
            let expects = if body.is_empty() { "" } else { "expect: 100-continue\r\n" };
            let head =
                format!("POST /x/200-0 HTTP/1.1\r\nhost: a.test\r\n{expects}content-length: {}\r\n\r\n", body.len());
            let mut client = raw(mesh.address("main"), head.as_bytes()).await;
            read_until(&mut client, |text| text.starts_with("HTTP/1.1 10") && text.ends_with("\r\n\r\n")).await;
            client.write_all(body).await.unwrap();
            mesh.responses("r", "mirror", "2xx", count).await;
            drop(client);
            assert_eq!(compared(mesh, "mirror_only", count).await, [0, 0, 0, 0, 0, 0, 0, 0, count, 0]);
        }
    });
}
