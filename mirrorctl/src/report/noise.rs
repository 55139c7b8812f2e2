//! How often a candidate beside a baseline is called what it is not, when ids and times differ in every response.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::baseline::Candidate;
use super::judge::{Demands, Word, judge};
use super::simulation::Random;
use crate::metrics::counters::Mirror;

const REQUESTS: usize = 10_000;
const READINGS: usize = 60;
const SEEDS: u64 = 200;
const DEMANDS: Demands = Demands { margin: 0.001, differing: 0.01, tolerance: 5.0, looks: 1.0 };
const WRONG: &str = "body/items/*/price";

/// In which share of the pairs a field differs by chance: ids and times in all.
type Noise = &'static [(&'static str, f64)];
const IDS_AND_TIMES: Noise = &[("body/id", 1.0), ("body/items/*/id", 1.0), ("body/time", 1.0), ("headers/date", 0.004)];
/// A list whose order is not fixed, an estimate, and what changes now and then.
const RESTLESS: Noise = &[("body/id", 1.0), ("body/items/*", 0.3), ("body/stock", 0.05), ("body/version", 0.001)];

/// Counts what one mirror shows, reading by reading. `repeats` requests of one user are alike, and come together.
fn mirror(noise: Noise, wrong: f64, repeats: usize, random: &mut Random) -> Vec<Mirror> {
    let fields: Vec<_> = noise.iter().copied().chain([(WRONG, wrong)]).collect();
    // Of each reading, how many pairs there are, how many differ, and in which fields.
    let mut counted = vec![(0.0, 0.0, vec![0.0; fields.len()]); READINGS];
    for user in 0..REQUESTS / repeats {
        let differs: Vec<_> = fields.iter().map(|(_, share)| random.next() < *share).collect();
        for repeat in 0..repeats {
            let at = (user * repeats + repeat) * READINGS / REQUESTS;
            let (pairs, different, by_field) = &mut counted[at];
            *pairs += 1.0;
            *different += f64::from(u8::from(differs.contains(&true)));
            by_field.iter_mut().zip(&differs).for_each(|(count, differs)| *count += f64::from(u8::from(*differs)));
        }
    }
    let piece = |(pairs, different, by_field): (f64, f64, Vec<f64>)| {
        let mut piece = Mirror::default();
        piece.results.0 = [("same".into(), pairs - different), ("different_body".into(), different)].into();
        piece.fields.0 = fields.iter().zip(by_field).map(|((field, _), count)| ((*field).into(), count)).collect();
        for histogram in [&mut piece.slower, &mut piece.faster] {
            histogram.add(5.0, pairs / 2.0);
            histogram.add(f64::INFINITY, pairs / 2.0);
        }
        piece
    };
    counted.into_iter().map(piece).collect()
}

/// What became of candidates, in percent.
#[derive(Debug, Default)]
struct Found {
    worse: f64,
    good: f64,
    /// The wrong field is named.
    named: f64,
    /// Another is.
    others: f64,
}

/// Judges candidates that are wrong in such a share of the responses, each beside a baseline that never is, and prints the result.
fn found(name: &str, noise: Noise, wrong: f64, repeats: usize) -> Found {
    let mut found = Found::default();
    for seed in 0..SEEDS {
        let mut random = Random(seed.wrapping_mul(0x5851_f42d_4c95_7f2d) ^ 0x0a_a0);
        let candidate = mirror(noise, wrong, repeats, &mut random);
        let baseline = mirror(noise, 0.0, repeats, &mut random);
        let verdict = judge(&[Candidate::beside(&candidate, &baseline)], &DEMANDS).remove(0);
        let count = |of: &mut f64, holds: bool| *of += if holds { 100.0 / SEEDS as f64 } else { 0.0 };
        count(&mut found.worse, verdict.word == Word::Worse);
        count(&mut found.good, verdict.word == Word::AsGood);
        count(&mut found.named, verdict.fields.different().any(|field| field.name == WRONG));
        count(&mut found.others, verdict.fields.different().any(|field| field.name != WRONG));
    }
    println!("{name}, {} % wrong, users repeat {repeats} times: {found:.1?}", wrong * 100.0);
    found
}

#[test]
fn two_of_one_version_are_not_called_worse_whatever_differs_by_chance() {
    for (name, noise, repeats, good) in [
        ("ids and times", IDS_AND_TIMES, 1, 99.0),
        ("ids and times", IDS_AND_TIMES, 10, 80.0),
        // To be sure of these takes more pairs.
        ("restless", RESTLESS, 1, 0.0),
        ("restless", RESTLESS, 10, 0.0),
    ] {
        let found = found(name, noise, 0.0, repeats);
        assert!(found.worse <= 5.0 && found.named + found.others <= 5.0 && found.good >= good, "{found:?}");
    }
}

#[test]
fn a_field_that_is_wrong_in_one_of_fifty_responses_is_named_and_no_other() {
    for (name, noise, repeats, named) in [
        ("ids and times", IDS_AND_TIMES, 1, 99.0),
        ("ids and times", IDS_AND_TIMES, 10, 80.0),
        ("restless", RESTLESS, 1, 99.0),
        ("restless", RESTLESS, 10, 80.0),
    ] {
        let found = found(name, noise, 0.02, repeats);
        assert!(found.named >= named && found.worse >= named && found.others <= 5.0, "{found:?}");
    }
}

#[test]
fn a_field_at_the_edge_is_called_neither_as_good_nor_worse() {
    let (least, most) = (DEMANDS.margin, DEMANDS.differing);
    assert!(found("ids and times", IDS_AND_TIMES, least, 1).worse <= 5.0);
    assert!(found("ids and times", IDS_AND_TIMES, most, 1).good <= 5.0);
}
