//! What a rehearsal tells: which functions requests run, and which way they take at branches.

use anyhow::{Context, Result, bail, ensure};
use rehearse::{Branch, Counts, Instrumented, Row, Sent, rehearse, rows};

/// Requests of each kind before those that are counted: until then, tables grow.
const WARM_UP: u32 = 5;
const COUNTED: u32 = 5;

/// The most bytes of bodies that are rehearsed: more bytes take the same ways, more often.
const MOST_BYTES: usize = 1 << 10;

/// What requests run of a module's code.
pub struct Profile {
    module: Instrumented,
    /// What requests of each kind run that is plain.
    plain: Vec<Counts>,
    /// The same of the other kinds.
    others: Vec<Counts>,
}

/// How often requests come to a branch with a condition, and how often they take it: to what an `if` encloses, or to where a
/// `br_if` leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    pub reached: u64,
    pub taken: u64,
}

impl Profile {
    /// Serves some requests of each kind.
    ///
    /// # Errors
    /// The module traps, or asks for what the interpreter's host does not know, or refuses a plain configuration.
    pub fn rehearse(module: &[u8]) -> Result<Self> {
        let module = Instrumented::new(module)?;
        let (mut plain, mut others) = (Vec::new(), Vec::new());
        for row in rows().iter().filter(|row| is_small(row)) {
            let counts = rehearse(&module, row, WARM_UP, COUNTED).with_context(|| row.name)?;
            match counts {
                Some(counts) if row.is_plain => plain.push(counts),
                Some(counts) => others.push(counts),
                // It needs a feature that the module was not built with.
                None if row.response > 0 => {}
                None => bail!("{}: the module refuses the configuration", row.name),
            }
        }
        Ok(Self { module, plain, others })
    }

    /// Finds out whether the module did what the requests are for: else the rehearsal says nothing of what it does in Envoy.
    ///
    /// # Errors
    /// It sent more copies or fewer, or not their bodies.
    pub fn check(&self) -> Result<()> {
        let rows = || rows().into_iter().filter(is_small);
        let taken = |plain| rows().filter(move |row| row.is_plain == plain);
        // Only the last ones may have been refused.
        for (row, counts) in taken(true).zip(&self.plain).chain(taken(false).zip(&self.others)) {
            let copies = row.copies * u64::from(COUNTED);
            let bodies = if matches!(row.sent, Sent::Post(_)) { copies } else { 0 };
            let (sent, with_body) = (counts.copies, counts.bodies);
            ensure!(
                (sent, with_body) == (copies, bodies),
                "{}: {sent} copies, {with_body} with a body, where there should be {copies} and {bodies}",
                row.name
            );
        }
        Ok(())
    }

    /// Returns how many functions the module has code for.
    pub fn functions(&self) -> usize {
        self.module.functions.len()
    }

    /// Returns how many kinds of requests run a function, and how many of its operators they execute.
    pub fn runs(&self, function: usize) -> (usize, u64) {
        let pieces = &self.module.functions[function].pieces;
        let operators = |counts: &Counts| {
            pieces.clone().map(|piece| counts.times[piece] * self.module.pieces[piece].operators).sum::<u64>()
        };
        let operators = self.plain.iter().chain(&self.others).map(operators);
        (operators.clone().filter(|operators| *operators > 0).count(), operators.sum())
    }

    /// Returns the ways at the branches with conditions of a function, in their order. Plain requests decide alone, wherever they
    /// come to the branch.
    pub fn ways(&self, function: usize) -> Vec<Way> {
        let pieces = self.module.functions[function].pieces.clone();
        let branches = pieces.filter_map(|piece| Some((piece, self.module.pieces[piece].branch?)));
        branches
            .map(|(piece, branch)| {
                let plain = way(&self.plain, piece, branch);
                if plain.reached > 0 { plain } else { way(&self.others, piece, branch) }
            })
            .collect()
    }
}

fn is_small(row: &Row) -> bool {
    let sent = match row.sent {
        Sent::Get => 0,
        Sent::Post(bytes) => bytes,
    };
    sent.max(row.response) <= MOST_BYTES
}

/// Returns the way at the branch that ends a piece; the piece after it is what follows.
fn way(counts: &[Counts], piece: usize, branch: Branch) -> Way {
    let times = |piece: usize| counts.iter().map(|counts| counts.times[piece]).sum::<u64>();
    let (reached, followed) = (times(piece), times(piece + 1));
    let taken = match branch {
        Branch::If => followed,
        Branch::BrIf => reached - followed,
    };
    Way { reached, taken }
}

#[cfg(test)]
mod tests {
    use super::{Profile, Way};
    use crate::fixture::{Taken, module};
    use rehearse::{Counts, Instrumented};

    /// The function with the branches.
    const SERVE: usize = 1;

    #[test]
    fn plain_requests_decide_alone_where_they_come_to_a_branch() {
        let module = Instrumented::new(&module(&[Taken::Half], false)).unwrap();
        let (first, pieces) = (module.functions[SERVE].pieces.start, module.pieces.len());
        let mut profile = Profile { module, plain: Vec::new(), others: Vec::new() };
        let counts = |way: Way| {
            let mut times = vec![0; pieces];
            (times[first], times[first + 1]) = (way.reached, way.taken);
            vec![Counts { times, ..Counts::default() }]
        };
        let [always, never, not_at_all] = [(10, 10), (100, 0), (0, 0)].map(|(reached, taken)| Way { reached, taken });
        for (plain, others, expected) in [(always, never, always), (not_at_all, never, never)] {
            (profile.plain, profile.others) = (counts(plain), counts(others));
            assert_eq!(profile.ways(SERVE)[0], expected);
        }
    }

    #[test]
    fn a_module_that_sends_no_copies_is_an_error() {
        let profile = Profile::rehearse(&module(&[], false)).unwrap();
        let expected = "100 %: 0 copies, 0 with a body, where there should be 5 and 0";
        assert_eq!(profile.check().unwrap_err().to_string(), expected);
    }

    #[test]
    fn a_module_that_refuses_what_is_plain_is_an_error() {
        let refused = Profile::rehearse(&module(&[], true)).err().unwrap();
        assert_eq!(refused.to_string(), "no rule matches: the module refuses the configuration");
    }
}
