//! One request's life between its headers and its end: what is held for its copies, and what becomes of them.
//!
//! Values in, values out: the bytes of the body come in, and at the end the copies that are to be sent go out.

use crate::config::{BodyMode, HeaderName, Mirror, OnOversized, Rule, Target};
use crate::core::body::Body;
use crate::core::budget::Budget;
use crate::core::digest::Digest;
use crate::core::header_map::HeaderMap;
use crate::core::ignored::ignored;
use crate::core::matcher::Decision;
use crate::core::outcome::{Ignored, Outcome};
use smallvec::SmallVec;

/// What becomes of the copy to one of the rule's mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// It is sent when the request is complete, with the body or without.
    Copy {
        /// Whether it has the request's body.
        with_body: bool,
    },
    /// It is not sent.
    Not(Outcome),
    /// It is not sent, and that is counted already.
    Counted,
}

/// A request that a rule decided and that has not ended.
#[derive(Debug)]
pub struct Pending {
    /// The rule that decided, and what its `uri` matched.
    pub decision: Decision,
    /// The request's headers; empty where no mirror gets a copy.
    pub request: Digest,
    /// What becomes of the copy to each mirror, in the rule's order.
    pub plans: SmallVec<[Plan; 4]>,
    /// Whether its end is waited for, and counted so for each mirror whose outcome is open.
    pub is_waiting: bool,
    body: Body,
    /// Bytes, beside the body's, that the budget knows of.
    held: usize,
}

impl Pending {
    /// Begins without a mirror, and with nothing of the request.
    #[inline]
    pub fn new(decision: Decision) -> Self {
        Self {
            decision,
            request: Digest::default(),
            plans: SmallVec::new(),
            is_waiting: false,
            body: Body::default(),
            held: 0,
        }
    }

    /// Goes on, once, with the mirrors that are selected.
    pub fn select<'a>(&mut self, rule: &'a Rule, mut selects: impl FnMut(&'a Mirror) -> Result<(), Outcome>) {
        for mirror in &rule.mirrors {
            self.plans.push(match selects(mirror) {
                Ok(()) => Plan::Copy { with_body: mirror.body == BodyMode::Include },
                Err(outcome) => Plan::Not(outcome),
            });
        }
    }

    /// Goes on, once, with the request's headers, and with what they decide. `marker` is the header that marks copies. `is_routed` finds out
    /// whether Envoy has a cluster for the request; it is called only where that decides something.
    ///
    /// # Errors
    /// Why the request is never mirrored, although some mirror would get a copy.
    pub fn read_headers(
        &mut self,
        headers: HeaderMap,
        marker: Option<&HeaderName>,
        rule: &Rule,
        max_body: usize,
        is_routed: impl FnOnce() -> bool,
    ) -> Result<(), Ignored> {
        self.request.read(headers, marker);
        for (plan, mirror) in self.plans.iter_mut().zip(&rule.mirrors) {
            if let (Plan::Copy { .. }, Err(outcome)) = (*plan, cluster(&mirror.target, self.request.map())) {
                *plan = Plan::Not(outcome);
            }
        }
        if self.wants_end()
            && let Some(reason) = ignored(&self.request, rule.unrouted, is_routed)
        {
            return Err(reason);
        }
        if self.wants_body() && self.request.announces_more_than(max_body) {
            self.body_is_too_large(rule);
        }
        Ok(())
    }

    /// Takes room for the request until it ends; where there is none, no copy can wait for that.
    pub fn wait(&mut self, budget: &mut Budget) {
        self.request.shrink();
        match budget.hold_request(self.request.size().saturating_add(size_of_val(&*self.plans))) {
            Some(held) => self.held = held,
            None => self.lose(Outcome::BufferLimit),
        }
    }

    /// Tells whether any copy waits for the primary's response, too.
    pub fn wants_response(&self, rule: &Rule) -> bool {
        let mut copies = self.plans.iter().zip(&rule.mirrors);
        copies.any(|(plan, mirror)| !mirror.when.is_empty() && matches!(plan, Plan::Copy { .. }))
    }

    /// Goes on, once the request is complete and the other mirrors have got their copies, to wait for the primary's response with
    /// the body, of which [`Self::lend_body`] told. Where there is no room for that, or no body, no copy can wait.
    pub fn wait_for_response(&mut self, body: Option<Vec<u8>>, budget: &mut Budget) {
        if self.held == 0 {
            self.wait(budget);
        }
        let length = body.as_ref().map_or(0, Vec::len);
        match body {
            Some(body) if self.wants_body() && budget.hold_waiting(length) => {
                self.body = Body::from(body);
            }
            _ => self.lose_body(Outcome::BufferLimit),
        }
    }

