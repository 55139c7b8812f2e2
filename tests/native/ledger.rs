//! The books as they ought to be: a second account of requests and copies, kept from the README alone. It knows nothing
//! of the filter and is told what Envoy tells the filter.

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
    Nothing,
}

/// What a rule does with requests that Envoy has no cluster for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrouted {
    Ignore,
    Mirror,
}

#[derive(Debug, Clone, Copy)]
pub struct Mirror(pub Target, pub Share, pub Part);

/// A rule, which decides the requests whose path is its name.
#[derive(Debug, Clone, Copy)]
pub struct Rule(pub &'static str, pub Compare, pub &'static [Mirror], pub Unrouted);

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub body: usize,
    pub buffered: usize,
    pub in_flight: usize,
    /// Copies that may be sent at all, before a second has passed.
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
}

/// A copy that was sent and not answered.
#[derive(Debug)]
struct Call {
    root: u32,
    rule: &'static str,
    mirror: String,
    is_grpc: bool,
    /// The stream whose answer is compared with this call's.
    compared: Option<u32>,
}

/// A copy and its request, of a rule that compares. A side that is over has a status, or none where it has no answer.
#[derive(Debug)]
struct Pair {
    stream: u32,
    rule: &'static str,
    mirror: String,
    primary: Option<Option<u16>>,
    copy: Option<Option<u16>>,
    /// What counts is a status that cannot be seen.
    is_grpc: bool,
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
    /// The clusters that Envoy knows, with the outcome of a copy that is sent there.
    pub clusters: BTreeMap<Vec<u8>, &'static str>,
    /// What was sent in this step: copies whose tokens are not known yet.
    copies: Vec<(Copy, Call)>,
    /// A copy was lost for its rate.
    pub is_limited_by_rate: bool,
}

fn first<'h>(headers: &'h Headers, name: &str) -> Option<&'h [u8]> {
    headers.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| &value[..])
}

impl Mirror {
    pub fn label(self) -> String {
        match self.0 {
            Target::Cluster(name) => name.to_owned(),
            Target::Header(name) | Target::Allowed(name, _) => format!("header:{name}"),
        }
    }

