//! The files for plain Envoy, in a plain Envoy: as they stand, but for paths and ports.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::documents;
use harness::client::{Client, Req};
use harness::process::{Envoy, Folder, module};
use harness::upstream::{Answer, Upstream};
use harness::{block_on, eventually};

/// A file of `deploy/envoy`, with paths in this folder, the module where it was built, and clusters at these servers.
fn adapted(file: &str, folder: &Folder, service: SocketAddr, mirror: SocketAddr) -> Value {
    let text = documents(&format!("deploy/envoy/{file}"))[0].to_string();
    let text = text.replace("/etc/envoy/traffic_mirror.wasm", module().to_str().unwrap());
    let text = text.replace("/etc/envoy", folder.path("").to_str().unwrap().trim_end_matches('/'));
    let mut config: Value = serde_json::from_str(&text).unwrap();
    let address = |to: SocketAddr| json!({"socket_address": {"address": to.ip().to_string(), "port_value": to.port()}});
    let any = "127.0.0.1:0".parse().unwrap();
    for cluster in config["static_resources"]["clusters"].as_array_mut().into_iter().flatten() {
        let to = if cluster["name"] == "mirror" { mirror } else { service };
        *cluster.pointer_mut("/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address").unwrap() = address(to);
    }
    for listener in config["static_resources"]["listeners"].as_array_mut().into_iter().flatten() {
        listener["address"] = address(any);
    }
    if config["admin"].is_object() {
        config["admin"]["address"] = address(any);
    }
    config
}

/// Makes a file mirror everything instead of a share of it.
fn mirror_all(config: &Value) -> Value {
    assert!(config.to_string().contains("\"percentage\":5"));
    serde_json::from_str(&config.to_string().replace("\"percentage\":5", "\"percentage\":100")).unwrap()
}

/// The port of the one listener.
async fn front(envoy: &Envoy) -> SocketAddr {
    let listeners: Value = serde_json::from_str(&envoy.admin("/listeners?format=json").await).unwrap();
    let port = &listeners["listener_statuses"][0]["local_address"]["socket_address"]["port_value"];
    format!("127.0.0.1:{port}").parse().unwrap()
}

#[test]
fn the_filter_in_the_bootstrap_mirrors() {
    block_on(async {
        let service = Upstream::start("service", Answer::status(200).into()).await;
        let mirror = Upstream::start("mirror", Answer::status(200).into()).await;
        let folder = Folder::new();
        let config = mirror_all(&adapted("static.yaml", &folder, service.address, mirror.address));
        let envoy = Envoy::start(folder, &config, 1).await.unwrap();
        let mut client = Client::h1(front(&envoy).await).await;
        assert_eq!(client.send(Req::get("/other")).await.status, 200);
        assert_eq!(client.send(Req::get("/api/x")).await.status, 200);
        assert_eq!(mirror.received(1).await[0].path, "/api/x");
        assert_eq!(service.received(2).await.len(), 2);
    });
}

/// Waits until Envoy has counted one such update of the filter's resource.
async fn counted(envoy: &Envoy, stat: &str) {
    eventually(stat, async || {
        let stats = envoy.admin("/stats?filter=extension_config_discovery").await;
        let line = format!("extension_config_discovery.http_filter.traffic_mirror.{stat}: 1");
        if stats.lines().any(|own| own == line) { Ok(()) } else { Err(stats) }
    })
    .await;
}

/// ecds.yaml as `edit` leaves it, in an Envoy whose first resource is wrong and has this for `onInvalid`; and the right one.
async fn wrong_first(
    service: &Upstream,
    mirror: &Upstream,
    on_invalid: &str,
    edit: impl FnOnce(&mut Value),
) -> (Envoy, Value) {
    let folder = Folder::new();
    let resource = mirror_all(&adapted("traffic-mirror.yaml", &folder, service.address, mirror.address));
    let mut config = adapted("ecds.yaml", &folder, service.address, mirror.address);
    edit(&mut config);
    let wrong = resource.to_string().replace("\"prefix\"", "\"prefixx\"");
    let said = wrong.replace("\"onInvalid\":\"keepLast\"", &format!("\"onInvalid\":\"{on_invalid}\""));
    assert_eq!(said == wrong, on_invalid == "keepLast");
    fs::write(folder.path("traffic-mirror.yaml"), said).unwrap();
    let envoy = Envoy::start(folder, &config, 1).await.unwrap();
    counted(&envoy, if on_invalid == "keepLast" { "config_reload" } else { "update_rejected" }).await;
    (envoy, resource)
}

#[test]
fn by_ecds_requests_pass_though_the_first_configuration_is_wrong_and_are_mirrored_when_one_is_right() {
    for on_invalid in ["keepLast", "refuse"] {
        block_on(async {
            let service = Upstream::start("service", Answer::status(200).into()).await;
            let mirror = Upstream::start("mirror", Answer::status(200).into()).await;
            let (envoy, resource) = wrong_first(&service, &mirror, on_invalid, |_| {}).await;
            let mut client = Client::h1(front(&envoy).await).await;
            assert_eq!(client.send(Req::get("/api/1")).await.status, 200);

            envoy.folder.replace("traffic-mirror.yaml", &resource);
            eventually("a copy", async || {
                assert_eq!(client.send(Req::get("/api/2")).await.status, 200);
                if mirror.so_far().is_empty() { Err("none".to_owned()) } else { Ok(()) }
            })
            .await;
            assert!(mirror.so_far().iter().all(|copy| copy.path == "/api/2"));
        });
    }
}

#[test]
fn by_ecds_without_a_default_a_first_configuration_that_is_wrong_costs_every_request_unless_it_keeps_the_last() {
    for (on_invalid, status) in [("keepLast", 200), ("refuse", 500)] {
        block_on(async {
            let service = Upstream::start("service", Answer::status(200).into()).await;
            let mirror = Upstream::start("mirror", Answer::status(200).into()).await;
            let without = |config: &mut Value| {
                let discovery = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0/config_discovery";
                let fields = config.pointer_mut(discovery).unwrap().as_object_mut().unwrap();
                assert!(fields.remove("default_config").is_some());
                fields.remove("apply_default_config_without_warming");
            };
            let (envoy, _) = wrong_first(&service, &mirror, on_invalid, without).await;
            let reply = Client::h1(front(&envoy).await).await.send(Req::get("/api/1")).await;
            assert_eq!(reply.status, status, "{on_invalid}");
        });
    }
}
