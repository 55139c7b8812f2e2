//! Shares as a function of time, and the time in which there are copies at all.

use super::moment::Moment;
use super::node::{Node, Object, all, optional};
use super::sample::{Ratio, read_percentage};

/// A staircase of shares: each holds from its moment to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ramp(Vec<(Moment, Ratio)>);

impl Ramp {
    /// Returns the share at a moment; before the first step nothing.
    pub fn at(&self, now: Moment) -> Ratio {
        let step = self.0.iter().rev().find(|(at, _)| *at <= now);
        step.map_or(Ratio::NEVER, |(_, ratio)| *ratio)
    }

    /// Returns the steps, in order.
    pub fn steps(&self) -> &[(Moment, Ratio)] {
        &self.0
    }

    #[inline(never)]
    pub(super) fn read(node: &Node<'_>) -> Option<Self> {
        let nodes: Vec<_> = node.list()?.collect();
        if nodes.is_empty() {
            return node.refuse("a list of at least one step");
        }
        let steps = all(nodes.iter().map(read_step))?;
        let mut later = nodes.iter().zip(&steps).skip(1);
        let falls_back = steps.iter().zip(later.by_ref()).find(|((before, _), (_, (at, _)))| at <= before);
        match falls_back {
            Some((_, (node, _))) => node.refuse_as("at", "later than the step before"),
            None => Some(Self(steps)),
        }
    }
}

#[inline(never)]
fn read_step(node: &Node<'_>) -> Option<(Moment, Ratio)> {
    let mut object = node.object()?;
    let [at, percentage] = ["at", "percentage"].map(|name| object.field(name));
    object.finish();
    let at = match at {
        Some(node) => Moment::read(&node),
        None => object.missing("at", "a moment, such as 2026-12-01T09:00:00Z"),
    };
    let ratio = match percentage {
        Some(node) => read_percentage(&node),
        None => object.missing("percentage", "a number between 0 and 100"),
    };
    Some((at?, ratio?))
}

/// The time in which there are copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    from: Option<Moment>,
    until: Option<Moment>,
}

impl Period {
    /// Returns whether there are copies at a moment: `from` is the first, `until` the first one after.
    pub fn includes(&self, now: Moment) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }

    /// Returns whether there are no copies any more.
    pub fn is_over(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Reads `from` and `until`; `Some(None)` where there is neither.
    #[inline(never)]
    pub(super) fn read(object: &mut Object<'_>) -> Option<Option<Self>> {
        let [from, until] = ["from", "until"].map(|name| object.field(name));
        if from.is_none() && until.is_none() {
            return Some(None);
        }
        let from = optional(from, Moment::read);
        let last = until.as_ref().map(|node| Moment::read(node));
        let (from, last) = (from?, last.map_or(Some(None), |last| last.map(Some))?);
        match until {
            Some(node) if from.is_some() && last <= from => node.refuse("not after from"),
            _ => Some(Some(Self { from, until: last })),
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moment(seconds: u64) -> Moment {
        Moment::since_epoch(seconds * 1_000_000_000)
    }

    fn ramp(steps: &[(u64, f64)]) -> Ramp {
        Ramp(steps.iter().map(|(at, share)| (moment(*at), Ratio::from_percentage(*share).unwrap())).collect())
    }

    #[test]
    fn a_share_holds_from_its_moment_to_the_next() {
        let ramp = ramp(&[(10, 1.0), (20, 10.0), (30, 0.0)]);
        for (now, expected) in [(9, 0), (10, 10_000), (19, 10_000), (20, 100_000), (29, 100_000), (30, 0), (99, 0)] {
            assert_eq!(ramp.at(moment(now)).parts(), expected, "{now}");
        }
    }

    #[test]
    fn a_period_includes_its_beginning_and_not_its_end() {
        let period =
            |from: Option<u64>, until: Option<u64>| Period { from: from.map(moment), until: until.map(moment) };
        for (period, now, expected) in [
            (period(Some(10), None), 9, false),
            (period(Some(10), None), 10, true),
            (period(None, Some(20)), 19, true),
            (period(None, Some(20)), 20, false),
            (period(Some(10), Some(20)), 9, false),
            (period(Some(10), Some(20)), 15, true),
        ] {
            assert_eq!(period.includes(moment(now)), expected, "{period:?} {now}");
            assert_eq!(period.is_over(moment(now)), period.until.is_some_and(|until| until <= moment(now)));
        }
    }

    proptest! {
        #[test]
        fn a_ramp_that_rises_never_loses_who_was_in(
            mut shares in prop::collection::vec(0.0..100.0f64, 1..6), earlier in 0u64..80, more in 0u64..80, part in 0u32..1_000_000,
        ) {
            shares.sort_by(f64::total_cmp);
            let steps: Vec<_> = shares.into_iter().enumerate().map(|(n, share)| (u64::try_from(n).unwrap() * 10, share)).collect();
            let ramp = ramp(&steps);
            let (before, after) = (ramp.at(moment(earlier)), ramp.at(moment(earlier + more)));
            prop_assert!(!before.includes(part) || after.includes(part));
        }
    }
}
