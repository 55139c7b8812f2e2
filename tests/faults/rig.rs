//! One Envoy, one worker, and three listeners that share a primary: `none` has no filter, `native` Envoy's own mirror,
//! `filter` ours. What differs between their columns is what a mirror does to the primary.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::plan::{Plan, ROUTE_TIMEOUT, Settings, clusters, filter};
use crate::server::Server;
use harness::bootstrap::{self, Addresses, Delivery};
use harness::client::{Client, Req};
use harness::ledger::{self, Account, Ledger};
use harness::process::{Envoy, Folder};
use harness::usage::Usage;
use harness::{ports, traps, within};

/// How often Envoy has taken a filter by ECDS, and refused one.
pub const PUSHES: &str = "extension_config_discovery.http_filter.traffic_mirror.config_reload";
pub const REFUSED: &str = "extension_config_discovery.http_filter.traffic_mirror.update_rejected";

/// A running Envoy and what is around it.
pub struct Rig {
    pub envoy: Envoy,
    pub primary: Server,
    pub mirror: Server,
    pub usage: Usage,
    plan: Plan,
    version: u64,
    accounts: Vec<Account>,
    ports: HashMap<String, u16>,
}

impl Rig {
    /// Starts it. The mirrors run on `crew`, so that what they do takes no time from the clients that measure.
    pub async fn start(plan: Plan, crew: &Handle) -> Result<Self, String> {
        let primary = Server::start(plan.primary, &Handle::current());
        let mirror = Server::start(plan.mirror, crew);
        let refused = (Ipv4Addr::LOCALHOST, 1).into();
        let to = Addresses { primary: primary.address, mirror: mirror.address, mirror2: mirror.address, refused };
        let folder = Folder::new();
        let lds = if plan.delivery == Delivery::Static { Delivery::Static } else { Delivery::Lds };
        let mut config = bootstrap::bootstrap(&folder, &[], lds, &to, plan.h2);
        let settings = Settings { vm: plan.vm, ..Settings::new(Some(plan.plugin.clone()), Some(plan.cluster), 0) };
        let listeners = plan.listeners(&folder, &settings);
        let count = listeners.len();
        if plan.delivery == Delivery::Ecds {
            bootstrap::replace_filter(&folder, &filter(&folder, &settings));
        }
        if lds == Delivery::Lds {
            bootstrap::replace_listeners(&folder, listeners);
        } else {
            config["static_resources"]["listeners"] = listeners.into();
        }
        clusters(&mut config["static_resources"]["clusters"], mirror.address);
        (plan.boot)(&mut config);
        let started = Envoy::start(folder, &config, 1).await;
        let envoy = started.map_err(|refused| format!("{}\n{}", refused.status, refused.log))?;
        let (accounts, usage) = (ledger::accounts(&plan.plugin), Usage::watch(envoy.pid()));
        let ports = ports(&envoy, count).await;
        Ok(Self { envoy, primary, mirror, usage, plan, version: 0, accounts, ports })
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[listener]).into()
    }

    /// Puts other settings in place, while requests flow.
    pub fn configure(&mut self, settings: Settings) {
        let folder = &self.envoy.folder;
        // The filter first: a new listener is never to begin with one that is refused.
        if self.plan.delivery == Delivery::Ecds {
            bootstrap::replace_filter(folder, &filter(folder, &settings));
        }
        bootstrap::replace_listeners(folder, self.plan.listeners(folder, &settings));
        for account in settings.plugin.as_ref().map(ledger::accounts).unwrap_or_default() {
            if !self.accounts.contains(&account) {
                self.accounts.push(account);
            }
        }
    }

    /// Puts another filter in place by ECDS, and waits until Envoy has taken it.
    pub async fn push(&mut self, settings: Settings) -> Result<(), String> {
        let before = self.pushes().await;
        self.configure(settings);
        within(Duration::from_secs(10), async || {
            let now = self.pushes().await;
            if now > before { Ok(()) } else { Err(format!("{now} pushes taken")) }
        })
        .await
    }

    async fn pushes(&self) -> u64 {
        // That alone: a thousand rules have more metrics than are worth reading so often.
        Stats(self.envoy.admin("/stats?filter=config_reload").await).get(PUSHES)
    }

    /// The listener for the other direction, where there is one.
    pub fn inbound(&self) -> Option<SocketAddr> {
        self.ports.get("inbound").map(|port| (Ipv4Addr::LOCALHOST, *port).into())
    }

    /// The number of the listeners that are in place.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A number that no configuration has had.
    pub fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Has Envoy do something; it may be gone before it has answered.
    pub async fn command(&self, path: &str) -> Result<(), String> {
        Client::try_h1(self.envoy.admin).await?.try_send(Req::new("POST", path)).await.map(drop)
    }

    /// Waits until Envoy has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        loop {
            match self.envoy.child.try_wait().unwrap() {
                Some(status) => return status,
                None => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// All that Envoy counts.
    pub async fn stats(&self) -> Stats {
        Stats(self.envoy.admin("/stats").await)
    }

    pub async fn ledger(&self) -> Ledger {
        Ledger::parse(&self.envoy.admin("/stats?filter=wasmcustom").await)
    }

    /// Waits until nothing is under way any more, but for what Envoy's own mirror may hold up.
    pub async fn quiet(&self) -> Result<(), String> {
        within(Duration::from_secs(15), async || {
            let stats = self.stats().await;
            let active: u64 = ["none", "filter", "inbound"]
                .map(|l| stats.get(&format!("http.{l}.downstream_rq_active")))
                .iter()
                .sum();
            let in_flight = self.ledger().await.in_flight();
            if active == 0 && in_flight == 0 { Ok(()) } else { Err(format!("{active} active, {in_flight} in flight")) }
        })
        .await
    }

    /// What is still under way when that is all: requests and copies that Envoy's own mirror holds up. They are waited for,
    /// for as long as a request may take, but for so many that have been waited for before.
    pub async fn left(&self, stuck: u64) -> u64 {
        let mut left = 0;
        let _ = within(ROUTE_TIMEOUT + Duration::from_secs(1), async || {
            let stats = self.stats().await;
            left = stats.get("http.native.downstream_rq_active") + stats.sum("upstream_rq_active", "cluster.");
            if left <= stuck { Ok(()) } else { Err(String::new()) }
        })
        .await;
        left
    }

    /// Waits until the books balance, and checks that no VM died.
    pub async fn settle(&self) -> Result<Ledger, String> {
        let mut last = Ledger::default();
        within(Duration::from_secs(10), async || {
            last = self.ledger().await;
            last.unsettled(&self.accounts).map_or(Ok(()), Err)
        })
        .await?;
        let log = self.envoy.log();
        traps(&log).first().map_or(Ok(last), |trap| Err(format!("a VM died: {trap}")))
    }

    /// The books, over all rules and mirrors that were ever configured.
    pub fn books(&self, ledger: &Ledger) -> Books {
        let mut books = Books::default();
        self.accounts.iter().for_each(|account| books.add(account, ledger));
        books
    }

    /// The books of the rules that Envoy has forgotten since: with a VM go the counters that the next one does not have.
    pub fn forgotten(&self, before: &Ledger, after: &Ledger) -> Books {
        let mut books = Books::default();
        let gone = self.accounts.iter().filter(|(rule, _)| after.requests(rule) < before.requests(rule));
        gone.for_each(|account| books.add(account, before));
        books
    }
}

