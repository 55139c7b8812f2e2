//! What a configuration's root shares with its streams on one worker: it reads through the host, asks the core, and
//! acts through the host.

use crate::budget::Budget;
use crate::compare::{Answer, Pair, Pairs};
use crate::config::{Config, HeaderName, Mirror, Rule};
use crate::copy::Rewritten;
use crate::host::{self, Clock, CurrentRequest, Refusal};
use crate::matcher::Matcher;
use crate::request::Request;
use crate::sample::Draw;
use crate::stats::{Class, Counter, Ledger, Outcome, classify};
use crate::stream::{self, Fate, Pending};
use getrandom::SysRng;
use log::{debug, warn};
use rand_core::SeedableRng;
use rand_xoshiro::Xoshiro128PlusPlus;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// A configuration at work.
pub struct Worker {
    config: Config,
    is_off: bool,
    matcher: Matcher,
    ledger: Ledger,
    clock: Clock,
    /// Whether the last request had its headers read for good.
    map_pays: Cell<bool>,
    state: RefCell<State>,
}

struct State {
    budget: Budget,
    generator: Xoshiro128PlusPlus,
    /// By their numbers. Few, mostly: a tree beats a table whose hash withstands attackers.
    calls: BTreeMap<u32, Call>,
    /// Of the rules that compare.
    pairs: Pairs,
    /// The bytes held that the gauge knows of.
    published: usize,
    is_leaving: bool,
}

/// A copy that was sent and not answered.
struct Call {
    /// The request's, for rules that compare.
    stream: u32,
    rule: usize,
    mirror: usize,
    sent_at: u64,
    is_grpc: bool,
}

impl Worker {
    /// Sets a configuration to work.
    ///
    /// # Errors
    /// What the host refused, as text.
    pub fn new(config: Config) -> Result<Self, String> {
        let generator = Xoshiro128PlusPlus::try_from_rng(&mut SysRng);
        let generator = generator.map_err(|error| format!("no seed for the random generator: {error}"))?;
        let state = State {
            budget: Budget::new(&config.limits),
            generator,
            calls: BTreeMap::new(),
            pairs: Pairs::default(),
            published: 0,
            is_leaving: false,
        };
        Ok(Self {
            is_off: config.is_off(),
            matcher: Matcher::new(&config.rules),
            ledger: Ledger::new(&config, host::define_metric)?,
            clock: Clock::start(),
            map_pays: Cell::new(false),
            state: RefCell::new(state),
            config,
        })
    }

    /// Takes in a request's headers; returns what waits for its end. `ends` tells that this is its end already.
    pub fn begin(&self, ends: bool) -> Option<Pending> {
        if self.is_off {
            self.count_while_off();
            return None;
        }
        let source = CurrentRequest;
        let request = Request::new(&source, self.map_pays.get());
        let pending = self.decide(&request, ends);
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
    fn decide<'a>(&'a self, request: &Request<'a>, ends: bool) -> Option<Pending> {
        let decision = self.matcher.decide(request)?;
        let rule = self.config.rules.get(decision.rule)?;
        let generator = &mut self.state.borrow_mut().generator;
        let mut draw = Draw::default();
        let pending = Pending::new(decision, rule, |mirror| draw.selects(&mirror.sample, request, generator));
        if pending.wants_end() {
            let marker = self.config.marker.as_ref().map(HeaderName::as_str);
            if let Some(reason) = stream::ignored(request.headers(), marker, ends) {
                self.ledger.ignored(reason).map(count);
                return None;
            }
        }
        Some(pending)
    }

    /// Takes in the next bytes of a request's body.
    pub fn chunk(&self, pending: &mut Pending, size: usize) {
        let Some(rule) = self.config.rules.get(pending.decision.rule) else { return };
        let max_body = self.config.limits.max_body_bytes;
        pending.chunk(size, rule, max_body, &mut self.state.borrow_mut().budget, || host::body_chunk(size));
        self.publish_buffered();
    }

    /// Takes in that a request will never be complete.
    pub fn abort(&self, stream: u32, mut pending: Pending) {
        pending.abort(&mut self.state.borrow_mut().budget);
        self.settle(stream, pending);
    }

    /// Sends the copies of a request whose fate is known, and enters it into the books. True: the end of its stream is waited
    /// for, see [`Self::ended`].
    pub fn settle(&self, stream: u32, mut pending: Pending) -> bool {
        let index = pending.decision.rule;
        let Some(rule) = self.config.rules.get(index) else { return false };
        self.ledger.requests(index).map(count);
        let body = pending.take_body(&mut self.state.borrow_mut().budget);
        self.publish_buffered();
        for (number, (fate, mirror)) in pending.fates.iter().zip(&rule.mirrors).enumerate() {
            let outcome = match fate {
                Fate::Not(outcome) => *outcome,
                Fate::Copy { with_body } => {
                    let body = if *with_body { body.as_deref() } else { Some(&[][..]) };
                    match self.send(stream, &pending, number, mirror, body) {
                        Ok(()) => Outcome::Sent,
                        Err(outcome) => outcome,
                    }
                }
            };
            self.enter(index, rule, number, mirror, outcome);
        }
        self.state.borrow().pairs.wants_end(stream)
    }

    /// Takes in that a stream, of whose request copies were sent, is over: what the client got is what the primary answered.
    pub fn ended(&self, stream: u32) {
        let primary = host::response_code().map(|status| Answer { status, at: self.clock.now() });
        let settled = self.state.borrow_mut().pairs.ended(stream, primary);
        settled.for_each(|pair| self.enter_pair(&pair));
    }

