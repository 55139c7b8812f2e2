//! A mirror beside a baseline: another mirror of its rule, which runs the primary's version. What that has of differences is chance.

use super::bounds::{Block, Blocks};
use crate::metrics::counters::{Counters, Mirror};

/// What is judged: a mirror's pieces of the period, in the order of time, and those of its baseline.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) pieces: Vec<&'a Mirror>,
    /// As many pieces, of the same times.
    pub(crate) baseline: Option<Vec<&'a Mirror>>,
}

impl Candidate<'_> {
    /// Counts something of the mirror alone.
    pub(crate) fn own(&self, count: impl Fn(&Mirror) -> Block) -> Blocks {
        blocks(&self.pieces, count)
    }

    /// Counts something of the baseline alone.
    pub(crate) fn others(&self, count: impl Fn(&Mirror) -> Block) -> Option<Blocks> {
        Some(blocks(self.baseline.as_ref()?, count))
    }

    /// Counts by how much more often something is so in the mirror than in its baseline.
    pub(crate) fn excess(&self, count: impl Fn(&Mirror) -> Block) -> Option<Blocks> {
        Some(Blocks::beside(&self.both(count)?))
    }

    /// Counts by how much more often it is surely so, whatever comes from what `count` puts against it.
    pub(crate) fn sure_excess(&self, count: impl Fn(&Mirror) -> Block) -> Option<Blocks> {
        Some(Blocks::surely_beside(&self.both(count)?))
    }

    fn both(&self, count: impl Fn(&Mirror) -> Block) -> Option<Vec<[Block; 2]>> {
        let baseline = self.baseline.as_ref()?;
        Some(self.pieces.iter().zip(baseline).map(|(own, other)| [count(own), count(other)]).collect())
    }
}

#[cfg(test)]
impl<'a> Candidate<'a> {
    pub(crate) fn alone(pieces: &'a [Mirror]) -> Self {
        Self { pieces: pieces.iter().collect(), baseline: None }
    }

    pub(crate) fn beside(pieces: &'a [Mirror], baseline: &'a [Mirror]) -> Self {
        Self { baseline: Some(baseline.iter().collect()), ..Self::alone(pieces) }
    }
}

fn blocks(pieces: &[&Mirror], count: impl Fn(&Mirror) -> Block) -> Blocks {
    let counted: Vec<_> = pieces.iter().map(|piece| count(piece)).collect();
    Blocks::of(counted.iter().copied())
}

/// Counts the pairs whose responses differ, of those that have two and no failure of one side alone: failures are judged apart, and
/// must not look like responses that are the same.
pub(crate) fn differences(mirror: &Mirror) -> Block {
    let for_it = mirror.results.some(&["different", "different_headers", "different_body"]);
    Block { for_it, against: 0.0, of: for_it + mirror.results.get("same") }
}

/// Checks that a mirror of this name is there, in a rule that compares.
///
/// # Errors
/// What to tell the user, with the names that there are.
pub(crate) fn known(counters: &Counters, name: &str) -> Result<(), String> {
    let compared = || counters.pairs().filter(|(.., mirror)| mirror.compares());
    if compared().any(|(_, _, mirror, _)| mirror == name) {
        return Ok(());
    }
    if counters.pairs().any(|(_, _, mirror, _)| mirror == name) {
        return Err(format!("--baseline {name}: its rule has no `compare`"));
    }
    let mut names: Vec<_> = compared().map(|(_, _, mirror, _)| mirror).collect();
    names.sort_unstable();
    names.dedup();
    let names = if names.is_empty() { "no mirror is compared".to_owned() } else { names.join(", ") };
    Err(format!("--baseline {name}: no mirror of this name: {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_mirror_has_is_told_with_those_that_there_are() {
        let line = |mirror: &str| {
            format!("traffic_mirror_compared_total{{rule=\"r\",mirror=\"{mirror}\",result=\"same\"}} 1\n")
        };
        let page = "traffic_mirror_copies_total{rule=\"q\",mirror=\"plain\",outcome=\"sent\"} 1\n";
        let known = |page: &str, name| super::known(&Counters::read(page).unwrap(), name);
        let both = format!("{page}{}{}", line("v2"), line("v1"));
        assert_eq!(known(&both, "v1"), Ok(()));
        assert_eq!(known(&both, "v3"), Err("--baseline v3: no mirror of this name: v1, v2".into()));
        assert_eq!(known(&both, "plain"), Err("--baseline plain: its rule has no `compare`".into()));
        assert_eq!(known(page, "v1"), Err("--baseline v1: no mirror of this name: no mirror is compared".into()));
    }
}