/// What became of the copies: how often each outcome, each class of answers, and each result of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub outcomes: BTreeMap<&'static str, i64>,
    pub classes: BTreeMap<&'static str, i64>,
    pub pairs: BTreeMap<&'static str, i64>,
}

impl Books {
    fn add(&mut self, (rule, mirrors): &Account, ledger: &Ledger) {
        for mirror in mirrors {
            for outcome in ledger::OUTCOMES {
                *self.outcomes.entry(outcome).or_default() += ledger.copies(rule, mirror, outcome);
            }
            for class in ledger::CLASSES {
                *self.classes.entry(class).or_default() += ledger.responses(rule, mirror, class);
            }
            for result in ledger::COMPARED {
                *self.pairs.entry(result).or_default() += ledger.compared(rule, mirror, result);
            }
        }
    }

    /// Both together.
    pub fn and(mut self, other: &Self) -> Self {
        let parts = [
            (&mut self.outcomes, &other.outcomes),
            (&mut self.classes, &other.classes),
            (&mut self.pairs, &other.pairs),
        ];
        for (own, other) in parts {
            other.iter().for_each(|(name, count)| *own.entry(name).or_default() += count);
        }
        self
    }
}

/// Envoy's own statistics.
#[derive(Default)]
pub struct Stats(String);

impl Stats {
    /// The sum of all whose name begins and ends so.
    pub fn sum(&self, ending: &str, beginning: &str) -> u64 {
        let lines = self.0.lines().filter_map(|line| line.split_once(": "));
        let named = lines.filter(|(name, _)| name.ends_with(ending) && name.starts_with(beginning));
        named.filter_map(|(_, value)| value.parse::<u64>().ok()).sum()
    }

    /// One of them, by its whole name.
    pub fn get(&self, name: &str) -> u64 {
        self.sum(name, name)
    }
}
