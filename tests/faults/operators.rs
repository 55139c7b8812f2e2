//! The faults of operators: what they do to Envoy while requests flow and copies are in flight.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::clients;
use crate::matrix::{Proof, Row, both, counted, outcome};
use crate::rig::{Plan, RULE, Rig, Settings, mirroring};
use crate::server::Behaviour;

/// What is done a third into each round, and undone at two thirds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Another rule, which does not compare.
    Replace,
    /// A configuration that the filter refuses.
    Bad,
    /// A mirror's cluster that is gone.
    Rename,
    /// No filter.
    Remove,
    /// `/drain_listeners?graceful`; never undone.
    Drain,
    /// `/quitquitquit`; never undone.
    Quit,
}

impl Act {
    /// Whether each round needs an Envoy of its own.
    pub fn ends_envoy(self) -> bool {
        matches!(self, Self::Drain | Self::Quit)
    }

    /// Does it, and tells how many copies were in flight then.
    pub async fn during(self, rig: &mut Rig, round: Duration) -> i64 {
        sleep(round / 3).await;
        let in_flight = rig.ledger().await.in_flight();
        match self {
            Self::Drain => drop(rig.command("/drain_listeners?graceful").await),
            Self::Quit => {
                drop(rig.command("/quitquitquit").await);
                assert!(rig.ended().await.success(), "Envoy crashed:\n{}", rig.envoy.log());
            }
            _ => {
                let version = rig.next_version();
                rig.configure(self.settings(version));
                sleep(round / 3).await;
                let version = rig.next_version();
                rig.configure(Self::settled(version));
            }
        }
        in_flight
    }

    fn settings(self, version: u64) -> Settings {
        let (plugin, native) = match self {
            Self::Replace => (Some(other()), Some("mirror2")),
            // The other listeners stay as they are, as this one does.
            Self::Bad => return Settings { plugin: Some(bad()), version: version - 1, ..Self::settled(version) },
            Self::Rename => (Some(mirroring("renamed", "renamed")), Some("renamed")),
            _ => (None, None),
        };
        Settings { plugin, native, version }
    }

    /// As it was in the beginning.
    fn settled(version: u64) -> Settings {
        Settings { plugin: Some(mirroring(RULE, "mirror")), native: Some("mirror"), version }
    }
}

fn other() -> Value {
    let mut plugin = mirroring("other", "mirror2");
    plugin["rules"][0]["compare"] = Value::Null;
    plugin
}

fn bad() -> Value {
    let mut plugin = mirroring(RULE, "mirror");
    plugin["rules"][0]["mirrors"][0]["percentage"] = json!(140);
    plugin
}

/// A thousand rules, of which the last takes every request.
fn thousand() -> Value {
    let mut plugin = mirroring(RULE, "mirror");
    let rules = plugin["rules"].as_array_mut().unwrap();
    let tenant = |n| {
        let pattern = format!("/tenant-{n}/[0-9]+");
        json!({"name": format!("tenant-{n}"), "match": [{"uri": {"regex": pattern}}], "mirrors": [{"cluster": "dead"}]})
    };
    rules.splice(0..0, (1..1000).map(tenant));
    plugin
}

/// Copies were in flight when it was done.
fn in_flight() -> Proof {
    Box::new(|e| {
        if e.in_flight > 0 { Ok(format!("{} copies in flight", e.in_flight)) } else { Err("no copy in flight".into()) }
    })
}

/// Fewer requests were counted than came: for a while, nobody counted.
fn uncounted() -> Proof {
    Box::new(|e| {
        let counted = u64::try_from(e.ledger.requests(RULE)).unwrap();
        let filter = &e.columns[2];
        let came: u64 = filter.kinds().values().chain(filter.odd.values()).sum();
        if counted < came {
            Ok(format!("{came} requests, {counted} counted"))
        } else {
            Err(format!("{counted} of {came}"))
        }
    })
}

fn other_rule() -> Proof {
    Box::new(|e| match e.ledger.copies("other", "mirror2", "sent") {
        0 => Err("the other rule sent nothing".into()),
        sent => Ok(format!("{sent} copies by the other rule")),
    })
}

fn row(name: &'static str, act: Act, proof: Proof) -> Row {
    let plan = Plan { mirror: Behaviour::Slow(Duration::from_millis(300)), lds: !act.ends_envoy(), ..Plan::default() };
    Row {
        plan,
        act: Some(act),
        beside: Some(clients::newcomers),
        racy: true,
        times: 3,
        ..Row::new(name, both(in_flight(), proof))
    }
}

pub fn rows() -> Vec<Row> {
    let rules = Plan { plugin: thousand(), ..Plan::default() };
    vec![
        row("a good configuration, and back", Act::Replace, other_rule()),
        row("a bad configuration, and a good one", Act::Bad, counted("listener_manager.lds.update_rejected", 1)),
        row("the mirror's cluster renamed, and back", Act::Rename, outcome("no_cluster", 1)),
        row("the plugin removed, and back", Act::Remove, uncounted()),
        Row { plan: rules, ..Row::new("1,000 rules, each a regular expression", outcome("sent", 1)) },
        row("Envoy drained", Act::Drain, counted("listener_manager.listener_stopped", 1)),
        row("Envoy stopped", Act::Quit, Box::new(|_| Ok("Envoy ended with status 0".to_owned()))),
    ]
}
