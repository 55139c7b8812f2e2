//! One copy on its way to the host: within the limits, with what is to be hidden.

use super::Root;
use crate::config::{Mirror, Redact, TooMuch};
use crate::core::copy::Draft;
use crate::core::outcome::Outcome;
use crate::core::pending::{self, Pending};
use crate::core::primary::Told;
use crate::core::redact::{Failed, Hide, Redacted, Redaction};
use crate::envoy::abi::{self, Refusal};
use crate::envoy::comparison::Comparison;
use crate::envoy::in_flight::Call;
use crate::envoy::ledger::MirrorMetrics;
use log::debug;
use rand_core::Rng;
use std::rc::Rc;

/// What the copies of one request, that are sent at one moment, have in common.
pub(super) struct Batch<'a> {
    pub(super) pending: &'a Pending,
    /// With what the responses are compared, if they are.
    pub(super) compared: Option<&'a Rc<Comparison>>,
    /// What they tell of the primary's response, where they waited for that.
    pub(super) told: &'a [Told],
    /// When the request was complete, if they waited; 0: now.
    pub(super) since: u64,
}

impl Root {
    /// Sends a copy, if no limit forbids it. `body`: none, where memory did not suffice for it.
    #[inline]
    pub(super) fn send(
        &self,
        batch: &Batch<'_>,
        mirror: &Mirror,
        metrics: &Rc<MirrorMetrics>,
        body: Option<&[u8]>,
    ) -> Outcome {
        let Some(body) = body else { return Outcome::BufferLimit };
        let sent_at = abi::now();
        if let Err(outcome) = self.state.borrow().budget.admit(self.calls.in_flight()) {
            return outcome;
        }
        if let Some(most) = mirror.max_in_flight
            && self.calls.in_flight_of(metrics) >= most
        {
            return Outcome::InFlightLimit;
        }
        if let Some(tokens) = &self.tokens
            && !tokens.take(sent_at)
        {
            return Outcome::RateLimit;
        }
        let Err(outcome) = self.dispatch(batch, mirror, metrics, body, sent_at) else { return Outcome::Sent };
        if let Some(tokens) = &self.tokens {
            tokens.give_back(abi::now().saturating_sub(sent_at));
        }
        outcome
    }

    /// Sends a copy that no limit forbids.
    fn dispatch(
        &self,
        batch: &Batch<'_>,
        mirror: &Mirror,
        metrics: &Rc<MirrorMetrics>,
        body: &[u8],
        sent_at: u64,
    ) -> Result<(), Outcome> {
        match &mirror.redact {
            None => self.hand_over(batch, mirror, metrics, (body, None), sent_at),
            Some(redact) => self.hide(batch, mirror, redact, metrics, body),
        }
    }

    /// Sends such a copy on which values are hidden.
    #[cold]
    #[inline(never)]
    fn hide(
        &self,
        batch: &Batch<'_>,
        mirror: &Mirror,
        redact: &Redact,
        metrics: &Rc<MirrorMetrics>,
        body: &[u8],
    ) -> Result<(), Outcome> {
        let max_body = self.config.limits.max_body_bytes;
        let redaction = Hide::new(redact.with, self.key.as_deref())
            .ok_or(Failed::Memory)
            .and_then(|hide| Redaction::new(redact, hide, &batch.pending.request, body, max_body))
            .map_err(|failed| {
                debug!("rule {}, mirror {}: {failed}", metrics.rule, metrics.mirror);
                Outcome::RedactionFailed
            })?;
        let length = redaction.body_length();
        if !self.state.borrow_mut().budget.hold(length) {
            return Err(Outcome::BufferLimit);
        }
        let sent = redaction.make().ok_or(Outcome::BufferLimit).and_then(|redacted| {
            let body = redacted.body.as_deref().unwrap_or(body);
            // What it took to find the values is no time of the mirror's.
            self.hand_over(batch, mirror, metrics, (body, Some(&redacted)), abi::now())
        });
        self.state.borrow_mut().budget.release(length);
        sent
    }

    /// Hands a copy over to the host, with its body and what else is hidden on it.
    fn hand_over(
        &self,
        batch: &Batch<'_>,
        mirror: &Mirror,
        metrics: &Rc<MirrorMetrics>,
        (body, redacted): (&[u8], Option<&Redacted>),
        sent_at: u64,
    ) -> Result<(), Outcome> {
        let Batch { pending, compared, told, since } = *batch;
        let request = &pending.request;
        let cluster = pending::cluster(&mirror.target, request.map())?;
        let random = || self.state.borrow_mut().generator.next_u64();
        // The host would not take what is too long.
        let draft = Draft::redacted(mirror, request, pending.decision.matched_uri, redacted, random);
        let mut draft = draft.map_err(|TooMuch| Outcome::NoCluster)?;
        draft.tell(told);
        let buffer = std::mem::take(&mut self.state.borrow_mut().buffer);
        let copied = draft.write(self.config.marker.as_ref(), buffer).ok_or(Outcome::BufferLimit)?;
        let is_grpc = draft.is_grpc(&copied);
        let sent = abi::send(cluster, copied.as_abi(), body, mirror.timeout);
        self.state.borrow_mut().keep(copied.into_abi());
        let token = sent.map_err(|refusal| match refusal {
            Refusal::UnknownCluster => Outcome::NoCluster,
            Refusal::NoUpstream => Outcome::NoUpstream,
        })?;
        let since = if since == 0 { sent_at } else { since };
        let compared = compared.cloned();
        let call = Call { metrics: Rc::clone(metrics), compared, sent_at, is_grpc, timeout: mirror.timeout };
        self.calls.sent(token, call, since);
        Ok(())
    }
}
