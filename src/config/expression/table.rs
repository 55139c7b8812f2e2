//! An expression as a table: from each state, what each byte leads to. A test looks up one entry for each byte of the
//! text, whatever stands there.

use super::Ends;
use super::threads::{Threads, transitions};
use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::alphabet::ByteClasses;
use regex_automata::util::look::{Look, LookMatcher};
use regex_automata::util::primitives::StateID;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Nothing that follows makes the text match.
const DEAD: u16 = 0;
/// The text matches, whatever follows.
const ACCEPT: u16 = 1;
/// No byte was read.
const START: u16 = 2;

/// A deterministic automaton.
#[derive(Debug)]
pub(super) struct Table {
    /// The bytes that no state tells apart have one class.
    classes: ByteClasses,
    /// The number of entries for one state: one for each class, the last for the text's end.
    width: usize,
    /// By state and class, the next state.
    next: Box<[u16]>,
}

impl Table {
    /// Makes the table of an automaton, and returns it with its size (see [`super::Expression::size`]); `None`: it would be
    /// larger than `most`.
    pub(super) fn new(nfa: &NFA, ends: Ends, most: usize) -> Option<(Self, usize)> {
        let mut explorer = Explorer::new(nfa, ends)?;
        let mut state = START;
        while let Some(place) = explorer.places.get(usize::from(state)).cloned() {
            explorer.explore(state, &place)?;
            if explorer.size() > most {
                return None;
            }
            state = state.checked_add(1)?;
        }
        let size = explorer.size();
        Some((Self { classes: explorer.classes, width: explorer.width, next: explorer.next.into() }, size))
    }

    /// Returns whether the expression matches a text.
    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let mut state = START;
        for byte in text {
            state = self.next(state, usize::from(self.classes.get(*byte)));
            if state <= ACCEPT {
                return state == ACCEPT;
            }
        }
        self.next(state, self.width.saturating_sub(1)) == ACCEPT
    }

    fn next(&self, state: u16, class: usize) -> u16 {
        let entry = usize::from(state).wrapping_mul(self.width).wrapping_add(class);
        self.next.get(entry).copied().unwrap_or(DEAD)
    }
}

/// A table in the making.
struct Explorer<'a> {
    nfa: &'a NFA,
    ends: Ends,
    classes: ByteClasses,
    /// One byte of each class.
    bytes: Vec<u8>,
    width: usize,
    has_assertions: bool,
    next: Vec<u16>,
    /// By state.
    places: Vec<Place>,
    /// By the byte before and the states of a place.
    known: BTreeMap<Option<u8>, HashMap<Rc<[StateID]>, u16>>,
    threads: Threads,
    /// By class, where its bytes lead to.
    targets: Vec<Vec<StateID>>,
    sorted: Vec<StateID>,
    steps: usize,
}

/// What a state of the table stands for: where in the automaton the text may be, before what needs no byte is followed.
#[derive(Debug, Default, Clone)]
struct Place {
    /// The byte before, as far as assertions care; `None`: it is the text's start, or there are no assertions.
    before: Option<u8>,
    /// In order.
    states: Rc<[StateID]>,
}

impl<'a> Explorer<'a> {
    fn new(nfa: &'a NFA, ends: Ends) -> Option<Self> {
        let classes = *nfa.byte_classes();
        let width = classes.alphabet_len();
        let mut explorer = Self {
            nfa,
            ends,
            bytes: classes.representatives(..).filter_map(|unit| unit.as_u8()).collect(),
            classes,
            width,
            has_assertions: !nfa.look_set_any().is_empty(),
            next: [vec![DEAD; width], vec![ACCEPT; width]].concat(),
            places: vec![Place::default(), Place::default()],
            known: BTreeMap::new(),
            threads: Threads::new(nfa, 0).ok()?,
            targets: vec![Vec::new(); width],
            sorted: vec![nfa.start_anchored()],
            steps: 0,
        };
        explorer.state(None)?;
        Some(explorer)
    }

    fn size(&self) -> usize {
        self.next.len().saturating_mul(super::ENTRY).saturating_add(self.steps)
    }

