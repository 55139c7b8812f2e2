//! Recipes that choose requests by what other parts of Envoy know.

use std::sync::Arc;

use harness::client::{Client, Req, raw, read_until};
use harness::process::ROOT;
use harness::scene::{Ports, yaml};
use harness::upstream::{Answer, Received, Service};
use harness::{Setup, run};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::recipe::{Recipe, manager};

/// Tokens by the issuer of the page, signed with the page's key; they expire in the year 3000.
const ACME: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImV4YW1wbGUiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSIsInN1YiI6InVzZXIiLCJ0ZW5hbnQiOiJhY21lIiwiZXhwIjozMjUwMzY4MDAwMH0.L8-JyOQiDgNeFuh08s2TtNOj_e1pyra3rzJbsOnoKr4";
const OTHER: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImV4YW1wbGUiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlLmNvbSIsInN1YiI6InVzZXIiLCJ0ZW5hbnQiOiJvdGhlciIsImV4cCI6MzI1MDM2ODAwMDB9.sWQQYT1TV64MreI2iogvDI7gt6VYm9VThJkTCtiG-8E";

#[test]
fn a_claim_of_a_token_decides_and_a_client_cannot_write_it_itself() {
    run(Recipe::new("Match a claim of a token").setup(), async |mesh| {
        let get = |path: &str, token: &str| Req::get(path).header("authorization", format!("Bearer {token}"));
        assert_eq!(mesh.send(get("/acme", ACME)).await.status, 200);
        assert_eq!(mesh.send(get("/other", OTHER)).await.status, 200);
        assert_eq!(mesh.send(get("/forged", OTHER).header("x-claim-tenant", "acme")).await.status, 200);
        assert_eq!(mesh.send(Req::get("/none").header("x-claim-tenant", "acme")).await.status, 401);
        mesh.responses("tenant-acme", "mirror", "2xx", 1).await;
        let copy = mesh.mirror.received(1).await.remove(0);
        assert_eq!(
            (copy.path.as_str(), copy.value("x-claim-tenant"), copy.value("authorization")),
            ("/acme", None, None)
        );
        let primary = mesh.primary.received(3).await.remove(0);
        assert_eq!(primary.value("authorization"), Some(format!("Bearer {ACME}")));
    });
}

#[test]
fn dynamic_metadata_decides_and_the_header_made_of_it_stays_inside() {
    // In the place of ext_authz: it takes `/gold` for a request of that tier.
    let code = "function envoy_on_request(handle)
        if handle:headers():get(':path') == '/gold' then
            handle:streamInfo():dynamicMetadata():set('envoy.filters.http.ext_authz', 'tier', 'gold')
        end
    end";
    let lua = json!({
        "name": "authorization",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": code},
        },
    });
    let first = move |bootstrap: &mut Value| manager(bootstrap)["http_filters"].as_array_mut().unwrap().insert(0, lua);
    run(Recipe::new("Match dynamic metadata").setup_and(first), async |mesh| {
        mesh.send(Req::get("/gold")).await;
        mesh.send(Req::get("/iron")).await;
        mesh.send(Req::get("/forged").header("x-tier", "gold")).await;
        mesh.responses("gold", "mirror", "2xx", 1).await;
        assert_eq!(mesh.mirror.received(1).await[0].path, "/gold");
        let primary = mesh.primary.received(3).await;
        assert!(primary.iter().all(|request| request.value("x-tier").is_none()), "{primary:#?}");
    });
}

#[test]
fn a_runtime_key_switches_the_filter_off_and_on() {
    run(Recipe::new("A switch without a new configuration").setup(), async |mesh| {
        let switch = async |to: &str| {
            let mut admin = Client::h1(mesh.envoy.admin).await;
            let path = format!("/runtime_modify?traffic_mirror.enabled={to}");
            assert_eq!(admin.send(Req::post(&path, "")).await.status, 200);
        };
        mesh.send(Req::post("/on", "text")).await;
        mesh.responses("all", "mirror", "2xx", 1).await;
        switch("0").await;
        mesh.send(Req::get("/off")).await;
        switch("100").await;
        mesh.send(Req::get("/on")).await;
        mesh.responses("all", "mirror", "2xx", 2).await;
        let paths: Vec<_> = mesh.mirror.received(2).await.into_iter().map(|copy| copy.path).collect();
        assert_eq!(paths, ["/on", "/on"]);
        mesh.primary.received(3).await;
    });
}

#[test]
fn a_route_can_do_without_the_filter() {
    run(Recipe::new("Off for one route").setup(), async |mesh| {
        mesh.send(Req::get("/payments/1")).await;
        mesh.send(Req::get("/orders/1")).await;
        mesh.responses("all", "mirror", "2xx", 1).await;
        assert_eq!(mesh.mirror.received(1).await[0].path, "/orders/1");
        assert_eq!(mesh.ledger().await.requests("all"), 1);
        mesh.primary.received(2).await;
    });
}

