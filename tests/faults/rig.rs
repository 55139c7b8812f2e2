//! One Envoy, one worker, and three listeners that share a primary: `none` has no filter, `native` Envoy's own mirror,
//! `filter` ours. What differs between their columns is what a mirror does to the primary.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::harness::bootstrap::{self, Addresses, Delivery, Form, Listener};
use crate::harness::client::{Client, Req};
use crate::harness::ledger::{self, Account, Ledger};
use crate::harness::process::{Envoy, Folder};
use crate::harness::{ports, traps, within};
use crate::server::{Behaviour, Server};

/// The listeners, in the order of the columns.
pub const LISTENERS: [&str; 3] = ["none", "native", "filter"];
/// The rule of [`mirroring`].
pub const RULE: &str = "all";
/// How long a copy waits for its answer, and any request for the primary's.
pub const TIMEOUT: Duration = Duration::from_secs(1);
const ROUTE_TIMEOUT: Duration = Duration::from_secs(3);

/// What one Envoy is started with.
#[derive(Clone)]
pub struct Plan {
    /// The cluster that the mirrors are in.
    pub cluster: &'static str,
    pub mirror: Behaviour,
    pub primary: Behaviour,
    pub plugin: Value,
    /// HTTP/2 to the upstreams.
    pub h2: bool,
    /// Listeners come from a file, which [`Rig::configure`] replaces.
    pub lds: bool,
    /// What is changed in each listener's connection manager.
    pub shape: fn(&mut Value),
    /// What is changed in the bootstrap.
    pub boot: fn(&mut Value),
}

impl Default for Plan {
    fn default() -> Self {
        let mirror = Behaviour::Healthy;
        let plugin = mirroring(RULE, "mirror");
        Self { cluster: "mirror", mirror, primary: mirror, plugin, h2: false, lds: false, shape: |_| (), boot: |_| () }
    }
}

impl Plan {
    /// The healthy rig, its mirrors in another cluster.
    pub fn to(cluster: &'static str) -> Self {
        Self { cluster, plugin: mirroring(RULE, cluster), ..Self::default() }
    }
}

/// A configuration that mirrors all there is, and compares the answers, within small limits.
pub fn mirroring(rule: &str, cluster: &str) -> Value {
    let timeout = format!("{}ms", TIMEOUT.as_millis());
    json!({
        "rules": [{"name": rule, "mirrors": [{"cluster": cluster, "timeout": timeout}], "compare": {"status": true}}],
        "limits": {"maxBodyBytes": 1 << 20, "maxBufferedBytes": 8 << 20, "maxInFlight": 64},
    })
}

/// A limit for [`small_answers`]. Envoy's own is 32 MiB.
pub const ANSWER_LIMIT: u64 = 64 << 10;

/// Envoy gives a mirror's answer up as soon as it is above [`ANSWER_LIMIT`].
pub fn small_answers(bootstrap: &mut Value) {
    let limit = json!({"http.async_response_buffer_limit": ANSWER_LIMIT});
    bootstrap["layered_runtime"] = json!({"layers": [{"name": "static", "static_layer": limit}]});
}

