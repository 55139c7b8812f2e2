//! The root contexts of this VM: when each is configured, serves streams, leaves, and is gone; and what they share.
//!
//! A root that is replaced stays until its last copy is answered. The host may drop it before that, without a word: when the
//! VM ends, or when another root of the same configuration leaves, too, for it keeps only one of them waiting.

use crate::config::{Config, Known};
use crate::core::budget::Room;
use crate::envoy::abi;
use crate::envoy::in_flight::Calls;
use crate::envoy::ledger::Metrics;
use crate::envoy::root::Root;
use log::error;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use xxhash_rust::xxh64::xxh64;

thread_local! {
    /// Few, so that a walk over them finds one sooner than a tree does.
    static CONTEXTS: RefCell<Vec<Context>> = const { RefCell::new(Vec::new()) };
    static SHARED: RefCell<Shared> = RefCell::default();
    /// Roots may be gone: the next callback finds out.
    static SUSPECTS: Cell<bool> = const { Cell::new(false) };
}

/// What the roots of a VM share.
#[derive(Default)]
struct Shared {
    metrics: Metrics,
    room: Rc<Room>,
    known: Known,
}

/// A root context, from its configuration to its end.
struct Context {
    /// The host's number of it.
    id: u32,
    /// The configuration at work; `None`: the context is leaving, and no stream needs it any more.
    root: Option<Rc<Root>>,
    calls: Rc<Calls>,
    /// The hash of its configuration's bytes. Equal ones may have the same name to the host.
    configuration: u64,
}

/// Begins with no root and nothing shared, as a new VM does by itself; where modules are not run in VMs, a thread may be one
/// after the other.
pub fn start() {
    CONTEXTS.take();
    SHARED.take();
    SUSPECTS.take();
}

/// Sets the configuration of a root to work; false: it is refused.
pub fn configure(root: u32) -> bool {
    log::set_max_level(abi::log_level());
    let bytes = abi::configuration();
    let config = match SHARED.with_borrow(|shared| Config::from_bytes_sharing(&bytes, &shared.known)) {
        Ok(config) => config,
        Err(violations) => {
            violations.lines().for_each(|line| error!("{line}"));
            return false;
        }
    };
    match SHARED
        .with_borrow_mut(|shared| Root::new(&abi::plugin_name(), config, &mut shared.metrics, Rc::clone(&shared.room)))
    {
        Ok(configured) => {
            let calls = Rc::clone(configured.calls());
            let root_at_work = Some(Rc::new(configured));
            let new = Context { id: root, root: root_at_work, calls, configuration: xxh64(&bytes, 0) };
            CONTEXTS.with_borrow_mut(|contexts| {
                contexts.retain(|context| context.id != root);
                contexts.push(new);
            });
            true
        }
        Err(reason) => {
            error!("{reason}");
            false
        }
    }
}

/// Finds the configuration at work of a root context.
pub fn root(context: u32) -> Option<Rc<Root>> {
    CONTEXTS.with_borrow(|contexts| contexts.iter().find(|known| known.id == context)?.root.clone())
}

/// Handles the response to a root's call, or that there will be none: then it has no headers.
pub fn answer(context: u32, token: u32, headers: usize, trailers: usize) {
    let found = CONTEXTS.with_borrow(|contexts| {
        let found = contexts.iter().find(|known| known.id == context)?;
        Some((Rc::clone(&found.calls), found.root.is_none()))
    });
    let Some((calls, is_leaving)) = found else { return };
    calls.answered(token, headers, trailers);
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
        if contexts.iter().all(|context| context.root.is_none()) {
            // The VM ends with the last configuration at work, whoever waits.
            std::mem::take(contexts).iter().for_each(|context| context.calls.fail_all());
            return Some(true);
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
}
