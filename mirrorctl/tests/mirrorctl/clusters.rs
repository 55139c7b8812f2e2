//! What `mirrorctl check` says of Envoy's clusters is what they do: on a real Envoy.

use crate::mirrorctl;
use harness::bootstrap::{Addresses, Delivery, Form, Listener, bootstrap};
use harness::client::{Client, Req};
use harness::ledger::Ledger;
use harness::process::{Envoy, Folder};
use harness::upstream::{Answer, Service, Upstream};
use harness::{block_on, eventually, ports};
use serde_json::{Value, json};
use std::net::Ipv4Addr;

const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Sends a request whose copy fails, and returns how many requests the mirror gets, and how many the mirror's mirror; `None`
/// where Envoy does not know these fields of a cluster.
async fn copies(policies: &Value) -> Option<[usize; 2]> {
    let start = |name, status| Upstream::start(name, Service::from(Answer::status(status)));
    let [primary, mirror, second] =
        [start("primary", 200).await, start("mirror", 503).await, start("second", 200).await];
    let to = Addresses {
        primary: primary.address,
        mirror: mirror.address,
        mirror2: second.address,
        refused: second.address,
    };
    let plugin = Some(json!({"rules": [{"mirrors": [{"cluster": "mirror"}]}]}));
    let listeners = [Listener { name: "main".to_owned(), plugin, form: Form::Struct }];
    let folder = Folder::new();
    let mut config = bootstrap(&folder, &listeners, Delivery::Static, &to, false);
    let options = &mut config["static_resources"]["clusters"][1]["typed_extension_protocol_options"][OPTIONS];
    for (name, policy) in policies.as_object().unwrap() {
        options[name] = policy.clone();
    }
    let said = mirrorctl(&["check", "-"], &config.to_string());
    let expected: Vec<_> = policies.as_object().unwrap().keys().filter(|name| *policies != idle(name)).collect();
    let lines: Vec<_> = said.err.lines().filter(|line| line.ends_with("[retries-copies]")).collect();
    assert_eq!((said.code, lines.len()), (0, expected.len()), "{policies}\n{}", said.err);
    for name in expected {
        assert!(
            lines.iter().any(|line| line.contains(&format!("{OPTIONS}.{name}: warning: "))),
            "{name}\n{}",
            said.err
        );
    }
    let envoy = match Envoy::start(folder, &config, 1).await {
        Ok(envoy) => envoy,
        // Before 1.37 a cluster could not.
        Err(refused) => {
            assert!(refused.log.contains("has unknown fields"), "{}", refused.log);
            return None;
        }
    };
    let port = ports(&envoy, 1).await["main"];
    let reply = Client::h1((Ipv4Addr::LOCALHOST, port).into()).await.send(Req::get("/")).await;
    assert_eq!(reply.status, 200);
    eventually("the copy to be answered", async || {
        let ledger = Ledger::parse(&envoy.admin("/stats").await);
        let answered = ledger.responses("rule-0", "mirror", "5xx");
        if answered == 1 { Ok(()) } else { Err(format!("{ledger:#?}")) }
    })
    .await;
    let copies_of_copies = usize::from(policies.get("request_mirror_policies").is_some());
    second.received(copies_of_copies).await;
    Some([mirror.so_far().len(), second.so_far().len()])
}

/// A policy that does nothing.
fn idle(name: &str) -> Value {
    json!({name: {"retry_on": "5xx", "num_retries": 0}})
}

#[test]
fn a_cluster_that_is_warned_of_sends_copies_again() {
    let retry = json!({"retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}});
    for (policies, expected) in [
        (json!({"retry_policy": retry}), [3, 0]),
        (json!({"request_mirror_policies": [{"cluster": "mirror2"}]}), [1, 1]),
        (json!({"retry_policy": {"retry_on": "5xx", "num_retries": 0}}), [1, 0]),
    ] {
        let counted = block_on(copies(&policies));
        assert!(counted.is_none_or(|counted| counted == expected), "{policies}: {counted:?}");
    }
}