    /// Takes in the answer to a copy, or that there will be none: then it has no headers. True: it was the last that a
    /// configuration waited for before it goes.
    pub fn answered(&self, token: u32, headers: usize) -> bool {
        let Some(call) = self.state.borrow_mut().calls.remove(&token) else { return false };
        let status = (headers > 0).then(|| host::answer_header(":status")).flatten().unwrap_or_default();
        let is_from_mirror = || host::answer_header("x-envoy-upstream-service-time").is_some();
        let class = classify(&status, call.is_grpc, is_from_mirror);
        let answered_at = (class != Class::Failed).then(|| self.clock.now());
        self.close(&call, class, answered_at);
        self.pair(&call, answered_at.zip(status_code(&status)).map(|(at, status)| Answer { status, at }));
        let state = self.state.borrow();
        state.is_leaving && state.calls.is_empty()
    }

    /// Prepares for the end of this configuration; true: it may go at once, else when its last copy is answered: the host
    /// would cancel what is in flight, and never say so. Each copy has a timeout, so that this always comes.
    pub fn leave(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state.is_leaving = true;
        state.calls.is_empty()
    }

    /// With all mirrors at 0 % the host is asked for nothing; only a rule that needs to know nothing still counts.
    fn count_while_off(&self) {
        let Some(rule) = self.config.rules.first().filter(|rule| rule.matches.is_empty()) else { return };
        self.ledger.requests(0).map(count);
        for (number, mirror) in rule.mirrors.iter().enumerate() {
            self.enter(0, rule, number, mirror, Outcome::Unsampled);
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
        let sent_at = self.clock.now();
        self.state.borrow_mut().budget.admit(sent_at)?;
        let headers = &pending.headers;
        let cluster = stream::cluster(&mirror.target, headers)?;
        let rewritten =
            Rewritten::new(mirror, headers, pending.decision.matched_uri).map_err(|_| Outcome::NoCluster)?;
        let copied = rewritten.write_headers(mirror, headers, self.config.marker.as_ref());
        let token = host::send(cluster, &copied, body, mirror.timeout).map_err(|refusal| match refusal {
            Refusal::UnknownCluster => Outcome::NoCluster,
            Refusal::NoUpstream => Outcome::NoUpstream,
        })?;
        let is_grpc = headers.first(b"content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"));
        let mut state = self.state.borrow_mut();
        state.budget.sent();
        let rule = pending.decision.rule;
        state.calls.insert(token, Call { stream, rule, mirror: number, sent_at, is_grpc });
        if self.config.rules.get(rule).is_some_and(|rule| rule.compares_status) {
            state.pairs.sent(stream, rule);
        }
        host::add(self.ledger.in_flight, 1);
        Ok(())
    }

    /// Enters what became of a copy into the books.
    fn enter(&self, index: usize, rule: &Rule, number: usize, mirror: &Mirror, outcome: Outcome) {
        let Some(counter) = self.ledger.mirror(index, number).and_then(|books| books.outcome(outcome)) else { return };
        count(counter);
        debug!("rule {}, mirror {}: {}", rule.name, mirror.target, outcome.label());
        if !matches!(outcome, Outcome::Sent | Outcome::Unsampled) {
            warn_rarely(counter, rule, mirror, outcome.label());
        }
    }

    /// Enters how a copy was answered into the books.
    fn close(&self, call: &Call, class: Class, answered_at: Option<u64>) {
        self.state.borrow_mut().budget.answered();
        host::add(self.ledger.in_flight, -1);
        let Some(books) = self.ledger.mirror(call.rule, call.mirror) else { return };
        if let Some(answered_at) = answered_at {
            host::record(books.response_time, answered_at.saturating_sub(call.sent_at) / 1_000_000);
        }
        let Some(counter) = books.class(class) else { return };
        count(counter);
        let Some(rule) = self.config.rules.get(call.rule) else { return };
        if class == Class::Failed
            && let Some(mirror) = rule.mirrors.get(call.mirror)
        {
            warn_rarely(counter, rule, mirror, "the mirror did not answer");
        }
    }

    /// Sets a mirror's answer beside the primary's, where the copy makes a pair.
    fn pair(&self, call: &Call, answer: Option<Answer>) {
        let settled = self.state.borrow_mut().pairs.answered(call.stream, call.mirror, answer);
        settled.iter().for_each(|pair| self.enter_pair(pair));
    }

    /// Enters how primary and mirror compare into the books.
    fn enter_pair(&self, pair: &Pair) {
        let books = self.ledger.mirror(pair.rule, pair.mirror).and_then(|books| books.pairs.as_ref());
        let Some(books) = books else { return };
        books.compared(pair.result()).map(count);
        if let Some(slower) = pair.slower_ms() {
            let histogram = if slower < 0 { books.faster } else { books.slower };
            host::record(histogram, slower.unsigned_abs());
        }
    }

    /// Tells the gauge how many bytes are held by now.
    fn publish_buffered(&self) {
        let mut state = self.state.borrow_mut();
        let held = state.budget.buffered();
        let known = std::mem::replace(&mut state.published, held);
        let change = i64::try_from(held).unwrap_or_default().saturating_sub(i64::try_from(known).unwrap_or_default());
        if change != 0 {
            host::add(self.ledger.buffered_bytes, change);
        }
    }
}

fn count(counter: &Counter) {
    host::add(counter.next(), 1);
}

fn status_code(status: &[u8]) -> Option<u16> {
    std::str::from_utf8(status).ok()?.parse().ok()
}

/// Warns of the 1st, 2nd, 4th, 8th … time: a mirror that is down must not fill the log.
fn warn_rarely(counter: &Counter, rule: &Rule, mirror: &Mirror, reason: &str) {
    if let Some(count) = counter.warning_due() {
        warn!("rule {}, mirror {}: {reason} ({count} so far on this worker)", rule.name, mirror.target);
    }
}
