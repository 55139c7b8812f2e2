//! The host's callbacks, and which configuration and which request each of them is about. No policy: they pass on what
//! the host says, and the request always goes on.
//!
//! The SDK's contexts are not used: a box and several tables for each stream cost more than all else that the filter does for
//! a request that is not mirrored (bench/NOTES.md).

use crate::core::pending::Pending;
use crate::envoy::abi::{CurrentResponse, StreamEnd};
use crate::envoy::comparison::responses;
use crate::envoy::in_flight::Calls;
use crate::envoy::lifecycle;
use crate::envoy::logger;
use crate::envoy::root::{Complete, Next, Root};
use log::error;
use proxy_wasm::traits::{Context, RootContext};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

thread_local! {
    /// The streams that are open and of which something is to be remembered.
    static STREAMS: RefCell<BTreeMap<u32, Awaited>> = const { RefCell::new(BTreeMap::new()) };
    /// The stream that was opened last, and its root. Its headers mostly come next, and then it needs no place among the
    /// others.
    static NEWEST: Cell<Option<(u32, u32)>> = const { Cell::new(None) };
}

/// What is awaited of a stream.
enum Awaited {
    /// Its headers; its root context is known.
    Headers(u32),
    /// The end of its request, and who copies it.
    End(Rc<Root>, Box<Pending>),
    /// The primary's response, which will be compared with the mirrors'.
    Response(Rc<Calls>),
    /// The primary's response, on which it depends whether copies are sent, and who sends them.
    Verdict(Rc<Root>, Box<Complete>),
}

/// Registers with the SDK what serves a module that is not finished: nothing does.
pub fn start() {
    lifecycle::start();
    logger::start();
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
    lifecycle::find_dropped(root);
    lifecycle::configure(root)
}

/// Takes in that a stream is opened under a root.
pub fn open(stream: u32, root: u32) {
    lifecycle::find_dropped(stream);
    if let Some((earlier, root)) = NEWEST.replace(Some((stream, root))) {
        insert(earlier, Awaited::Headers(root));
    }
}

/// Takes in a request's headers; `ends`: there is nothing else of it.
pub fn headers(stream: u32, ends: bool) {
    #[cfg(feature = "trap-for-tests")]
    crate::envoy::trap::panic_if_asked();
    lifecycle::find_dropped(stream);
    let Some(root) = root_of(stream).and_then(lifecycle::begin) else { return };
    let mut begun = None;
    root.begin(ends, &mut begun);
    let Some(pending) = &mut begun else { return };
    #[cfg(feature = "compare")]
    root.watch(stream, pending);
    if ends || !pending.wants_end() {
        finish(stream, root, pending);
    } else if let Some(pending) = begun {
        insert(stream, Awaited::End(root, Box::new(pending)));
    }
}

/// Takes in the next `size` bytes of a request's body.
pub fn body(stream: u32, size: usize, ends: bool) {
    lifecycle::find_dropped(stream);
    let is_due = STREAMS.with_borrow_mut(|streams| match streams.get_mut(&stream) {
        Some(Awaited::End(root, pending)) => {
            root.chunk(pending, size);
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
    lifecycle::find_dropped(stream);
    match remove(stream) {
        Some(Awaited::End(root, mut pending)) => finish(stream, root, &mut pending),
        Some(other) => insert(stream, other),
        None => {}
    }
}

/// Takes in the response to a root's call, or that there will be none: then it has no headers.
pub fn answer(root: u32, token: u32, response: &CurrentResponse) {
    lifecycle::find_dropped(root);
    lifecycle::answer(root, token, response);
    responses::publish();
}

/// Takes in that the host is done with a context; false: it is to stay.
pub fn done(context: u32) -> bool {
    lifecycle::find_dropped(context);
    if let Some(may_go) = lifecycle::leave(context) {
        return may_go;
    }
    NEWEST.set(NEWEST.get().filter(|(stream, _)| *stream != context));
    match remove(context) {
        // What is still waiting here never ended.
        Some(Awaited::End(root, mut pending)) => root.abort(context, &mut pending),
        Some(Awaited::Response(calls)) => calls.ended(context, StreamEnd::read),
        Some(Awaited::Verdict(root, complete)) => root.conclude(context, *complete),
        Some(Awaited::Headers(_)) | None => {}
    }
    responses::forget(context);
    true
}

#[inline(always)]
fn finish(stream: u32, root: Rc<Root>, pending: &mut Pending) {
    match root.finish(stream, pending) {
        Next::Nothing => responses::forget(stream),
        Next::Response => insert(stream, Awaited::Response(Rc::clone(root.calls()))),
        Next::Verdict(complete) => insert(stream, Awaited::Verdict(root, complete)),
    }
}

fn root_of(stream: u32) -> Option<u32> {
    match NEWEST.take() {
        Some((newest, root)) if newest == stream => return Some(root),
        other => NEWEST.set(other),
    }
    STREAMS.with_borrow_mut(|streams| {
        let Some(Awaited::Headers(root)) = streams.get(&stream) else { return None };
        let root = *root;
        streams.remove(&stream);
        Some(root)
    })
}

fn insert(stream: u32, awaited: Awaited) {
    STREAMS.with_borrow_mut(|streams| streams.insert(stream, awaited));
}

fn remove(stream: u32) -> Option<Awaited> {
    STREAMS.with_borrow_mut(|streams| streams.remove(&stream))
}
