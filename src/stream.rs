//! One request's life between its headers and its end: what is held for its copies, and what becomes of them.
//!
//! Values in, values out: the bytes of the body come in, and at the end the copies that are to be sent go out.

use crate::budget::Budget;
use crate::config::{BodyMode, Mirror, OnOversized, Rule, Target};
use crate::headers::HeaderMap;
use crate::matcher::Decision;
use crate::request::Request;
use crate::stats::{Ignored, Outcome};

/// Chunks below this size are gathered into buffers of it: many small chunks would cost more to keep track of than
/// they hold.
const SMALL: usize = 16 << 10;

/// Finds out whether a request is no rule's business.
///
/// `ends` tells that the headers are all there is: neither an upgrade nor a tunnel begins so (host-facts 5).
pub fn ignored<'a>(request: &Request<'a>, marker: Option<&'a str>, ends: bool) -> Option<Ignored> {
    if marker.is_some_and(|marker| request.has(marker)) {
        return Some(Ignored::Marked);
    }
    if ends {
        return None;
    }
    if request.headers().first(b":method") == Some(b"CONNECT") {
        return Some(Ignored::Connect);
    }
    let asks_for_upgrade =
        |line: &[u8]| line.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let mut connection = request.headers().iter().filter(|(name, _)| *name == b"connection");
    let upgrades = request.has("upgrade") && connection.any(|(_, line)| asks_for_upgrade(line));
    upgrades.then_some(Ignored::Upgrade)
}

/// What becomes of the copy to one of the rule's mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is sent when the request is complete, with the body or without.
    Copy {
        /// Whether it has the request's body.
        with_body: bool,
    },
    /// It is not sent.
    Not(Outcome),
}

/// A request that a rule decided and that has not ended.
#[derive(Debug)]
pub struct Pending {
    /// The rule that decided, and what its `uri` matched.
    pub decision: Decision,
    /// The request's headers; empty where no mirror gets a copy.
    pub headers: HeaderMap,
    /// What becomes of the copy to each mirror, in the rule's order.
    pub fates: Vec<Fate>,
    body: Body,
}

