//! The books as they ought to be: a second account of requests and copies, kept from the README alone. It knows nothing
//! of the filter and is told what Envoy tells the filter.

use crate::kept::Responses;
use fake_host::host::Headers;
use std::collections::BTreeMap;
use xxhash_rust::xxh64::xxh64;

/// Where a mirror's copies go.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    Cluster(&'static str),
    /// What this header names.
    Header(&'static str),
    /// The same, if it is one of these.
    Allowed(&'static str, &'static [&'static str]),
}

/// Which requests a mirror gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    All,
    None,
    /// Half of the values of `x-user`.
    HalfOfUsers,
    /// From each of these seconds on, so many percent of the values of `x-user`.
    Steps(&'static [(u64, u64)]),
    /// All requests from one second on until another.
    Between(u64, u64),
}

/// What a mirror gets of a body: all of it, all of it or nothing where it is too long, nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    WholeOrNothing,
    Nothing,
    /// All of it, less a value in JSON; no body of the model is JSON.
    Json,
}

/// What a rule compares of the answers of primary and mirrors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Status,
    /// And the header `x-v` and the body, up to [`MOST_COMPARED`](crate::kept::MOST_COMPARED) bytes.
    Content,
    Nothing,
}

/// What a rule does with requests that Envoy has no cluster for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    Ignore,
    Mirror,
}

/// When a copy is sent, and how many of its mirror's may be in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// At the request's end.
    No,
    /// After the response, if that is a server error or none; so many at once.
    Errors(usize),
}

#[derive(Debug, Clone, Copy)]
pub struct Mirror(pub Target, pub Share, pub Part, pub Late);

/// A rule, which decides the requests whose path is its name.
#[derive(Debug, Clone, Copy)]
pub struct Rule(pub &'static str, pub Compare, pub &'static [Mirror], pub Unrouted);

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub body: usize,
    pub buffered: usize,
    pub in_flight: usize,
    /// Copies that may be sent at all: no time passes, in which a token comes back.
    pub burst: Option<usize>,
}

/// What becomes of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    Whole,
    Bodiless,
    Lost(&'static str),
    /// Lost, and entered at the headers.
    Entered,
}

/// A request that a rule decided, until it is entered.
#[derive(Debug)]
struct Open {
    root: u32,
    rule: Rule,
    headers: Headers,
    plans: Vec<Plan>,
    held: Vec<u8>,
    /// The request is, and its response is waited for.
    is_complete: bool,
}

/// A copy that was sent and not answered.
#[derive(Debug)]
struct Call {
    root: u32,
    rule: &'static str,
    mirror: String,
    is_grpc: bool,
    compare: Compare,
    /// The stream whose answer is compared with this call's.
    compared: Option<u32>,
    /// Its status, or none, if that stream is over.
    primary: Option<Option<u16>>,
}

/// A copy and its request, of a rule that compares. A side that is over has a status, or none where it has no answer.
#[derive(Debug)]
struct Pair {
    stream: u32,
    rule: &'static str,
    mirror: String,
    primary: Option<Option<u16>>,
    copy: Option<Option<u16>>,
    compare: Compare,
    /// What counts is the grpc-status.
    is_grpc: bool,
    copy_grpc: Option<u16>,
    /// The mirror's response, by its number.
    kept: Option<usize>,
}

/// A copy that is to be sent now.
#[derive(Debug, PartialEq, Eq)]
pub struct Copy {
    pub root: u32,
    pub stream: u32,
    pub cluster: Vec<u8>,
    pub body: Vec<u8>,
}

/// A metric's name, rule, mirror, and the tag that is left; what it has not is empty.
pub type Account = [String; 4];

/// What is expected of the filter, for all its roots.
#[derive(Debug, Default)]
pub struct Ledger {
    counts: BTreeMap<Account, i64>,
    limits: BTreeMap<u32, Limits>,
    /// By their streams.
    open: BTreeMap<u32, Open>,
    /// By their tokens.
    calls: BTreeMap<u32, Call>,
    /// By the tokens of their calls.
    pairs: BTreeMap<u32, Pair>,
    /// By the size of the bucket, which all configurations that have one share.
    sent: BTreeMap<usize, usize>,
    /// What came last is wrong.
    pub is_invalid: bool,
    /// The time, in nanoseconds after the first of the seconds by which mirrors go.
    pub now: u64,
    /// The clusters that Envoy knows, with the outcome of a copy that is sent there.
    pub clusters: BTreeMap<Vec<u8>, &'static str>,
    /// What was sent in this step: copies whose tokens are not known yet.
    copies: Vec<(Copy, Call)>,
    /// What is known and kept of responses under comparison.
    pub responses: Responses,
}

