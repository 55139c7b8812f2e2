//! The places in an automaton at which a text may be: what both the table of an expression and its simulation step from.

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::look::Look;
use regex_automata::util::primitives::StateID;
use std::collections::TryReserveError;
use std::slice;

/// Where a group begins or ends in a text, if it does.
pub(super) type Slot = Option<usize>;

/// A set of states that wait for the next byte, in the order in which a match through them is preferred. With each goes
/// where the groups on the way to it began and ended.
#[derive(Debug)]
pub(super) struct Threads {
    waiting: Vec<StateID>,
    /// A row for each waiting state.
    slots: Vec<Slot>,
    /// The number of slots in a row.
    width: usize,
    /// By state, the round in which it was reached last.
    reached: Vec<usize>,
    round: usize,
    frames: Vec<Frame>,
}

/// What remains to be done on the way through states that need no byte.
#[derive(Debug)]
enum Frame {
    Visit(StateID),
    Restore(usize, Slot),
}

/// Returns where the bytes lead that a state waits for, by ranges: the first and the last byte, and the next state.
pub(super) fn transitions(state: &State) -> impl Iterator<Item = (u8, u8, StateID)> {
    let (ranges, dense) = match state {
        State::ByteRange { trans } => (slice::from_ref(trans), None),
        State::Sparse(sparse) => (&*sparse.transitions, None),
        State::Dense(dense) => (&[][..], Some(dense)),
        _ => (&[][..], None),
    };
    let by_byte = dense
        .into_iter()
        .flat_map(|dense| (0..=u8::MAX).filter_map(|byte| dense.matches_byte(byte).map(|next| (byte, byte, next))));
    ranges.iter().map(|trans| (trans.start, trans.end, trans.next)).chain(by_byte)
}

impl Threads {
    /// Makes an empty set of states of an automaton, with rows of `width` slots.
    ///
    /// # Errors
    /// There is no memory for all that the set may hold.
    pub(super) fn new(nfa: &NFA, width: usize) -> Result<Self, TryReserveError> {
        let states = nfa.states().len();
        let mut threads =
            Self { waiting: Vec::new(), slots: Vec::new(), width, reached: Vec::new(), round: 1, frames: Vec::new() };
        threads.waiting.try_reserve_exact(states)?;
        threads.slots.try_reserve_exact(states.saturating_mul(width))?;
        threads.reached.try_reserve_exact(states)?;
        threads.reached.resize(states, 0);
        Ok(threads)
    }

    /// Returns the waiting states.
    pub(super) fn waiting(&self) -> &[StateID] {
        &self.waiting
    }

    /// Returns the slots of the waiting state at `index`.
    pub(super) fn slots(&self, index: usize) -> &[Slot] {
        let start = index.saturating_mul(self.width);
        self.slots.get(start..start.saturating_add(self.width)).unwrap_or_default()
    }

    /// Forgets the states.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.slots.clear();
        self.round = self.round.wrapping_add(1);
    }

    /// Adds a state, or the states that can be reached from it without a byte; returns the number of steps that took. `slots`
    /// is the row so far, `at` the place in the text, and `holds` tells whether an assertion is true there.
    pub(super) fn follow(
        &mut self,
        nfa: &NFA,
        from: StateID,
        slots: &mut [Slot],
        at: usize,
        holds: impl Fn(Look) -> bool,
    ) -> usize {
        let mut steps = 0_usize;
        let mut next = Some(from);
        loop {
            while let Some(state) = next {
                steps = steps.saturating_add(1);
                match self.reached.get_mut(state.as_usize()) {
                    Some(round) if *round != self.round => *round = self.round,
                    _ => break,
                }
                next = match nfa.states().get(state.as_usize()).unwrap_or(&State::Fail) {
                    State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => {
                        self.waiting.push(state);
                        self.slots.extend_from_slice(slots);
                        // A row of slots takes less than a step for each.
                        steps = steps.saturating_add(slots.len() / 4);
                        None
                    }
                    State::Look { look, next } => holds(*look).then_some(*next),
                    State::Union { alternates } => {
                        let (first, rest) = alternates.split_first().unzip();
                        self.frames.extend(rest.into_iter().flatten().rev().map(|state| Frame::Visit(*state)));
                        first.copied()
                    }
                    State::BinaryUnion { alt1, alt2 } => {
                        self.frames.push(Frame::Visit(*alt2));
                        Some(*alt1)
                    }
                    State::Capture { next, slot, .. } => {
                        if let Some(place) = slots.get_mut(slot.as_usize()) {
                            self.frames.push(Frame::Restore(slot.as_usize(), *place));
                            *place = Some(at);
                        }
                        Some(*next)
                    }
                    State::Fail => None,
                };
            }
            next = match self.frames.pop() {
                Some(Frame::Visit(state)) => Some(state),
                Some(Frame::Restore(slot, before)) => {
                    if let Some(slot) = slots.get_mut(slot) {
                        *slot = before;
                    }
                    None
                }
                None => return steps,
            };
        }
    }
}