impl Pending {
    /// Begins with what the headers tell. `selects` samples a mirror.
    pub fn new<'a>(
        decision: Decision,
        rule: &'a Rule,
        request: Request<'a>,
        max_body: usize,
        mut selects: impl FnMut(&'a Mirror, &Request<'a>) -> bool,
    ) -> Self {
        let fate = |mirror: &'a Mirror| {
            if !selects(mirror, &request) {
                return Fate::Not(Outcome::Unsampled);
            }
            match cluster(&mirror.target, request.headers()) {
                Ok(_) => Fate::Copy { with_body: mirror.body == BodyMode::Include },
                Err(outcome) => Fate::Not(outcome),
            }
        };
        let fates: Vec<_> = rule.mirrors.iter().map(fate).collect();
        let any = fates.iter().any(|fate| matches!(fate, Fate::Copy { .. }));
        let headers = if any { request.into_headers() } else { HeaderMap::default() };
        let mut pending = Self { decision, headers, fates, body: Body::default() };
        if pending.announced_length().is_some_and(|length| length > max_body) {
            pending.body_is_too_large(rule);
        }
        pending
    }

    /// Tells whether any copy still waits for the request's end.
    pub fn wants_end(&self) -> bool {
        self.fates.iter().any(|fate| matches!(fate, Fate::Copy { .. }))
    }

    /// Takes in the next `size` bytes of the body, which `read` fetches if they are wanted and within the limits.
    pub fn chunk(
        &mut self,
        size: usize,
        rule: &Rule,
        max_body: usize,
        budget: &mut Budget,
        read: impl FnOnce() -> Option<Vec<u8>>,
    ) {
        if size == 0 || !self.wants_body() {
            return;
        }
        if self.body.length.saturating_add(size) > max_body {
            self.body_is_too_large(rule);
        } else if !budget.hold(size) {
            self.lose_body(Outcome::BufferLimit);
        } else if let Some(chunk) = read().filter(|chunk| chunk.len() == size) {
            self.body.push(chunk);
        } else {
            budget.release(size);
            self.lose_body(Outcome::BufferLimit);
        }
        if !self.wants_body() {
            self.body.give_back(budget);
        }
    }

    /// Notes that the request will never be complete.
    pub fn abort(&mut self, budget: &mut Budget) {
        for fate in &mut self.fates {
            if matches!(fate, Fate::Copy { .. }) {
                *fate = Fate::Not(Outcome::Incomplete);
            }
        }
        self.body.give_back(budget);
    }

    /// Takes the gathered body in one piece, and out of the budget; `None` where memory does not suffice for that.
    pub fn take_body(&mut self, budget: &mut Budget) -> Option<Vec<u8>> {
        self.body.give_back(budget).into_one_piece()
    }

    fn wants_body(&self) -> bool {
        self.fates.contains(&Fate::Copy { with_body: true })
    }

    fn announced_length(&self) -> Option<usize> {
        std::str::from_utf8(self.headers.first(b"content-length")?).ok()?.parse().ok()
    }

    fn body_is_too_large(&mut self, rule: &Rule) {
        for (fate, mirror) in self.fates.iter_mut().zip(&rule.mirrors) {
            if *fate == (Fate::Copy { with_body: true }) {
                *fate = match mirror.on_oversized {
                    OnOversized::Skip => Fate::Not(Outcome::BodyTooLarge),
                    OnOversized::Omit => Fate::Copy { with_body: false },
                };
            }
        }
    }

    fn lose_body(&mut self, outcome: Outcome) {
        for fate in &mut self.fates {
            if *fate == (Fate::Copy { with_body: true }) {
                *fate = Fate::Not(outcome);
            }
        }
    }
}

/// Finds the cluster of a mirror.
///
/// # Errors
/// The outcome of a copy for which there is none.
pub fn cluster<'a>(target: &'a Target, headers: &'a HeaderMap) -> Result<&'a [u8], Outcome> {
    match target {
        Target::Cluster(name) => Ok(name.as_bytes()),
        Target::Header { name, allowed } => {
            let named = headers.first(name.as_str().as_bytes()).filter(|named| !named.is_empty());
            let named = named.ok_or(Outcome::NoClusterHeader)?;
            match allowed {
                Some(allowed) if !allowed.iter().any(|name| name.as_bytes() == named) => {
                    Err(Outcome::ClusterNotAllowed)
                }
                _ => Ok(named),
            }
        }
    }
}

/// A body in the chunks in which it came.
#[derive(Debug, Default)]
struct Body {
    chunks: Vec<Vec<u8>>,
    length: usize,
}

impl Body {
    fn push(&mut self, chunk: Vec<u8>) {
        self.length = self.length.saturating_add(chunk.len());
        match self.chunks.last_mut() {
            Some(last) if last.capacity().saturating_sub(last.len()) >= chunk.len() => last.extend_from_slice(&chunk),
            Some(_) if chunk.len() < SMALL => {
                let mut gathered = Vec::with_capacity(SMALL);
                gathered.extend_from_slice(&chunk);
                self.chunks.push(gathered);
            }
            _ => self.chunks.push(chunk),
        }
    }

    /// Takes the body out of the budget, and leaves an empty one.
    fn give_back(&mut self, budget: &mut Budget) -> Self {
        budget.release(self.length);
        std::mem::take(self)
    }

    fn into_one_piece(mut self) -> Option<Vec<u8>> {
        if self.chunks.len() <= 1 {
            return Some(self.chunks.pop().unwrap_or_default());
        }
        let mut whole = Vec::new();
        whole.try_reserve_exact(self.length).ok()?;
        for chunk in self.chunks {
            whole.extend_from_slice(&chunk);
        }
        Some(whole)
    }
}