/// A running Envoy and what is around it.
pub struct Rig {
    pub envoy: Envoy,
    pub primary: Server,
    pub mirror: Server,
    pub memory: Memory,
    shape: fn(&mut Value),
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
        let delivery = if plan.lds { Delivery::Lds } else { Delivery::Static };
        let mut config = bootstrap::bootstrap(&folder, &[], delivery, &to, plan.h2);
        let settings = Settings { plugin: Some(plan.plugin.clone()), native: Some(plan.cluster), version: 0 };
        let listeners = listeners(&folder, plan.shape, &settings);
        if plan.lds {
            bootstrap::replace_listeners(&folder, listeners);
        } else {
            config["static_resources"]["listeners"] = listeners.into();
        }
        clusters(&mut config["static_resources"]["clusters"], mirror.address);
        (plan.boot)(&mut config);
        let started = Envoy::start(folder, &config, 1).await;
        let envoy = started.map_err(|refused| format!("{}\n{}", refused.status, refused.log))?;
        let (accounts, memory) = (ledger::accounts(&plan.plugin), Memory::watch(serving(envoy.child.id())));
        let ports = ports(&envoy, LISTENERS.len()).await;
        Ok(Self { envoy, primary, mirror, memory, shape: plan.shape, version: 0, accounts, ports })
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[listener]).into()
    }

    /// Puts other settings in place, while requests flow.
    pub fn configure(&mut self, settings: Settings) {
        bootstrap::replace_listeners(&self.envoy.folder, listeners(&self.envoy.folder, self.shape, &settings));
        for account in settings.plugin.as_ref().map(ledger::accounts).unwrap_or_default() {
            if !self.accounts.contains(&account) {
                self.accounts.push(account);
            }
        }
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
            let active: u64 =
                ["none", "filter"].map(|l| stats.get(&format!("http.{l}.downstream_rq_active"))).iter().sum();
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
        for (rule, mirrors) in &self.accounts {
            for mirror in mirrors {
                for outcome in ledger::OUTCOMES {
                    *books.outcomes.entry(outcome).or_default() += ledger.copies(rule, mirror, outcome);
                }
                for class in ledger::CLASSES {
                    *books.classes.entry(class).or_default() += ledger.responses(rule, mirror, class);
                }
                for result in ledger::COMPARED {
                    *books.pairs.entry(result).or_default() += ledger.compared(rule, mirror, result);
                }
            }
        }
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

/// What the listeners are set to.
pub struct Settings {
    /// Of the filter's listener.
    pub plugin: Option<Value>,
    /// Where the native listener mirrors to.
    pub native: Option<&'static str>,
    /// A number that every listener has in it: another one makes Envoy replace them all.
    pub version: u64,
}

fn listeners(folder: &Folder, shape: fn(&mut Value), settings: &Settings) -> Vec<Value> {
    let listener = |name: &str| {
        let plugin = settings.plugin.clone().filter(|_| name == "filter");
        let of = Listener { name: name.to_owned(), plugin, form: Form::Text };
        let mut listener = bootstrap::listener(folder, &of, Delivery::Static);
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        if let Some(Value::Object(wasm)) = manager.pointer_mut("/http_filters/0/typed_config/config") {
            wasm.remove("failure_policy");
            wasm.insert("fail_open".to_owned(), json!(true));
        }
        let routes = &mut manager["route_config"];
        routes["name"] = json!(format!("routes-{}", settings.version));
        // Else Envoy would not take a route that mirrors to a cluster which it does not know.
        routes["validate_clusters"] = json!(false);
        for route in routes["virtual_hosts"][0]["routes"].as_array_mut().unwrap() {
            let Some(route) = route.get_mut("route") else { continue };
            route["timeout"] = json!(format!("{}s", ROUTE_TIMEOUT.as_secs()));
            if let Some(cluster) = settings.native.filter(|_| name == "native") {
                route["request_mirror_policies"] = json!([{"cluster": cluster}]);
            }
        }
        shape(manager);
        listener
    };
    LISTENERS.map(listener).into()
}

/// The clusters that the tests have, and one that speaks TLS to a mirror which does not. The breakers are wide open, so
/// that none of Envoy's own limits answers for a fault.
fn clusters(clusters: &mut Value, mirror: SocketAddr) {
    let clusters = clusters.as_array_mut().unwrap();
    let most = 1_000_000;
    let breakers = json!({"thresholds": [
        {"max_connections": most, "max_pending_requests": most, "max_requests": most, "max_retries": most},
    ]});
    let mut tls = bootstrap::cluster("tls", Some(mirror), false);
    tls["transport_socket"] = json!({
        "name": "tls",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"},
    });
    clusters.push(tls);
    for cluster in clusters {
        if cluster.get("circuit_breakers").is_none() {
            cluster["circuit_breakers"] = breakers.clone();
        }
    }
}

/// The memory of one process.
pub struct Memory {
    pid: u32,
    peak: Arc<AtomicU64>,
}

impl Memory {
    fn watch(pid: u32) -> Self {
        let peak = Arc::new(AtomicU64::new(0));
        let top = Arc::downgrade(&peak);
        thread::spawn(move || {
            while let Some(top) = top.upgrade() {
                top.fetch_max(resident(pid), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(10));
            }
        });
        Self { pid, peak }
    }

    /// What is resident now, in bytes.
    pub fn now(&self) -> u64 {
        resident(self.pid)
    }

    /// The largest memory of a Wasm VM: V8 reserves 8 GiB for each, of which the first part can be read and written.
    pub fn linear(&self) -> u64 {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        let areas: Vec<_> = maps.lines().filter_map(area).collect();
        let of_vm = |pair: &&[(u64, bool)]| pair[0].1 && !pair[1].1 && pair[0].0 + pair[1].0 == 8 << 30;
        areas.windows(2).filter(of_vm).map(|pair| pair[0].0).max().unwrap_or(0)
    }

    /// The most that was resident since this was last asked.
    pub fn peak(&self) -> u64 {
        self.peak.swap(0, Ordering::Relaxed).max(self.now())
    }
}

/// The process that serves: the command itself, or, where that starts Envoy in its turn, the last it started.
fn serving(command: u32) -> u32 {
    let children = |pid: u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let first = |pid: &u32| children(*pid).split_whitespace().next().and_then(|child| child.parse().ok());
    std::iter::successors(Some(command), first).last().unwrap_or(command)
}

/// How long an area of a process's memory is, and whether it can be written.
fn area(line: &str) -> Option<(u64, bool)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some((number(to)? - number(from)?, rest.starts_with("rw")))
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}
