//! One test's world: servers, an Envoy between them with the filter in it, and clients.
//!
//! [`run`] builds it, hands it to the test, and after the test checks what must hold whatever the test was about: no
//! VM died, nothing is in flight, nothing is held, the books balance.

pub mod bootstrap;
pub mod client;
pub mod ledger;
pub mod process;
pub mod readme;
pub mod scene;
pub mod upstream;
pub mod usage;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpSocket;
use tokio::time::{sleep, timeout};

use bootstrap::{Addresses, Delivery, Form, Listener};
use client::{Client, Reply, Req};
use ledger::{Account, COMPARED, Ledger};
use process::{Envoy, Folder, Refused, compare_module, module};
use upstream::{Answer, Service, Upstream};

/// How long a test waits for a state to be reached.
const EVENTUALLY: Duration = Duration::from_secs(15);
/// How long a test may take.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What a test needs.
pub struct Setup {
    listeners: Vec<Listener>,
    primary: Service,
    mirror: Service,
    mirror2: Service,
    workers: usize,
    delivery: Delivery,
    h2: bool,
    compares: bool,
    change: Box<dyn FnOnce(&mut Value)>,
}

impl Setup {
    /// A listener `main` with this plugin configuration, and a listener `plain` without the filter.
    pub fn new(plugin: Value) -> Self {
        Self::plain().also("main", plugin)
    }

    /// The listener `plain` alone.
    pub fn plain() -> Self {
        let plain = Listener { name: "plain".to_owned(), plugin: None, form: Form::Text };
        let ok = || Service::from(Answer::status(200));
        let (primary, mirror, mirror2) = (ok(), ok(), ok());
        let (listeners, change) = (vec![plain], Box::new(|_: &mut Value| ()));
        Self {
            listeners,
            primary,
            mirror,
            mirror2,
            workers: 1,
            delivery: Delivery::Static,
            h2: false,
            compares: false,
            change,
        }
    }

    /// One more listener with the filter.
    pub fn also(self, name: &str, plugin: Value) -> Self {
        self.also_as(name, plugin, Form::Text)
    }

    pub fn also_as(mut self, name: &str, plugin: Value, form: Form) -> Self {
        self.listeners.push(Listener { name: name.to_owned(), plugin: Some(plugin), form });
        self
    }

    pub fn primary(self, primary: impl Into<Service>) -> Self {
        Self { primary: primary.into(), ..self }
    }

    pub fn mirror(self, mirror: impl Into<Service>) -> Self {
        Self { mirror: mirror.into(), ..self }
    }

    pub fn mirror2(self, mirror2: impl Into<Service>) -> Self {
        Self { mirror2: mirror2.into(), ..self }
    }

    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// From a file that the test replaces with [`Mesh::update`].
    pub fn delivered_by(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// HTTP/2 to every upstream.
    pub fn h2_upstreams(self) -> Self {
        Self { h2: true, ..self }
    }

    /// The module that compares responses in full.
    pub fn comparing(self) -> Self {
        Self { compares: true, ..self }
    }

    /// Something in Envoy's bootstrap that this test alone needs.
    pub fn changed(self, change: impl FnOnce(&mut Value) + 'static) -> Self {
        Self { change: Box::new(change), ..self }
    }
}

/// The world of a running test.
pub struct Mesh {
    pub envoy: Envoy,
    pub primary: Upstream,
    pub mirror: Upstream,
    pub mirror2: Upstream,
    accounts: Vec<Account>,
    ports: HashMap<String, u16>,
    delivery: Delivery,
    /// Bound, never listening: connections to it are refused.
    _refused: TcpSocket,
}

/// Runs a test in its world.
pub fn run(setup: Setup, test: impl AsyncFnOnce(&mut Mesh)) {
    run_into_a_trap(setup, async |mesh| {
        test(mesh).await;
        mesh.settle().await;
        assert!(mesh.dead_vms().is_empty(), "a VM died: {:#?}", mesh.dead_vms());
    });
}

/// Runs a test that ends a VM: nothing of that holds then.
pub fn run_into_a_trap(setup: Setup, test: impl AsyncFnOnce(&mut Mesh)) {
    block_on(async {
        let mut mesh = Mesh::start(setup).await.unwrap_or_else(|refused| panic!("{}\n{}", refused.status, refused.log));
        test(&mut mesh).await;
    });
}

/// What Envoy says when it refuses to start with this plugin configuration.
pub fn refusal(plugin: Value, form: Form) -> String {
    block_on(async {
        match Mesh::start(Setup::plain().also_as("main", plugin.clone(), form)).await {
            Ok(_) => panic!("Envoy took {plugin}"),
            Err(Refused { status, log }) => {
                assert!(!status.success(), "{log}");
                log
            }
        }
    })
}

/// Runs a test to its end, or until it has taken too long.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(TEST_TIMEOUT, future).await.expect("the test took too long") })
}

