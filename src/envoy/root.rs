//! A configuration at work on one worker: it reads through the host, asks the core, and acts through the host.

use crate::config::{Config, HeaderName, Mirror, Rule, TooMuch};
use crate::core::budget::{Budget, Room};
use crate::core::copy::Rewritten;
use crate::core::headers::HeaderMap;
use crate::core::matcher::Matcher;
use crate::core::outcome::{Outcome, is_grpc};
use crate::core::pending::{self, Pending, Plan};
use crate::core::request::Request;
use crate::core::sample::Draw;
use crate::envoy::abi::{self, CurrentRequest, Refusal};
use crate::envoy::calls::{Call, Calls};
use crate::envoy::ledger::{Ledger, Metrics};
use getrandom::SysRng;
use log::debug;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro128PlusPlus;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A configuration at work.
pub struct Root {
    config: Config,
    matcher: Matcher,
    ledger: Ledger,
    calls: Rc<Calls>,
    /// Whether the last request had its headers read for good.
    map_pays: Cell<bool>,
    state: RefCell<State>,
}

struct State {
    budget: Budget,
    generator: Xoshiro128PlusPlus,
    /// The bytes buffered that the gauge knows of.
    published: usize,
}

impl Root {
    /// Sets a configuration to work.
    ///
    /// # Errors
    /// What the host refused, as text.
    pub fn new(config: Config, metrics: &mut Metrics, room: Rc<Room>) -> Result<Self, String> {
        let generator = Xoshiro128PlusPlus::try_from_rng(&mut SysRng);
        let generator = generator.map_err(|error| format!("no seed for the random generator: {error}"))?;
        let budget = Budget::new(&config.limits, room);
        let ledger = metrics.ledger(&config, abi::define_metric)?;
        Ok(Self {
            matcher: Matcher::new(&config.rules),
            calls: Rc::new(Calls::new(Rc::clone(&ledger.common))),
            ledger,
            map_pays: Cell::new(false),
            state: RefCell::new(State { budget, generator, published: 0 }),
            config,
        })
    }

    /// Returns the copies that were sent and have no response yet.
    pub fn calls(&self) -> &Rc<Calls> {
        &self.calls
    }

    /// Takes in a request's headers; returns what waits for its end. `ends` tells that this is its end already.
    pub fn begin(&self, ends: bool) -> Option<Pending> {
        let source = CurrentRequest;
        let request = Request::new(&source, self.map_pays.get());
        let pending = self.decide(&request);
        self.map_pays.set(request.map_pays());
        let mut pending = pending?;
        if pending.wants_end() {
            let rule = self.config.rules.get(pending.decision.rule)?;
            pending.read_headers(request.into_headers(), rule, self.config.limits.max_body_bytes);
            if !ends {
                pending.wait(&mut self.state.borrow_mut().budget);
            }
        }
        Some(pending)
    }

