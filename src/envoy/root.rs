//! A configuration at work on one worker: it reads through the host, asks the core, and acts through the host.

mod sending;

use crate::config::{Config, Rule};
use crate::core::budget::{Budget, Room};
use crate::core::header_map::HeaderMap;
use crate::core::matcher::Matcher;
use crate::core::outcome::Outcome;
use crate::core::pending::{Pending, Plan};
use crate::core::primary::Primary;
use crate::core::redact::Key;
use crate::core::request::Request;
use crate::core::sample::Choice;
use crate::envoy::abi::{self, CurrentRequest, StreamEnd};
use crate::envoy::comparison::{Comparison, responses};
use crate::envoy::in_flight::Calls;
use crate::envoy::ledger::{Ledger, Metrics, MirrorMetrics};
use crate::envoy::tokens::Tokens;
use getrandom::SysRng;
use log::debug;
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro128PlusPlus;
use sending::Batch;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

/// A configuration at work.
pub struct Root {
    config: Config,
    matcher: Matcher,
    ledger: Ledger,
    calls: Rc<Calls>,
    /// What bounds copies a second; `None`: nothing does, and the host is asked nothing.
    tokens: Option<Tokens>,
    /// What pseudonyms are made with; `None`: the configuration asks for none.
    key: Option<Rc<Key>>,
    /// Whether the first rule is for all requests and copies none: then nothing of a request has to be looked at.
    is_off: bool,
    /// Whether the last request had its headers read for good.
    map_pays: Cell<bool>,
    state: RefCell<State>,
}

/// What a stream is still needed for, once its request is complete.
pub enum Next {
    /// Nothing.
    Nothing,
    /// Its response is compared: see [`Calls::ended`].
    Response,
    /// It depends on its response whether copies are sent: see [`Root::conclude`].
    Verdict(Box<Complete>),
}

/// A request that is complete, and whose response decides whether copies are sent.
pub struct Complete {
    pending: Pending,
    /// When it was, see [`abi::now`].
    at: u64,
}

struct State {
    budget: Budget,
    /// What the last copy was written into.
    buffer: Vec<u8>,
    generator: Xoshiro128PlusPlus,
    /// The bytes buffered that the gauge knows of.
    published: usize,
}

impl State {
    /// Keeps the buffer of a copy for the next one, unless it is much larger than most.
    fn keep(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= abi::MOST_KEPT {
            self.buffer = buffer;
        }
    }
}

impl Root {
    /// Sets a configuration of the plugin of this name to work. `key` is there if the configuration needs it.
    ///
    /// # Errors
    /// What the host refused, as text.
    pub fn new(
        plugin: &[u8],
        config: Config,
        key: Option<Rc<Key>>,
        metrics: &mut Metrics,
        room: Rc<Room>,
    ) -> Result<Self, String> {
        let generator = Xoshiro128PlusPlus::try_from_rng(&mut SysRng);
        let generator = generator.map_err(|error| format!("no seed for the random generator: {error}"))?;
        let budget = Budget::new(&config.limits, room);
        let ledger = metrics.ledger(&config, abi::define_metric)?;
        let has_limits =
            config.rules.iter().flat_map(|rule| &rule.mirrors).any(|mirror| mirror.max_in_flight.is_some());
        Ok(Self {
            matcher: Matcher::new(&config.rules),
            calls: Rc::new(Calls::new(Rc::clone(&ledger.common), has_limits)),
            ledger,
            tokens: config.limits.rate.map(|rate| Tokens::new(plugin, rate)),
            key,
            is_off: config.rules.first().is_some_and(|rule| rule.matches.is_empty() && rule.is_off()),
            map_pays: Cell::new(false),
            state: RefCell::new(State { budget, buffer: Vec::new(), generator, published: 0 }),
            config,
        })
    }

    /// Returns the configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the copies that were sent and have no response yet.
    pub fn calls(&self) -> &Rc<Calls> {
        &self.calls
    }

    /// Handles a request's headers. `ends` tells that this is its end already. What waits for its end, if anything does, is put into
    /// `begun`, which is empty: it is too large to be moved about.
    pub fn begin(&self, ends: bool, begun: &mut Option<Pending>) {
        if self.is_off {
            return self.count_while_off(0);
        }
        let source = CurrentRequest { is_complete: ends };
        let mut request = Request::new(&source, self.map_pays.get());
        let Some(pending) = self.decide(&request, begun).filter(|pending| pending.wants_end()) else {
            self.map_pays.set(request.map_pays());
            abi::keep(request.into_headers().into_abi());
            if let Some(pending) = begun {
                self.count_decided(pending.decision.rule);
            }
            return;
        };
        self.map_pays.set(true);
        let headers = request.take_headers();
        if self.read(pending, headers, ends, || request.is_routed()).is_none() {
            abi::keep(pending.request.take_map().into_abi());
            *begun = None;
            return;
        }
        self.count_decided(pending.decision.rule);
        if !ends && pending.wants_end() {
            self.count_waiting(pending);
        }
    }

