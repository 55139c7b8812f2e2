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
    /// How long it took, in nanoseconds.
    pub took: u64,
    /// Whether what counts is the status of gRPC, which is not looked at.
    pub is_grpc: bool,
}

impl Answer {
    /// Makes a mirror's answer of its `:status`; `None` where that is no number.
    pub fn new(status: &[u8], took: u64, is_grpc: bool) -> Option<Self> {
        let status = std::str::from_utf8(status).ok()?.parse().ok()?;
        Some(Self { status, took, is_grpc })
    }

    fn is_error(self) -> bool {
        self.status >= 500
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
            (Some(primary), Some(copy)) if primary.status == copy.status => {
                if copy.is_grpc {
                    Compared::NotCompared
                } else {
                    Compared::Same
                }
            }
            (Some(primary), Some(copy)) => match (primary.is_error(), copy.is_error()) {
                (false, true) => Compared::MirrorError,
                (true, false) => Compared::PrimaryError,
                _ => Compared::Different,
            },
            (Some(primary), None) if primary.is_error() => Compared::Neither,
            (Some(_), None) => Compared::PrimaryOnly,
            (None, Some(_)) => Compared::MirrorOnly,
            (None, None) => Compared::Neither,
        }
    }

    /// By how many milliseconds the mirror was slower than the primary; negative: faster. `None` unless both answered.
    pub fn slower_ms(&self) -> Option<i64> {
        let (primary, copy) = (self.primary?.took, self.copy?.took);
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
    /// The mirror of the first copy.
    first: M,
    /// When that was sent: at the request's end.
    since: u64,
    /// How the primary answered, once its stream is over.
    primary: Option<Option<Answer>>,
    /// Copies that are in flight.
    in_flight: usize,
    /// Mirrors that were done before the primary was.
    early: Vec<(M, Option<Answer>)>,
}

impl<M> Pairs<M> {
    /// Takes in that a copy of a stream's request was sent to a mirror, at this time.
    pub fn sent(&mut self, stream: u32, at: u64, mirror: impl FnOnce() -> M) {
        let new = || Waiting { first: mirror(), since: at, primary: None, in_flight: 0, early: Vec::new() };
        let waiting = self.by_stream.entry(stream).or_insert_with(new);
        waiting.in_flight = waiting.in_flight.saturating_add(1);
    }

    /// Returns, where a stream's end is waited for, one of the mirrors of its request, and when the request ended.
    pub fn awaited(&self, stream: u32) -> Option<(&M, u64)> {
        let waiting = self.by_stream.get(&stream).filter(|waiting| waiting.primary.is_none())?;
        Some((&waiting.first, waiting.since))
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

    fn after(milliseconds: u64) -> Option<Answer> {
        Some(Answer { status: 200, took: milliseconds * MILLISECOND, is_grpc: false })
    }

    #[test]
    fn the_later_side_settles_a_pair() {
        for mirror_first in [true, false] {
            let mut pairs = Pairs::default();
            pairs.sent(STREAM, 9, || 3);
            pairs.sent(STREAM, 10, || 4);
            assert_eq!(pairs.awaited(STREAM), Some((&3, 9)));
            let expected = Pair { mirror: 3, primary: after(5), copy: after(2) };
            let settled: Vec<_> = if mirror_first {
                assert_eq!(pairs.answered(STREAM, 3, after(2)), None);
                pairs.ended(STREAM, after(5)).collect()
            } else {
                assert_eq!(pairs.ended(STREAM, after(5)).count(), 0);
                assert_eq!(pairs.awaited(STREAM), None);
                pairs.answered(STREAM, 3, after(2)).into_iter().collect()
            };
            assert_eq!(settled, [expected]);
            pairs.answered(STREAM, 4, None);
            assert_eq!(expected.slower_ms(), Some(-3));
            assert!(pairs.by_stream.is_empty());
        }
    }

    #[test]
    fn pairs_are_told_apart_by_their_codes_and_by_who_has_an_error() {
        let answer = |status: u16, is_grpc| (status != 0).then_some(Answer { status, took: 0, is_grpc });
        for (primary, copy, plain, grpc) in [
            (200, 200, Compared::Same, Compared::NotCompared),
            (503, 503, Compared::Same, Compared::NotCompared),
            (200, 404, Compared::Different, Compared::Different),
            (500, 503, Compared::Different, Compared::Different),
            (499, 500, Compared::MirrorError, Compared::MirrorError),
            (500, 499, Compared::PrimaryError, Compared::PrimaryError),
            (499, 0, Compared::PrimaryOnly, Compared::PrimaryOnly),
            (500, 0, Compared::Neither, Compared::Neither),
            (0, 500, Compared::MirrorOnly, Compared::MirrorOnly),
            (0, 0, Compared::Neither, Compared::Neither),
        ] {
            for (is_grpc, expected) in [(false, plain), (true, grpc)] {
                let pair = Pair { mirror: 0, primary: answer(primary, false), copy: answer(copy, is_grpc) };
                assert_eq!(pair.result(), expected, "{primary} {copy} {is_grpc}");
            }
        }
    }

    #[test]
    fn a_time_is_compared_only_where_both_answered() {
        for (primary, copy) in [(None, after(1)), (after(1), None), (None, None)] {
            assert_eq!(Pair { mirror: 0, primary, copy }.slower_ms(), None);
        }
    }

    #[test]
    fn what_no_copy_was_sent_of_is_no_pair() {
        let mut pairs = Pairs::<usize>::default();
        assert_eq!(pairs.awaited(STREAM), None);
        assert_eq!(pairs.answered(STREAM, 0, after(1)), None);
        assert_eq!(pairs.ended(STREAM, after(1)).count(), 0);
    }

    proptest! {
        #[test]
        fn each_pair_is_settled_once_and_nothing_stays(streams in prop::collection::vec((1usize..4, 0usize..5), 1..6)) {
            let mut pairs = Pairs::default();
            for (stream, (copies, _)) in (0u32..).zip(&streams) {
                (0..*copies).for_each(|_| pairs.sent(stream, 0, || 0));
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
