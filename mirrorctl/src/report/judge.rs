//! Whether mirrors are as good as their primaries, from what came in the pieces of a period.

use super::baseline::{self, Candidate};
use super::bounds::{Block, Blocks, fewest};
use super::fields::Fields;
use super::holm::{Hypothesis, Step, holm};
use crate::metrics::counters::Mirror;
use crate::metrics::histogram::{above, difference, total};
use std::fmt;

/// How probable it may be that any mirror is called worse, or as good, that is not.
pub(crate) const LEVEL: f64 = 0.05;
/// How much more often slower than faster a mirror may be, as a share of the pairs with times.
pub(crate) const SLOWER: f64 = 0.05;

/// What is asked of mirrors; shares, not percentages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Demands {
    /// By what share of the pairs a mirror may fail more often than its primary.
    pub(crate) margin: f64,
    /// In what share of the pairs a response may differ otherwise.
    pub(crate) differing: f64,
    /// By how many milliseconds a response may be slower and still be as fast: a boundary of the histograms.
    pub(crate) tolerance: f64,
    /// How many reports together have the level.
    pub(crate) looks: f64,
}

/// What a mirror is, compared with its primary. The worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Word {
    Worse,
    Unreachable,
    Different,
    NotComparable,
    Undecided,
    TooFew,
    NothingCompared,
    AsGood,
    Better,
}

impl Word {
    /// Tells whether whoever waits for a good word got one.
    pub(crate) fn is_good(self) -> bool {
        matches!(self, Self::AsGood | Self::Better)
    }

    /// Returns its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Worse => "worse",
            Self::Unreachable => "unreachable",
            Self::Different => "different",
            Self::NotComparable => "not-comparable",
            Self::Undecided => "undecided",
            Self::TooFew => "too-few",
            Self::NothingCompared => "nothing-compared",
            Self::AsGood => "as-good",
            Self::Better => "better",
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().replace('-', " "))
    }
}

/// What is judged of a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Errors,
    Times,
    Differences,
    /// One field of those differences, beside a baseline.
    Field,
}

/// A share, its bounds, and what it shows beyond its margin.
#[derive(Debug, Clone)]
pub(crate) struct Quantity {
    pub(crate) kind: Kind,
    pub(crate) margin: f64,
    /// What it is bad above: its margin, or less where a baseline shows what chance does.
    pub(crate) bad_above: f64,
    pub(crate) blocks: Blocks,
    /// Of these, those that surely count, where that is not all.
    sure: Option<Blocks>,
    /// Whether it is surely bad, and what level that was compared with.
    above: Step,
    /// Whether it is surely below its margin.
    below: Step,
}

impl Quantity {
    fn new(kind: Kind, margin: f64, blocks: Blocks) -> Self {
        let open = Step { is_rejected: false, level: LEVEL };
        Self { kind, margin, bad_above: margin, blocks, sure: None, above: open, below: open }
    }

    /// Makes one of by how much more often something is than in a baseline.
    pub(crate) fn beside_baseline(kind: Kind, demands: &Demands, blocks: Blocks) -> Self {
        Self { bad_above: demands.margin.min(demands.differing), ..Self::new(kind, demands.differing, blocks) }
    }

    /// Makes one of by how much more often a field differs than in a baseline, and surely does.
    pub(crate) fn of_field(demands: &Demands, all: Blocks, sure: Blocks) -> Self {
        Self { sure: Some(sure), ..Self::beside_baseline(Kind::Field, demands, all) }
    }

    fn p_bad(&self) -> f64 {
        self.sure.as_ref().unwrap_or(&self.blocks).p_above(self.bad_above)
    }

    fn p_good(&self) -> f64 {
        self.blocks.p_below(self.margin)
    }

    /// Tells whether the share is surely above what it is bad above.
    pub(crate) fn is_above(&self) -> bool {
        self.above.is_rejected
    }

    /// Tells whether it is surely below.
    pub(crate) fn is_below(&self) -> bool {
        self.below.is_rejected
    }

    /// Returns what the share is above.
    pub(crate) fn low(&self) -> f64 {
        self.sure.as_ref().unwrap_or(&self.blocks).low(self.above.level)
    }

    /// Returns what the share is below.
    pub(crate) fn high(&self) -> f64 {
        self.blocks.high(self.below.level)
    }

    /// Tells whether it is surely below the opposite of its margin. No other hypothesis: who is there is below the margin.
    fn is_opposite(&self) -> bool {
        self.below.is_rejected && self.blocks.p_below(-self.margin) <= self.below.level
    }
}