impl Mesh {
    /// Starts a test's world by itself: for what needs two.
    ///
    /// # Errors
    /// What Envoy said when it refused to start.
    pub async fn start(setup: Setup) -> Result<Self, Refused> {
        let refused = TcpSocket::new_v4().unwrap();
        refused.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let primary = Upstream::start("primary", setup.primary).await;
        let mirror = Upstream::start("mirror", setup.mirror).await;
        let mirror2 = Upstream::start("mirror2", setup.mirror2).await;
        let to = Addresses {
            primary: primary.address,
            mirror: mirror.address,
            mirror2: mirror2.address,
            refused: refused.local_addr().unwrap(),
        };
        let folder = Folder::new();
        let mut config = bootstrap::bootstrap(&folder, &setup.listeners, setup.delivery, &to, setup.h2);
        (setup.change)(&mut config);
        if setup.compares {
            let [lean, comparing] = [module(), compare_module()].map(|path| json!(path).to_string());
            config = serde_json::from_str(&config.to_string().replace(&lean, &comparing)).unwrap();
        }
        let envoy = Envoy::start(folder, &config, setup.workers).await?;
        let accounts = setup.listeners.iter().filter_map(|l| l.plugin.as_ref()).flat_map(ledger::accounts).collect();
        let ports = ports(&envoy, setup.listeners.len()).await;
        let delivery = setup.delivery;
        Ok(Self { envoy, primary, mirror, mirror2, accounts, ports, delivery, _refused: refused })
    }

    /// Where a listener listens.
    pub fn address(&self, listener: &str) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[listener]).into()
    }

    /// An HTTP/1.1 connection to the listener `main`.
    pub async fn client(&self) -> Client {
        Client::h1(self.address("main")).await
    }

    /// Sends one request to the listener `main`, on a connection of its own.
    pub async fn send(&self, req: Req) -> Reply {
        self.client().await.send(req).await
    }

    /// The metrics now.
    pub async fn ledger(&self) -> Ledger {
        Ledger::parse(&self.envoy.admin("/stats?filter=wasmcustom").await)
    }

    /// Waits until the metrics say so.
    pub async fn until(&self, what: &str, holds: impl Fn(&Ledger) -> bool) -> Ledger {
        let mut last = Ledger::default();
        eventually(what, async || {
            last = self.ledger().await;
            if holds(&last) { Ok(()) } else { Err(format!("{last:#?}")) }
        })
        .await;
        last
    }

    /// Waits until there are so many pairs of a rule and a mirror, and says how often there is each result.
    pub async fn pairs(&self, rule: &str, mirror: &str, count: i64) -> BTreeMap<&'static str, i64> {
        let results = |ledger: &Ledger| COMPARED.map(|result| (result, ledger.compared(rule, mirror, result)));
        let sum = |ledger: &Ledger| results(ledger).iter().map(|(_, count)| count).sum::<i64>();
        let ledger = self.until(&format!("{count} pairs"), |ledger| sum(ledger) >= count).await;
        results(&ledger).into_iter().filter(|(_, count)| *count != 0).collect()
    }

    /// Waits until that many copies have this outcome.
    pub async fn copies(&self, rule: &str, mirror: &str, outcome: &str, count: i64) -> Ledger {
        let what = format!("{count} copies {rule} {mirror} {outcome}");
        self.until(&what, |l| l.copies(rule, mirror, outcome) == count).await
    }

    /// Waits until that many answers have this class.
    pub async fn responses(&self, rule: &str, mirror: &str, class: &str, count: i64) -> Ledger {
        let what = format!("{count} answers {rule} {mirror} {class}");
        self.until(&what, |l| l.responses(rule, mirror, class) == count).await
    }

    /// The value of a metric as Prometheus is shown it, if there is one with exactly these labels.
    pub async fn prometheus(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let text = self.envoy.admin("/stats/prometheus").await;
        let labels: BTreeSet<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        text.lines().find_map(|line| {
            let (metric, rest) = line.split_once('{')?;
            let (own, value) = rest.split_once('}')?;
            let own: BTreeSet<String> = own.split(',').filter(|l| !l.is_empty()).map(String::from).collect();
            (metric == name && own == labels).then(|| value.trim().parse().unwrap())
        })
    }

    /// Waits until one of Envoy's own counters or gauges has this value; the name's end is enough.
    pub async fn stat(&self, ending: &str, value: u64) {
        eventually(&format!("{ending}: {value}"), async || {
            let stats = self.envoy.admin("/stats").await;
            let lines: Vec<&str> = stats.lines().filter(|l| l.contains(ending)).collect();
            let found = lines.iter().any(|l| l.ends_with(&format!("{ending}: {value}")));
            if found { Ok(()) } else { Err(lines.join("\n")) }
        })
        .await;
    }

    /// Puts another plugin configuration in place, where the setup said it comes from a file.
    pub fn update(&mut self, plugin: &Value) {
        if self.delivery == Delivery::Ecds {
            return self.update_filter(plugin, |_| ());
        }
        let folder = &self.envoy.folder;
        let listener = |name: &str, plugin| {
            let listener = Listener { name: name.to_owned(), plugin, form: Form::Text };
            bootstrap::listener(folder, &listener, self.delivery)
        };
        let all = vec![listener("plain", None), listener("main", Some(plugin.clone()))];
        bootstrap::replace_listeners(folder, all);
        self.add_accounts(plugin);
    }

    /// Puts another filter in place, which comes by ECDS, with a change in its `PluginConfig`.
    pub fn update_filter(&mut self, plugin: &Value, change: impl FnOnce(&mut Value)) {
        let mut wasm = bootstrap::wasm(plugin, Form::Text);
        change(&mut wasm["config"]);
        bootstrap::replace_filter(&self.envoy.folder, &wasm);
        self.add_accounts(plugin);
    }

    fn add_accounts(&mut self, plugin: &Value) {
        for account in ledger::accounts(plugin) {
            if !self.accounts.contains(&account) {
                self.accounts.push(account);
            }
        }
    }

    /// Waits until nothing is under way and the books balance.
    pub async fn settle(&self) {
        eventually("balanced books", async || {
            let ledger = self.ledger().await;
            ledger.unsettled(&self.accounts).map_or(Ok(()), |why| Err(format!("{why}\n{ledger:#?}")))
        })
        .await;
    }

    /// Waits until the books balance, whatever is still in flight. (Waits, for Envoy reads its counters one by one.)
    pub async fn balance(&self) {
        eventually("balanced books", async || self.ledger().await.imbalance(&self.accounts).map_or(Ok(()), Err)).await;
    }

    /// What the log says of VMs that died.
    pub fn dead_vms(&self) -> Vec<String> {
        traps(&self.envoy.log()).into_iter().map(str::to_owned).collect()
    }
}