    /// Finds the rule and the mirrors that are to get a copy. `None`: no rule matches, or it copies nothing.
    fn decide<'a, 'b>(&'a self, request: &Request<'a>, begun: &'b mut Option<Pending>) -> Option<&'b mut Pending> {
        let Some(decision) = self.matcher.decide(request) else {
            abi::count(&self.ledger.common.unmatched);
            return None;
        };
        let rule = self.config.rules.get(decision.rule)?;
        if rule.is_off() {
            self.count_while_off(decision.rule);
            return None;
        }
        let generator = &mut self.state.borrow_mut().generator;
        let mut choice = Choice::new(generator, abi::wall_clock);
        let pending = begun.insert(Pending::new(decision));
        pending.select(rule, |mirror| choice.selects(mirror, request));
        Some(pending)
    }

    /// Goes on with all headers of a request that some mirror is to get; `None`: it can never be mirrored. That is found out only now:
    /// nothing is asked about a request that is not selected.
    fn read(
        &self,
        pending: &mut Pending,
        headers: HeaderMap,
        ends: bool,
        is_routed: impl FnOnce() -> bool,
    ) -> Option<()> {
        let (rule, marker) = (self.config.rules.get(pending.decision.rule)?, self.config.marker.as_ref());
        let read = pending.read_headers(headers, marker, rule, self.config.limits.max_body_bytes, is_routed);
        if let Err(reason) = read {
            self.ledger.common.ignored(reason).map(abi::count);
            return None;
        }
        if !ends {
            pending.wait(&mut self.state.borrow_mut().budget);
        }
        Some(())
    }

    /// Takes in the next bytes of a request's body.
    pub fn chunk(&self, pending: &mut Pending, size: usize) {
        let Some(rule) = self.config.rules.get(pending.decision.rule) else { return };
        let max_body = self.config.limits.max_body_bytes;
        pending.chunk(size, rule, max_body, &mut self.state.borrow_mut().budget, abi::append_chunk);
        self.publish_buffered();
    }

    /// Takes in that a request will never be complete.
    pub fn abort(&self, stream: u32, pending: &mut Pending) {
        pending.abort(&mut self.state.borrow_mut().budget);
        self.finish(stream, pending);
    }

    /// Sends the copies of a request whose plan is known, and counts their outcomes.
    pub fn finish(&self, stream: u32, pending: &mut Pending) -> Next {
        let index = pending.decision.rule;
        let Some(rule) = self.config.rules.get(index) else { return Next::Nothing };
        if rule.waits && pending.wants_response(rule) {
            return self.finish_but_for_response(stream, pending, rule);
        }
        let body = pending.take_body(&mut self.state.borrow_mut().budget);
        self.publish_buffered();
        let compared = self.comparison(stream, pending, rule);
        let batch = Batch { pending, compared: compared.as_ref(), told: &[], since: 0 };
        let mirrors = rule.mirrors.iter().zip(self.ledger.mirrors(index));
        for (plan, (mirror, metrics)) in pending.plans.iter().zip(mirrors) {
            let outcome = match plan {
                Plan::Counted => continue,
                Plan::Not(outcome) => *outcome,
                Plan::Copy { with_body } => {
                    let body = if *with_body { body.as_deref() } else { Some(&[][..]) };
                    self.send(&batch, mirror, metrics, body)
                }
            };
            close(metrics, outcome, pending.is_waiting);
        }
        abi::keep(pending.request.take_map().into_abi());
        if self.calls.wants_end(stream) { Next::Response } else { Next::Nothing }
    }

    /// Does that for the mirrors that do not wait for the primary's response.
    #[cold]
    fn finish_but_for_response(&self, stream: u32, pending: &mut Pending, rule: &Rule) -> Next {
        let body = pending.lend_body(&mut self.state.borrow_mut().budget);
        self.settle(stream, pending, rule, body.as_deref(), None);
        pending.wait_for_response(body, &mut self.state.borrow_mut().budget);
        self.publish_buffered();
        if !pending.wants_response(rule) {
            // There was no room to wait.
            return self.finish(stream, pending);
        }
        if pending.is_waiting {
            self.settle(stream, pending, rule, None, None);
        } else {
            self.count_waiting(pending);
        }
        let pending = std::mem::replace(pending, Pending::new(pending.decision));
        Next::Verdict(Box::new(Complete { pending, at: abi::now() }))
    }

    /// Takes in that a stream is over, on whose response it depended whether copies are sent.
    pub fn conclude(&self, stream: u32, Complete { mut pending, at }: Complete) {
        let Some(rule) = self.config.rules.get(pending.decision.rule) else { return };
        // Neither a slow client nor a slow upload makes a primary slow.
        let since_complete = abi::now().saturating_sub(at);
        let end = StreamEnd::read();
        let took = end.latency.map(|latency| Duration::from_nanos(latency.min(since_complete)));
        let primary = Primary { status: end.code, took };
        let body = pending.take_waiting_body(&mut self.state.borrow_mut().budget);
        self.publish_buffered();
        self.settle(stream, &mut pending, rule, body.as_deref(), Some((&primary, at)));
        self.calls.ended(stream, || end);
    }

    /// Sends the copies of a request that some mirror wants only after a certain response, and counts the outcomes. `primary`: the
    /// response, once it is known, and when the request was complete; until then nothing becomes of the copies that wait for it.
    fn settle(
        &self,
        stream: u32,
        pending: &mut Pending,
        rule: &Rule,
        body: Option<&[u8]>,
        primary: Option<(&Primary, u64)>,
    ) {
        let (primary, since) = primary.map_or((None, 0), |(primary, at)| (Some(primary), at));
        let told = primary.map(Primary::told).unwrap_or_default();
        let compared = self.comparison(stream, pending, rule);
        let mirrors = rule.mirrors.iter().zip(self.ledger.mirrors(pending.decision.rule));
        for (at, (mirror, metrics)) in mirrors.enumerate() {
            let outcome = match (pending.plans.get(at), primary) {
                (None | Some(Plan::Counted), _) => continue,
                (Some(Plan::Not(outcome)), _) => *outcome,
                (Some(Plan::Copy { .. }), None) if !mirror.when.is_empty() => continue,
                (Some(Plan::Copy { .. }), Some(primary)) if !primary.is_wanted(mirror) => Outcome::NotWanted,
                (Some(Plan::Copy { with_body }), _) => {
                    let body = if *with_body { body } else { Some(&[][..]) };
                    let batch = Batch { pending, compared: compared.as_ref(), told: &told, since };
                    self.send(&batch, mirror, metrics, body)
                }
            };
            if let Some(plan) = pending.plans.get_mut(at) {
                *plan = Plan::Counted;
            }
            close(metrics, outcome, pending.is_waiting);
        }
    }

    /// Returns with what the responses to a request's copies are compared; `None`: they are not, or there is no copy.
    fn comparison(&self, stream: u32, pending: &Pending, rule: &Rule) -> Option<Rc<Comparison>> {
        let compare = rule.compare.as_ref().filter(|_| pending.wants_end())?;
        let new = || Rc::new(Comparison::new(stream, compare, &pending.request, &self.state.borrow().budget));
        Some(responses::find(stream).unwrap_or_else(new))
    }

    /// Looks at the response to a request, if it is compared with those to its copies.
    #[cfg(feature = "compare")]
    pub fn watch(&self, stream: u32, pending: &Pending) {
        let rule = self.config.rules.get(pending.decision.rule);
        let Some(compare) = rule.and_then(|rule| rule.compare.as_ref()).filter(|_| pending.wants_end()) else { return };
        let comparison = Comparison::new(stream, compare, &pending.request, &self.state.borrow().budget);
        responses::watch(comparison, self.ledger.common.buffered_bytes);
    }

    /// Counts a request that a rule decided, for the rule and for each of its mirrors.
    fn count_decided(&self, index: usize) {
        self.ledger.requests(index).map(abi::count);
        self.ledger.mirrors(index).iter().for_each(|metrics| abi::add(metrics.decided, 1));
    }

    /// Counts the outcomes of a request that are known at its headers, and the mirrors for which its end is waited for.
    fn count_waiting(&self, pending: &mut Pending) {
        pending.is_waiting = true;
        for (plan, metrics) in pending.plans.iter_mut().zip(self.ledger.mirrors(pending.decision.rule)) {
            match *plan {
                Plan::Not(outcome) => {
                    enter(metrics, outcome);
                    *plan = Plan::Counted;
                }
                Plan::Copy { .. } => abi::add(metrics.waiting, 1),
                Plan::Counted => {}
            }
        }
    }

    /// Counts a request of a rule that copies none: nothing is asked about it.
    fn count_while_off(&self, index: usize) {
        self.count_decided(index);
        self.ledger.mirrors(index).iter().for_each(|metrics| enter(metrics, Outcome::Unsampled));
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
        // Responses make room for requests, also for those that are not buffered after all.
        responses::publish();
    }
}

/// Counts what became of a copy, which does not wait any more if it did.
#[inline]
fn close(metrics: &MirrorMetrics, outcome: Outcome, is_waiting: bool) {
    if is_waiting {
        abi::add(metrics.waiting, -1);
    }
    enter(metrics, outcome);
}

/// Counts why a copy was or was not sent.
fn enter(metrics: &MirrorMetrics, outcome: Outcome) {
    let Some(counter) = metrics.outcome(outcome) else { return };
    abi::count(counter);
    debug!("rule {}, mirror {}: {}", metrics.rule, metrics.mirror, outcome.label());
    if !outcome.is_asked_for() {
        metrics.warn_rarely(counter, outcome.label());
    }
}
