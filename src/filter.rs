//! The host's callbacks, and which configuration and which request each of them is about. No policy: they pass on what
//! the host says, and the request always goes on.
//!
//! The SDK's contexts are not used: a box and several tables for each stream cost more than all else that the filter does for
//! a request that is not mirrored (bench/NOTES.md).

use crate::calls::Calls;
use crate::stream::Pending;
use crate::vm;
use crate::worker::Worker;
use log::error;
use proxy_wasm::traits::{Context, RootContext};
use proxy_wasm::types::LogLevel;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

thread_local! {
    /// The streams that are open and of which something is to be remembered.
    static STREAMS: RefCell<BTreeMap<u32, Stream>> = const { RefCell::new(BTreeMap::new()) };
    /// The stream that was opened last, and its root. Its headers mostly come next, and then it needs no place among the
    /// others.
    static NEWCOMER: Cell<Option<(u32, u32)>> = const { Cell::new(None) };
}

/// What is remembered of a stream.
enum Stream {
    /// Its root: its headers are still to come.
    New(u32),
    /// Its request, which has not ended, and who mirrors it.
    Waiting(Rc<Worker>, Pending),
    /// Its request was copied, and its answer will be compared with the mirrors'.
    Compared(Rc<Calls>),
}

/// Registers with the SDK what serves a module that is not finished: nothing does.
pub fn start() {
    vm::start();
    // Also installs the hook that puts a panic's message into Envoy's log.
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Unfinished));
}

/// The SDK's root of a module whose exports are still the SDK's own, which know nothing of the functions below.
struct Unfinished;

impl Context for Unfinished {}

impl RootContext for Unfinished {
    fn on_configure(&mut self, _size: usize) -> bool {
        error!("the module is not finished: use the one that `make build` leaves in dist/");
        false
    }
}

/// Sets the configuration of a root to work; false: it is refused.
pub fn configure(root: u32) -> bool {
    vm::miss_roots(root);
    vm::configure(root)
}

/// Takes in that a stream is opened under a root.
pub fn open(stream: u32, root: u32) {
    vm::miss_roots(stream);
    if let Some((earlier, root)) = NEWCOMER.replace(Some((stream, root))) {
        insert(earlier, Stream::New(root));
    }
}

/// Takes in a request's headers; `ends`: there is nothing else of it.
pub fn headers(stream: u32, ends: bool) {
    #[cfg(feature = "trap-for-tests")]
    crate::trap::spring();
    vm::miss_roots(stream);
    let Some(worker) = root_of(stream).and_then(vm::worker) else { return };
    let Some(pending) = worker.begin(ends) else { return };
    if ends || !pending.wants_end() {
        settle(stream, worker, pending);
    } else {
        insert(stream, Stream::Waiting(worker, pending));
    }
}

/// Takes in the next `size` bytes of a request's body.
pub fn body(stream: u32, size: usize, ends: bool) {
    vm::miss_roots(stream);
    let is_due = STREAMS.with_borrow_mut(|streams| match streams.get_mut(&stream) {
        Some(Stream::Waiting(worker, pending)) => {
            worker.chunk(pending, size);
            ends || !pending.wants_end()
        }
        _ => false,
    });
    if is_due {
        end(stream);
    }
}

/// Takes in that a request is complete.
pub fn end(stream: u32) {
    vm::miss_roots(stream);
    match remove(stream) {
        Some(Stream::Waiting(worker, pending)) => settle(stream, worker, pending),
        Some(other) => insert(stream, other),
        None => {}
    }
}

/// Takes in the response to a root's call, or that there will be none: then it has no headers.
pub fn answer(root: u32, token: u32, headers: usize, trailers: usize) {
    vm::miss_roots(root);
    vm::answer(root, token, headers, trailers);
}

/// Takes in that the host is done with a context; false: it is to stay.
pub fn done(context: u32) -> bool {
    vm::miss_roots(context);
    if let Some(may_go) = vm::leave(context) {
        return may_go;
    }
    NEWCOMER.set(NEWCOMER.get().filter(|(stream, _)| *stream != context));
    match remove(context) {
        // What is still waiting here never ended.
        Some(Stream::Waiting(worker, pending)) => worker.abort(context, pending),
        Some(Stream::Compared(calls)) => calls.ended(context),
        Some(Stream::New(_)) | None => {}
    }
    true
}

fn settle(stream: u32, worker: Rc<Worker>, pending: Pending) {
    if worker.settle(stream, pending) {
        insert(stream, Stream::Compared(Rc::clone(worker.calls())));
    }
}

fn root_of(stream: u32) -> Option<u32> {
    match NEWCOMER.take() {
        Some((newcomer, root)) if newcomer == stream => return Some(root),
        other => NEWCOMER.set(other),
    }
    STREAMS.with_borrow_mut(|streams| {
        let Some(Stream::New(root)) = streams.get(&stream) else { return None };
        let root = *root;
        streams.remove(&stream);
        Some(root)
    })
}

fn insert(stream: u32, remembered: Stream) {
    STREAMS.with_borrow_mut(|streams| streams.insert(stream, remembered));
}

fn remove(stream: u32) -> Option<Stream> {
    STREAMS.with_borrow_mut(|streams| streams.remove(&stream))
}
