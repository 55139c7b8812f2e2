//! The root contexts of this VM: when each is configured, serves streams, leaves, and is gone; and what they share.
//!
//! A root that is replaced stays until its last copy is answered. The host may drop it before that, without a word: when the
//! VM ends, or when another root of the same configuration leaves, too, for it keeps only one of them waiting.
//!
//! A wrong configuration is refused, or, where it says so, its root goes on with the last good one of its plugin.

use crate::config::{Config, Known, OnInvalid};
use crate::core::budget::Room;
use crate::core::last_good::{Usage, last_good};
use crate::core::redact::{KEY, Key};
use crate::envoy::abi::{self, CurrentResponse};
use crate::envoy::comparison::responses;
use crate::envoy::in_flight::Calls;
use crate::envoy::ledger::Metrics;
use crate::envoy::root::Root;
use log::{error, warn};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use xxhash_rust::xxh64::xxh64;

thread_local! {
    /// Few, so that a walk over them finds one sooner than a tree does.
    static CONTEXTS: RefCell<Vec<Context>> = const { RefCell::new(Vec::new()) };
    static SHARED: RefCell<Shared> = RefCell::default();
    /// Roots may be gone: the next callback finds out.
    static SUSPECTS: Cell<bool> = const { Cell::new(false) };
    /// How many configurations there were: the number of the newest.
    static NEWEST: Cell<u64> = const { Cell::new(0) };
}

/// What the roots of a VM share.
#[derive(Default)]
struct Shared {
    metrics: Metrics,
    room: Rc<Room>,
    known: Known,
    /// The key of pseudonyms, once a configuration has asked for it; `None` inside: there is none. The host gives a VM its
    /// environment when that begins, and never another.
    key: OnceCell<Option<Rc<Key>>>,
}

impl Shared {
    /// Makes the root of a plugin's configuration.
    ///
    /// # Errors
    /// All that is wrong with it, or what the host refused, as lines of text.
    fn root(&mut self, plugin: &[u8], bytes: &[u8]) -> Result<Root, Vec<String>> {
        let config = Config::from_bytes_sharing(bytes, &self.known)
            .map_err(|violations| violations.lines().collect::<Vec<_>>())?;
        let needs_key: Vec<_> = config.needs_key().collect();
        if !needs_key.is_empty() && self.key().is_none() {
            let hint = "\"pseudonym\": needs a key of at least 16 bytes in the VM's environment variable";
            return Err(needs_key.iter().map(|place| format!("{place}: {hint} {KEY}")).collect());
        }
        self.root_of(plugin, config).map_err(|reason| vec![reason])
    }

    fn root_of(&mut self, plugin: &[u8], config: Config) -> Result<Root, String> {
        let key = if config.needs_key().next().is_some() { self.key() } else { None };
        Root::new(plugin, config, key, &mut self.metrics, Rc::clone(&self.room))
    }

    fn key(&self) -> Option<Rc<Key>> {
        let read = || Key::new(&abi::environment(KEY)?).map(Rc::new);
        self.key.get_or_init(read).clone()
    }
}

/// A root context, from its configuration to its end.
struct Context {
    /// The host's number of it.
    id: u32,
    /// The configuration at work; `None`: the context is leaving, and no stream needs it any more.
    root: Option<Rc<Root>>,
    calls: Rc<Calls>,
    /// The name of its plugin.
    plugin: Vec<u8>,
    /// The hash of the bytes that the host handed over. Equal ones may have the same name to the host.
    configuration: u64,
    /// The use of the configuration at work; `None`: it is [`Config::nothing`].
    usage: Option<Usage>,
    /// Whether what the host handed over is wrong, and another configuration is at work.
    is_invalid: bool,
}

impl Context {
    fn is_at_work(&self, plugin: &[u8]) -> bool {
        self.root.is_some() && self.plugin == plugin
    }
}

/// Begins with no root and nothing shared, as a new VM does by itself; where modules are not run in VMs, a thread may be one
/// after the other.
pub fn start() {
    CONTEXTS.take();
    SHARED.take();
    SUSPECTS.take();
    NEWEST.take();
}

/// Sets the configuration of a root to work; false: it is refused.
pub fn configure(root: u32) -> bool {
    log::set_max_level(abi::log_level());
    let (plugin, bytes) = (abi::plugin_name(), abi::configuration());
    let configuration = xxh64(&bytes, 0);
    let (configured, origin, is_invalid) = match SHARED.with_borrow_mut(|shared| shared.root(&plugin, &bytes)) {
        Ok(configured) => {
            publish(&plugin, false);
            (configured, Some(configuration), false)
        }
        Err(reasons) => {
            reasons.iter().for_each(|reason| error!("{reason}"));
            if OnInvalid::of(&bytes) == OnInvalid::Refuse {
                return false;
            }
            publish(&plugin, true);
            // The host would refuse all requests, were this false: nothing that is wrong here is worth one.
            let Some((configured, origin)) = last_good_root(&plugin) else { return true };
            (configured, origin, true)
        }
    };
    let number = NEWEST.get().saturating_add(1);
    NEWEST.set(number);
    let new = Context {
        id: root,
        calls: Rc::clone(configured.calls()),
        root: Some(Rc::new(configured)),
        plugin,
        configuration,
        usage: origin.map(|origin| Usage::new(origin, number)),
        is_invalid,
    };
    CONTEXTS.with_borrow_mut(|contexts| {
        contexts.retain(|context| context.id != root);
        contexts.push(new);
    });
    true
}