const SECOND: u64 = 1_000_000_000;

pub fn first<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| &value[..])
}

/// Reads a grpc-status.
pub fn number(status: &[u8]) -> u16 {
    String::from_utf8_lossy(status).parse().unwrap_or(u16::MAX)
}

fn is_grpc(headers: &Headers) -> bool {
    let kinds = headers.iter().filter(|(name, _)| name == b"content-type").map(|(_, kind)| &kind[..]);
    let kind = kinds.collect::<Vec<_>>().join(&b","[..]);
    kind == b"application/grpc" || kind.starts_with(b"application/grpc+")
}

impl Mirror {
    pub fn label(self) -> String {
        match self.0 {
            Target::Cluster(name) => name.to_owned(),
            Target::Header(name) | Target::Allowed(name, _) => format!("header:{name}"),
        }
    }

    /// Finds out whether it gets a request that comes so many nanoseconds after the first second, or why it does not.
    fn selects(self, headers: &Headers, now: u64) -> Result<(), &'static str> {
        let has_begun = |second: u64| second * SECOND <= now;
        let percent = match self.1 {
            Share::All => 100,
            Share::None => 0,
            Share::HalfOfUsers => 50,
            Share::Steps(steps) => steps.iter().rfind(|(at, _)| has_begun(*at)).map_or(0, |(_, percent)| *percent),
            Share::Between(from, until) if has_begun(from) && !has_begun(until) => 100,
            Share::Between(..) => return Err("unscheduled"),
        };
        let part = xxh64(first(headers, "x-user").unwrap(), 0) % 1_000_000;
        if part < percent * 10_000 { Ok(()) } else { Err("unsampled") }
    }

    /// Finds the cluster, or the outcome where none is named or it is not allowed.
    fn cluster(self, headers: &Headers) -> Result<Vec<u8>, &'static str> {
        let named = |name: &str| first(headers, name).filter(|named| !named.is_empty()).ok_or("no_cluster_header");
        match self.0 {
            Target::Cluster(name) => Ok(name.into()),
            Target::Header(name) => named(name).map(<[u8]>::to_vec),
            Target::Allowed(name, allowed) => {
                let named = named(name)?;
                let is_allowed = allowed.iter().any(|name| name.as_bytes() == named);
                if is_allowed { Ok(named.to_vec()) } else { Err("cluster_not_allowed") }
            }
        }
    }
}

impl Ledger {
    /// Notes a configuration's limits.
    pub fn configured(&mut self, root: u32, limits: Limits) {
        self.limits.insert(root, limits);
    }

    /// A request's headers came, and no rule matches.
    pub fn unmatched(&mut self) {
        self.count("unmatched_total", "", "", "", 1);
    }