    /// Fills the row of a state; `None`: there are too many states.
    fn explore(&mut self, state: u16, place: &Place) -> Option<()> {
        let row = usize::from(state).saturating_mul(self.width);
        self.next.resize(row.saturating_add(self.width), DEAD);
        if self.has_assertions {
            // It takes the next byte, too, to know where the text may be.
            for class in 0..self.width {
                let byte = self.bytes.get(class).copied();
                let has_match = self.follow(place, byte);
                let next = match byte {
                    _ if has_match && self.ends.open_end => ACCEPT,
                    None if has_match => ACCEPT,
                    None => DEAD,
                    Some(byte) => {
                        self.sort(Some(byte));
                        let next = self.take(class, Some(kind(byte)))?;
                        self.targets.get_mut(class)?.clear();
                        next
                    }
                };
                *self.next.get_mut(row.saturating_add(class))? = next;
            }
            return Some(());
        }
        let has_match = self.follow(place, None);
        if has_match && self.ends.open_end {
            self.next.get_mut(row..)?.fill(ACCEPT);
            return Some(());
        }
        self.sort(None);
        let mut next = DEAD;
        for class in 0..self.bytes.len() {
            // Neighbours mostly lead to the same.
            let before = class.checked_sub(1).and_then(|before| self.targets.get(before));
            if before.is_none() || before != self.targets.get(class) {
                next = self.take(class, None)?;
            }
            *self.next.get_mut(row.saturating_add(class))? = next;
        }
        self.targets.iter_mut().for_each(Vec::clear);
        if has_match {
            *self.next.last_mut()? = ACCEPT;
        }
        Some(())
    }

    /// Follows what needs no byte; `next` is the byte after, or `None` at the text's end, as far as assertions care. Tells
    /// whether the text matches as far as it goes.
    fn follow(&mut self, place: &Place, next: Option<u8>) -> bool {
        let nfa = self.nfa;
        self.threads.clear();
        for state in &*place.states {
            let holds = |look| holds(nfa.look_matcher(), look, place.before, next);
            let steps = self.threads.follow(nfa, *state, &mut [], 0, holds);
            self.steps = self.steps.saturating_add(steps);
        }
        self.threads.waiting().iter().any(|state| matches!(nfa.state(*state), State::Match { .. }))
    }

    /// Sorts by class what the bytes lead to, or what this one byte does.
    fn sort(&mut self, only: Option<u8>) {
        let Self { nfa, classes, threads, targets, steps, .. } = self;
        let mut add = |start: u8, end: u8, next: StateID| {
            let (start, end) = match only {
                Some(byte) if (start..=end).contains(&byte) => (byte, byte),
                Some(_) => return,
                None => (start, end),
            };
            // Classes are numbered in the order of their bytes.
            let range = usize::from(classes.get(start))..=usize::from(classes.get(end));
            for targets in targets.get_mut(range).into_iter().flatten() {
                targets.push(next);
                *steps = steps.saturating_add(1);
            }
        };
        for state in threads.waiting() {
            transitions(nfa.state(*state)).for_each(|(start, end, next)| add(start, end, next));
        }
    }

    /// Returns the state that a class leads to.
    fn take(&mut self, class: usize, before: Option<u8>) -> Option<u16> {
        self.sorted.clear();
        self.sorted.extend_from_slice(self.targets.get(class)?);
        self.sorted.extend(self.ends.open_start.then(|| self.nfa.start_anchored()));
        if self.sorted.is_empty() {
            return Some(DEAD);
        }
        self.sorted.sort_unstable();
        self.sorted.dedup();
        self.state(before)
    }

    /// Returns the state of a place, which is a new one or is known.
    fn state(&mut self, before: Option<u8>) -> Option<u16> {
        let known = self.known.entry(before).or_default();
        self.steps = self.steps.saturating_add(self.sorted.len());
        if let Some(state) = known.get(&*self.sorted) {
            return Some(*state);
        }
        let state = u16::try_from(self.places.len()).ok()?;
        let states: Rc<[StateID]> = self.sorted.as_slice().into();
        known.insert(Rc::clone(&states), state);
        self.places.push(Place { before, states });
        Some(state)
    }
}

/// Returns a byte that assertions do not tell apart from this one.
fn kind(byte: u8) -> u8 {
    match byte {
        b'\n' | b'\r' => byte,
        _ if byte.is_ascii_alphanumeric() || byte == b'_' => b'a',
        _ => b' ',
    }
}

/// Returns whether an assertion is true between two bytes; without one it is the text's start or end.
fn holds(matcher: &LookMatcher, look: Look, before: Option<u8>, next: Option<u8>) -> bool {
    match (before, next) {
        (None, None) => matcher.matches(look, &[], 0),
        (None, Some(next)) => matcher.matches(look, &[next], 0),
        (Some(before), None) => matcher.matches(look, &[before], 1),
        (Some(before), Some(next)) => matcher.matches(look, &[before, next], 1),
    }
}