#[test]
fn copies_that_envoys_own_mirror_made_in_front_are_not_copied_again() {
    let mut ports = Ports::default();
    let inner = ports.address(10000).port();
    let setup = Recipe::new("Envoy's own mirror in front").setup_and(move |bootstrap| {
        let resources = &mut bootstrap["static_resources"];
        resources["listeners"][1]["address"]["socket_address"]["port_value"] = json!(inner);
        let mut cluster = resources["clusters"][0].clone();
        cluster["name"] = json!("inner");
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] = json!(inner);
        resources["clusters"].as_array_mut().unwrap().push(cluster);
        let manager = &mut resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
        manager["route_config"]["virtual_hosts"][0]["routes"] = json!([{
            "match": {"prefix": "/"},
            "route": {"cluster": "inner", "request_mirror_policies": [{"cluster": "inner"}]},
        }]);
    });
    run(setup, async |mesh| {
        let mut client = Client::h1(mesh.address("plain")).await;
        client.send(Req::get("/").authority("reviews:9080")).await;
        mesh.until("both decided", |l| (l.requests("copies-of-envoy"), l.requests("everything-else")) == (1, 1)).await;
        mesh.responses("everything-else", "mirror", "2xx", 1).await;
        assert_eq!(mesh.mirror.received(1).await[0].authority, "reviews-shadow:9080");
        mesh.primary.received(2).await;
    });
    drop(ports);
}

#[test]
fn conditional_requests_are_copied_and_not_compared() {
    let page = std::fs::read_to_string(format!("{ROOT}/docs/compare.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut shown = blocks.flat_map(yaml).filter(|block| block["rules"][1]["name"] == "candidate-conditional");
    let mut plugin = shown.next().unwrap();
    for rule in plugin["rules"].as_array_mut().unwrap() {
        rule["mirrors"][0]["cluster"] = json!("mirror");
    }
    let not_modified =
        |request: &Received| Answer::status(if request.value("if-none-match").is_some() { 304 } else { 200 });
    run(Setup::new(plugin).primary(Service::script(not_modified)), async |mesh| {
        mesh.send(Req::get("/")).await;
        assert_eq!(mesh.send(Req::get("/").header("if-none-match", "\"1\"")).await.status, 304);
        mesh.send(Req::get("/").header("range", "bytes=0-1")).await;
        mesh.until("one pair, and two copies beside it", |l| {
            (l.compared("candidate", "mirror", "same"), l.copies("candidate-conditional", "mirror", "sent")) == (1, 2)
        })
        .await;
        assert_eq!(mesh.ledger().await.compared("candidate", "mirror", "different"), 0);
    });
}

#[test]
fn what_a_cluster_gets_is_copied_as_the_router_rewrote_it() {
    let setup = Recipe::new("Mirror what one cluster gets").setup_in_plain();
    run(setup, async |mesh| {
        let mut client = Client::h1(mesh.address("plain")).await;
        assert_eq!(client.send(Req::get("/api/orders")).await.status, 200);
        assert_eq!(client.send(Req::get("/elsewhere")).await.status, 404);
        assert_eq!(mesh.mirror.received(1).await[0].path, "/orders");
        assert_eq!(mesh.primary.received(1).await[0].path, "/orders");
    });
}

/// A primary that refuses each request as soon as it has some of the body.
fn hasty() -> Service {
    Service::Raw(Arc::new(|mut io| {
        Box::pin(async move {
            read_until(&mut io, |text| text.ends_with("hello") || text.ends_with("world")).await;
            let refusal = b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            io.write_all(refusal).await.unwrap();
        })
    }))
}

#[test]
fn a_post_that_is_answered_early_is_copied_only_where_it_is_buffered() {
    run(Recipe::new("A POST that is answered early").setup().primary(hasty()), async |mesh| {
        let half = |path: &str| format!("POST {path} HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello");
        let refused = |answer: &str| answer.starts_with("HTTP/1.1 413");

        let mut early = raw(mesh.address("main"), half("/orders").as_bytes()).await;
        let answer = read_until(&mut early, |text| text.contains("\r\n\r\n")).await;
        assert!(refused(&answer), "{answer}");
        mesh.copies("all", "mirror", "incomplete", 1).await;
        mesh.mirror.received(0).await;

        let mut buffered = raw(mesh.address("main"), half("/hooks/1").as_bytes()).await;
        mesh.until("half of the body to be buffered", |l| l.buffered_bytes() == 5).await;
        buffered.write_all(b"world").await.unwrap();
        let answer = read_until(&mut buffered, |text| text.contains("\r\n\r\n")).await;
        assert!(refused(&answer), "{answer}");
        mesh.responses("all", "mirror", "2xx", 1).await;
        let copies = mesh.mirror.received(1).await;
        assert_eq!((copies[0].path.as_str(), &*copies[0].body), ("/hooks/1", &b"helloworld"[..]));
    });
}