    /// Tells whether any copy still waits for the request's end.
    pub fn wants_end(&self) -> bool {
        self.plans.iter().any(|plan| matches!(plan, Plan::Copy { .. }))
    }

    /// Takes in the next `size` bytes of the body, which `read` appends, see [`Body::push`], if they are wanted and within the limits.
    pub fn chunk(
        &mut self,
        size: usize,
        rule: &Rule,
        max_body: usize,
        budget: &mut Budget,
        read: impl FnMut(&mut Vec<u8>, usize, usize) -> bool,
    ) {
        if size == 0 {
            return;
        }
        self.request.body_came();
        if !self.wants_body() {
            return;
        }
        if self.body.length().saturating_add(size) > max_body {
            self.body_is_too_large(rule);
        } else if !budget.hold(size) {
            self.lose_body(Outcome::BufferLimit);
        } else if self.body.push(size, || self.request.announced_length(), read).is_none() {
            budget.release(size);
            self.lose_body(Outcome::BufferLimit);
        }
        if !self.wants_body() {
            self.give_back(budget);
        }
    }

    /// Notes that the request will never be complete.
    pub fn abort(&mut self, budget: &mut Budget) {
        self.lose(Outcome::Incomplete);
        self.give_back(budget);
    }

    /// Takes the gathered body in one piece, and what is held out of the budget; `None` where memory does not suffice for that.
    pub fn take_body(&mut self, budget: &mut Budget) -> Option<Vec<u8>> {
        if self.held == 0 && self.body.length() == 0 {
            return Some(Vec::new());
        }
        budget.release_request(std::mem::take(&mut self.held));
        self.give_back(budget).into_one_piece()
    }

    /// Takes the body as [`Self::take_body`] does, once the response that it waited for is over.
    pub fn take_waiting_body(&mut self, budget: &mut Budget) -> Option<Vec<u8>> {
        budget.end_wait(self.body.length());
        self.take_body(budget)
    }

    /// Takes the gathered body in one piece, as [`Self::take_body`] does, and keeps the room for the rest.
    pub fn lend_body(&mut self, budget: &mut Budget) -> Option<Vec<u8>> {
        self.give_back(budget).into_one_piece()
    }

    /// Takes the body out of the budget, and leaves an empty one.
    fn give_back(&mut self, budget: &mut Budget) -> Body {
        budget.release(self.body.length());
        std::mem::take(&mut self.body)
    }

    fn wants_body(&self) -> bool {
        self.plans.contains(&Plan::Copy { with_body: true })
    }

    fn body_is_too_large(&mut self, rule: &Rule) {
        for (plan, mirror) in self.plans.iter_mut().zip(&rule.mirrors) {
            if *plan == (Plan::Copy { with_body: true }) {
                *plan = match mirror.on_oversized {
                    OnOversized::Skip => Plan::Not(Outcome::BodyTooLarge),
                    OnOversized::Omit => Plan::Copy { with_body: false },
                };
            }
        }
    }

    fn lose(&mut self, outcome: Outcome) {
        for plan in &mut self.plans {
            if matches!(plan, Plan::Copy { .. }) {
                *plan = Plan::Not(outcome);
            }
        }
    }

    fn lose_body(&mut self, outcome: Outcome) {
        for plan in &mut self.plans {
            if *plan == (Plan::Copy { with_body: true }) {
                *plan = Plan::Not(outcome);
            }
        }
    }
}

/// Finds the cluster of a mirror.
///
/// # Errors
/// The outcome of a copy for which there is none.
#[inline]
pub fn cluster<'a>(target: &'a Target, headers: &'a HeaderMap) -> Result<&'a [u8], Outcome> {
    match target {
        Target::Cluster(name) => Ok(name.as_bytes()),
        Target::Header { name, allowed } => named_cluster(name, allowed.as_deref(), headers),
    }
}

