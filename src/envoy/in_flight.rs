//! The copies of one root that were sent and have no response yet, and the pairs that they make with the primary's responses.
//!
//! It outlives the configuration that sent them, and needs nothing of it.

use crate::core::compare::{Answer, Pair, Pairs};
use crate::core::outcome::{Class, Response, classify};
use crate::envoy::abi::{self, CurrentResponse};
use crate::envoy::ledger::{Common, MirrorMetrics};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// The open calls of one root.
pub struct Calls {
    common: Rc<Common>,
    /// By their numbers. A table without a costly hash is no faster, and has to be rebuilt as it grows.
    open: RefCell<BTreeMap<u32, Call>>,
    pairs: RefCell<Pairs<Rc<MirrorMetrics>>>,
}

/// A copy that was sent and has no response yet.
pub struct Call {
    /// The metrics of its mirror.
    pub metrics: Rc<MirrorMetrics>,
    /// The stream of its request, where the responses are compared.
    pub compared: Option<u32>,
    /// When it was sent, see [`abi::now`].
    pub sent_at: u64,
    /// Whether it is a gRPC request.
    pub is_grpc: bool,
}

impl Calls {
    /// Makes a root's calls, of which there are none yet.
    pub fn new(common: Rc<Common>) -> Self {
        Self { common, open: RefCell::default(), pairs: RefCell::default() }
    }

    /// Returns how many copies are in flight.
    pub fn in_flight(&self) -> usize {
        self.open.borrow().len()
    }

    /// Takes in a copy that the host took under this number.
    pub fn sent(&self, token: u32, call: Call) {
        abi::add(self.common.in_flight, 1);
        if let Some(stream) = call.compared {
            self.pairs.borrow_mut().sent(stream);
        }
        self.open.borrow_mut().insert(token, call);
    }

    /// Takes in the response whose callback is being served, or that there will be none: then it has no headers.
    pub fn answered(&self, token: u32, headers: usize, trailers: usize) {
        let Some(call) = self.open.borrow_mut().remove(&token) else { return };
        let response = CurrentResponse { headers, trailers };
        let status = response.header(":status").unwrap_or_default();
        let class = classify(&status, &response, call.is_grpc);
        self.close(&call, class, abi::now(), &status);
    }

    /// Counts all copies as failed: the host has cancelled their calls, or is about to, and says nothing of it.
    pub fn fail_all(&self) {
        let at = abi::now();
        let open = std::mem::take(&mut *self.open.borrow_mut());
        open.values().for_each(|call| self.close(call, Class::Failed, at, b""));
    }

    /// Returns whether the end of a stream is needed for its pairs.
    pub fn wants_end(&self, stream: u32) -> bool {
        self.pairs.borrow().wants_end(stream)
    }

    /// Takes in that a stream, of whose request copies were sent, is over: what the client got is what the primary answered.
    pub fn ended(&self, stream: u32) {
        let primary = abi::response_code().map(|status| Answer { status, at: abi::now() });
        let complete = self.pairs.borrow_mut().ended(stream, primary);
        complete.for_each(|pair| count_pair(&pair));
    }

    /// Counts a copy that has a response, of this `:status`, or will never have one.
    fn close(&self, call: &Call, class: Class, at: u64, status: &[u8]) {
        abi::add(self.common.in_flight, -1);
        let metrics = &call.metrics;
        if class != Class::Failed {
            abi::record(metrics.response_time, at.saturating_sub(call.sent_at) / 1_000_000);
        }
        if let Some(counter) = metrics.class(class) {
            abi::count(counter);
            if class == Class::Failed {
                metrics.warn_rarely(counter, "the mirror did not respond");
            }
        }
        let Some(stream) = call.compared else { return };
        let answer = if class == Class::Failed { None } else { Answer::new(status, at) };
        let complete = self.pairs.borrow_mut().answered(stream, Rc::clone(metrics), answer);
        complete.iter().for_each(count_pair);
    }
}

fn count_pair(pair: &Pair<Rc<MirrorMetrics>>) {
    let Some(metrics) = pair.mirror.pairs() else { return };
    metrics.compared(pair.result()).map(abi::count);
    if let Some(slower) = pair.slower_ms() {
        let histogram = if slower < 0 { metrics.faster } else { metrics.slower };
        abi::record(histogram, slower.unsigned_abs());
    }
}