/// Tells the host whether the last configuration of a plugin is wrong.
fn publish(plugin: &[u8], is_invalid: bool) {
    // A gauge that cannot be had must not cost the plugin.
    if let Ok(gauge) = SHARED.with_borrow_mut(|shared| shared.metrics.invalid(plugin, abi::define_metric)) {
        abi::record(gauge, u64::from(is_invalid));
    }
}

/// Makes a root that goes on with the last good configuration of a plugin, and tells of which bytes that was read; with none of
/// both, and so without copies, where it is not clear or there is none. `None`: the host refuses even that.
fn last_good_root(plugin: &[u8]) -> Option<(Root, Option<u64>)> {
    let last = CONTEXTS.with_borrow(|contexts| {
        let at_work = contexts.iter().filter(|context| context.is_at_work(plugin));
        let used = at_work.filter_map(|context| Some((context.usage.as_ref()?, context)));
        let last = last_good(used.collect())?;
        Some((last.root.as_ref()?.config().clone(), last.usage.as_ref()?.origin))
    });
    let (config, origin) = match last {
        Some((config, origin)) => {
            warn!("onInvalid: keepLast: the last good configuration goes on");
            (config, Some(origin))
        }
        None => {
            warn!("onInvalid: keepLast: there is no last good configuration, or not only one: nothing is mirrored");
            (Config::nothing(), None)
        }
    };
    let root = SHARED.with_borrow_mut(|shared| shared.root_of(plugin, config));
    root.inspect_err(|reason| error!("{reason}")).ok().map(|root| (root, origin))
}

/// Finds the configuration at work of a root context under which a stream begins.
pub fn begin(context: u32) -> Option<Rc<Root>> {
    CONTEXTS.with_borrow(|contexts| {
        let known = contexts.iter().find(|known| known.id == context)?;
        if let Some(usage) = &known.usage {
            usage.begins(NEWEST.get());
        }
        known.root.clone()
    })
}

/// Handles the response to a root's call, or that there will be none: then it has no headers.
pub fn answer(context: u32, token: u32, response: &CurrentResponse) {
    let found = CONTEXTS.with_borrow(|contexts| {
        let found = contexts.iter().find(|known| known.id == context)?;
        Some((Rc::clone(&found.calls), found.root.is_none()))
    });
    let Some((calls, is_leaving)) = found else { return };
    calls.answered(token, response);
    if is_leaving && calls.in_flight() == 0 {
        CONTEXTS.with_borrow_mut(|contexts| contexts.retain(|known| known.id != context));
        abi::done();
    }
}

/// Handles that the host is done with a root context, whose last stream has ended. True: it may go at once; false: it stays
/// until [`abi::done`], when its last copy is answered, for the host would cancel what is in flight and never say so. Each
/// copy has a timeout, so that this always comes. `None`: the context is no root.
pub fn leave(context: u32) -> Option<bool> {
    CONTEXTS.with_borrow_mut(|contexts| {
        let leaving = contexts.iter_mut().find(|known| known.id == context)?;
        // Only the last responses are waited for, and they need nothing of the configuration.
        leaving.root = None;
        let (has_calls, configuration) = (leaving.calls.in_flight() > 0, leaving.configuration);
        let (is_invalid, plugin) = (std::mem::take(&mut leaving.is_invalid), std::mem::take(&mut leaving.plugin));
        if contexts.iter().all(|context| context.root.is_none()) {
            // The VM ends with the last configuration at work, whoever waits. Its gauges end with it, unless another VM has
            // them, too, which knows better what they are to be.
            std::mem::take(contexts).iter().for_each(|context| context.calls.fail_all());
            responses::publish();
            return Some(true);
        }
        if is_invalid && !contexts.iter().any(|other| other.is_invalid && other.is_at_work(&plugin)) {
            publish(&plugin, false);
        }
        if !has_calls {
            contexts.retain(|known| known.id != context);
            return Some(true);
        }
        let is_like = |other: &&Context| other.root.is_none() && other.configuration == configuration;
        if contexts.iter().filter(is_like).count() > 1 {
            SUSPECTS.set(true);
        }
        Some(false)
    })
}

/// Counts the copies of root contexts that the host has dropped while they waited, as failed. `own` is the context whose
/// callback is being served.
///
/// The host alone knows which: of two roots of one configuration that wait, the older is gone, unless one serves inbound
/// traffic and the other outbound, which a root cannot tell.
pub fn find_dropped(own: u32) {
    // Each callback asks this, and hardly any finds a suspect.
    if SUSPECTS.get() {
        fail_dropped(own);
    }
}

#[cold]
fn fail_dropped(own: u32) {
    SUSPECTS.set(false);
    let dropped: Vec<_> = CONTEXTS.with_borrow_mut(|contexts| {
        let is_dropped = |context: &mut Context| context.root.is_none() && !abi::has_context(context.id, own);
        contexts.extract_if(.., is_dropped).collect()
    });
    dropped.iter().for_each(|context| context.calls.fail_all());
    responses::publish();
}
