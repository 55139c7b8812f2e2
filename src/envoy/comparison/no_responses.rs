//! Stands in for the module that looks at responses, in the build that does not.

use super::Comparison;
use crate::config::Compare;
use crate::core::budget::Budget;
use crate::core::compare::{Answer, Differences};
use crate::envoy::abi::CurrentResponse;
use crate::envoy::ledger::PairMetrics;
use std::rc::Rc;

/// What is known of the primary's response beside its status: nothing.
#[derive(Debug)]
pub struct Primary;

/// A response that is kept: there is none.
#[derive(Debug)]
pub enum Kept {}

impl Primary {
    /// Makes it.
    pub fn new(_: &Rc<Compare>, _: bool, _: &Budget) -> Self {
        Self
    }

    /// Returns how the primary answered.
    pub fn answered(&self, answer: Answer) -> Answer {
        answer
    }

    /// Returns how a mirror answered.
    pub fn mirror(&self, _: &CurrentResponse, answer: Answer) -> (Answer, Option<Kept>) {
        (answer, None)
    }

    /// Compares nothing.
    pub fn differences(&self, _: Option<&Kept>) -> Differences {
        Differences::default()
    }
}

/// Counts in which places, beside the status, a pair differs: in none.
pub fn count_places(_: &PairMetrics, _: &Differences, _: impl FnMut(&str, Option<u64>)) {}

/// Finds the comparison of a stream whose response is looked at: there is none.
pub fn find(_: u32) -> Option<Rc<Comparison>> {
    None
}

/// Looks no more at the response of a stream.
pub fn forget(_: u32) {}

/// Tells the gauge how many bytes of responses are kept.
pub fn publish() {}