/// What was found of a mirror.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) word: Word,
    /// Empty where nothing can be judged.
    pub(crate) quantities: Vec<Quantity>,
    pub(crate) fields: Fields,
    /// The share of the pairs about whose status nothing is known.
    pub(crate) unknown: f64,
    /// How many blocks it takes, where there are too few.
    pub(crate) fewest: usize,
}

impl Verdict {
    pub(crate) fn quantity(&self, kind: Kind) -> Option<&Quantity> {
        self.quantities.iter().find(|quantity| quantity.kind == kind)
    }

    /// Returns in how many blocks all is known that takes blocks.
    pub(crate) fn blocks(&self) -> usize {
        let of = |kind| self.quantity(kind).map_or(0, |quantity| quantity.blocks.count());
        of(Kind::Errors).min(of(Kind::Differences))
    }

    /// Returns each quantity, with its part of the level: all fields have one part together.
    fn weighted(&mut self) -> impl Iterator<Item = (&mut Quantity, f64)> {
        let fields = self.fields.excesses();
        let part = 1.0 / fields.len().max(1) as f64;
        self.quantities.iter_mut().map(|quantity| (quantity, 1.0)).chain(fields.into_iter().map(move |one| (one, part)))
    }

    /// Returns what all fields together have to show to be good: as much as each.
    fn p_fields_good(&self) -> Option<f64> {
        self.fields.list.iter().filter_map(|field| Some(field.excess.as_ref()?.p_good())).max_by(f64::total_cmp)
    }

    /// Tells whether no field can differ too often, though a baseline is there that has its own differences.
    fn are_fields_good(&self) -> bool {
        let Some(baseline) = &self.fields.baseline else { return true };
        let excesses = || self.fields.list.iter().filter_map(|field| field.excess.as_ref());
        if baseline.unjudged.is_none() && excesses().all(Quantity::is_below) {
            return true;
        }
        // One may hide among those that differ by chance, unless there are few of all.
        self.quantity(Kind::Differences)
            .is_some_and(|differences| baseline.own.p_below(differences.margin) <= differences.below.level)
    }
}

/// Judges mirrors together, each from what came in the pieces of the period, in their order.
///
/// One level holds for all of them, and for their fields (see [`holm`]): in at most 5 % of all reports any mirror is called worse, or
/// different, or any field is named, that is not; in at most 5 % any is called as good that is not.
pub(crate) fn judge(mirrors: &[Candidate<'_>], demands: &Demands) -> Vec<Verdict> {
    let mut verdicts: Vec<_> = mirrors.iter().map(|mirror| prepared(mirror, demands)).collect();
    let level = LEVEL / demands.looks;
    let parts =
        |verdict: &Verdict| verdict.quantities.len().saturating_add(usize::from(!verdict.fields.list.is_empty()));
    let fewest = fewest(level / verdicts.iter().map(parts).sum::<usize>().max(1) as f64);
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.word == Word::Undecided) {
        if verdict.blocks() < fewest {
            (verdict.word, verdict.fewest) = (Word::TooFew, fewest);
        }
    }
    let mut judged: Vec<_> = verdicts.iter_mut().filter(|verdict| verdict.word == Word::Undecided).collect();
    let mut all: Vec<_> = judged.iter_mut().flat_map(|verdict| verdict.weighted()).collect();
    let bad: Vec<_> = all.iter().map(|(one, weight)| Hypothesis { p: one.p_bad(), weight: *weight }).collect();
    all.iter_mut().zip(holm(&bad, level)).for_each(|((one, _), step)| one.above = step);
    let good = |verdict: &&mut Verdict| {
        let own = verdict.quantities.iter().map(Quantity::p_good).chain(verdict.p_fields_good());
        own.map(|p| Hypothesis { p, weight: 1.0 }).collect::<Vec<_>>()
    };
    let good: Vec<_> = judged.iter().flat_map(good).collect();
    let mut steps = holm(&good, level).into_iter();
    for verdict in &mut judged {
        verdict.quantities.iter_mut().zip(&mut steps).for_each(|(one, step)| one.below = step);
        if verdict.p_fields_good().is_some() {
            let step = steps.next();
            verdict
                .fields
                .excesses()
                .into_iter()
                .zip(step.into_iter().cycle())
                .for_each(|(one, step)| one.below = step);
        }
    }
    for verdict in judged {
        verdict.word = word(verdict, demands);
    }
    verdicts
}