/// Finds the cluster that a header names.
#[cold]
fn named_cluster<'a>(
    name: &HeaderName,
    allowed: Option<&[Box<str>]>,
    headers: &'a HeaderMap,
) -> Result<&'a [u8], Outcome> {
    let named = headers.first(name.as_str().as_bytes()).filter(|named| !named.is_empty());
    let named = named.ok_or(Outcome::NoClusterHeader)?;
    match allowed {
        Some(allowed) if !allowed.iter().any(|name| name.as_bytes() == named) => Err(Outcome::ClusterNotAllowed),
        _ => Ok(named),
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use crate::config::{Config, Limits};
    use crate::core::body::at_hand;
    use proptest::prelude::*;
    use std::rc::Rc;

    const MAX_BODY: usize = 10;
    const MAX_BUFFERED: usize = 15;

    /// One mirror for each thing that can become of a body.
    fn rule() -> Rule {
        let text = br#"{"rules":[{"mirrors":[
            {"cluster":"skip"}, {"cluster":"cut","onOversizedBody":"omit"}, {"cluster":"without","body":"omit"},
            {"clusterHeader":"x-to","allowedClusters":["a"]}, {"cluster":"never","percentage":0}
        ]}]}"#;
        Config::from_bytes(text).unwrap().rules[0].as_ref().clone()
    }

    fn budget() -> Budget {
        Budget::new(&Limits { max_buffered_bytes: MAX_BUFFERED, ..Limits::default() }, Rc::default())
    }

    fn pending(rule: &Rule, headers: &[(&str, &[u8])]) -> Pending {
        let decision = Decision { rule: 0, matched_uri: None };
        let mut pending = Pending::new(decision);
        pending.select(rule, select);
        pending.read_headers(map(headers), None, rule, MAX_BODY, || true).unwrap();
        pending
    }

    fn select(mirror: &Mirror) -> Result<(), Outcome> {
        if mirror.sample.share.is_never() { Err(Outcome::Unsampled) } else { Ok(()) }
    }

    fn map(headers: &[(&str, &[u8])]) -> HeaderMap {
        HeaderMap::from_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), *value)))
    }

    fn push(pending: &mut Pending, rule: &Rule, budget: &mut Budget, chunk: &[u8]) {
        pending.chunk(chunk.len(), rule, MAX_BODY, budget, at_hand(chunk));
    }

    const SKIP: usize = 0;
    const CUT: usize = 1;
    const WITHOUT: usize = 2;
    const BY_HEADER: usize = 3;
    const NEVER: usize = 4;
    const WHOLE: Plan = Plan::Copy { with_body: true };
    const BODILESS: Plan = Plan::Copy { with_body: false };

    #[test]
    fn headers_decide_what_they_can() {
        for (to, expected) in [
            (None, Plan::Not(Outcome::NoClusterHeader)),
            (Some(""), Plan::Not(Outcome::NoClusterHeader)),
            (Some("b"), Plan::Not(Outcome::ClusterNotAllowed)),
            (Some("a"), WHOLE),
        ] {
            let headers: Vec<_> = to.iter().map(|to| ("x-to", to.as_bytes())).collect();
            let pending = pending(&rule(), &headers);
            let expected = [WHOLE, WHOLE, BODILESS, expected, Plan::Not(Outcome::Unsampled)];
            assert_eq!(*pending.plans, expected, "{to:?}");
        }
    }

    #[test]
    fn a_request_is_ignored_only_where_a_mirror_has_a_cluster_for_its_copy() {
        let by_header = &br#"{"rules":[{"mirrors":[{"clusterHeader":"x-to"},{"cluster":"c","percentage":0}]}]}"#[..];
        let mirrored = br#"{"rules":[{"unrouted":"mirror","mirrors":[{"clusterHeader":"x-to"}]}]}"#;
        for (text, method, to, expected) in [
            (by_header, "GET", "", Ok(())),
            (by_header, "CONNECT", "", Ok(())),
            (by_header, "CONNECT", "a", Err(Ignored::Connect)),
            (by_header, "GET", "a", Err(Ignored::Unrouted)),
            (mirrored, "GET", "a", Ok(())),
        ] {
            let rule = &Config::from_bytes(text).unwrap().rules[0];
            let decision = Decision { rule: 0, matched_uri: None };
            let mut pending = Pending::new(decision);
            pending.select(rule, select);
            let headers = map(&[(":method", method.as_bytes()), ("x-to", to.as_bytes())]);
            let read = pending.read_headers(headers, None, rule, MAX_BODY, || false);
            assert_eq!(read, expected, "{method} {to}");
        }
    }

    #[test]
    fn a_body_is_noted_also_where_no_copy_has_it() {
        let text = br#"{"rules":[{"mirrors":[{"cluster":"c","body":"omit"}]}]}"#;
        let rule = Config::from_bytes(text).unwrap().rules[0].as_ref().clone();
        let (mut pending, mut budget) = (pending(&rule, &[("content-length", b"0")]), budget());
        for (chunk, expected) in [("", false), ("a", true), ("", true)] {
            pending.chunk(chunk.len(), &rule, MAX_BODY, &mut budget, |_, _, _| panic!("no copy has it"));
            assert_eq!(pending.request.has_body(), expected, "{chunk:?}");
        }
    }

    #[test]
    fn a_body_is_gathered_as_it_comes() {
        let (rule, mut budget) = (rule(), budget());
        let mut pending = pending(&rule, &[]);
        for chunk in ["ab", "", "c", "defg", "hij"] {
            push(&mut pending, &rule, &mut budget, chunk.as_bytes());
        }
        assert_eq!(budget.buffered(), 10);
        assert_eq!(pending.take_body(&mut budget).unwrap(), b"abcdefghij");
        assert_eq!(budget.buffered(), 0);
    }

    #[test]
    fn a_body_above_its_limit_is_let_go_at_once() {
        let (rule, mut budget) = (rule(), budget());
        let mut pending = pending(&rule, &[]);
        push(&mut pending, &rule, &mut budget, b"0123456789");
        assert_eq!(budget.buffered(), 10);
        push(&mut pending, &rule, &mut budget, b"x");
        assert_eq!(budget.buffered(), 0);
        assert_eq!(pending.plans[SKIP], Plan::Not(Outcome::BodyTooLarge));
        assert_eq!([pending.plans[CUT], pending.plans[WITHOUT]], [BODILESS; 2]);
        assert!(pending.wants_end());
    }

    #[test]
    fn a_body_announced_above_its_limit_is_never_held() {
        let pending = pending(&rule(), &[("content-length", b"11"), ("x-to", b"a")]);
        assert_eq!(pending.plans[SKIP], Plan::Not(Outcome::BodyTooLarge));
        assert_eq!(pending.plans[CUT], BODILESS);
        assert_eq!(pending.plans[BY_HEADER], Plan::Not(Outcome::BodyTooLarge));
    }

    #[test]
    fn bodies_that_have_no_room_together_lose_the_later_copies() {
        let (rule, mut budget) = (rule(), budget());
        let (mut first, mut second) = (pending(&rule, &[]), pending(&rule, &[]));
        push(&mut first, &rule, &mut budget, b"0123456789");
        push(&mut second, &rule, &mut budget, b"01234");
        push(&mut second, &rule, &mut budget, b"5");
        assert_eq!([second.plans[SKIP], second.plans[CUT]], [Plan::Not(Outcome::BufferLimit); 2]);
        assert_eq!([second.plans[WITHOUT], first.plans[SKIP]], [BODILESS, WHOLE]);
        assert_eq!(budget.buffered(), 10);
    }

    #[test]
    fn a_chunk_that_the_host_does_not_give_loses_the_copies_that_need_it() {
        let (rule, mut budget) = (rule(), budget());
        let mut pending = pending(&rule, &[]);
        assert!(budget.hold(4));
        push(&mut pending, &rule, &mut budget, b"ab");
        pending.chunk(3, &rule, MAX_BODY, &mut budget, |_, _, _| false);
        assert_eq!(pending.plans[SKIP], Plan::Not(Outcome::BufferLimit));
        assert_eq!(budget.buffered(), 4);
    }

    #[test]
    fn an_aborted_request_is_incomplete_for_every_mirror_that_waited() {
        let (rule, mut budget) = (rule(), budget());
        let mut pending = pending(&rule, &[]);
        push(&mut pending, &rule, &mut budget, b"abc");
        pending.abort(&mut budget);
        assert_eq!(budget.buffered(), 0);
        for mirror in [SKIP, CUT, WITHOUT] {
            assert_eq!(pending.plans[mirror], Plan::Not(Outcome::Incomplete));
        }
        assert_eq!(pending.plans[NEVER], Plan::Not(Outcome::Unsampled));
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_is_held_in_the_end(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6), 0..9), ends: bool, other in 0usize..15,
        ) {
            let (rule, mut budget) = (rule(), budget());
            prop_assert!(budget.hold(other));
            let mut pending = pending(&rule, &[]);
            for chunk in &chunks {
                push(&mut pending, &rule, &mut budget, chunk);
                prop_assert!(budget.buffered() <= MAX_BUFFERED);
            }
            if ends {
                let whole = pending.plans[SKIP] == WHOLE;
                let body = pending.take_body(&mut budget).unwrap();
                prop_assert_eq!(body, if whole { chunks.concat() } else { Vec::new() });
            } else {
                pending.abort(&mut budget);
                prop_assert!(!pending.wants_end());
            }
            prop_assert_eq!(budget.buffered(), other);
        }
    }
}
