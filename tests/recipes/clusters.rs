//! Recipes in the mirror's cluster: which hosts get copies, and over which connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::client::Req;
use harness::process::{ROOT, version};
use harness::scene::Ports;
use harness::upstream::{Answer, Service};
use harness::{Mesh, Setup, eventually, run};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::recipe::{Recipe, relay};

/// Where a recipe's first cluster has its HTTP options.
const OPTIONS: &str =
    "/clusters/0/typed_extension_protocol_options/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Sends requests one after the other, each when the outcome of the copy before it is known.
async fn send_each_after_the_other(mesh: &Mesh, count: i64) {
    for sent in 1..=count {
        assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        let outcomes = ["sent", "no_upstream"];
        mesh.until(&format!("{sent} outcomes, none in flight"), |ledger| {
            outcomes.iter().map(|outcome| ledger.copies("all", "mirror", outcome)).sum::<i64>() == sent
                && ledger.in_flight() == 0
        })
        .await;
    }
}

#[test]
fn without_panic_mode_a_mirror_that_is_down_gets_no_copies_and_with_it_all_of_them() {
    let heading = "Do not send to a mirror that is down";
    let down = |setup: Setup| setup.mirror(Answer::status(503));
    run(down(Recipe::new(heading).setup()), async |mesh| {
        send_each_after_the_other(mesh, 8).await;
        let ledger = mesh.ledger().await;
        assert_eq!((ledger.copies("all", "mirror", "sent"), ledger.copies("all", "mirror", "no_upstream")), (5, 3));
    });
    let in_panic = Recipe::new(heading).without("/clusters/0/common_lb_config");
    run(down(in_panic.setup()), async |mesh| {
        send_each_after_the_other(mesh, 8).await;
        assert_eq!(mesh.ledger().await.copies("all", "mirror", "sent"), 8);
    });
}

/// A mirror that responds to the first request of each connection, and closes the connection when a second one comes: what
/// a client sees if it sends while an idle connection is being closed.
fn responds_once_a_connection() -> (Service, Arc<AtomicUsize>) {
    let responses = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&responses);
    let serve = move |mut io: tokio::net::TcpStream| {
        let counter = Arc::clone(&counter);
        Box::pin(async move {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                if io.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            counter.fetch_add(1, Ordering::Relaxed);
            let _ = io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            let _ = io.read_buf(&mut read).await;
        }) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
    };
    (Service::Raw(Arc::new(serve)), responses)
}

#[test]
fn an_idle_timeout_below_the_servers_saves_the_copies_that_idle_connections_cost() {
    let (mirror, responses) = responds_once_a_connection();
    run(Recipe::new("A mirror that closes idle connections").setup().mirror(mirror), async |mesh| {
        send_each_after_the_other(mesh, 1).await;
        mesh.stat("cluster.mirror.upstream_cx_idle_timeout", 1).await;
        mesh.send(Req::get("/")).await;
        mesh.responses("all", "mirror", "2xx", 2).await;
        assert_eq!(responses.load(Ordering::Relaxed), 2);
    });
    let (mirror, _) = responds_once_a_connection();
    let without = Recipe::new("A mirror that closes idle connections")
        .without(&format!("{OPTIONS}/common_http_protocol_options"));
    run(without.setup().mirror(mirror), async |mesh| {
        send_each_after_the_other(mesh, 2).await;
        mesh.responses("all", "mirror", "failed", 1).await;
    });
}

#[test]
fn a_retry_policy_saves_them_too() {
    let has_policy = version() >= (1, 37);
    let recipe = Recipe::new("Retry copies");
    let recipe = if has_policy { recipe } else { recipe.without(&format!("{OPTIONS}/retry_policy")) };
    let (mirror, _) = responds_once_a_connection();
    run(recipe.setup().mirror(mirror), async move |mesh| {
        send_each_after_the_other(mesh, 2).await;
        let lost = i64::from(!has_policy);
        mesh.responses("all", "mirror", "2xx", 2 - lost).await;
        mesh.responses("all", "mirror", "failed", lost).await;
    });
}

#[test]
fn a_hash_policy_of_the_cluster_keeps_a_users_copies_together_and_spreads_users() {
    run(Recipe::new("Spread copies by a header").setup(), async |mesh| {
        for user in 0..16 {
            for _ in 0..2 {
                mesh.send(Req::get(&format!("/{user}")).header("x-user-id", user.to_string())).await;
            }
        }
        mesh.responses("all", "mirror", "2xx", 32).await;
        let [one, two] = [&mesh.mirror, &mesh.mirror2].map(|upstream| {
            let mut users: Vec<_> = upstream.so_far().iter().map(|copy| copy.value("x-user-id").unwrap()).collect();
            users.sort();
            let copies = users.len();
            users.dedup();
            assert_eq!(copies, users.len() * 2, "{users:?}");
            users
        });
        assert!(!one.is_empty() && !two.is_empty(), "{one:?} {two:?}");
        assert!(one.iter().all(|user| !two.contains(user)), "{one:?} {two:?}");
    });
    let policy = "/clusters/0/load_balancing_policy/policies/0/typed_extension_config/typed_config";
    let without = Recipe::new("Spread copies by a header").without(&format!("{policy}/consistent_hashing_lb_config"));
    run(without.setup(), async |mesh| {
        for user in 0..16 {
            mesh.send(Req::get("/").header("x-user-id", user.to_string())).await;
        }
        mesh.responses("all", "mirror", "2xx", 16).await;
        assert!(mesh.mirror.so_far().is_empty() || mesh.mirror2.so_far().is_empty());
    });
}

