//! Which fields of a mirror's responses differ from the primary's, and which of them more often than in a baseline.

use super::baseline::{self, Candidate};
use super::bounds::{Block, Blocks};
use super::judge::{Demands, LEVEL, Quantity};
use crate::metrics::counters::Mirror;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Stands for all fields beyond the number that a mirror's counters name.
const OTHER: &str = "other";
/// The field whose pairs are those that `different` counts: a status that is an error of one side alone is a failure.
const STATUS: &str = "status";

/// A field that differed.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// In which share of the pairs it differed.
    pub(crate) own: Blocks,
    /// The same of the baseline.
    pub(crate) baseline: Option<Blocks>,
    /// By how much more often than in the baseline; `None` where that is not judged.
    pub(crate) excess: Option<Quantity>,
}

impl Field {
    /// Tells whether it surely differs more often than in the baseline.
    pub(crate) fn is_different(&self) -> bool {
        self.excess.as_ref().is_some_and(Quantity::is_above)
    }
}

/// What there is beside a baseline.
#[derive(Debug)]
pub(crate) struct Beside {
    /// The differences of the mirror itself, those by chance included.
    pub(crate) own: Blocks,
    /// Those of the baseline.
    pub(crate) others: Blocks,
    /// Why fields are not judged.
    pub(crate) unjudged: Option<&'static str>,
}

/// The fields of a mirror, those first that differ most.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) list: Vec<Field>,
    pub(crate) baseline: Option<Beside>,
}

impl Fields {
    /// Counts fields, and prepares to judge those that can be.
    pub(crate) fn of(candidate: &Candidate<'_>, demands: &Demands) -> Self {
        let both = || candidate.pieces.iter().chain(candidate.baseline.iter().flatten());
        let beside = candidate.others(baseline::differences).map(|others| Beside {
            own: candidate.own(baseline::differences),
            others,
            unjudged: unjudged(&candidate.pieces).or_else(|| unjudged(candidate.baseline.as_deref()?)),
        });
        let is_judged = beside.as_ref().is_some_and(|beside| beside.unjudged.is_none());
        let mut names: BTreeSet<&str> = both()
            .flat_map(|piece| &piece.fields.0)
            .filter(|(_, count)| **count > 0.0)
            .map(|(name, _)| &**name)
            .collect();
        if both().any(|piece| piece.results.get("different") > 0.0) {
            names.insert(STATUS);
        }
        let field = |name: &str| {
            let count = |mirror: &Mirror| count(mirror, name);
            let with_failures = |mirror: &Mirror| Block { against: failures(mirror, name), ..count(mirror) };
            let excess = candidate.excess(count).zip(candidate.sure_excess(with_failures)).filter(|_| is_judged);
            Field {
                name: name.to_owned(),
                own: candidate.own(count),
                baseline: candidate.others(count),
                excess: excess.map(|(all, sure)| Quantity::of_field(demands, all, sure)),
            }
        };
        // Of `status`, failures may be all that there is.
        let is_there = |field: &Field| {
            [Some(&field.own), field.baseline.as_ref()].into_iter().flatten().any(|one| one.total().for_it > 0.0)
        };
        let mut list: Vec<_> = names.into_iter().map(field).filter(is_there).collect();
        let more = |field: &Field| field.own.share() - field.baseline.as_ref().map_or(0.0, Blocks::share);
        list.sort_by(|a, b| more(b).total_cmp(&more(a)).then(b.own.share().total_cmp(&a.own.share())));
        Self { list, baseline: beside }
    }

    /// Returns what is judged of the fields.
    pub(crate) fn excesses(&mut self) -> Vec<&mut Quantity> {
        self.list.iter_mut().filter_map(|field| field.excess.as_mut()).collect()
    }

    /// Returns those that surely differ more often than in the baseline.
    pub(crate) fn different(&self) -> impl Iterator<Item = &Field> {
        self.list.iter().filter(|field| field.is_different())
    }

    /// Returns all, those that are different first.
    pub(crate) fn sorted(&self) -> Vec<&Field> {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|field| Reverse(field.is_different()));
        sorted
    }
}

