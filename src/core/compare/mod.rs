//! Whether primary and mirror answered alike: each copy that is sent makes a pair, which is settled once.
//!
//! Values in, values out. What is remembered is bounded by what is under way anyway: an entry for each stream that is open or
//! has a copy in flight.

#[cfg(feature = "compare")]
mod content;

#[cfg(feature = "compare")]
pub use content::{Body, Response, differences};

use crate::core::outcome::{Class, Compared, class_of_grpc};
use std::collections::BTreeMap;

/// How the primary or a mirror answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// How long it took, in nanoseconds.
    pub took: u64,
    /// Whether what counts is the status of gRPC.
    pub is_grpc: bool,
    /// That status, where it is known; of what is no number, the greatest.
    pub grpc_status: Option<u16>,
}

impl Answer {
    /// Makes a mirror's answer of its `:status`; `None` where that is no number.
    pub fn new(status: &[u8], took: u64, is_grpc: bool) -> Option<Self> {
        let status = std::str::from_utf8(status).ok()?.parse().ok()?;
        Some(Self { status, took, is_grpc, grpc_status: None })
    }

    /// Returns the answer with the grpc-status that a header or trailer says.
    pub fn with_grpc_status(self, text: Option<&[u8]>) -> Self {
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse().ok();
        Self { grpc_status: text.map(|text| number(text).unwrap_or(u16::MAX)), ..self }
    }

    /// Returns whether it is a server error, or a grpc-status that Envoy maps to one.
    fn is_error(self) -> bool {
        let grpc = self.grpc_status.map(|status| class_of_grpc(Some(u32::from(status))));
        self.status >= 500 || grpc == Some(Class::ServerError)
    }
}

/// What differs between the headers and bodies of two responses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// Whether any of the headers does.
    pub headers: bool,
    /// Whether the body does.
    pub body: bool,
    /// Whether there is a part that should have been compared and could not be.
    pub not_compared: bool,
    /// Where they differ, as labels of a metric: `headers/<name>`, `body`, `body/items/*/price`. Each once, in order, and not more than
    /// 64.
    pub places: Vec<Box<str>>,
}

impl Differences {
    /// Makes those of two responses that could not be compared.
    pub fn not_compared() -> Self {
        Self { not_compared: true, ..Self::default() }
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
    /// Tells how the two compare: the first that applies. `status`: whether their status is compared; `content`: what differs
    /// between what else is compared.
    pub fn result(&self, status: bool, content: &Differences) -> Compared {
        match (self.primary, self.copy) {
            (Some(primary), Some(copy)) if status && self.differs_in_status() => {
                match (primary.is_error(), copy.is_error()) {
                    (false, true) => Compared::MirrorError,
                    (true, false) => Compared::PrimaryError,
                    _ => Compared::Different,
                }
            }
            (Some(_), Some(_)) if content.headers => Compared::DifferentHeaders,
            (Some(_), Some(_)) if content.body => Compared::DifferentBody,
            (Some(primary), Some(copy)) => {
                let is_unknown = copy.is_grpc && (primary.grpc_status.is_none() || copy.grpc_status.is_none());
                if content.not_compared || (status && is_unknown) { Compared::NotCompared } else { Compared::Same }
            }
            (Some(primary), None) if primary.is_error() => Compared::Neither,
            (Some(_), None) => Compared::PrimaryOnly,
            (None, Some(_)) => Compared::MirrorOnly,
            (None, None) => Compared::Neither,
        }
    }

    /// Returns whether both answered, with another status: of gRPC too, where both sides' are known.
    pub fn differs_in_status(&self) -> bool {
        let (Some(primary), Some(copy)) = (self.primary, self.copy) else { return false };
        let grpc = primary.grpc_status.zip(copy.grpc_status).filter(|_| copy.is_grpc);
        primary.status != copy.status || grpc.is_some_and(|(primary, copy)| primary != copy)
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
        Some(Answer { status: 200, took: milliseconds * MILLISECOND, is_grpc: false, grpc_status: None })
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
        let answer =
            |status: u16, is_grpc| (status != 0).then_some(Answer { status, took: 0, is_grpc, grpc_status: None });
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
                assert_eq!(pair.result(true, &Differences::default()), expected, "{primary} {copy} {is_grpc}");
            }
        }
    }

    #[test]
    fn grpc_statuses_are_told_apart_as_envoy_maps_them() {
        for (primary, copy, expected) in [
            (Some("0"), Some("0"), Compared::Same),
            (Some("5"), Some("5"), Compared::Same),
            (Some("0"), Some("5"), Compared::Different),
            (Some("0"), Some("13"), Compared::MirrorError),
            (Some("14"), Some("5"), Compared::PrimaryError),
            (Some("14"), Some("13"), Compared::Different),
            (Some("0"), Some("odd"), Compared::MirrorError),
            (Some("0"), Some("70000"), Compared::MirrorError),
            (Some("0"), None, Compared::NotCompared),
            (None, Some("0"), Compared::NotCompared),
        ] {
            let answer = |is_grpc, status: Option<&str>| {
                Answer::new(b"200", 0, is_grpc).map(|answer| answer.with_grpc_status(status.map(str::as_bytes)))
            };
            let pair = Pair { mirror: 0, primary: answer(false, primary), copy: answer(true, copy) };
            assert_eq!(pair.result(true, &Differences::default()), expected, "{primary:?} {copy:?}");
            let is_told = !matches!(expected, Compared::Same | Compared::NotCompared);
            assert_eq!(pair.differs_in_status(), is_told, "{primary:?} {copy:?}");
            assert_eq!(pair.result(false, &Differences::default()), Compared::Same, "{primary:?} {copy:?}");
        }
        let failed = Answer::new(b"200", 0, false).map(|answer| answer.with_grpc_status(Some(b"13")));
        let pair = Pair { mirror: 0, primary: failed, copy: None };
        assert_eq!(pair.result(true, &Differences::default()), Compared::Neither);
    }

    #[test]
    fn the_first_difference_counts_and_comes_before_what_is_not_compared() {
        let content = |headers, body, not_compared| Differences { headers, body, not_compared, places: Vec::new() };
        for (content, same, different) in [
            (content(false, false, false), Compared::Same, Compared::Different),
            (content(true, true, true), Compared::DifferentHeaders, Compared::Different),
            (content(true, false, false), Compared::DifferentHeaders, Compared::Different),
            (content(false, true, true), Compared::DifferentBody, Compared::Different),
            (content(false, false, true), Compared::NotCompared, Compared::Different),
        ] {
            let answer = |status: &str| Answer::new(status.as_bytes(), 0, false);
            let pair = |copy| Pair { mirror: 0, primary: answer("200"), copy: answer(copy) };
            assert_eq!(pair("200").result(true, &content), same, "{content:?}");
            assert_eq!(pair("404").result(true, &content), different, "{content:?}");
            assert_eq!(pair("404").result(false, &content), same, "{content:?}: without the status");
            assert_eq!(Pair { copy: None, ..pair("200") }.result(true, &content), Compared::PrimaryOnly, "{content:?}");
            assert_eq!(Pair { primary: None, ..pair("200") }.result(false, &content), Compared::MirrorOnly);
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
