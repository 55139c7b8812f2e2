//! The faults of operators: what they do to Envoy while requests flow and copies are in flight.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::clients;
use crate::load::Load;
use crate::matrix::{Proof, Row, both, counted, outcome};
use crate::plan::{Plan, RULE, Settings, Vm, mirroring};
use crate::pushes::{by_expression, thousand};
use crate::rig::{PUSHES, Rig};
use crate::server::Behaviour;
use harness::bootstrap::Delivery;

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
    /// A module of other bytes by ECDS, as Istio upgrades a plugin.
    Module,
    /// Another `vm_id` by ECDS.
    VmId,
    /// No filter, by ECDS.
    Withdraw,
    /// Another configuration by ECDS, back, the other again, and back, all while copies of the first are in flight.
    Alternate,
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
            Self::Module | Self::VmId | Self::Withdraw | Self::Alternate => self.pushed(rig, round / 3).await,
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

    /// Pushes it by ECDS; the listeners stay as they are.
    async fn pushed(self, rig: &mut Rig, pause: Duration) {
        let version = rig.version();
        let settled = || Self::settled(version);
        let vm = |module, id| Settings { vm: Vm { module, id }, ..settled() };
        let pushes = match self {
            Self::Module => vec![vm(1, 0), settled()],
            Self::VmId => vec![vm(0, 1), settled()],
            Self::Withdraw => vec![Settings { plugin: None, ..settled() }, settled()],
            _ => {
                let second = || Settings { plugin: Some(mirroring(SECOND, "mirror2")), ..settled() };
                vec![second(), settled(), second(), settled()]
            }
        };
        let (count, inbound) = (pushes.len() as u32, rig.inbound());
        let beside = inbound.map(|to| tokio::spawn(Load { rate: INBOUND_RATE, lasts: pause, path: "/" }.run(to)));
        for settings in pushes {
            if let Err(why) = rig.push(settings).await {
                println!("      {self:?}: {why}");
            }
            sleep(pause / count).await;
        }
        if let Some(beside) = beside {
            let seen = beside.await.unwrap().kinds;
            assert!(seen.keys().all(|kind| kind == "200"), "through the listener `inbound` came {seen:?}");
        }
    }

    fn settings(self, version: u64) -> Settings {
        let (plugin, native) = match self {
            Self::Replace => (Some(other()), Some("mirror2")),
            // The other listeners stay as they are, as this one does.
            Self::Bad => return Settings { plugin: Some(bad()), ..Self::settled(version - 1) },
            Self::Rename => (Some(mirroring("renamed", "renamed")), Some("renamed")),
            _ => (None, None),
        };
        Settings::new(plugin, native, version)
    }

    /// As it was in the beginning.
    fn settled(version: u64) -> Settings {
        Settings::new(Some(mirroring(RULE, "mirror")), Some("mirror"), version)
    }
}

/// The other rule of [`Act::Alternate`].
const SECOND: &str = "second";
/// Requests a second through the listener `inbound`, where there is one.
const INBOUND_RATE: f64 = 60.0;

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
    let plan = Plan {
        mirror: Behaviour::Slow(Duration::from_millis(300)),
        delivery: if act.ends_envoy() { Delivery::Static } else { Delivery::Lds },
        ..Plan::default()
    };
    Row {
        plan,
        act: Some(act),
        beside: Some(clients::newcomers),
        racy: true,
        times: 3,
        ..Row::new(name, both(in_flight(), proof))
    }
}

/// A push by ECDS, while copies are in flight that are answered later than that.
fn pushed(name: &'static str, act: Act, proof: Proof) -> Row {
    let mut plan = Plan { mirror: Behaviour::Slow(Duration::from_millis(700)), ..Plan::default() };
    plan.delivery = Delivery::Ecds;
    Row { plan, ..row(name, act, proof) }
}

/// Copies that the host cancelled count as failed.
fn cancelled() -> Proof {
    Box::new(|e| match e.books.classes["failed"] {
        0 => Err(format!("none failed: {:?}", e.books)),
        failed => Ok(format!("{failed} copies cancelled by the host and counted as `failed`")),
    })
}

fn second_rule() -> Proof {
    Box::new(|e| match e.ledger.copies(SECOND, "mirror2", "sent") {
        0 => Err("the second rule sent nothing".into()),
        sent => Ok(format!("{sent} copies by the second rule, {} `failed`", e.books.classes["failed"])),
    })
}

pub fn rows() -> Vec<Row> {
    let taken = || counted(PUSHES, 6);
    let mut sidecar =
        pushed("A → B → A → B → A by ECDS, in a sidecar with both directions", Act::Alternate, second_rule());
    sidecar.plan.directions = true;
    let rules = Plan { plugin: thousand(by_expression), ..Plan::default() };
    vec![
        row("a good configuration, and back", Act::Replace, other_rule()),
        row("a bad configuration, and a good one", Act::Bad, counted("listener_manager.lds.update_rejected", 1)),
        row("the mirror's cluster renamed, and back", Act::Rename, outcome("no_cluster", 1)),
        row("the plugin removed, and back", Act::Remove, uncounted()),
        Row { plan: rules, ..Row::new("1,000 rules, each a regular expression", outcome("sent", 1)) },
        pushed("a module of other bytes by ECDS, and back", Act::Module, both(taken(), cancelled())),
        pushed("another `vm_id` by ECDS, and back", Act::VmId, both(taken(), cancelled())),
        pushed("the plugin removed by ECDS, and back", Act::Withdraw, both(taken(), uncounted())),
        pushed("A → B → A → B → A by ECDS", Act::Alternate, second_rule()),
        sidecar,
        row("Envoy drained", Act::Drain, counted("listener_manager.listener_stopped", 1)),
        row("Envoy stopped", Act::Quit, Box::new(|_| Ok("Envoy ended with status 0".to_owned()))),
    ]
}