/// Returns between what bounds a share lies with a confidence of 95 %.
pub(crate) fn interval(blocks: &Blocks) -> (f64, f64) {
    // No finer than they are found, so that all is not nearly all.
    let bound = |share: f64| ((share * 1e6).round() / 1e6).clamp(0.0, 1.0);
    (bound(blocks.low(LEVEL / 2.0)), bound(blocks.high(LEVEL / 2.0)))
}

/// Counts the pairs in which a field differs, of those that have two responses.
fn count(mirror: &Mirror, name: &str) -> Block {
    let results = &mirror.results;
    let for_it = if name == STATUS { results.get("different") } else { mirror.fields.get(name) };
    let of = results.sum() - results.some(&["not_compared", "primary_only", "mirror_only", "neither"]);
    Block { for_it, against: 0.0, of }
}

/// Counts the pairs in which one side alone failed. Its response is another one then, and any field may differ because of that.
fn failures(mirror: &Mirror, name: &str) -> f64 {
    if name == STATUS { 0.0 } else { mirror.results.some(&["mirror_error", "primary_error"]) }
}

/// Says why nothing can be known of one field alone.
fn unjudged(pieces: &[&Mirror]) -> Option<&'static str> {
    let sum = |count: fn(&Mirror) -> f64| pieces.iter().map(|piece| count(piece)).sum::<f64>();
    let (named, others) = (sum(|piece| piece.fields.sum()), sum(|piece| piece.fields.get(OTHER)));
    let different = sum(|piece| piece.results.some(&["different_headers", "different_body"]));
    if others > 0.0 {
        Some("more fields differ than are named, so that any of them may stand under `other`")
    } else if different > 0.0 && named <= 0.0 {
        Some("no field is counted: `fields: false`, or a module older than 0.2")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::judge::{Verdict, Word, judge};

    const DEMANDS: Demands = Demands { margin: 0.001, differing: 0.01, tolerance: 5.0, looks: 1.0 };

    /// A piece with so many pairs, of which so many differ in these fields; as fast as the primary.
    fn piece(pairs: f64, results: &[(&str, f64)], fields: &[(&str, f64)]) -> Mirror {
        let mut mirror = Mirror::default();
        let others: f64 = results.iter().map(|(_, count)| count).sum();
        mirror.results.0 = results.iter().map(|(result, count)| ((*result).into(), *count)).collect();
        mirror.results.0.insert("same".into(), pairs - others);
        mirror.fields.0 = fields.iter().map(|(field, count)| ((*field).into(), *count)).collect();
        for histogram in [&mut mirror.slower, &mut mirror.faster] {
            histogram.add(5.0, pairs / 2.0);
            histogram.add(f64::INFINITY, pairs / 2.0);
        }
        mirror
    }

    fn verdict(own: &Mirror, baseline: &Mirror) -> Verdict {
        let [own, baseline] = [own, baseline].map(|piece| vec![piece.clone(); 20]);
        judge(&[Candidate::beside(&own, &baseline)], &DEMANDS).remove(0)
    }

    fn named(verdict: &Verdict) -> Vec<&str> {
        verdict.fields.different().map(|field| &*field.name).collect()
    }

    #[test]
    fn a_field_counts_that_differs_more_often_than_in_the_baseline() {
        let all = ("different_body", 500.0);
        let noise = ("body/id", 500.0);
        let price = |count| ("body/items/*/price", count);
        for (own, baseline, word, fields) in [
            // All differ, by chance.
            (piece(500.0, &[all], &[noise]), piece(500.0, &[all], &[noise]), Word::AsGood, &[][..]),
            (piece(500.0, &[], &[]), piece(500.0, &[], &[]), Word::AsGood, &[]),
            // What is wrong hides among them, but for its name.
            (
                piece(500.0, &[all], &[noise, price(10.0)]),
                piece(500.0, &[all], &[noise]),
                Word::Worse,
                &["body/items/*/price"],
            ),
            (
                piece(500.0, &[("different_headers", 9.0)], &[("headers/location", 9.0)]),
                piece(100.0, &[], &[]),
                Word::Worse,
                &["headers/location"],
            ),
            // The baseline has fewer pairs, and its share is the same.
            (
                piece(500.0, &[("different_body", 50.0)], &[price(50.0)]),
                piece(50.0, &[("different_body", 5.0)], &[price(5.0)]),
                Word::AsGood,
                &[],
            ),
            // A status that differs is a field; one that is a failure of one side alone is not.
            (
                piece(500.0, &[("different", 20.0)], &[("status", 20.0)]),
                piece(500.0, &[], &[]),
                Word::Worse,
                &["status"],
            ),
            (piece(500.0, &[("primary_error", 50.0)], &[("status", 50.0)]), piece(500.0, &[], &[]), Word::Better, &[]),
            // The primary's page of an error is another one. Where all differ, something may hide behind that.
            (piece(500.0, &[("primary_error", 50.0)], &[price(50.0)]), piece(500.0, &[], &[]), Word::Better, &[]),
            (
                piece(500.0, &[("primary_error", 50.0), ("different_body", 450.0)], &[noise, price(50.0)]),
                piece(500.0, &[all], &[noise]),
                Word::Undecided,
                &[],
            ),
            (
                piece(500.0, &[("primary_error", 50.0), ("different_body", 450.0)], &[noise, price(90.0)]),
                piece(500.0, &[("primary_error", 50.0), ("different_body", 450.0)], &[noise, price(50.0)]),
                Word::Worse,
                &["body/items/*/price"],
            ),
            // Without names, the sum tells.
            (
                piece(500.0, &[("different_body", 20.0)], &[]),
                piece(500.0, &[("different_body", 1.0)], &[]),
                Word::Worse,
                &[],
            ),
            (piece(500.0, &[all], &[]), piece(500.0, &[all], &[]), Word::Undecided, &[]),
            (piece(500.0, &[all], &[noise, ("other", 3.0)]), piece(500.0, &[all], &[noise]), Word::Undecided, &[]),
            (
                piece(500.0, &[all], &[noise, price(10.0)]),
                piece(500.0, &[all], &[noise, ("other", 1.0)]),
                Word::Undecided,
                &[],
            ),
        ] {
            let verdict = verdict(&own, &baseline);
            assert_eq!((verdict.word, &*named(&verdict)), (word, fields), "{own:?}\n{baseline:?}");
        }
    }

    #[test]
    fn names_that_are_missing_do_not_matter_where_few_differ_at_all() {
        let few = piece(1000.0, &[("different_body", 1.0)], &[("body/a", 1.0), ("other", 1.0)]);
        let verdict = verdict(&few, &few);
        assert_eq!(verdict.word, Word::AsGood);
        let unjudged = verdict.fields.baseline.unwrap().unjudged.unwrap();
        assert!(unjudged.contains("under `other`"), "{unjudged}");
    }

    #[test]
    fn a_baseline_without_pairs_or_with_few_decides_nothing() {
        let good = piece(500.0, &[], &[]);
        assert_eq!(verdict(&good, &Mirror::default()).word, Word::TooFew);
        let own = vec![good.clone(); 20];
        let mut baseline = vec![Mirror::default(); 17];
        baseline.extend(vec![good; 3]);
        let verdict = judge(&[Candidate::beside(&own, &baseline)], &DEMANDS).remove(0);
        assert_eq!((verdict.word, verdict.blocks()), (Word::TooFew, 3));
    }

    #[test]
    fn without_a_baseline_fields_are_told_and_not_judged() {
        let own = vec![piece(500.0, &[("different_body", 100.0)], &[("body/a", 100.0), ("body/b", 3.0)]); 20];
        let verdict = judge(&[Candidate::alone(&own)], &DEMANDS).remove(0);
        assert_eq!((verdict.word, named(&verdict).len()), (Word::Different, 0));
        let first = verdict.fields.list.first().unwrap();
        let (low, high) = interval(&first.own);
        assert_eq!((&*first.name, first.own.share(), verdict.fields.list.len()), ("body/a", 0.2, 2));
        assert!((low - 0.2).abs() < 0.01 && (high - 0.2).abs() < 0.01, "{low} {high}");
    }
}