/// Says what follows from what is judged.
fn word(verdict: &Verdict, demands: &Demands) -> Word {
    let holds = |kind, of: fn(&Quantity) -> bool| verdict.quantity(kind).is_some_and(of);
    let is_above = |kind| holds(kind, Quantity::is_above);
    let is_opposite = |kind| holds(kind, Quantity::is_opposite);
    let all = [Kind::Errors, Kind::Times, Kind::Differences];
    let has_baseline = verdict.fields.baseline.is_some();
    if is_above(Kind::Errors) || is_above(Kind::Times) {
        Word::Worse
    } else if is_above(Kind::Differences) || verdict.fields.different().next().is_some() {
        // What the primary's own version does not do is no chance.
        if has_baseline { Word::Worse } else { Word::Different }
    } else if verdict.unknown > demands.margin
        || !all.iter().all(|kind| holds(*kind, Quantity::is_below))
        || !verdict.are_fields_good()
    {
        Word::Undecided
    } else if is_opposite(Kind::Errors) || is_opposite(Kind::Times) {
        Word::Better
    } else {
        Word::AsGood
    }
}

/// Says what cannot be judged; all else is undecided so far.
fn prepared(candidate: &Candidate<'_>, demands: &Demands) -> Verdict {
    let pieces = &candidate.pieces;
    let of = |results: &[&str]| -> f64 { pieces.iter().map(|piece| piece.results.some(results)).sum() };
    let pairs: f64 = pieces.iter().map(|piece| piece.results.sum()).sum();
    let unknown = of(&["not_compared"]);
    let unanswered = of(&["primary_only", "neither"]);
    let verdict = |word, quantities| Verdict {
        word,
        quantities,
        fields: Fields::of(candidate, demands),
        unknown: unknown / pairs.max(1.0),
        fewest: 0,
    };
    let without_time = || Quantity::new(Kind::Times, SLOWER, Blocks::default());
    if pairs <= 0.0 {
        return verdict(Word::NothingCompared, Vec::new());
    }
    let errors = Quantity::new(Kind::Errors, demands.margin, Blocks::of(pieces.iter().map(|piece| errors(piece))));
    let known = errors.blocks.total().of;
    if known <= 0.0 {
        return verdict(if unknown > 0.0 { Word::NotComparable } else { Word::NothingCompared }, Vec::new());
    }
    if unanswered >= known {
        return verdict(Word::Unreachable, vec![errors, without_time()]);
    }
    let differences = match candidate.excess(baseline::differences) {
        Some(excess) => Quantity::beside_baseline(Kind::Differences, demands, excess),
        None => Quantity::new(Kind::Differences, demands.differing, candidate.own(differences)),
    };
    let times = Blocks::of(pieces.iter().map(|piece| times(piece, demands.tolerance)));
    verdict(Word::Undecided, vec![errors, Quantity::new(Kind::Times, SLOWER, times), differences])
}

/// Counts the failures that one side has and the other has not, of the pairs that tell about them: not of those whose client left
/// before the primary's response, or whose status is not known.
fn errors(mirror: &Mirror) -> Block {
    let of = mirror.results.sum() - mirror.results.some(&["not_compared", "mirror_only"]);
    Block {
        for_it: mirror.results.some(&["mirror_error", "primary_only"]),
        against: mirror.results.get("primary_error"),
        of,
    }
}

/// Counts the responses that differ otherwise, of the same.
fn differences(mirror: &Mirror) -> Block {
    let for_it = mirror.results.some(&["different", "different_headers", "different_body"]);
    Block { for_it, against: 0.0, ..errors(mirror) }
}

