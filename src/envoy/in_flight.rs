//! The copies of one root that were sent and have no response yet, and the pairs that they make with the primary's responses.
//!
//! It outlives the configuration that sent them, and needs nothing of it.

use crate::core::compare::{Answer, Pairs};
use crate::core::outcome::{Answered, PrimaryClass, Response, classify};
use crate::envoy::abi::{self, CurrentResponse, StreamEnd};
use crate::envoy::comparison::{self, Comparison, Party};
use crate::envoy::ledger::{Common, MirrorMetrics, PrimaryMetrics};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// By how many nanoseconds the host's timers may be early: they start at the time that its loop last looked at.
const EARLY: u64 = 20_000_000;

/// The open calls of one root.
pub struct Calls {
    common: Rc<Common>,
    /// By their numbers. A table without a costly hash is no faster, and has to be rebuilt as it grows.
    open: RefCell<BTreeMap<u32, Call>>,
    /// Whether any mirror has a limit of its own.
    has_limits: bool,
    /// How many of them there are of each mirror with a limit of its own, in the order of the addresses of their metrics.
    by_mirror: RefCell<Vec<(usize, usize)>>,
    pairs: RefCell<Pairs<Party>>,
}

/// A copy that was sent and has no response yet.
pub struct Call {
    /// The metrics of its mirror.
    pub metrics: Rc<MirrorMetrics>,
    /// With what its response is compared, if it is.
    pub compared: Option<Rc<Comparison>>,
    /// When it was sent, see [`abi::now`].
    pub sent_at: u64,
    /// Whether it is a gRPC request.
    pub is_grpc: bool,
    /// How long the host waits for the response.
    pub timeout: Duration,
}

impl Call {
    /// Returns whether the host's wait is over.
    fn is_late(&self, now: u64) -> bool {
        let timeout = u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX);
        now.saturating_sub(self.sent_at) >= timeout.saturating_sub(EARLY.min(timeout / 8))
    }
}

impl Calls {
    /// Makes a root's calls, of which there are none yet. `has_limits`: some mirror has a limit of its own.
    pub fn new(common: Rc<Common>, has_limits: bool) -> Self {
        Self { common, has_limits, open: RefCell::default(), by_mirror: RefCell::default(), pairs: RefCell::default() }
    }

    /// Returns how many copies are in flight.
    pub fn in_flight(&self) -> usize {
        self.open.borrow().len()
    }

    /// Returns how many copies of a mirror are in flight, which has a limit of its own.
    pub fn in_flight_of(&self, mirror: &Rc<MirrorMetrics>) -> usize {
        let mut counts = self.by_mirror.borrow_mut();
        let address = Rc::as_ptr(mirror).addr();
        match counts.binary_search_by_key(&address, |(address, _)| *address) {
            Ok(at) => counts.get(at).map_or(0, |(_, count)| *count),
            Err(at) => {
                counts.insert(at, (address, 0));
                0
            }
        }
    }

    /// Takes in a copy that the host took under this number. `since`: when its request was complete.
    pub fn sent(&self, token: u32, call: Call, since: u64) {
        abi::add(self.common.in_flight, 1);
        if let Some(comparison) = &call.compared {
            self.pairs.borrow_mut().sent(comparison.stream, since, || Party::new(&call.metrics, comparison));
        }
        self.count_of_mirror(&call.metrics, |count| count.saturating_add(1));
        self.open.borrow_mut().insert(token, call);
    }

    /// Takes in the response whose callback is being served, or that there will be none: then it has no headers.
    pub fn answered(&self, token: u32, response: &CurrentResponse) {
        let Some(call) = self.open.borrow_mut().remove(&token) else { return };
        let status = response.header(":status").unwrap_or_default();
        let now = abi::now();
        let answered = classify(&status, response, call.is_grpc, call.is_late(now));
        self.close(&call, answered, now, Some((&status, response)));
    }

    /// Counts all copies as failed: the host has cancelled their calls, or is about to, and says nothing of it.
    pub fn fail_all(&self) {
        let at = abi::now();
        let open = std::mem::take(&mut *self.open.borrow_mut());
        open.values().for_each(|call| self.close(call, Answered::cancelled(), at, None));
    }

    /// Returns whether the end of a stream is needed for its pairs.
    pub fn wants_end(&self, stream: u32) -> bool {
        self.pairs.borrow().awaited(stream).is_some()
    }

    /// Takes in that a stream, of whose request copies were sent, is over: what the client got is what the primary answered.
    /// `read`: how it ended.
    pub fn ended(&self, stream: u32, read: impl FnOnce() -> StreamEnd) {
        let first = |(party, since): (&Party, u64)| (Rc::clone(&party.metrics), Rc::clone(&party.comparison), since);
        let Some((mirror, comparison, since)) = self.pairs.borrow().awaited(stream).map(first) else { return };
        let end = read();
        let primary = end.code_for_client().map(|status| {
            // Neither a slow client nor a slow upload makes a primary slow.
            let took = abi::now().saturating_sub(since).min(end.latency.unwrap_or(u64::MAX));
            comparison.primary(Answer { status, took, is_grpc: false, grpc_status: None })
        });
        if let Some(pairs) = mirror.pairs() {
            count_primary(&pairs.primary, primary);
        }
        let complete = self.pairs.borrow_mut().ended(stream, primary);
        complete.for_each(|pair| comparison::count(&pair));
    }

    /// Changes the count of a mirror, if it has one: once its limit has been asked about.
    fn count_of_mirror(&self, mirror: &Rc<MirrorMetrics>, change: impl FnOnce(usize) -> usize) {
        if self.has_limits {
            let (mut counts, address) = (self.by_mirror.borrow_mut(), Rc::as_ptr(mirror).addr());
            let at = counts.binary_search_by_key(&address, |(address, _)| *address);
            if let Some((_, count)) = at.ok().and_then(|at| counts.get_mut(at)) {
                *count = change(*count);
            }
        }
    }

    /// Counts a copy that has a response, with this `:status`, or will never have one.
    fn close(&self, call: &Call, answered: Answered, at: u64, response: Option<(&[u8], &CurrentResponse)>) {
        abi::add(self.common.in_flight, -1);
        self.count_of_mirror(&call.metrics, |count| count.saturating_sub(1));
        let (metrics, took) = (&call.metrics, at.saturating_sub(call.sent_at));
        metrics.class(answered.class).map(abi::count);
        match &answered.cause {
            Some(cause) => metrics.warn_of(answered.class, cause),
            None => abi::record(metrics.response_time, took / 1_000_000),
        }
        let Some(comparison) = &call.compared else { return };
        let mut party = Party::new(metrics, comparison);
        let answer = response.filter(|_| answered.cause.is_none()).and_then(|(status, response)| {
            let answer = Answer::new(status, took, call.is_grpc)?;
            Some(party.responded(response, answer))
        });
        let complete = self.pairs.borrow_mut().answered(comparison.stream, party, answer);
        complete.iter().for_each(comparison::count);
    }
}

/// Counts how the primary answered a request that makes a pair.
fn count_primary(metrics: &PrimaryMetrics, primary: Option<Answer>) {
    metrics.class(PrimaryClass::new(primary.map(|answer| answer.status))).map(abi::count);
    if let Some(answer) = primary {
        abi::record(metrics.response_time, answer.took / 1_000_000);
    }
}
