//! Copies that the host cancels without a word are counted all the same: when the VM ends with a new module, or when one
//! configuration comes and goes again while its copies are in flight.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use harness::bootstrap::Delivery;
use harness::client::{Client, Req};
use harness::process::module;
use harness::upstream::Answer;
use harness::{Mesh, Setup, run};

const RELOADS: &str = "traffic_mirror.config_reload";

fn rule(name: &str) -> Value {
    json!({"rules": [{
        "name": name, "compare": {"status": true}, "mirrors": [{"cluster": "mirror", "timeout": "1h"}]
    }]})
}

fn delivered(answer: Answer) -> Setup {
    Setup::new(rule("a")).delivered_by(Delivery::Ecds).mirror(answer)
}

/// Puts a filter in place whose VM is another: of another module, or by another `vm_id`. Its configuration is the same: the
/// series of rules that are gone would go with the old VM.
fn replace_vm(mesh: &mut Mesh, by_module: bool) {
    let other = mesh.envoy.folder.path("other.wasm");
    if by_module {
        // A custom section without a name or content: the same functions in other bytes.
        fs::write(&other, [fs::read(module()).unwrap(), vec![0, 1, 0]].concat()).unwrap();
    }
    mesh.update_filter(&rule("a"), |config| {
        if by_module {
            config["vm_config"]["code"]["local"]["filename"] = json!(other);
        } else {
            config["vm_config"]["vm_id"] = json!("other");
        }
    });
}

#[test]
fn copies_that_a_new_vm_cancels_are_failed() {
    for by_module in [true, false] {
        run(delivered(Answer::Never), async |mesh| {
            for _ in 0..5 {
                assert_eq!(mesh.send(Req::get("/")).await.status, 200);
            }
            mesh.until("copies in flight", |l| l.in_flight() == 5).await;
            replace_vm(mesh, by_module);
            mesh.stat(RELOADS, 2).await;
            mesh.responses("a", "mirror", "failed", 5).await;
            mesh.until("every pair", |l| l.in_flight() == 0 && l.compared("a", "mirror", "primary_only") == 5).await;
            mesh.send(Req::get("/")).await;
            mesh.copies("a", "mirror", "sent", 6).await;
            // Its copy would be in flight for an hour.
            replace_vm(mesh, !by_module);
            mesh.responses("a", "mirror", "failed", 6).await;
        });
    }
}

#[test]
fn a_configuration_that_comes_again_before_its_copies_are_answered_loses_none() {
    run(delivered(Answer::after(Duration::from_secs(4))), async |mesh| {
        for (reloads, name) in (1..).zip(["a", "b", "a", "b"]) {
            mesh.stat(RELOADS, reloads).await;
            let before = mesh.ledger().await.copies(name, "mirror", "sent");
            mesh.send(Req::get("/")).await;
            mesh.copies(name, "mirror", "sent", before + 1).await;
            if reloads < 4 {
                mesh.update(&rule(if name == "a" { "b" } else { "a" }));
            }
        }
        // The host keeps one root of a configuration waiting, and cancelled the other's copy.
        mesh.responses("a", "mirror", "failed", 1).await;
        mesh.until("its pair", |l| l.compared("a", "mirror", "primary_only") == 1).await;
        mesh.until("the other copies", |l| l.in_flight() == 0).await;
        mesh.responses("a", "mirror", "2xx", 1).await;
        mesh.responses("b", "mirror", "2xx", 2).await;
    });
}

#[test]
fn roots_of_two_directions_with_one_configuration_both_wait_for_their_copies() {
    let setup = delivered(Answer::after(Duration::from_secs(3))).also("outbound", rule("a"));
    let setup = setup.changed(|config| {
        for listener in config["static_resources"]["listeners"].as_array_mut().unwrap() {
            let direction = if listener["name"] == "outbound" { "OUTBOUND" } else { "INBOUND" };
            listener["traffic_direction"] = json!(direction);
        }
    });
    run(setup, async |mesh| {
        for listener in ["main", "outbound"] {
            Client::h1(mesh.address(listener)).await.send(Req::get("/")).await;
        }
        mesh.copies("a", "mirror", "sent", 2).await;
        mesh.update(&rule("b"));
        mesh.stat(RELOADS, 2).await;
        mesh.send(Req::get("/")).await;
        mesh.responses("b", "mirror", "2xx", 1).await;
        mesh.responses("a", "mirror", "2xx", 2).await;
    });
}
