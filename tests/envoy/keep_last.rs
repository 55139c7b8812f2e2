//! A wrong configuration with `onInvalid: keepLast` harms no request, whichever way it comes: the last good one goes on.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::updates::Flow;
use harness::bootstrap::{Delivery, FILTER, Form, Listener, listener, replace_listeners};
use harness::client::{Client, Req, raw, read_until};
use harness::process::module;
use harness::upstream::Answer;
use harness::{Mesh, Setup, eventually, run};

fn rule(name: &str, cluster: &str) -> Value {
    json!({"rules": [{"name": name, "mirrors": [{"cluster": cluster}]}], "onInvalid": "keepLast"})
}

/// Configurations that are wrong, each in another way.
fn wrong(number: usize) -> Value {
    let mut plugin = rule("wrong", "mirror2");
    match number % 3 {
        0 => plugin["rules"][0]["mirrors"][0]["percentage"] = json!(140),
        1 => plugin["rules"] = json!("none"),
        _ => plugin["unknown"] = json!({}),
    }
    plugin
}

/// What Envoy is told of a plugin that fails.
const POLICIES: [Option<(&str, &str)>; 3] =
    [None, Some(("failure_policy", r#""FAIL_OPEN""#)), Some(("fail_open", "true"))];

fn with_policy(config: &mut Value, policy: Option<(&str, &str)>) {
    config.as_object_mut().unwrap().remove("failure_policy");
    if let Some((field, value)) = policy {
        config[field] = serde_json::from_str(value).unwrap();
    }
}

/// A filter that comes by ECDS, from its first configuration on with this policy.
fn delivered(plugin: Value, policy: Option<(&'static str, &'static str)>) -> Setup {
    Setup::new(plugin).delivered_by(Delivery::Ecds).changed(move |bootstrap| {
        let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap();
        let filters = listeners.iter().map(|listener| &listener["filter_chains"][0]["filters"][0]["typed_config"]);
        let filters = filters.flat_map(|manager| manager["http_filters"].as_array().unwrap());
        let sources = filters.map(|filter| &filter["config_discovery"]["config_source"]["path_config_source"]["path"]);
        for path in sources.filter_map(Value::as_str) {
            let mut file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            with_policy(&mut file["resources"][0]["typed_config"]["config"], policy);
            fs::write(path, file.to_string()).unwrap();
        }
    })
}

/// Sends requests until a rule has sent more copies than before.
async fn until_more_copies(mesh: &Mesh, rule: &str, cluster: &str) {
    let before = mesh.ledger().await.copies(rule, cluster, "sent");
    eventually("more copies", async || {
        assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        let ledger = mesh.ledger().await;
        if ledger.copies(rule, cluster, "sent") > before { Ok(()) } else { Err(format!("{ledger:#?}")) }
    })
    .await;
}

/// Sends requests until more of them than before match no rule.
async fn until_more_unmatched(mesh: &Mesh) {
    let before = mesh.ledger().await.unmatched();
    eventually("requests without a rule", async || {
        assert_eq!(mesh.send(Req::get("/")).await.status, 200);
        let ledger = mesh.ledger().await;
        if ledger.unmatched() > before { Ok(()) } else { Err(format!("{ledger:#?}")) }
    })
    .await;
}

async fn until_invalid(mesh: &Mesh, expected: bool) {
    mesh.until(&format!("the gauge: {expected}"), |ledger| ledger.invalid(FILTER) == expected).await;
}

#[test]
fn a_first_wrong_configuration_that_is_refused_costs_every_request_whatever_the_policy() {
    for policy in POLICIES {
        let mut plugin = wrong(0);
        plugin["onInvalid"] = json!("refuse");
        run(delivered(plugin, policy), async |mesh| {
            mesh.stat("traffic_mirror.update_rejected", 1).await;
            assert_eq!(mesh.send(Req::get("/")).await.status, 500, "{policy:?}");
        });
    }
}

#[test]
fn wrong_configurations_that_keep_the_last_cost_no_request_whatever_the_policy() {
    for policy in POLICIES {
        run(delivered(wrong(0), policy), async |mesh| {
            until_invalid(mesh, true).await;
            let gauge = mesh.prometheus("traffic_mirror_invalid_configuration", &[("plugin", FILTER)]).await;
            assert_eq!(gauge, Some(1.0));
            for count in 1..=5 {
                assert_eq!(mesh.send(Req::get("/")).await.status, 200, "{policy:?}");
                mesh.until("a request without a rule", |ledger| ledger.unmatched() == count).await;
            }
            mesh.mirror.received(0).await;
            let flow = Flow::start(mesh);

            mesh.update_filter(&rule("a", "mirror"), |config| with_policy(config, policy));
            until_more_copies(mesh, "a", "mirror").await;
            until_invalid(mesh, false).await;

            for number in 1..4 {
                mesh.update_filter(&wrong(number), |config| with_policy(config, policy));
                mesh.stat("traffic_mirror.config_reload", 2 + u64::try_from(number).unwrap()).await;
                until_invalid(mesh, true).await;
                until_more_copies(mesh, "a", "mirror").await;
            }

            mesh.update_filter(&rule("b", "mirror"), |config| with_policy(config, policy));
            until_more_copies(mesh, "b", "mirror").await;
            until_invalid(mesh, false).await;

            let other = other_module(mesh);
            let new_module = |config: &mut Value| {
                with_policy(config, policy);
                config["vm_config"]["code"]["local"]["filename"] = json!(other);
            };
            mesh.update_filter(&wrong(0), new_module);
            until_more_unmatched(mesh).await;
            until_invalid(mesh, true).await;
            mesh.update_filter(&rule("a", "mirror"), new_module);
            until_more_copies(mesh, "a", "mirror").await;
            until_invalid(mesh, false).await;
            flow.stop().await;
        });
    }
}

/// Writes a module of the same functions in other bytes, whose VM knows nothing of the other's.
fn other_module(mesh: &Mesh) -> PathBuf {
    let path = mesh.envoy.folder.path("other.wasm");
    // A custom section without a name or content.
    fs::write(&path, [fs::read(module()).unwrap(), vec![0, 1, 0]].concat()).unwrap();
    path
}

#[test]
fn the_end_of_an_old_module_does_not_hide_that_the_new_ones_configuration_is_wrong() {
    run(delivered(wrong(0), None), async |mesh| {
        until_invalid(mesh, true).await;
        let vms = async |mesh: &Mesh| {
            let stats = mesh.envoy.admin("/stats?filter=runtime.v8.active").await;
            stats.trim().rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
        };
        let before = vms(mesh).await;
        let other = other_module(mesh);
        mesh.update_filter(&wrong(0), |config| config["vm_config"]["code"]["local"]["filename"] = json!(other));
        mesh.stat("traffic_mirror.config_reload", 2).await;
        mesh.stat("runtime.v8.active", before).await;
        until_more_unmatched(mesh).await;
        assert!(mesh.ledger().await.invalid(FILTER));
        mesh.update_filter(&rule("a", "mirror"), |config| {
            config["vm_config"]["code"]["local"]["filename"] = json!(other);
        });
        until_more_copies(mesh, "a", "mirror").await;
        until_invalid(mesh, false).await;
    });
}

#[test]
fn the_gauge_of_a_wrong_plugin_goes_with_the_plugin_whether_its_vm_ends_or_not() {
    for ends_vm in [false, true] {
        run(delivered(wrong(0), None), async |mesh| {
            until_invalid(mesh, true).await;
            mesh.update_filter(&rule("a", "mirror"), |config| {
                config["name"] = json!("another");
                if ends_vm {
                    config["vm_config"]["vm_id"] = json!("another");
                }
            });
            until_more_copies(mesh, "a", "mirror").await;
            until_invalid(mesh, false).await;
        });
    }
}

#[test]
fn envoy_starts_with_a_wrong_configuration_in_its_bootstrap_that_keeps_the_last() {
    for form in [Form::Text, Form::Struct] {
        run(Setup::plain().also_as("main", wrong(0), form), async |mesh| {
            assert_eq!(mesh.send(Req::get("/")).await.status, 200);
            mesh.until("a request without a rule", |ledger| ledger.unmatched() == 1 && ledger.invalid(FILTER)).await;
        });
    }
}

#[test]
fn copies_in_flight_are_counted_through_wrong_configurations_and_good_ones() {
    let setup = delivered(rule("a", "mirror"), None).mirror(Answer::after(Duration::from_secs(1)));
    run(setup.workers(2), async |mesh| {
        let flow = Flow::start(mesh);
        mesh.until("copies in flight", |ledger| ledger.in_flight() >= 3).await;
        for number in 1..4 {
            mesh.update(&wrong(number));
            mesh.stat("traffic_mirror.config_reload", 1 + u64::try_from(number).unwrap()).await;
            let before = mesh.ledger().await.copies("a", "mirror", "sent");
            mesh.until("more copies", |ledger| ledger.copies("a", "mirror", "sent") >= before + 5).await;
        }
        mesh.update(&rule("b", "mirror2"));
        mesh.until("the new rule", |ledger| ledger.copies("b", "mirror2", "sent") >= 3).await;
        let sent = flow.stop().await;
        let ledger = mesh.until("every response", |ledger| ledger.in_flight() == 0).await;
        assert_eq!(ledger.requests("a") + ledger.requests("b") + ledger.unmatched(), sent);
        assert_eq!(ledger.unmatched(), 0);
        assert_eq!(ledger.responses("a", "mirror", "2xx"), ledger.requests("a"));
    });
}

#[test]
fn a_configuration_that_comes_back_while_its_root_is_there_is_the_last_good_one() {
    run(delivered(rule("a", "mirror"), None), async |mesh| {
        let half = b"POST /upload HTTP/1.1\r\nhost: a.test\r\ncontent-length: 10\r\n\r\nhello";
        let mut upload = raw(mesh.address("main"), half).await;
        mesh.until("the half to be held", |ledger| ledger.buffered_bytes() == 5).await;
        mesh.update(&rule("b", "mirror2"));
        until_more_copies(mesh, "b", "mirror2").await;
        mesh.update(&rule("a", "mirror"));
        until_more_copies(mesh, "a", "mirror").await;
        let of_b = mesh.ledger().await.requests("b");

        mesh.update(&wrong(0));
        until_invalid(mesh, true).await;
        until_more_copies(mesh, "a", "mirror").await;
        // The host may go on with the root that the upload keeps, without a word.
        mesh.update(&rule("a", "mirror"));
        until_invalid(mesh, false).await;
        until_more_copies(mesh, "a", "mirror").await;

        upload.write_all(b"world").await.unwrap();
        read_until(&mut upload, |text| text.contains("\r\n\r\n")).await;
        let ledger = mesh.until("the upload's copy", |ledger| ledger.buffered_bytes() == 0).await;
        assert_eq!((ledger.requests("b"), ledger.unmatched()), (of_b, 0));
    });
}

/// Puts the listeners `main` and `other` in place, by LDS.
fn listen(mesh: &Mesh, main: &Value, other: &Value) {
    let folder = &mesh.envoy.folder;
    let all = [("plain", None), ("main", Some(main)), ("other", Some(other))].map(|(name, plugin)| {
        let described = Listener { name: name.to_owned(), plugin: plugin.cloned(), form: Form::Text };
        listener(folder, &described, Delivery::Lds)
    });
    replace_listeners(folder, all.into());
}

async fn send_to(mesh: &Mesh, listener: &str) {
    assert_eq!(Client::h1(mesh.address(listener)).await.send(Req::get("/")).await.status, 200);
}

#[test]
fn nothing_is_mirrored_where_two_listeners_leave_it_unclear_what_was_last() {
    let setup = Setup::new(rule("a", "mirror")).also("other", rule("b", "mirror2")).delivered_by(Delivery::Lds);
    run(setup, async |mesh| {
        send_to(mesh, "main").await;
        send_to(mesh, "other").await;
        mesh.copies("a", "mirror", "sent", 1).await;
        mesh.copies("b", "mirror2", "sent", 1).await;
        listen(mesh, &rule("a", "mirror"), &wrong(0));
        until_invalid(mesh, true).await;
        eventually("requests without a rule", async || {
            send_to(mesh, "other").await;
            let ledger = mesh.ledger().await;
            if ledger.unmatched() >= 3 { Ok(()) } else { Err(format!("{ledger:#?}")) }
        })
        .await;
        send_to(mesh, "main").await;
        mesh.copies("a", "mirror", "sent", 2).await;
    });
}

#[test]
fn a_good_listener_that_comes_back_while_it_is_drained_goes_on() {
    run(Setup::new(rule("a", "mirror")).delivered_by(Delivery::Lds), async |mesh| {
        // A connection of the first listener, which is drained for minutes.
        let mut first = mesh.client().await;
        assert_eq!(first.send(Req::get("/")).await.status, 200);
        for (updates, plugin) in (2..).zip([wrong(0), rule("a", "mirror"), wrong(1)]) {
            mesh.update(&plugin);
            mesh.stat("listener_manager.lds.update_success", updates).await;
            until_more_copies(mesh, "a", "mirror").await;
        }
        let ledger = mesh.ledger().await;
        assert_eq!((ledger.unmatched(), ledger.requests("wrong")), (0, 0));
    });
}
