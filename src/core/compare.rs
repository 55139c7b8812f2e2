//! Whether primary and mirror answered alike: each copy that is sent makes a pair, which is settled once.
//!
//! Values in, values out. What is remembered is bounded by what is under way anyway: an entry for each stream that is open or
//! has a copy in flight.

use crate::core::outcome::Compared;
use std::collections::BTreeMap;

/// How the primary or a mirror answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// When it was complete, in nanoseconds of the worker's clock.
    pub at: u64,
}

impl Answer {
    /// Makes a mirror's answer of its `:status`; `None` where that is no number.
    pub fn new(status: &[u8], at: u64) -> Option<Self> {
        let status = std::str::from_utf8(status).ok()?.parse().ok()?;
        Some(Self { status, at })
    }
}

/// The two answers of a pair; none where that side never answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair<M> {
    /// The mirror, as the caller knows it.
    pub mirror: M,
    /// What the client got.
    pub primary: Option<Answer>,
    /// What the mirror answered.
    pub copy: Option<Answer>,
}

impl<M> Pair<M> {
    /// Tells how the two compare.
    pub fn result(&self) -> Compared {
        match (self.primary, self.copy) {
            (Some(primary), Some(copy)) if primary.status == copy.status => Compared::Same,
            (Some(_), Some(_)) => Compared::Different,
            (Some(_), None) => Compared::PrimaryOnly,
            (None, Some(_)) => Compared::MirrorOnly,
            (None, None) => Compared::Neither,
        }
    }

    /// By how many milliseconds the mirror was slower than the primary; negative: faster. `None` unless both answered.
    pub fn slower_ms(&self) -> Option<i64> {
        let (primary, copy) = (self.primary?.at, self.copy?.at);
        let nanoseconds = i64::try_from(copy).ok()?.checked_sub(i64::try_from(primary).ok()?)?;
        Some(nanoseconds / 1_000_000)
    }
}

/// The requests whose pairs are not settled.
#[derive(Debug)]
pub struct Pairs<M> {
    by_stream: BTreeMap<u32, Waiting<M>>,
}

impl<M> Default for Pairs<M> {
    fn default() -> Self {
        Self { by_stream: BTreeMap::new() }
    }
}

#[derive(Debug)]
struct Waiting<M> {
    /// How the primary answered, once its stream is over.
    primary: Option<Option<Answer>>,
    /// Copies that are in flight.
    in_flight: usize,
    /// Mirrors that were done before the primary was.
    early: Vec<(M, Option<Answer>)>,
}

impl<M> Pairs<M> {
    /// Takes in that a copy of a stream's request was sent.
    pub fn sent(&mut self, stream: u32) {
        let new = || Waiting { primary: None, in_flight: 0, early: Vec::new() };
        let waiting = self.by_stream.entry(stream).or_insert_with(new);
        waiting.in_flight = waiting.in_flight.saturating_add(1);
    }

    /// Tells whether a stream's end is waited for.
    pub fn wants_end(&self, stream: u32) -> bool {
        self.by_stream.get(&stream).is_some_and(|waiting| waiting.primary.is_none())
    }

    /// Takes in a mirror's answer, or that there is none; returns the pair if that settles it.
    pub fn answered(&mut self, stream: u32, mirror: M, copy: Option<Answer>) -> Option<Pair<M>> {
        let waiting = self.by_stream.get_mut(&stream)?;
        waiting.in_flight = waiting.in_flight.saturating_sub(1);
        let Some(primary) = waiting.primary else {
            waiting.early.push((mirror, copy));
            return None;
        };
        let pair = Pair { mirror, primary, copy };
        if waiting.in_flight == 0 {
            self.by_stream.remove(&stream);
        }
        Some(pair)
    }

