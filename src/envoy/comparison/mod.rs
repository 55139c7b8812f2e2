//! What is remembered of a request whose responses are compared, and how its pairs are counted.

#[cfg(feature = "compare")]
pub mod responses;
#[cfg(not(feature = "compare"))]
#[path = "no_responses.rs"]
pub mod responses;

use crate::config::Compare;
use crate::core::budget::Budget;
use crate::core::compare::{Answer, Differences, Pair};
use crate::core::digest::Digest;
use crate::envoy::abi::{self, CurrentResponse};
use crate::envoy::ledger::{MirrorMetrics, PairMetrics};
use log::warn;
use responses::{Kept, Primary};
use std::fmt::Write;
use std::rc::Rc;

/// The longest `x-request-id` that is logged.
const MOST_LOGGED: usize = 128;

/// A request whose responses are compared.
#[derive(Debug)]
pub struct Comparison {
    /// Its stream.
    pub stream: u32,
    compare: Rc<Compare>,
    /// Its `x-request-id`; empty where it is not logged.
    id: Box<[u8]>,
    primary: Primary,
}

impl Comparison {
    /// Begins to compare the responses to a request.
    pub fn new(stream: u32, compare: &Rc<Compare>, request: &Digest, budget: &Budget) -> Self {
        let id = if compare.fields { request.map().first(b"x-request-id") } else { None };
        let id = id.map(|id| id.get(..MOST_LOGGED).unwrap_or(id));
        let primary = Primary::new(compare, request.is_grpc(), budget);
        Self { stream, compare: Rc::clone(compare), id: id.unwrap_or_default().into(), primary }
    }

    /// Returns how the primary answered, with what its response said.
    pub fn primary(&self, answer: Answer) -> Answer {
        self.primary.answered(answer)
    }
}

/// A mirror in a pair.
#[derive(Debug)]
pub struct Party {
    /// The metrics of it.
    pub metrics: Rc<MirrorMetrics>,
    /// What is compared.
    pub comparison: Rc<Comparison>,
    response: Option<Kept>,
}

impl Party {
    /// Makes a mirror that did not respond yet, or never will.
    pub fn new(metrics: &Rc<MirrorMetrics>, comparison: &Rc<Comparison>) -> Self {
        Self { metrics: Rc::clone(metrics), comparison: Rc::clone(comparison), response: None }
    }

    /// Takes in the mirror's response; returns how it answered, with what that says.
    pub fn responded(&mut self, response: &CurrentResponse, answer: Answer) -> Answer {
        let (answer, kept) = self.comparison.primary.mirror(response, answer);
        self.response = kept;
        answer
    }
}

/// Counts a pair of which both sides are over.
pub fn count(pair: &Pair<Party>) {
    let Party { metrics, comparison, response } = &pair.mirror;
    let Some(pairs) = metrics.pairs() else { return };
    let compare = &comparison.compare;
    // What is not there differs in no place.
    let has_both = pair.primary.is_some() && pair.copy.is_some();
    let differences = if has_both { comparison.primary.differences(response.as_ref()) } else { Differences::default() };
    pairs.compared(pair.result(compare.status, &differences)).map(abi::count);
    if let Some(slower) = pair.slower_ms() {
        let histogram = if slower < 0 { pairs.faster } else { pairs.slower };
        abi::record(histogram, slower.unsigned_abs());
    }
    if compare.fields {
        let is_other_status = compare.status && pair.differs_in_status();
        if is_other_status || !differences.places.is_empty() {
            count_places(&pair.mirror, pairs, is_other_status, &differences);
        }
    }
}

/// Counts in which places a pair differs, and warns at the 1st, 2nd, 4th, 8th … time of each.
#[cold]
fn count_places(mirror: &Party, pairs: &PairMetrics, is_other_status: bool, differences: &Differences) {
    let mut due = String::new();
    let mut tell = |place: &str, count: Option<u64>| {
        if let Some(count) = count {
            let _ = write!(due, "{}{place} ({count})", if due.is_empty() { "" } else { ", " });
        }
    };
    if is_other_status && let Some(counter) = pairs.status() {
        abi::count(counter);
        tell("status", counter.warning_due());
    }
    responses::count_places(pairs, differences, &mut tell);
    if !due.is_empty() {
        let Party { metrics, comparison, .. } = mirror;
        let printable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '_' };
        let id: String = comparison.id.iter().map(printable).collect();
        let id = if id.is_empty() { "none" } else { &id };
        let (rule, mirror) = (&metrics.rule, &metrics.mirror);
        warn!("rule {rule}, mirror {mirror}: the response differs, so often on this worker: {due}; x-request-id: {id}");
    }
}