    /// A request's headers came; `rule` is the one that matches.
    pub fn began(&mut self, root: u32, stream: u32, rule: Rule, (headers, is_routed): (Headers, bool), ends: bool) {
        let has = |name: &str| first(&headers, name).is_some();
        let selects = |mirror: &Mirror| mirror.selects(&headers, self.now);
        let is_wanted = rule.2.iter().any(|mirror| selects(mirror).is_ok() && mirror.cluster(&headers).is_ok());
        let ignored = if has("x-mirrored-request") {
            Some("marked")
        } else if first(&headers, ":method") == Some(b"CONNECT") {
            Some("connect")
        } else if has("upgrade") && has("connection") {
            Some("upgrade")
        } else {
            (!is_routed && rule.3 == Unrouted::Ignore).then_some("unrouted")
        };
        if let (true, Some(reason)) = (is_wanted, ignored) {
            return self.count("ignored_total", "", "", reason, 1);
        }
        let announced =
            first(&headers, "content-length").map(|length| String::from_utf8_lossy(length).parse().unwrap());
        let is_too_large = announced.is_some_and(|length: usize| length > self.limits[&root].body);
        let plan = |mirror: &Mirror| match (selects(mirror).and_then(|()| mirror.cluster(&headers)), mirror.2) {
            (Err(outcome), _) => Plan::Lost(outcome),
            (Ok(_), Part::Nothing) => Plan::Bodiless,
            (Ok(_), Part::WholeOrNothing) if is_too_large => Plan::Bodiless,
            (Ok(_), Part::Whole | Part::Json) if is_too_large => Plan::Lost("body_too_large"),
            (Ok(_), _) => Plan::Whole,
        };
        let mut plans: Vec<_> = rule.2.iter().map(plan).collect();
        self.count("requests_total", rule.0, "", "", 1);
        let waits = !ends && plans.iter().any(|plan| !matches!(plan, Plan::Lost(_)));
        for (mirror, plan) in rule.2.iter().zip(&mut plans) {
            self.count("decided_total", rule.0, &mirror.label(), "", 1);
            if let (true, Plan::Lost(outcome)) = (waits, &plan) {
                self.count("copies_total", rule.0, &mirror.label(), outcome, 1);
                *plan = Plan::Entered;
            }
        }
        if rule.1 != Compare::Nothing && plans.iter().any(|plan| matches!(plan, Plan::Whole | Plan::Bodiless)) {
            self.responses.watch(root, stream, rule.1 == Compare::Content, is_grpc(&headers));
        }
        self.open.insert(stream, Open { root, rule, headers, plans, held: Vec::new(), is_complete: false });
        self.enter_if_decided(stream, ends);
    }

    /// A chunk of a body came, which the host does not hand over if it `hides` it.
    pub fn body_came(&mut self, stream: u32, chunk: &[u8], hides: bool, ends: bool) {
        let Some(open) = self.open.get(&stream) else { return };
        let limits = self.limits[&open.root];
        let lost = if open.held.len() + chunk.len() > limits.body {
            Some("body_too_large")
        } else if self.held(open.root) + chunk.len() > limits.buffered || hides {
            Some("buffer_limit")
        } else {
            None
        };
        let (root, held) = (open.root, self.held(open.root) + chunk.len());
        let is_taken = !chunk.is_empty() && open.plans.contains(&Plan::Whole);
        if is_taken && lost != Some("body_too_large") && held <= limits.buffered {
            self.responses.shrink(root, limits.buffered - held);
        }
        let open = self.open.get_mut(&stream).unwrap();
        if is_taken {
            open.held.extend_from_slice(chunk);
            if let Some(outcome) = lost {
                open.held.clear();
                for (plan, mirror) in open.plans.iter_mut().zip(open.rule.2).filter(|(plan, _)| **plan == Plan::Whole) {
                    let stays = outcome == "body_too_large" && mirror.2 == Part::WholeOrNothing;
                    *plan = if stays { Plan::Bodiless } else { Plan::Lost(outcome) };
                }
            }
        }
        self.enter_if_decided(stream, ends);
    }

    /// A request's trailers came.
    pub fn trailers_came(&mut self, stream: u32) {
        self.enter_if_decided(stream, true);
    }

    /// A stream ended, and with it a request that is not complete; its client got an answer of this status, if any. True:
    /// that is to be asked for.
    pub fn ended(&mut self, stream: u32, status: Option<u16>) -> bool {
        let status = status.filter(|status| *status >= 200);
        let is_late = self.open.get(&stream).is_some_and(|open| open.is_complete);
        if is_late {
            self.conclude(stream, status);
        } else {
            let plans = self.open.get_mut(&stream).into_iter().flat_map(|open| &mut open.plans);
            let waiting = plans.filter(|plan| matches!(plan, Plan::Whole | Plan::Bodiless));
            waiting.for_each(|plan| *plan = Plan::Lost("incomplete"));
            self.enter_if_decided(stream, true);
        }
        let mut compared = None;
        for pair in self.pairs.values_mut().filter(|pair| pair.stream == stream) {
            pair.primary = Some(status);
            compared = Some(pair.rule);
        }
        for (_, call) in self.copies.iter_mut().filter(|(_, call)| call.compared == Some(stream)) {
            call.primary = Some(status);
            compared = Some(call.rule);
        }
        if let Some(rule) = compared {
            let class = status.map_or("none", |status| ["2xx", "3xx", "4xx", "5xx"][usize::from(status / 100 - 2)]);
            self.count("primary_responses_total", rule, "", class, 1);
            if status.is_some() {
                self.count("primary_response_time_ms", rule, "", "", 1);
            }
            self.settle_pairs();
        }
        self.forget();
        is_late || compared.is_some()
    }

