//! The faults of operators: what they do to Envoy while requests flow and copies are in flight.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::clients;
use crate::load::Load;
use crate::matrix::{Proof, Row, both, counted, outcome};
use crate::plan::{Plan, RULE, Settings, Vm, mirroring};
use crate::pushes::{by_expression, thousand};
use crate::rig::{PUSHES, REFUSED, Rig};
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
    /// A wrong configuration by ECDS that keeps the last one, or is refused.
    Wrong { keeps: bool },
    /// The same with a module of other bytes.
    WrongModule { keeps: bool },
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
            Self::Module
            | Self::VmId
            | Self::Withdraw
            | Self::Alternate
            | Self::Wrong { .. }
            | Self::WrongModule { .. } => self.pushed(rig, round / 3).await,
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
        let vm = |module, id| Settings { vm: Vm { module, id, ..Vm::default() }, ..settled() };
        let closing = |plugin, module| {
            let vm = Vm { module, closes: true, ..Vm::default() };
            Settings { plugin: Some(plugin), vm, ..settled() }
        };
        let pushes = match self {
            Self::Wrong { keeps } => vec![closing(wrong(keeps), 0), closing(mirroring(RULE, "mirror"), 0)],
            Self::WrongModule { keeps } => vec![closing(wrong(keeps), 1), closing(mirroring(RULE, "mirror"), 0)],
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

/// A configuration that is wrong, and says what is to be done about that.
fn wrong(keeps: bool) -> Value {
    let mut plugin = bad();
    plugin["onInvalid"] = json!(if keeps { "keepLast" } else { "refuse" });
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

/// A wrong configuration by ECDS, with Envoy's default failure policy: the first that comes.
fn wrong_first(name: &'static str, keeps: bool) -> Row {
    let vm = Vm { closes: true, ..Vm::default() };
    let plan = Plan { plugin: wrong(keeps), vm, delivery: Delivery::Ecds, ..Plan::default() };
    if keeps {
        return Row { plan, ..Row::new(name, unmatched()) };
    }
    let harms = Some("Envoy answers 500 where it has no filter");
    Row { plan, harms, ..Row::new(name, counted(REFUSED, 1)) }
}

/// One that comes while requests flow, and then a good one.
fn wrong_later(name: &'static str, act: Act, proof: Proof) -> Row {
    let mut row = pushed(name, act, proof);
    row.plan.vm.closes = true;
    row
}

/// Envoy took them all, and no request went without its rule.
fn kept() -> Proof {
    Box::new(|e| match (e.stats.get(REFUSED), e.ledger.unmatched()) {
        (0, 0) => Ok("none refused, each request decided by the rule".to_owned()),
        (refused, unmatched) => Err(format!("{refused} refused, {unmatched} requests unmatched")),
    })
}

/// Requests were looked at, and none was mirrored for a while.
fn unmatched() -> Proof {
    Box::new(|e| match e.ledger.unmatched() {
        0 => Err("no request was unmatched".into()),
        unmatched => Ok(format!("{unmatched} requests unmatched")),
    })
}

/// Copies that the host cancelled count as failed.
fn cancelled() -> Proof {
    Box::new(|e| match e.books.classes["failed"] {
        0 => Err(format!("none failed: {:?}", e.books)),
        failed => Ok(format!("{failed} copies cancelled by the host and counted as `failed`")),
    })
}

pub fn second_rule() -> Proof {
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
        wrong_first("a first configuration that is wrong, `keepLast`", true),
        wrong_first("a first configuration that is wrong, `refuse`", false),
        wrong_later("a wrong configuration by ECDS, `keepLast`", Act::Wrong { keeps: true }, both(taken(), kept())),
        wrong_later("a wrong configuration by ECDS, `refuse`", Act::Wrong { keeps: false }, counted(REFUSED, 3)),
        wrong_later(
            "a new module with a wrong configuration by ECDS, `keepLast`",
            Act::WrongModule { keeps: true },
            both(taken(), unmatched()),
        ),
        wrong_later(
            "a new module with a wrong configuration by ECDS, `refuse`",
            Act::WrongModule { keeps: false },
            counted(REFUSED, 3),
        ),
        row("Envoy drained", Act::Drain, counted("listener_manager.listener_stopped", 1)),
        row("Envoy stopped", Act::Quit, Box::new(|_| Ok("Envoy ended with status 0".to_owned()))),
    ]
}
