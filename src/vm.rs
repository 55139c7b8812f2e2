//! The root contexts of this VM: when each is configured, serves streams, leaves, and is gone; and what they share.
//!
//! A root that is replaced stays until its last copy is answered. The host may drop it before that, without a word: when the
//! VM ends, or when another root of the same configuration leaves, too, for it keeps only one of them waiting.

use crate::budget::Room;
use crate::calls::Calls;
use crate::config::Config;
use crate::host;
use crate::ledger::Metrics;
use crate::worker::Worker;
use log::error;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use xxhash_rust::xxh64::xxh64;

thread_local! {
    static ROOTS: RefCell<BTreeMap<u32, Root>> = const { RefCell::new(BTreeMap::new()) };
    static SHARED: RefCell<Shared> = RefCell::default();
    /// Roots may be gone: the next callback finds out.
    static SUSPECTS: Cell<bool> = const { Cell::new(false) };
}

/// What the roots of a VM share.
#[derive(Default)]
pub struct Shared {
    /// The metrics that are defined.
    pub metrics: Metrics,
    /// The memory that may be held.
    pub room: Rc<Room>,
}

/// A root context.
struct Root {
    /// The configuration at work; `None`: the root is leaving, and no stream needs it any more.
    worker: Option<Rc<Worker>>,
    calls: Rc<Calls>,
    /// The hash of its configuration's bytes. Equal ones may have the same name to the host.
    configuration: u64,
}

/// Begins with no root and nothing shared, as a new VM does by itself; where modules are not run in VMs, a thread may be one
/// after the other.
pub fn start() {
    ROOTS.take();
    SHARED.take();
    SUSPECTS.take();
}

/// Sets the configuration of a root to work; false: it is refused.
pub fn configure(root: u32) -> bool {
    log::set_max_level(host::log_level());
    let bytes = host::configuration();
    let config = match Config::from_bytes(&bytes) {
        Ok(config) => config,
        Err(violations) => {
            for violation in violations {
                error!("{violation}");
            }
            return false;
        }
    };
    match SHARED.with_borrow_mut(|shared| Worker::new(config, shared)) {
        Ok(worker) => {
            let calls = Rc::clone(worker.calls());
            let new = Root { worker: Some(Rc::new(worker)), calls, configuration: xxh64(&bytes, 0) };
            ROOTS.with_borrow_mut(|roots| roots.insert(root, new));
            true
        }
        Err(reason) => {
            error!("{reason}");
            false
        }
    }
}

/// Finds the configuration at work of a root.
pub fn worker(root: u32) -> Option<Rc<Worker>> {
    ROOTS.with_borrow(|roots| roots.get(&root)?.worker.clone())
}

/// Takes in the response to a root's call, or that there will be none: then it has no headers.
pub fn answer(root: u32, token: u32, headers: usize, trailers: usize) {
    let calls = ROOTS.with_borrow(|roots| roots.get(&root).map(|root| Rc::clone(&root.calls)));
    let Some(calls) = calls else { return };
    calls.answered(token, headers, trailers);
    let leaves = |left: &Root| left.worker.is_none() && left.calls.in_flight() == 0;
    let has_left = ROOTS.with_borrow_mut(|roots| match roots.get(&root) {
        Some(left) if leaves(left) => roots.remove(&root).is_some(),
        _ => false,
    });
    if has_left {
        host::done();
    }
}

/// Takes in that the host is done with a root, whose last stream has ended. True: it may go at once; false: it stays until
/// [`host::done`], when its last copy is answered, for the host would cancel what is in flight and never say so. Each copy has
/// a timeout, so that this always comes. `None`: the context is no root.
pub fn leave(root: u32) -> Option<bool> {
    ROOTS.with_borrow_mut(|roots| {
        let leaving = roots.get_mut(&root)?;
        // Only the last responses are waited for, and they need nothing of the configuration.
        leaving.worker = None;
        let (has_calls, configuration) = (leaving.calls.in_flight() > 0, leaving.configuration);
        if roots.values().all(|root| root.worker.is_none()) {
            // The VM ends with the last root at work, whoever waits.
            std::mem::take(roots).values().for_each(|root| root.calls.fail_all());
            return Some(true);
        }
        if !has_calls {
            roots.remove(&root);
            return Some(true);
        }
        let is_like = |other: &Root| other.worker.is_none() && other.configuration == configuration;
        if roots.values().filter(|other| is_like(other)).count() > 1 {
            SUSPECTS.set(true);
        }
        Some(false)
    })
}

/// Counts the copies of roots that the host has dropped while they waited, as failed. `own` is the context whose callback is
/// being served.
///
/// The host alone knows which: of two roots of one configuration that wait, the older is gone, unless one serves inbound
/// traffic and the other outbound, which a root cannot tell.
pub fn miss_roots(own: u32) {
    if !SUSPECTS.take() {
        return;
    }
    let gone: Vec<_> = ROOTS.with_borrow_mut(|roots| {
        let is_gone = |id: &u32, root: &mut Root| root.worker.is_none() && !host::has_root(*id, own);
        roots.extract_if(.., is_gone).collect()
    });
    gone.iter().for_each(|(_, root)| root.calls.fail_all());
}