    fn gets(self, headers: &Headers) -> bool {
        match self.1 {
            Share::All => true,
            Share::None => false,
            Share::HalfOfUsers => xxh64(first(headers, "x-user").unwrap(), 0) % 1_000_000 < 500_000,
        }
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
        let is_wanted = rule.2.iter().any(|mirror| mirror.gets(&headers) && mirror.cluster(&headers).is_ok());
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
        let plan = |mirror: &Mirror| match (mirror.cluster(&headers), mirror.2) {
            _ if !mirror.gets(&headers) => Plan::Lost("unsampled"),
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
        self.open.insert(stream, Open { root, rule, headers, plans, held: Vec::new() });
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
        let open = self.open.get_mut(&stream).unwrap();
        if !chunk.is_empty() && open.plans.contains(&Plan::Whole) {
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
        if let Some(open) = self.open.get_mut(&stream) {
            let waiting = open.plans.iter_mut().filter(|plan| matches!(plan, Plan::Whole | Plan::Bodiless));
            waiting.for_each(|plan| *plan = Plan::Lost("incomplete"));
        }
        self.enter_if_decided(stream, true);
        let pairs: Vec<_> = self.pairs.values_mut().filter(|pair| pair.stream == stream).collect();
        let Some(rule) = pairs.first().map(|pair| pair.rule) else { return false };
        let status = status.filter(|status| *status >= 200);
        pairs.into_iter().for_each(|pair| pair.primary = Some(status));
        let class = status.map_or("none", |status| ["2xx", "3xx", "4xx", "5xx"][usize::from(status / 100 - 2)]);
        self.count("primary_responses_total", rule, "", class, 1);
        if status.is_some() {
            self.count("primary_response_time_ms", rule, "", "", 1);
        }
        self.settle_pairs();
        true
    }

    /// A call was cancelled by the host, which says nothing of it.
    pub fn cancelled(&mut self, token: u32) {
        self.answered(token, &Headers::new());
    }

    /// The answer to a call came.
    pub fn answered(&mut self, token: u32, headers: &Headers) {
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
            pair.copy = Some(status.and_then(|status| String::from_utf8_lossy(status).parse().ok()));
            self.settle_pairs();
        }
    }

    /// Enters the pairs of which both sides are over.
    fn settle_pairs(&mut self) {
        for (_, Pair { rule, mirror, primary, copy, is_grpc, .. }) in
            self.pairs.extract_if(.., |_, pair| pair.primary.is_some() && pair.copy.is_some()).collect::<Vec<_>>()
        {
            let (primary, copy) = (primary.flatten(), copy.flatten());
            if primary.is_some() && copy.is_some() {
                self.count("slower_ms or faster_ms", rule, &mirror, "", 1);
            }
            let is_error = |status: u16| status > 499;
            let result = match (primary, copy) {
                (Some(primary), Some(copy)) if primary == copy && is_grpc => "not_compared",
                (Some(primary), Some(copy)) if primary == copy => "same",
                (Some(primary), Some(copy)) if is_error(copy) && !is_error(primary) => "mirror_error",
                (Some(primary), Some(copy)) if is_error(primary) && !is_error(copy) => "primary_error",
                (Some(_), Some(_)) => "different",
                (Some(primary), None) if !is_error(primary) => "primary_only",
                (None, Some(_)) => "mirror_only",
                (_, None) => "neither",
            };
            self.count("compared_total", rule, &mirror, result, 1);
        }
    }

    /// Hands over the copies of this step, which the host has given these tokens.
    pub fn take_copies(&mut self, tokens: &[u32]) -> Vec<Copy> {
        assert_eq!(tokens.len(), self.copies.len(), "not as many copies as there are to be");
        let (copies, calls): (Vec<_>, Vec<_>) = self.copies.drain(..).unzip();
        for (token, call) in tokens.iter().zip(calls) {
            if let Some(stream) = call.compared {
                let (rule, mirror) = (call.rule, call.mirror.clone());
                self.pairs
                    .insert(*token, Pair { stream, rule, mirror, primary: None, copy: None, is_grpc: call.is_grpc });
            }
            self.calls.insert(*token, call);
        }
        copies
    }

    /// Returns what there is to be, without zeros.
    pub fn accounts(&self) -> BTreeMap<Account, i64> {
        let mut accounts = self.counts.clone();
        let held: usize = self.open.values().map(|open| open.held.len()).sum();
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
        let Open { root, rule, headers, plans, held } = self.open.remove(&stream).unwrap();
        for (mirror, plan) in rule.2.iter().zip(plans) {
            let outcome = match plan {
                Plan::Entered => continue,
                Plan::Lost(outcome) => outcome,
                Plan::Whole | Plan::Bodiless => {
                    let is_refused = mirror.2 == Part::Json && !held.is_empty();
                    self.send(root, mirror.cluster(&headers).unwrap(), &headers, is_refused)
                }
            };
            self.count("copies_total", rule.0, &mirror.label(), outcome, 1);
            if outcome == "sent" {
                let cluster = mirror.cluster(&headers).unwrap();
                let body = if plan == Plan::Whole { held.clone() } else { Vec::new() };
                let kinds = headers.iter().filter(|(name, _)| name == b"content-type").map(|(_, kind)| &kind[..]);
                let kind = kinds.collect::<Vec<_>>().join(&b","[..]);
                let is_grpc = kind == b"application/grpc" || kind.starts_with(b"application/grpc+");
                let compared = (rule.1 == Compare::Status).then_some(stream);
                let call = Call { root, rule: rule.0, mirror: mirror.label(), is_grpc, compared };
                self.copies.push((Copy { root, stream, cluster, body }, call));
                if let Some(burst) = self.limits[&root].burst {
                    *self.sent.entry(burst).or_default() += 1;
                }
            }
        }
    }

    /// Finds out whether a copy that is ready can be sent. `is_refused`: what is to be hidden in it cannot be found.
    fn send(&mut self, root: u32, cluster: Vec<u8>, headers: &Headers, is_refused: bool) -> &'static str {
        let limits = self.limits[&root];
        let waiting = self.calls.values().filter(|call| call.root == root).count();
        let is_whole = [":authority", ":path", ":method"].iter().all(|name| first(headers, name).is_some());
        if waiting + self.copies.len() >= limits.in_flight {
            "in_flight_limit"
        } else if limits.burst.is_some_and(|burst| self.sent.get(&burst).is_some_and(|sent| *sent >= burst)) {
            self.is_limited_by_rate = true;
            "rate_limit"
        } else if is_refused {
            "redaction_failed"
        } else if !is_whole {
            "no_cluster"
        } else {
            self.clusters.get(&cluster).copied().unwrap_or("no_cluster")
        }
    }
}