/// Counts the pairs in which the mirror was slower, and faster, by more than the tolerance, of those that have times.
fn times(mirror: &Mirror, tolerance: f64) -> Block {
    let bins = difference(&mirror.slower, &mirror.faster);
    let of = total(&bins);
    Block { for_it: above(&bins, tolerance), against: of - above(&bins, -tolerance), of }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMANDS: Demands = Demands { margin: 0.01, differing: 0.01, tolerance: 5.0, looks: 1.0 };

    /// A mirror with so many results, and so many times by which it was slower and faster: up to 5 ms, up to 100 ms.
    fn mirror(results: &[(&str, f64)], slower: [f64; 2], faster: [f64; 2]) -> Mirror {
        let mut mirror = Mirror::default();
        mirror.results.0 = results.iter().map(|(result, count)| ((*result).into(), *count)).collect();
        for (histogram, [few, many]) in [(&mut mirror.slower, slower), (&mut mirror.faster, faster)] {
            histogram.add(5.0, few);
            histogram.add(100.0, few + many);
            histogram.add(f64::INFINITY, few + many);
        }
        mirror
    }

    fn verdict(pieces: &[Mirror]) -> Word {
        judge(&[Candidate::alone(pieces)], &DEMANDS).remove(0).word
    }

    #[test]
    fn the_word_follows_from_failures_times_and_differences() {
        const AS_FAST: ([f64; 2], [f64; 2]) = ([40.0, 10.0], [40.0, 10.0]);
        let even = |results: &[(&str, f64)], (slower, faster)| vec![mirror(results, slower, faster); 20];
        for (pieces, word) in [
            (even(&[("same", 100.0)], AS_FAST), Word::AsGood),
            // Two that fail equally often, not at the same requests.
            (even(&[("same", 80.0), ("mirror_error", 10.0), ("primary_error", 10.0)], AS_FAST), Word::AsGood),
            (even(&[("same", 80.0), ("primary_only", 10.0), ("primary_error", 10.0)], AS_FAST), Word::AsGood),
            // Both fail at the same.
            (even(&[("same", 80.0), ("neither", 20.0)], AS_FAST), Word::AsGood),
            // The primary fails, and the mirror does not.
            (even(&[("same", 95.0), ("primary_error", 5.0)], AS_FAST), Word::Better),
            (even(&[("same", 95.0), ("mirror_error", 5.0)], AS_FAST), Word::Worse),
            (even(&[("same", 95.0), ("primary_only", 5.0)], AS_FAST), Word::Worse),
            (even(&[("same", 100.0)], ([20.0, 60.0], [10.0, 10.0])), Word::Worse),
            (even(&[("same", 100.0)], ([10.0, 10.0], [20.0, 60.0])), Word::Better),
            // However fast it is.
            (even(&[("same", 90.0), ("mirror_error", 10.0)], ([0.0, 0.0], [0.0, 90.0])), Word::Worse),
            (even(&[("same", 90.0), ("different", 10.0)], ([0.0, 0.0], [0.0, 100.0])), Word::Different),
            (even(&[("same", 90.0), ("different_body", 10.0)], AS_FAST), Word::Different),
            (even(&[("primary_only", 90.0), ("neither", 10.0)], ([0.0; 2], [0.0; 2])), Word::Unreachable),
            (even(&[("not_compared", 100.0)], AS_FAST), Word::NotComparable),
            (even(&[("same", 50.0), ("not_compared", 50.0)], AS_FAST), Word::Undecided),
            (even(&[("mirror_only", 100.0)], AS_FAST), Word::NothingCompared),
            (even(&[("same", 0.0)], ([0.0; 2], [0.0; 2])), Word::NothingCompared),
            (Vec::new(), Word::NothingCompared),
            // Without times nothing is known of them.
            (even(&[("same", 100.0)], ([0.0; 2], [0.0; 2])), Word::Undecided),
            (even(&[("same", 1.0)], ([1.0, 0.0], [0.0; 2])), Word::Undecided),
            (even(&[("same", 100.0)], AS_FAST).split_off(13), Word::TooFew),
        ] {
            assert_eq!(verdict(&pieces), word, "{pieces:?}");
        }
    }

    #[test]
    fn a_mirror_that_is_down_half_of_the_time_is_worse_and_one_burst_is_not_decided() {
        let down = |from: usize, to: usize| -> Vec<_> {
            let piece = |index| if (from..to).contains(&index) { "primary_only" } else { "same" };
            (0..40).map(|index| mirror(&[(piece(index), 50.0)], [20.0, 5.0], [20.0, 5.0])).collect()
        };
        assert_eq!(verdict(&down(10, 30)), Word::Worse);
        assert_eq!(verdict(&down(11, 12)), Word::Undecided);
    }

    #[test]
    fn one_level_holds_for_all_mirrors_and_for_all_looks() {
        let good: Vec<_> = vec![mirror(&[("same", 100.0)], [40.0, 10.0], [40.0, 10.0]); 16];
        // Failures in six blocks of sixteen: one chance in 64.
        let bad: Vec<_> = (0..16)
            .map(|index| {
                mirror(
                    &[("same", 90.0), ("mirror_error", if index < 6 { 10.0 } else { 0.0 })],
                    [40.0, 10.0],
                    [40.0, 10.0],
                )
            })
            .collect();
        let words = |mirrors: &[&[Mirror]], looks| {
            let mirrors: Vec<_> = mirrors.iter().map(|pieces| Candidate::alone(pieces)).collect();
            let verdicts = judge(&mirrors, &Demands { looks, ..DEMANDS });
            verdicts.iter().map(|verdict| verdict.word).collect::<Vec<_>>()
        };
        assert_eq!(words(&[&bad], 1.0), [Word::Worse]);
        assert_eq!(words(&[&bad], 2.0), [Word::Undecided]);
        assert_eq!(words(&[&bad, &good], 1.0), [Word::Undecided, Word::AsGood]);
    }
}