    /// Finds the rule and the mirrors that are to get a copy. What can never be mirrored is left out only then: nothing is
    /// asked about a request that is not selected.
    fn decide<'a>(&'a self, request: &Request<'a>) -> Option<Pending> {
        let decision = self.matcher.decide(request)?;
        let rule = self.config.rules.get(decision.rule)?;
        if rule.is_off() {
            self.count_while_off(decision.rule, rule);
            return None;
        }
        let generator = &mut self.state.borrow_mut().generator;
        let mut draw = Draw::default();
        let pending = Pending::new(decision, rule, |mirror| draw.selects(&mirror.sample, request, generator));
        if pending.wants_end() {
            let marker = self.config.marker.as_ref().map(HeaderName::as_str);
            if let Some(reason) = pending::ignored(request.headers(), marker) {
                self.ledger.common.ignored(reason).map(abi::count);
                return None;
            }
        }
        Some(pending)
    }

    /// Takes in the next bytes of a request's body.
    pub fn chunk(&self, pending: &mut Pending, size: usize) {
        let Some(rule) = self.config.rules.get(pending.decision.rule) else { return };
        let max_body = self.config.limits.max_body_bytes;
        pending.chunk(size, rule, max_body, &mut self.state.borrow_mut().budget, || abi::body_chunk(size));
        self.publish_buffered();
    }

    /// Takes in that a request will never be complete.
    pub fn abort(&self, stream: u32, mut pending: Pending) {
        pending.abort(&mut self.state.borrow_mut().budget);
        self.finish(stream, pending);
    }

    /// Sends the copies of a request whose plan is known, and counts it. True: the end of its stream is waited for, see
    /// [`Calls::ended`].
    pub fn finish(&self, stream: u32, mut pending: Pending) -> bool {
        let index = pending.decision.rule;
        let Some(rule) = self.config.rules.get(index) else { return false };
        self.ledger.requests(index).map(abi::count);
        let body = pending.take_body(&mut self.state.borrow_mut().budget);
        self.publish_buffered();
        for (number, (plan, mirror)) in pending.plans.iter().zip(&rule.mirrors).enumerate() {
            let outcome = match plan {
                Plan::Not(outcome) => *outcome,
                Plan::Copy { with_body } => {
                    let body = if *with_body { body.as_deref() } else { Some(&[][..]) };
                    match self.send(stream, &pending, number, mirror, body) {
                        Ok(()) => Outcome::Sent,
                        Err(outcome) => outcome,
                    }
                }
            };
            self.enter(index, number, outcome);
        }
        self.calls.wants_end(stream)
    }

    /// Counts a request of a rule that copies none: nothing is asked about it.
    fn count_while_off(&self, index: usize, rule: &Rule) {
        self.ledger.requests(index).map(abi::count);
        for number in 0..rule.mirrors.len() {
            self.enter(index, number, Outcome::Unsampled);
        }
    }

    fn send(
        &self,
        stream: u32,
        pending: &Pending,
        number: usize,
        mirror: &Mirror,
        body: Option<&[u8]>,
    ) -> Result<(), Outcome> {
        let body = body.ok_or(Outcome::BufferLimit)?;
        let sent_at = self.calls.now();
        self.state.borrow_mut().budget.admit(sent_at, self.calls.in_flight())?;
        let headers = &pending.headers;
        let cluster = pending::cluster(&mirror.target, headers)?;
        // The host would not take what is too long.
        let rewritten = Rewritten::new(mirror, headers, pending.decision.matched_uri);
        let rewritten = rewritten.map_err(|TooMuch| Outcome::NoCluster)?;
        let copied = HeaderMap::from_abi(rewritten.write_headers(mirror, headers, self.config.marker.as_ref()));
        let token = abi::send(cluster, copied.as_abi(), body, mirror.timeout).map_err(|refusal| match refusal {
            Refusal::UnknownCluster => Outcome::NoCluster,
            Refusal::NoUpstream => Outcome::NoUpstream,
        })?;
        self.state.borrow_mut().budget.sent();
        let index = pending.decision.rule;
        let compares = self.config.rules.get(index).is_some_and(|rule| rule.compares_status);
        if let Some(metrics) = self.ledger.mirror(index, number) {
            let call = Call {
                metrics: Rc::clone(metrics),
                compared: compares.then_some(stream),
                sent_at,
                is_grpc: copied.joined(b"content-type").is_some_and(|kind| is_grpc(&kind)),
            };
            self.calls.sent(token, call);
        }
        Ok(())
    }

    /// Counts why a copy was or was not sent.
    fn enter(&self, index: usize, number: usize, outcome: Outcome) {
        let Some(metrics) = self.ledger.mirror(index, number) else { return };
        let Some(counter) = metrics.outcome(outcome) else { return };
        abi::count(counter);
        debug!("rule {}, mirror {}: {}", metrics.rule, metrics.mirror, outcome.label());
        if !matches!(outcome, Outcome::Sent | Outcome::Unsampled) {
            metrics.warn_rarely(counter, outcome.label());
        }
    }

    /// Tells the gauge how many bytes are held by now.
    fn publish_buffered(&self) {
        let mut state = self.state.borrow_mut();
        let held = state.budget.buffered();
        let known = std::mem::replace(&mut state.published, held);
        let change = i64::try_from(held).unwrap_or_default().saturating_sub(i64::try_from(known).unwrap_or_default());
        if change != 0 {
            abi::add(self.ledger.common.buffered_bytes, change);
        }
    }
}