    /// The response came to a request that some mirrors get only after that.
    fn conclude(&mut self, stream: u32, status: Option<u16>) {
        let Open { root, rule, headers, plans, held, .. } = self.open.remove(&stream).unwrap();
        for (mirror, plan) in rule.2.iter().zip(plans).filter(|(_, plan)| *plan != Plan::Entered) {
            let outcome = if status.is_none_or(|status| status >= 500) {
                self.send(root, stream, rule, *mirror, &headers, if plan == Plan::Whole { &held } else { &[] })
            } else {
                "not_wanted"
            };
            self.count("copies_total", rule.0, &mirror.label(), outcome, 1);
        }
    }

    /// A call was cancelled by the host, which says nothing of it.
    pub fn cancelled(&mut self, token: u32) {
        self.answered(token, &Headers::new(), &[]);
    }

    /// The headers of a stream's response came.
    pub fn response_headers_came(&mut self, stream: u32, headers: &Headers, ends: bool) {
        self.responses.headers_came(stream, headers, ends);
    }

    /// A chunk of the response's body came, which the host does not hand over if it `hides` it.
    pub fn response_body_came(&mut self, stream: u32, chunk: &[u8], hides: bool, ends: bool) {
        let Some(root) = self.responses.root(stream) else { return };
        let most = self.limits[&root].buffered - self.held(root);
        self.responses.body_came(stream, chunk, hides, ends, most);
    }

    /// The response's trailers came.
    pub fn response_trailers_came(&mut self, stream: u32, trailers: &Headers) {
        self.responses.trailers_came(stream, trailers);
    }

    /// Forgets the responses that are not compared any more.
    fn forget(&mut self) {
        let Self { open, pairs, copies, responses, .. } = self;
        responses.retain(|stream| {
            open.contains_key(&stream)
                || pairs.values().any(|pair| pair.stream == stream)
                || copies.iter().any(|(_, call)| call.compared == Some(stream))
        });
    }