    /// Takes in that a stream is over, with the primary's answer, or that there was none; returns the pairs that this settles.
    pub fn ended(&mut self, stream: u32, primary: Option<Answer>) -> impl Iterator<Item = Pair<M>> + use<M> {
        let mut early = Vec::new();
        if let Some(waiting) = self.by_stream.get_mut(&stream) {
            early = std::mem::take(&mut waiting.early);
            waiting.primary = Some(primary);
            if waiting.in_flight == 0 {
                self.by_stream.remove(&stream);
            }
        }
        early.into_iter().map(move |(mirror, copy)| Pair { mirror, primary, copy })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: u32 = 7;
    const MILLISECOND: u64 = 1_000_000;

    fn at(milliseconds: u64) -> Option<Answer> {
        Some(Answer { status: 200, at: milliseconds * MILLISECOND })
    }

    #[test]
    fn the_later_side_settles_a_pair() {
        for mirror_first in [true, false] {
            let mut pairs = Pairs::default();
            pairs.sent(STREAM);
            assert!(pairs.wants_end(STREAM));
            let expected = Pair { mirror: 3, primary: at(5), copy: at(2) };
            let settled: Vec<_> = if mirror_first {
                assert_eq!(pairs.answered(STREAM, 3, at(2)), None);
                pairs.ended(STREAM, at(5)).collect()
            } else {
                assert_eq!(pairs.ended(STREAM, at(5)).count(), 0);
                assert!(!pairs.wants_end(STREAM));
                pairs.answered(STREAM, 3, at(2)).into_iter().collect()
            };
            assert_eq!(settled, [expected]);
            assert_eq!(expected.slower_ms(), Some(-3));
            assert!(pairs.by_stream.is_empty());
        }
    }

    #[test]
    fn two_answers_are_the_same_if_their_codes_are() {
        let teapot = Some(Answer { status: 418, at: 0 });
        for (primary, copy, expected) in [
            (at(1), at(2), Compared::Same),
            (at(1), teapot, Compared::Different),
            (teapot, None, Compared::PrimaryOnly),
            (None, teapot, Compared::MirrorOnly),
            (None, None, Compared::Neither),
        ] {
            assert_eq!(Pair { mirror: 0, primary, copy }.result(), expected);
        }
    }

    #[test]
    fn a_time_is_compared_only_where_both_answered() {
        for (primary, copy) in [(None, at(1)), (at(1), None), (None, None)] {
            assert_eq!(Pair { mirror: 0, primary, copy }.slower_ms(), None);
        }
    }

    #[test]
    fn what_no_copy_was_sent_of_is_no_pair() {
        let mut pairs = Pairs::<usize>::default();
        assert!(!pairs.wants_end(STREAM));
        assert_eq!(pairs.answered(STREAM, 0, at(1)), None);
        assert_eq!(pairs.ended(STREAM, at(1)).count(), 0);
    }

    proptest! {
        #[test]
        fn each_pair_is_settled_once_and_nothing_stays(streams in prop::collection::vec((1usize..4, 0usize..5), 1..6)) {
            let mut pairs = Pairs::default();
            for (stream, (copies, _)) in (0u32..).zip(&streams) {
                (0..*copies).for_each(|_| pairs.sent(stream));
            }
            let mut settled = Vec::new();
            for (stream, (copies, end_after)) in (0u32..).zip(&streams) {
                for mirror in 0..=*copies {
                    if mirror == (*end_after).min(*copies) {
                        settled.extend(pairs.ended(stream, None).map(|pair| (stream, pair.mirror)));
                    }
                    if mirror < *copies {
                        settled.extend(pairs.answered(stream, mirror, None).map(|pair| (stream, pair.mirror)));
                    }
                }
            }
            let expected = (0u32..).zip(&streams).flat_map(|(stream, (copies, _))| (0..*copies).map(move |mirror| (stream, mirror)));
            prop_assert_eq!(settled, expected.collect::<Vec<_>>());
            prop_assert!(pairs.by_stream.is_empty());
        }
    }
}
