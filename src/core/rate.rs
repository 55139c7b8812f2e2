//! How many copies a second: a token bucket in one number, so that all workers can share it by compare-and-swap.
//!
//! It is the generic cell rate algorithm (ITU-T I.371): the number is the time at which the bucket will be full again. A token
//! moves it on by the interval between two copies; there is none where that would go beyond the time that filling the complete
//! bucket takes. A number in the past is a full bucket, 0 among them.

use crate::config::Rate;

/// The measures of a bucket, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// The time in which it gains a token, rounded up: never more than the rate.
    interval: u64,
    /// The time in which it fills.
    depth: u64,
}

impl Bucket {
    /// Makes the measures of a rate, which is at least 1.
    pub fn new(rate: Rate) -> Self {
        let interval = 1_000_000_000u64.div_ceil(u64::from(rate.per_second.max(1)));
        Self { interval, depth: interval.saturating_mul(u64::from(rate.burst)) }
    }

    /// Takes a token at `now`, in nanoseconds from a fixed time that all who share the bucket have. Returns its new number;
    /// `None` where there is no token.
    pub fn take(self, full_at: u64, now: u64) -> Option<u64> {
        let taken = full_at.max(now).saturating_add(self.interval);
        (taken <= now.saturating_add(self.depth)).then_some(taken)
    }

    /// Gives back a token that was taken so many nanoseconds ago. A full bucket gains nothing by time, and one from which a
    /// token was taken does: that is not given back a second time.
    pub fn give_back(self, full_at: u64, held: u64) -> u64 {
        full_at.saturating_sub(self.interval.saturating_sub(held))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn bucket(per_second: u32, burst: u32) -> Bucket {
        Bucket::new(Rate { per_second, burst })
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let bucket = bucket(2, 3);
        let mut full_at = 0;
        for (now, expected) in [
            (SECOND, true),
            (SECOND, true),
            (SECOND, true),
            (SECOND, false),
            (SECOND + SECOND / 2 - 1, false),
            (SECOND + SECOND / 2, true),
            (SECOND + SECOND / 2, false),
            // Time that runs back gives nothing and takes nothing.
            (0, false),
            (100 * SECOND, true),
        ] {
            let taken = bucket.take(full_at, now);
            assert_eq!(taken.is_some(), expected, "at {now}");
            full_at = taken.unwrap_or(full_at);
        }
    }

    #[test]
    fn extreme_rates_neither_overflow_nor_give_more() {
        for (per_second, burst, now) in [
            (1, 1_000_000_000, 0),
            (1_000_000_000, 1, u64::MAX),
            (1_000_000_000, 1_000_000_000, u64::MAX - 1),
            (700_000_000, 1, SECOND),
            (u32::MAX, u32::MAX, 1),
            (0, 1, 1),
        ] {
            let bucket = bucket(per_second, burst);
            let taken = bucket.take(0, now).unwrap();
            assert!(taken >= now, "{per_second} {burst} {now}");
            assert!(bucket.give_back(taken, u64::MAX) == taken && bucket.give_back(0, 0) == 0);
        }
    }

    #[test]
    fn a_token_that_is_given_back_at_once_is_there_again() {
        let bucket = bucket(1, 1);
        let taken = bucket.take(0, SECOND).unwrap();
        assert_eq!(bucket.take(taken, SECOND), None);
        for held in [0, 1, 999] {
            let now = SECOND + held;
            assert!(bucket.take(bucket.give_back(taken, held), now).is_some(), "{held}");
        }
    }

    /// What one worker does next, so many nanoseconds after the last step of any of them.
    #[derive(Debug, Clone)]
    enum Step {
        Take {
            after: u32,
        },
        /// Gives back the newest token that is not given back, if any is left.
        GiveBack {
            after: u32,
        },
    }

    fn step() -> impl Strategy<Value = Step> {
        let after = || prop_oneof![Just(0), 0..1000u32, any::<u32>()];
        prop_oneof![
            4 => after().prop_map(|after| Step::Take { after }),
            1 => after().prop_map(|after| Step::GiveBack { after }),
        ]
    }

    proptest! {
        /// All workers change one number, one after the other, so that their steps are one sequence.
        #[test]
        fn no_span_has_more_than_burst_and_rate(
            per_second in prop_oneof![1u32..1000, Just(1_000_000_000)], burst in 1u32..100,
            steps in prop::collection::vec(step(), 0..300),
        ) {
            let bucket = bucket(per_second, burst);
            let (mut full_at, mut now) = (0u64, 0u64);
            let mut copies: Vec<u64> = Vec::new();
            for step in steps {
                let (Step::Take { after } | Step::GiveBack { after }) = step;
                now += u64::from(after);
                match step {
                    Step::Take { .. } => {
                        if let Some(taken) = bucket.take(full_at, now) {
                            full_at = taken;
                            copies.push(now);
                        }
                    }
                    Step::GiveBack { .. } => {
                        if let Some(taken_at) = copies.pop() {
                            full_at = bucket.give_back(full_at, now - taken_at);
                        }
                    }
                }
            }
            for (first, begin) in copies.iter().enumerate() {
                for (last, end) in copies.iter().enumerate().skip(first) {
                    let most = u128::from(burst) * 1_000_000_000 + u128::from(end - begin) * u128::from(per_second);
                    prop_assert!((last - first + 1) as u128 * 1_000_000_000 <= most, "from {begin} to {end}");
                }
            }
        }

        #[test]
        fn a_bucket_that_is_asked_often_enough_gives_its_rate(per_second in 1u32..2000, burst in 2u32..50) {
            let bucket = bucket(per_second, burst);
            let (mut full_at, mut copies) = (0, 0u64);
            for now in (0..=SECOND).step_by(100_000) {
                if let Some(taken) = bucket.take(full_at, now) {
                    full_at = taken;
                    copies += 1;
                }
            }
            let due = u64::from(per_second) + u64::from(burst);
            prop_assert!((due - 2..=due).contains(&copies), "{copies} of {due}");
        }
    }
}
