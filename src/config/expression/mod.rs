//! Regular expressions in RE2's syntax, on bytes, that take little time with any text, little memory, and the same of both
//! on every machine.
//!
//! The library parses them and makes automata of them. It could also run these, but not so that a bound on its work or on its
//! memory can be told before a request comes: its automata are made while they run, its limits count bytes of a heap, which
//! differ between the module and `mirrorctl`, and a search cannot be ended before it has read all. So an automaton
//! becomes a [`table`] when a configuration is read, or its [`positions`] are few enough to be told by bits, or it is refused.
//! Where groups are to be found, it is [simulated](simulation) as it is, in a bounded number of steps.

mod positions;
mod required;
mod shared;
mod simulation;
mod syntax;
mod table;
mod threads;

pub use required::Texts;
pub(super) use shared::Expressions;
pub(super) use shared::{Compiler, Use};

use positions::Positions;
use regex_automata::nfa::thompson::{self, NFA, WhichCaptures};
use regex_syntax::hir::Hir;
use simulation::{Exhausted, Simulation};
use std::fmt;
use table::Table;
use threads::Slot;

/// The heaviest expression of which an automaton is made: a thousand times a range of bytes and more.
const HEAVIEST: usize = 1 << 14;

/// The heaviest of which groups are found.
const HEAVIEST_SEARCH: usize = 1 << 12;

/// What an entry of a table counts for, beside each step of making the table.
const ENTRY: usize = 4;

/// The largest size of a table. A thousand characters of words are some 100,000.
const LARGEST: usize = 1 << 20;

/// The largest size of a table where [`Positions`] do as well. An expression of a path is some 1,000.
const LARGEST_OF_SMALL: usize = 1 << 16;

/// What a position counts for: each makes a test slower.
const POSITION: usize = 1 << 12;

/// What a state of an automaton that is kept counts for.
const STATE: usize = 128;

/// The most steps of a search for what is to be rewritten.
const MOST_STEPS: usize = 1 << 20;

/// Where else than at its ends a text may have what is looked for.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Ends {
    /// Anything may stand before it.
    open_start: bool,
    /// Anything may stand after it.
    open_end: bool,
}

/// An expression that is tested.
#[derive(Debug)]
pub struct Expression {
    engine: Engine,
    /// See [`Self::required`].
    required: Vec<Texts>,
    size: usize,
}

#[derive(Debug)]
enum Engine {
    Table(Table),
    Positions(Positions),
}

impl Expression {
    /// Makes an expression that has to match a whole value.
    fn whole(pattern: &str, ignore_case: bool) -> Result<Self, Fault> {
        let parsed = syntax::whole(pattern, ignore_case)?;
        Self::new(&parsed.hir, parsed.ends)
    }

    fn new(hir: &Hir, ends: Ends) -> Result<Self, Fault> {
        let nfa = automaton(hir, HEAVIEST, WhichCaptures::None)?;
        let positions = Positions::new(&nfa, ends);
        let most = if positions.is_some() { LARGEST_OF_SMALL } else { LARGEST };
        let (engine, size) = match (Table::new(&nfa, ends, most), positions) {
            (Some((table, size)), _) => (Engine::Table(table), size),
            (None, Some(positions)) => {
                // To find out that there is no table took as long as to make one.
                let size = positions.count().saturating_mul(POSITION).saturating_add(LARGEST_OF_SMALL);
                (Engine::Positions(positions), size)
            }
            (None, None) => return Err(Fault::TooManyStates),
        };
        Ok(Self { engine, required: required::required(hir), size })
    }

    /// Returns lists of texts: one of each list stands, in whichever case, in each value that matches.
    pub(super) fn required(&self) -> &[Texts] {
        &self.required
    }

    /// Returns whether a value matches.
    pub fn is_match(&self, value: &[u8]) -> bool {
        match &self.engine {
            Engine::Table(table) => table.is_match(value),
            Engine::Positions(positions) => positions.is_match(value),
        }
    }
}

/// An expression of which matches and their groups are found.
#[derive(Debug)]
pub struct Pattern {
    nfa: NFA,
    size: usize,
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, Fault> {
        let nfa = automaton(&syntax::parse(pattern, false)?, HEAVIEST_SEARCH, WhichCaptures::All)?;
        Ok(Self { size: nfa.states().len().saturating_mul(STATE), nfa })
    }

    /// Prepares to search a text for matches, and in these for the groups up to this one; `None`: there is no memory.
    pub(super) fn search<'a>(&'a self, text: &'a [u8], group: usize) -> Option<Search<'a>> {
        let slots = group.saturating_add(1).saturating_mul(2);
        let simulation = Simulation::new(&self.nfa, slots).ok()?;
        Some(Search { simulation, text, found: vec![None; slots], steps: MOST_STEPS })
    }

    /// Returns the number of groups, the match itself among them.
    pub(super) fn groups(&self) -> usize {
        self.nfa.group_info().all_group_len()
    }
}

/// A search for the matches in a text.
#[derive(Debug)]
pub(super) struct Search<'a> {
    simulation: Simulation<'a>,
    text: &'a [u8],
    found: Vec<Slot>,
    steps: usize,
}

impl Search<'_> {
    /// Finds the leftmost match at or after `from`, of those that begin there the one that the pattern prefers.
    ///
    /// # Errors
    /// All searches together took too many steps: `a.*b|a` reads the rest of a text again for each `a`.
    pub(super) fn find(&mut self, from: usize) -> Result<bool, Exhausted> {
        self.simulation.find(self.text, from, &mut self.found, &mut self.steps)
    }

    /// Returns where a group of the match begins and ends, if it has a part in it.
    pub(super) fn group(&self, group: usize) -> Option<(usize, usize)> {
        match self.found.get(group.checked_mul(2)?..)? {
            [start, end, ..] => start.zip(*end),
            _ => None,
        }
    }
}

fn automaton(hir: &Hir, heaviest: usize, captures: WhichCaptures) -> Result<NFA, Fault> {
    if syntax::weight(hir) > heaviest {
        return Err(Fault::TooManyStates);
    }
    let config = thompson::Config::new().utf8(false).which_captures(captures);
    let built = NFA::compiler().configure(config).build_from_hir(hir);
    let nfa = built.map_err(|error| Fault::Syntax(error.to_string()))?;
    // The library's tables of Unicode's words are left out, and it panics where it needs them.
    match nfa.look_set_any().available() {
        Ok(()) => Ok(nfa),
        Err(_) => Err(Fault::Syntax(r"\b cannot stand beside what needs Unicode, such as \pL".to_owned())),
    }
}

/// Why an expression is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Syntax(String),
    Repetition,
    TooManyStates,
    Together,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(reason) => write!(f, "not a regular expression: {reason}"),
            Self::Repetition => f.write_str(
                "not a regular expression: invalid repetition size: as in RE2 at most 1000, nested ones multiplied",
            ),
            Self::TooManyStates => f.write_str(
                "a regular expression that needs too many states: make its repetitions shorter, or leave out .* before them",
            ),
            Self::Together => f.write_str(
                "too large together with the regular expressions before it: use shorter repetitions, or exact, prefix or suffix",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