#[test]
fn an_internal_listener_gives_copies_routes_retries_and_an_access_log() {
    let failing_once = AtomicUsize::new(0);
    let script = move |_: &_| Answer::status(if failing_once.fetch_add(1, Ordering::Relaxed) == 0 { 503 } else { 200 });
    let recipe = Recipe::new("Routes, retries and an access log for copies");
    run(recipe.setup().mirror(Service::script(script)), async |mesh| {
        mesh.send(Req::get("/v2/a")).await;
        mesh.send(Req::post("/b", "text")).await;
        mesh.responses("all", "mirror", "2xx", 2).await;
        assert_eq!(mesh.mirror2.received(1).await[0].path, "/v2/a");
        let retried = mesh.mirror.received(2).await;
        assert!(retried.iter().all(|copy| copy.path == "/b" && copy.body == "text"), "{retried:#?}");
        eventually("the access log", async || {
            let log = mesh.envoy.log();
            let has_both =
                ["copy GET /v2/a 200 mirror-2", "copy POST /b 200 mirror-1"].iter().all(|line| log.contains(line));
            if has_both { Ok(()) } else { Err(log) }
        })
        .await;
    });
}

#[test]
fn one_cluster_leads_to_any_host() {
    let mut ports = Ports::default();
    let front = ports.address(10002).port();
    let heading = "Mirror to any host by one cluster";
    let recipe = Recipe::with(heading, &[("staging.example.com:8080", &format!("localhost:{front}"))]);
    let setup = recipe.setup_and(move |bootstrap| relay(bootstrap, front, None));
    run(setup, async move |mesh| {
        mesh.send(Req::get("/a")).await;
        mesh.responses("staging", "any-host", "2xx", 1).await;
        assert_eq!(mesh.mirror.received(1).await[0].authority, format!("localhost:{front}"));
    });
    drop(ports);
}

/// What a listener shows to clients by TLS: the certificate of `localhost`.
fn tls_of_localhost() -> Value {
    let folder = format!("{ROOT}/tests/recipes");
    json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [{
                "certificate_chain": {"filename": format!("{folder}/localhost.crt")},
                "private_key": {"filename": format!("{folder}/localhost.key")},
            }]},
        },
    })
}

#[test]
fn a_mirror_gets_copies_over_tls_if_its_certificate_has_the_name() {
    let certificate = format!("{ROOT}/tests/recipes/localhost.crt");
    for (name, class) in [("localhost", "2xx"), ("another.example.com", "failed")] {
        let mut ports = Ports::default();
        let front = ports.address(10002).port();
        let port = format!("port_value: {front}");
        let words = [
            ("staging.example.com", name),
            ("/etc/ssl/certs/ca-certificates.crt", certificate.as_str()),
            ("port_value: 8443", port.as_str()),
        ];
        let recipe = Recipe::with("A mirror over TLS", &words);
        let setup = recipe.setup_and(move |bootstrap| relay(bootstrap, front, Some(tls_of_localhost())));
        run(setup, async move |mesh| {
            mesh.send(Req::get("/a")).await;
            mesh.responses("all", "staging", class, 1).await;
            assert_eq!(mesh.mirror.so_far().len(), usize::from(class == "2xx"));
        });
        drop(ports);
    }
}

#[test]
fn one_cluster_leads_to_any_host_by_tls_if_the_certificate_names_it() {
    let certificate = format!("{ROOT}/tests/recipes/localhost.crt");
    for (host, class) in [("localhost", "2xx"), ("127.0.0.1", "failed")] {
        let mut ports = Ports::default();
        let front = ports.address(10002).port();
        let words = [
            ("staging.example.com", format!("{host}:{front}")),
            ("/etc/ssl/certs/ca-certificates.crt", certificate.clone()),
        ];
        let words: Vec<(&str, &str)> = words.iter().map(|(word, own)| (*word, own.as_str())).collect();
        let recipe = Recipe::with("Mirror to any host by TLS", &words);
        let setup = recipe.setup_and(move |bootstrap| relay(bootstrap, front, Some(tls_of_localhost())));
        run(setup, async move |mesh| {
            mesh.send(Req::get("/a")).await;
            mesh.responses("staging", "any-host-tls", class, 1).await;
            assert_eq!(mesh.mirror.so_far().len(), usize::from(class == "2xx"));
        });
        drop(ports);
    }
}
