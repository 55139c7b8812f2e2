//! An expression as the set of positions in it at which a text may be, a bit for each: for what is short, and would make a
//! table that is too large. A test takes a step for each position and byte at most.

use super::Ends;
use super::threads::{Threads, transitions};
use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::alphabet::ByteClasses;
use regex_automata::util::primitives::StateID;

/// A set of positions.
type Set = u128;

/// The position behind all of an expression.
const ACCEPT: Set = 1;

/// A nondeterministic automaton without assertions.
#[derive(Debug)]
pub(super) struct Positions {
    ends: Ends,
    start: Set,
    /// The bytes that no position tells apart have one class.
    classes: ByteClasses,
    /// By class, the positions that take its bytes.
    takes: Box<[Set]>,
    /// By position, those that come after it.
    follow: Box<[Set]>,
}

impl Positions {
    /// Finds the positions of an automaton; `None`: there are more than 126, or assertions.
    pub(super) fn new(nfa: &NFA, ends: Ends) -> Option<Self> {
        if !nfa.look_set_any().is_empty() {
            return None;
        }
        let classes = *nfa.byte_classes();
        let mut takes = vec![0; classes.alphabet_len()];
        // A position for each state and state that it leads to; the first is the one behind all.
        let mut edges: Vec<(StateID, StateID)> = Vec::new();
        let mut own = vec![0; nfa.states().len()];
        for (index, state) in nfa.states().iter().enumerate() {
            let from = StateID::new(index).ok()?;
            let own = own.get_mut(index)?;
            let mut add = |start: u8, end: u8, to: StateID| {
                let known = edges.iter().position(|edge| *edge == (from, to));
                let edge = known.unwrap_or_else(|| {
                    edges.push((from, to));
                    edges.len().saturating_sub(1)
                });
                let bit = bit(edge)?;
                *own |= bit;
                let range = usize::from(classes.get(start))..=usize::from(classes.get(end));
                takes.get_mut(range)?.iter_mut().for_each(|takes| *takes |= bit);
                Some(())
            };
            transitions(state).try_for_each(|(start, end, to)| add(start, end, to))?;
            if matches!(state, State::Match { .. }) {
                *own = ACCEPT;
            }
        }
        let mut threads = Threads::new(nfa, 0).ok()?;
        let mut enter = |state| {
            threads.clear();
            threads.follow(nfa, state, &mut [], 0, |_| false);
            let waiting = threads.waiting().iter().filter_map(|state| own.get(state.as_usize()));
            waiting.fold(0, |set, own| set | own)
        };
        let start = enter(nfa.start_anchored());
        let follow = [0].into_iter().chain(edges.iter().map(|(_, to)| enter(*to))).collect();
        Some(Self { ends, start, classes, takes: takes.into(), follow })
    }

    /// Returns the number of positions.
    pub(super) fn count(&self) -> usize {
        self.follow.len()
    }

    /// Returns whether the expression matches a text.
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let again = if self.ends.open_start { self.start } else { 0 };
        let mut set = self.start;
        for byte in text {
            if self.ends.open_end && set & ACCEPT != 0 {
                return true;
            }
            let mut taking = set & self.takes.get(usize::from(self.classes.get(*byte))).copied().unwrap_or_default();
            set = again;
            while let Some(position) = usize::try_from(taking.trailing_zeros()).ok().filter(|_| taking != 0) {
                set |= self.follow.get(position).copied().unwrap_or_default();
                taking &= taking.wrapping_sub(1);
            }
            if set == 0 {
                return false;
            }
        }
        set & ACCEPT != 0
    }
}

/// Returns the bit of an edge's position, if there are so many.
fn bit(edge: usize) -> Option<Set> {
    ACCEPT.checked_shl(u32::try_from(edge.checked_add(1)?).ok()?)
}
