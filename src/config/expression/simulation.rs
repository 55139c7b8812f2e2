//! An automaton that is run as it is, all its threads side by side: it knows where groups begin and end, and which match
//! is preferred.

use super::threads::{Slot, Threads};
use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::look::Look;
use regex_automata::util::primitives::StateID;
use std::collections::TryReserveError;

/// A search took all the steps that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Exhausted;

/// An automaton at work.
#[derive(Debug)]
pub(super) struct Simulation<'a> {
    nfa: &'a NFA,
    now: Threads,
    then: Threads,
    row: Vec<Slot>,
}

impl<'a> Simulation<'a> {
    /// Prepares for searches that find the first `slots` slots.
    ///
    /// # Errors
    /// There is no memory.
    pub(super) fn new(nfa: &'a NFA, slots: usize) -> Result<Self, TryReserveError> {
        Ok(Self { nfa, now: Threads::new(nfa, slots)?, then: Threads::new(nfa, slots)?, row: vec![None; slots] })
    }

    /// Finds the leftmost match at or after `from`, of those that begin there the one that the pattern prefers. Takes its
    /// steps off `steps`.
    ///
    /// # Errors
    /// There were not enough.
    pub(super) fn find(
        &mut self,
        text: &[u8],
        from: usize,
        found: &mut [Slot],
        steps: &mut usize,
    ) -> Result<bool, Exhausted> {
        let nfa = self.nfa;
        let looks = |at| move |look: Look| nfa.look_matcher().matches(look, text, at);
        let mut is_found = false;
        self.now.clear();
        for at in from..=text.len() {
            let mut taken = 1_usize;
            if !is_found {
                self.row.fill(None);
                taken = self.now.follow(nfa, nfa.start_anchored(), &mut self.row, at, looks(at));
            } else if self.now.waiting().is_empty() {
                break;
            }
            let after = at.saturating_add(1);
            self.then.clear();
            for (index, state) in self.now.waiting().iter().enumerate() {
                taken = taken.saturating_add(1);
                let Some(state) = nfa.states().get(state.as_usize()) else { continue };
                if matches!(state, State::Match { .. }) {
                    copy(self.now.slots(index), found);
                    is_found = true;
                    // Those that come after it are not preferred.
                    break;
                }
                if let Some(next) = text.get(at).and_then(|byte| step(state, *byte)) {
                    copy(self.now.slots(index), &mut self.row);
                    taken = taken.saturating_add(self.then.follow(nfa, next, &mut self.row, after, looks(after)));
                }
            }
            std::mem::swap(&mut self.now, &mut self.then);
            *steps = steps.checked_sub(taken).ok_or(Exhausted)?;
        }
        Ok(is_found)
    }
}

/// Returns where a byte leads.
fn step(state: &State, byte: u8) -> Option<StateID> {
    match state {
        State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
        State::Sparse(transitions) => transitions.matches_byte(byte),
        State::Dense(transitions) => transitions.matches_byte(byte),
        _ => None,
    }
}

fn copy(from: &[Slot], to: &mut [Slot]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}