/// Ports by listener name, of those that have one; listeners from a file come a moment after Envoy is ready.
pub async fn ports(envoy: &Envoy, count: usize) -> HashMap<String, u16> {
    let mut ports = HashMap::new();
    eventually("the listeners", async || {
        let text = envoy.admin("/listeners?format=json").await;
        let listeners: Value = serde_json::from_str(&text).unwrap();
        ports.clear();
        for listener in listeners["listener_statuses"].as_array().into_iter().flatten() {
            // An internal listener has none.
            let Some(port) = listener["local_address"]["socket_address"]["port_value"].as_u64() else { continue };
            ports.insert(listener["name"].as_str().unwrap().to_owned(), u16::try_from(port).unwrap());
        }
        if ports.len() >= count { Ok(()) } else { Err(text) }
    })
    .await;
    ports
}

/// The lines of Envoy's log that tell of a trap. Only the log shows one: with `FAIL_OPEN`, Envoy goes on without the
/// filter.
pub fn traps(log: &str) -> Vec<&str> {
    let bad = |line: &&str| {
        // A configuration that is refused is critical to Envoy, and often the point of the test.
        let critical = line.contains("[critical]") && !line.contains("failed to load");
        let trap = ["Function: ", "RuntimeError", "wasm trap", "panicked at"].iter().any(|word| line.contains(word));
        critical || trap
    };
    log.lines().filter(bad).collect()
}

/// Asks again and again until the answer is `Ok`.
///
/// # Panics
/// With the last `Err` if that takes too long.
pub async fn eventually(what: &str, holds: impl AsyncFnMut() -> Result<(), String>) {
    within(EVENTUALLY, holds).await.unwrap_or_else(|last| panic!("waited in vain for {what}; last seen: {last}"));
}

/// Asks again and again until the answer is `Ok`.
///
/// # Errors
/// The last `Err` if that takes too long.
pub async fn within(limit: Duration, mut holds: impl AsyncFnMut() -> Result<(), String>) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    while let Err(last) = holds().await {
        if Instant::now() > deadline {
            return Err(last);
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
