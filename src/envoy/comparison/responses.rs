//! Looks at the responses of primaries, and keeps what is compared of them and of the mirrors'. It reads, and nothing else: the
//! response goes on.

use super::Comparison;
use crate::config::Compare;
use crate::core::budget::{Budget, Room};
use crate::core::compare::{Answer, Differences};
use crate::core::header_map::HeaderMap;
use crate::core::outcome::{Response, Short};
pub use crate::core::shelf::Kept;
use crate::core::shelf::Shelf;
use crate::envoy::abi::{self, CurrentResponse, responses};
use crate::envoy::ledger::{MetricId, PairMetrics};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What says how a gRPC call ended: a trailer, or a header where there is nothing else.
const GRPC_STATUS: &str = "grpc-status";

thread_local! {
    /// The streams whose responses are looked at.
    static WATCHED: RefCell<BTreeMap<u32, Rc<Comparison>>> = const { RefCell::new(BTreeMap::new()) };
    /// The VM's room, and the gauge of what is buffered in it.
    static GAUGE: RefCell<Option<(Rc<Room>, MetricId)>> = const { RefCell::new(None) };
}

/// What is known of the primary's response beside its status.
#[derive(Debug)]
pub struct Primary {
    compare: Rc<Compare>,
    is_grpc: bool,
    shelf: Rc<Shelf>,
    kept: RefCell<Option<Kept>>,
    grpc_status: RefCell<Option<Short>>,
}

impl Primary {
    /// Makes that of a request whose response has not begun. `is_grpc`: it is a gRPC request.
    pub fn new(compare: &Rc<Compare>, is_grpc: bool, budget: &Budget) -> Self {
        let (kept, grpc_status) = <(RefCell<_>, RefCell<_>)>::default();
        Self {
            compare: Rc::clone(compare),
            is_grpc: is_grpc && compare.status,
            shelf: Rc::clone(budget.shelf()),
            kept,
            grpc_status,
        }
    }

    /// Returns whether the response has to be looked at.
    fn is_watched(&self) -> bool {
        self.is_grpc || self.compare.needs_content()
    }

    fn headers_came(&self, headers: &HeaderMap, ends: bool) {
        if self.is_grpc {
            *self.grpc_status.borrow_mut() = headers.first(GRPC_STATUS.as_bytes()).map(Short::from_slice);
        }
        if self.compare.needs_content() {
            let kept = self.shelf.keep(&self.compare, headers);
            if let Some(kept) = kept.as_ref().filter(|_| ends) {
                kept.complete();
            }
            // Another filter may have put its own response in the place of one whose headers came already.
            *self.kept.borrow_mut() = kept;
        }
    }

    fn body_came(&self, size: usize, ends: bool) {
        let kept = self.kept.borrow();
        let Some((kept, body)) = kept.as_ref().zip(self.compare.body.as_ref()) else { return };
        kept.push(size, body.max_bytes, responses::append_chunk);
        if ends {
            kept.complete();
        }
    }

    fn trailers_came(&self) {
        if self.is_grpc && self.grpc_status.borrow().is_none() {
            *self.grpc_status.borrow_mut() = responses::trailer(GRPC_STATUS);
        }
        if let Some(kept) = &*self.kept.borrow() {
            kept.complete();
        }
    }

    /// Returns how the primary answered, with the grpc-status if that is known.
    pub fn answered(&self, answer: Answer) -> Answer {
        answer.with_grpc_status(self.grpc_status.borrow().as_deref())
    }

    /// Takes in a mirror's response, and keeps what is compared of it, if there is room for that. Returns how the mirror answered, with
    /// the grpc-status if there is one.
    pub fn mirror(&self, response: &CurrentResponse, answer: Answer) -> (Answer, Option<Kept>) {
        let answer = if self.compare.status && answer.is_grpc {
            let status = response.header(GRPC_STATUS).or_else(|| response.trailer(GRPC_STATUS));
            answer.with_grpc_status(status.as_deref())
        } else {
            answer
        };
        if !self.compare.needs_content() {
            return (answer, None);
        }
        let kept = self.shelf.keep(&self.compare, &response.all_headers());
        if let Some((kept, body)) = kept.as_ref().zip(self.compare.body.as_ref()) {
            kept.push(response.body, body.max_bytes, |to, start, size| response.append_body(to, start, size));
            kept.complete();
        }
        (answer, kept)
    }

    /// Compares the primary's response with a mirror's, once both are over.
    pub fn differences(&self, mirror: Option<&Kept>) -> Differences {
        if !self.compare.needs_content() {
            return Differences::default();
        }
        match (&*self.kept.borrow(), mirror) {
            (Some(primary), Some(mirror)) => primary.differences(&self.compare, mirror),
            _ => Differences::not_compared(),
        }
    }
}

/// Counts in which places, beside the status, a pair differs. `tell` gets each, and how often that was so far on this worker where a
/// line in the log is due.
pub fn count_places(pairs: &PairMetrics, differences: &Differences, tell: impl FnMut(&str, Option<u64>)) {
    let also = usize::from(pairs.status().is_some());
    pairs.places().count(&differences.places, also, abi::define_metric, abi::count, tell);
}

/// Looks from now on at the response to a request, if that is compared. `gauge`: of what is buffered in the VM.
pub fn watch(comparison: Comparison, gauge: MetricId) {
    if comparison.primary.is_watched() {
        let room = comparison.primary.shelf.room();
        GAUGE.set(Some((Rc::clone(room), gauge)));
        WATCHED.with_borrow_mut(|watched| watched.insert(comparison.stream, Rc::new(comparison)));
    }
}

/// Finds the comparison of a stream whose response is looked at.
pub fn find(stream: u32) -> Option<Rc<Comparison>> {
    WATCHED.with_borrow(|watched| watched.get(&stream).cloned())
}

/// Looks no more at the response of a stream.
pub fn forget(stream: u32) {
    let forgotten = WATCHED.with_borrow_mut(|watched| watched.remove(&stream));
    drop(forgotten);
    publish();
}

/// Takes in the headers of a stream's response; `ends`: there is nothing else of it.
pub fn headers(stream: u32, ends: bool) {
    if let Some(comparison) = find(stream) {
        comparison.primary.headers_came(&responses::headers(), ends);
        publish();
    }
}

/// Takes in the next `size` bytes of the body of a stream's response.
pub fn body(stream: u32, size: usize, ends: bool) {
    if let Some(comparison) = find(stream) {
        comparison.primary.body_came(size, ends);
        publish();
    }
}

/// Takes in that a stream's response ends with trailers.
pub fn trailers(stream: u32) {
    if let Some(comparison) = find(stream) {
        comparison.primary.trailers_came();
        publish();
    }
}

/// Tells the gauge how many bytes of responses are kept by now.
pub fn publish() {
    GAUGE.with_borrow(|gauge| {
        let Some((room, gauge)) = gauge else { return };
        let change = room.kept_since_last();
        if change != 0 {
            abi::add(*gauge, change);
        }
    });
}
