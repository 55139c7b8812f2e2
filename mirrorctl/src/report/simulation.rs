//! How often the verdict is wrong, and how often it finds what is there, when users repeat and error rates drift.

#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::baseline::Candidate;
use super::judge::{Demands, Word, judge};
use crate::metrics::counters::Mirror;

const READINGS: usize = 80;
const DEMANDS: Demands = Demands { margin: 0.001, differing: 0.01, tolerance: 5.0, looks: 1.0 };

/// SplitMix64: Steele, Lea, Flood, Fast Splittable Pseudorandom Number Generators, 2014.
pub(super) struct Random(pub(super) u64);

impl Random {
    /// Between 0, exclusive, and 1.
    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64 + f64::MIN_POSITIVE
    }
}

/// What is simulated.
#[derive(Clone, Copy)]
struct World {
    pairs: usize,
    /// How many requests each user makes, one a reading; all fail, or none.
    repeats: usize,
    /// The share of users for whom one side fails and the other does not, at the highest of its drift; on average half of it.
    alone: f64,
    /// The share of users for whom only the mirror fails, beside that.
    added: f64,
    /// The share of pairs in which one side is slower by more than the tolerance.
    noise: f64,
}

/// Runs through one period, reading by reading.
fn period(world: World, seed: u64) -> Vec<Mirror> {
    let mut random = Random(seed);
    let users = world.pairs / world.repeats;
    let mut counts = vec![[0.0; 2]; READINGS];
    let phase = random.next();
    for (side, share, drifts) in [(0, world.alone, true), (1, world.alone, true), (0, world.added, false)] {
        let mut user = 0.0;
        if share <= 0.0 {
            continue;
        }
        loop {
            // From one event to the next.
            user += 1.0 + (random.next().ln() / (1.0 - share).ln()).floor();
            if user > users as f64 {
                break;
            }
            let at = user / users as f64;
            let drift = 0.5 + 0.5 * (std::f64::consts::TAU * (1.5 * at + phase)).sin();
            if drifts && random.next() > drift {
                continue;
            }
            for repeat in 0..world.repeats {
                let reading = ((at * READINGS as f64) as usize + repeat).min(READINGS - 1);
                counts[reading][side] += 1.0;
            }
        }
    }
    let each = (world.pairs / READINGS) as f64;
    let reading = |[mirror, primary]: &[f64; 2]| {
        let mut piece = Mirror::default();
        for (result, count) in
            [("mirror_error", *mirror), ("primary_error", *primary), ("same", (each - mirror - primary).max(0.0))]
        {
            piece.results.0.insert(result.into(), count);
        }
        for histogram in [&mut piece.slower, &mut piece.faster] {
            // About as normal as the sum of few.
            let spread = (each * world.noise).sqrt() * (random.next() + random.next() + random.next() - 1.5) * 2.0;
            let beyond = (each * world.noise + spread).clamp(0.0, each / 2.0).round();
            histogram.add(5.0, each / 2.0 - beyond);
            histogram.add(f64::INFINITY, each / 2.0);
        }
        piece
    };
    counts.iter().map(reading).collect()
}

/// Returns which part of so many periods ends with a word, in percent.
fn share(world: World, runs: u64, word: Word) -> f64 {
    let is_word = |seed: &u64| {
        let pieces = period(world, seed.wrapping_mul(0x5851_f42d_4c95_7f2d));
        judge(&[Candidate::alone(&pieces)], &DEMANDS).remove(0).word == word
    };
    100.0 * (0..runs).filter(is_word).count() as f64 / runs as f64
}

const EQUAL: World = World { pairs: 20_000, repeats: 1, alone: 0.02, added: 0.0, noise: 0.1 };

#[test]
fn at_most_one_in_twenty_equal_mirrors_is_called_worse_however_often_users_repeat() {
    let shares: Vec<_> = [1, 3, 10].map(|repeats| share(World { repeats, ..EQUAL }, 2_000, Word::Worse)).into();
    println!("equal, users repeat 1, 3, 10 times: {shares:?} % worse");
    assert!(shares.iter().all(|share| *share <= 5.0), "{shares:?}");
}

#[test]
fn four_in_five_differences_of_five_margins_are_found_in_twenty_thousand_pairs() {
    // The same requests fail on both sides, as they do with two versions of one program; the mirror fails some more.
    let differing = World { alone: 0.0, added: 0.005, ..EQUAL };
    for repeats in [1, 3, 10] {
        let found = share(World { repeats, ..differing }, 200, Word::Worse);
        println!("five margins, users repeat {repeats} times: {found} % worse");
        assert!(found >= 80.0, "{repeats} times: {found}");
    }
    let independent = share(World { added: 0.005, ..EQUAL }, 200, Word::Worse);
    println!("five margins, and both fail for 1 % of users of their own: {independent} % worse");
    assert!(independent >= 80.0, "{independent}");
}

#[test]
fn at_most_one_in_twenty_mirrors_at_the_margin_is_called_as_good() {
    let at_margin = World { alone: 0.0, added: DEMANDS.margin, ..EQUAL };
    let found = share(at_margin, 500, Word::AsGood);
    let worse = share(at_margin, 500, Word::Worse);
    println!("at the margin: {found} % as good, {worse} % worse");
    assert!(found <= 5.0 && worse <= 5.0, "{found} {worse}");
}