    /// The answer to a call came.
    pub fn answered(&mut self, token: u32, headers: &Headers, body: &[u8]) {
        let call = self.calls.remove(&token).unwrap();
        let is_from_mirror = first(headers, "x-envoy-upstream-service-time").is_some();
        let status = first(headers, ":status");
        let class = match status.and_then(<[u8]>::first) {
            Some(b'1'..=b'5') if call.is_grpc && !is_from_mirror && status != Some(b"504") => "failed",
            Some(b'4' | b'5') if !is_from_mirror && status == Some(b"504") => "timeout",
            Some(b'4' | b'5') if !is_from_mirror => "failed",
            Some(digit @ b'1'..=b'5') => match first(headers, "grpc-status").filter(|_| call.is_grpc) {
                Some(b"0") => "2xx",
                Some(b"5" | b"16") => "4xx",
                Some(_) => "5xx",
                None => ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(digit - b'1')],
            },
            _ => "failed",
        };
        self.count("responses_total", call.rule, &call.mirror, class, 1);
        let is_answered = !["failed", "timeout"].contains(&class);
        if is_answered {
            self.count("response_time_ms", call.rule, &call.mirror, "", 1);
        }
        if let Some(pair) = self.pairs.get_mut(&token) {
            let status = first(headers, ":status").filter(|_| is_answered);
            let status = status.and_then(|status| String::from_utf8_lossy(status).parse().ok());
            pair.copy = Some(status);
            pair.copy_grpc = first(headers, "grpc-status").filter(|_| call.is_grpc).map(number);
            if status.is_some() && pair.compare == Compare::Content {
                let most = self.limits[&call.root].buffered - self.held(call.root);
                let kept = self.responses.keep(call.root, headers);
                self.responses.push(kept, body, false, most);
                self.responses.complete(kept);
                self.pairs.get_mut(&token).unwrap().kept = Some(kept);
            }
            self.settle_pairs();
            self.forget();
        }
    }

    /// Enters the pairs of which both sides are over.
    fn settle_pairs(&mut self) {
        for (_, Pair { rule, mirror, primary, copy, stream, compare, is_grpc, copy_grpc, kept }) in
            self.pairs.extract_if(.., |_, pair| pair.primary.is_some() && pair.copy.is_some()).collect::<Vec<_>>()
        {
            let (primary, copy) = (primary.flatten(), copy.flatten());
            let primary_grpc = self.responses.grpc_status(stream);
            let mut fields = Vec::new();
            let mut is_unknown = is_grpc && (primary_grpc.is_none() || copy_grpc.is_none());
            let is_error =
                |status: u16, grpc: Option<u16>| status > 499 || grpc.is_some_and(|grpc| ![0, 5, 16].contains(&grpc));
            let mut result = "same";
            if let (Some(primary), Some(copy)) = (primary, copy) {
                self.count("slower_ms or faster_ms", rule, &mirror, "", 1);
                if primary != copy || (is_grpc && !is_unknown && primary_grpc != copy_grpc) {
                    fields.push("status");
                    result = match (is_error(primary, primary_grpc), is_error(copy, copy_grpc)) {
                        (false, true) => "mirror_error",
                        (true, false) => "primary_error",
                        _ => "different",
                    };
                }
                if compare == Compare::Content {
                    let (others, is_compared) = self.responses.differences(stream, kept.unwrap());
                    fields.extend(others);
                    is_unknown |= !is_compared;
                }
                result = match result {
                    "same" if fields.contains(&"headers/x-v") => "different_headers",
                    "same" if fields.contains(&"body") => "different_body",
                    "same" if is_unknown => "not_compared",
                    result => result,
                };
            } else if copy.is_some() {
                result = "mirror_only";
            } else {
                result = if primary.is_some_and(|status| !is_error(status, primary_grpc)) {
                    "primary_only"
                } else {
                    "neither"
                };
            }
            self.count("compared_total", rule, &mirror, result, 1);
            fields.iter().for_each(|field| self.count("differences_total", rule, &mirror, field, 1));
            kept.into_iter().for_each(|kept| self.responses.drop(kept));
        }
    }

    /// Hands over the copies of this step, which the host has given these tokens.
    pub fn take_copies(&mut self, tokens: &[u32]) -> Vec<Copy> {
        assert_eq!(tokens.len(), self.copies.len(), "not as many copies as there are to be");
        let (copies, calls): (Vec<_>, Vec<_>) = self.copies.drain(..).unzip();
        for (token, call) in tokens.iter().zip(calls) {
            if let Some(stream) = call.compared {
                let Call { rule, primary, is_grpc, compare, .. } = call;
                let mirror = call.mirror.clone();
                let (copy, copy_grpc, kept) = (None, None, None);
                let pair = Pair { stream, rule, mirror, primary, copy, compare, is_grpc, copy_grpc, kept };
                self.pairs.insert(*token, pair);
            }
            self.calls.insert(*token, call);
        }
        copies
    }

    /// Returns what there is to be, without zeros.
    pub fn accounts(&self) -> BTreeMap<Account, i64> {
        let mut accounts = self.counts.clone();
        let held: usize = self.open.values().map(|open| open.held.len()).sum();
        let held = held + self.responses.bytes();
        for (gauge, value) in [("in_flight", self.calls.len()), ("buffered_bytes", held)] {
            accounts.insert([gauge, "", "", ""].map(String::from), i64::try_from(value).unwrap());
        }
        for open in self.open.values() {
            for (mirror, _) in open.rule.2.iter().zip(&open.plans).filter(|(_, plan)| **plan != Plan::Entered) {
                *accounts.entry(["waiting", open.rule.0, &mirror.label(), ""].map(String::from)).or_default() += 1;
            }
        }
        accounts.insert(["invalid_configuration", "", "", ""].map(String::from), i64::from(self.is_invalid));
        accounts.retain(|_, count| *count != 0);
        accounts
    }

    /// Tells whether copies of a root's requests wait for their answers.
    pub fn waits(&self, root: u32) -> bool {
        self.calls.values().any(|call| call.root == root)
    }

    fn held(&self, root: u32) -> usize {
        self.open.values().filter(|open| open.root == root).map(|open| open.held.len()).sum()
    }

    fn count(&mut self, what: &str, rule: &str, mirror: &str, tag: &str, by: i64) {
        *self.counts.entry([what, rule, mirror, tag].map(String::from)).or_default() += by;
    }

    /// Enters a request that is complete, or of which no copy waits for more.
    fn enter_if_decided(&mut self, stream: u32, is_over: bool) {
        let waits = |open: &Open| open.plans.iter().any(|plan| matches!(plan, Plan::Whole | Plan::Bodiless));
        if !self.open.get(&stream).is_some_and(|open| is_over || !waits(open)) {
            return;
        }
        let mut open = self.open.remove(&stream).unwrap();
        let (root, rule) = (open.root, open.rule);
        let is_late =
            |mirror: &Mirror, plan: Plan| mirror.3 != Late::No && matches!(plan, Plan::Whole | Plan::Bodiless);
        for (at, mirror) in rule.2.iter().enumerate().filter(|(_, mirror)| mirror.3 == Late::No) {
            let outcome = match std::mem::replace(&mut open.plans[at], Plan::Entered) {
                Plan::Entered => continue,
                Plan::Lost(outcome) => outcome,
                Plan::Whole => self.send(root, stream, rule, *mirror, &open.headers, &open.held),
                Plan::Bodiless => self.send(root, stream, rule, *mirror, &open.headers, &[]),
            };
            self.count("copies_total", rule.0, &mirror.label(), outcome, 1);
        }
        let waiting = self.open.values().filter(|open| open.root == root && open.is_complete);
        let waiting: usize = waiting.map(|open| open.held.len()).sum();
        let has_room = waiting + open.held.len() <= self.limits[&root].buffered / 2;
        for (at, mirror) in rule.2.iter().enumerate() {
            let plan = open.plans[at];
            let outcome = match plan {
                Plan::Whole if !has_room => "buffer_limit",
                Plan::Lost(outcome) => outcome,
                _ => continue,
            };
            self.count("copies_total", rule.0, &mirror.label(), outcome, 1);
            open.plans[at] = Plan::Entered;
        }
        if !open.plans.contains(&Plan::Whole) {
            open.held.clear();
        }
        if rule.2.iter().zip(&open.plans).any(|(mirror, plan)| is_late(mirror, *plan)) {
            open.is_complete = true;
            self.open.insert(stream, open);
        }
        self.forget();
    }

    /// Sends a copy that is due, unless something forbids it; returns the outcome.
    fn send(
        &mut self,
        root: u32,
        stream: u32,
        rule: Rule,
        mirror: Mirror,
        headers: &Headers,
        body: &[u8],
    ) -> &'static str {
        let cluster = mirror.cluster(headers).unwrap();
        let outcome = self.may_send(root, rule, mirror, &cluster, headers, !body.is_empty());
        if outcome == "sent" {
            let compared = (rule.1 != Compare::Nothing).then_some(stream);
            let (compare, is_grpc) = (rule.1, is_grpc(headers));
            let call = Call { root, rule: rule.0, mirror: mirror.label(), is_grpc, compare, compared, primary: None };
            self.copies.push((Copy { root, stream, cluster, body: body.to_vec() }, call));
            if let Some(burst) = self.limits[&root].burst {
                *self.sent.entry(burst).or_default() += 1;
            }
        }
        outcome
    }

    /// Finds out whether a copy that is ready can be sent.
    fn may_send(
        &mut self,
        root: u32,
        rule: Rule,
        mirror: Mirror,
        cluster: &[u8],
        headers: &Headers,
        has_body: bool,
    ) -> &'static str {
        let is_refused = mirror.2 == Part::Json && has_body;
        let of_mirror = |call: &&Call| call.root == root && call.rule == rule.0 && call.mirror == mirror.label();
        let calls = || self.calls.values().chain(self.copies.iter().map(|(_, call)| call));
        if let Late::Errors(most) = mirror.3
            && calls().filter(of_mirror).count() >= most
        {
            return "in_flight_limit";
        }
        let limits = self.limits[&root];
        let waiting = self.calls.values().filter(|call| call.root == root).count();
        let is_whole = [":authority", ":path", ":method"].iter().all(|name| first(headers, name).is_some());
        if waiting + self.copies.len() >= limits.in_flight {
            "in_flight_limit"
        } else if limits.burst.is_some_and(|burst| self.sent.get(&burst).is_some_and(|sent| *sent >= burst)) {
            "rate_limit"
        } else if is_refused {
            "redaction_failed"
        } else if !is_whole {
            "no_cluster"
        } else {
            self.clusters.get(cluster).copied().unwrap_or("no_cluster")
        }
    }
}
