//! A configuration and a request, as bytes spell them; and what is to become of the request, worked out from the README
//! mirror by mirror and pair by pair.

use crate::fuzz::choice::{self, HEADERS, MOMENTS};
use crate::fuzz::given::{Given, Route};
use crate::fuzz::trace::{self, OLD, Trace};
use crate::fuzz::when::Response;
use crate::fuzz::wire;
use crate::host::Headers;
use arbitrary::{Result, Unstructured};
use serde_json::Value;
use traffic_mirror::config::{Authority, BodyMode, Config, Mirror, OnOversized, PathRewrite, Rule, Target, Unrouted};
use traffic_mirror::core::copy::shadow;
use traffic_mirror::core::header_map::HeaderMap;
use traffic_mirror::core::matcher::Decision;
use traffic_mirror::core::outcome::{Ignored, Outcome};
use traffic_mirror::core::request::split_path;

/// Headers that never get into a copy, beside those that `connection` lists.
const LEFT_BEHIND: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "http2-settings",
    "host",
    "content-length",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-retriable-header-names",
    "x-envoy-retriable-status-codes",
    "x-envoy-hedge-on-per-try-timeout",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
    "x-envoy-upstream-rq-timeout-alt-response",
    "x-envoy-upstream-alt-stat-name",
    "x-envoy-upstream-stream-duration-ms",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-internal",
    "x-envoy-attempt-count",
    "x-mirrored-traceparent",
    "x-mirrored-primary-status",
    "x-mirrored-primary-ms",
];

pub const ADDRESSES: &[Option<&str>] =
    &[Some("10.1.2.3:80"), None, Some("[fd00::1]:443"), Some("/run/socket"), Some("")];
pub const ROUTES: &[Route] = &[
    (Some("default"), Some("primary")),
    (None, Some("primary")),
    (Some(""), Some("primary")),
    (Some("direct"), None),
    (None, Some("")),
];

/// What clients get, if anything.
pub const STATUSES: &[Option<u16>] =
    &[Some(200), None, Some(404), Some(503), Some(500), Some(504), Some(429), Some(100), Some(302)];

/// How many nanoseconds upstreams take, if the host says so.
pub const LATENCIES: &[Option<i64>] = &[
    None,
    Some(0),
    Some(500_000_000),
    Some(500_000_001),
    Some(1_000_001),
    Some(2_999_999_999),
    Some(3_600_000_000_001),
    Some(-1),
    Some(i64::MAX),
];

/// How many nanoseconds lie between the end of a request and that of its stream.
pub const ELAPSED: &[u64] = &[7_200_000_000_000, 0, 500_000_000, 500_000_001, 1_000_000];

/// By how many nanoseconds a request misses one of the moments.
pub const OFFSETS: &[i64] = &[0, -1, 1];

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Headers,
    Body,
    Trailers,
    Never,
}

pub const ENDS: &[End] = &[End::Headers, End::Body, End::Trailers, End::Never];

/// What else than the core a request goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The exports too, which takes ten times as long.
    Exports,
    Core,
    /// The core, after a request of which all headers were read.
    CoreAgain,
}

pub const WAYS: &[Way] = &[Way::Exports, Way::Core, Way::CoreAgain];

/// What the host gives when it is asked for a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gift {
    Whole,
    Nothing,
    Less,
}

pub const GIFTS: &[Gift] = &[Gift::Whole, Gift::Whole, Gift::Whole, Gift::Nothing, Gift::Less];

/// A chunk of a body, by its size: what it holds tells where it stood.
#[derive(Debug)]
pub struct Chunk {
    pub bytes: Vec<u8>,
    pub gift: Gift,
}

impl Chunk {
    fn read(bytes: &mut Unstructured<'_>, number: usize) -> Result<Self> {
        let gift = *bytes.choose(GIFTS)?;
        let size = usize::from(bytes.arbitrary::<u16>()?);
        Ok(Self { bytes: (0..size).map(|at| (at ^ number) as u8).collect(), gift })
    }

    /// Appends a part of it; false where the host gives less than there is.
    pub fn append(&self, to: &mut Vec<u8>, start: usize, size: usize) -> bool {
        let is_given = self.gift == Gift::Whole;
        if is_given {
            to.extend_from_slice(&self.bytes[start..][..size]);
        }
        is_given
    }
}

/// A configuration and one request.
#[derive(Debug)]
pub struct Case {
    pub configuration: String,
    pub config: Config,
    /// The same as JSON.
    pub json: Value,
    pub given: Given,
    /// The headers as they came, and what is to be read in them.
    pub raw: Vec<u8>,
    pub pairs: Headers,
    pub chunks: Vec<Chunk>,
    pub end: End,
    pub way: Way,
    /// What the client gets.
    pub response: Response,
    /// When the request comes, in nanoseconds since 1970.
    pub now: u64,
}

impl Case {
    /// Reads a case; what the bytes do not say is the first choice there is.
    pub fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let json = choice::configuration(bytes)?;
        let configuration = json.to_string();
        let config = Config::from_bytes(configuration.as_bytes());
        let config = config.unwrap_or_else(|violations| panic!("{configuration}: {violations:?}"));
        let (address, route) = (*bytes.choose(ADDRESSES)?, *bytes.choose(ROUTES)?);
        let (end, way) = (*bytes.choose(ENDS)?, *bytes.choose(WAYS)?);
        let response = Response {
            code: *bytes.choose(STATUSES)?,
            latency: *bytes.choose(LATENCIES)?,
            elapsed: *bytes.choose(ELAPSED)?,
        };
        let now = bytes.choose(MOMENTS)?.1.saturating_add_signed(*bytes.choose(OFFSETS)?);
        let more = (0..bytes.int_in_range(0..=6)?).map(|_| header(bytes)).collect::<Result<Headers>>()?;
        let size = usize::from(bytes.arbitrary::<u16>()?).min(bytes.len());
        let mut raw = bytes.bytes(size)?.to_vec();
        if let (false, Some(pairs)) = (more.is_empty(), wire::strict(&raw)) {
            raw = wire::write(&[pairs, more].concat());
        }
        let mut chunks = Vec::new();
        while end != End::Headers && !bytes.is_empty() && chunks.len() < 32 {
            chunks.push(Chunk::read(bytes, chunks.len())?);
        }
        let given = Given::new(HeaderMap::from_abi(raw.clone()), address, route);
        let pairs = wire::lenient(&raw);
        Ok(Self { configuration, config, json, given, raw, pairs, chunks, end, way, response, now })
    }

    /// Returns the mirrors of a rule, as the configuration's text has them.
    pub fn mirrors(&self, rule: usize) -> &[Value] {
        self.json["rules"][rule]["mirrors"].as_array().unwrap()
    }

    /// Finds out why the request, which a rule would mirror, is one of those that are never mirrored, if it is.
    pub fn never_mirrored(&self, rule: &Rule) -> Option<Ignored> {
        let has = |name: &str| self.first(name).is_some();
        if self.config.marker.as_ref().is_some_and(|marker| has(marker.as_str())) {
            Some(Ignored::Marked)
        } else if self.first(":method") == Some(b"CONNECT") {
            Some(Ignored::Connect)
        } else if has("upgrade") && self.is_listed(b"upgrade") {
            Some(Ignored::Upgrade)
        } else {
            let is_routed = self.given.cluster.is_some_and(|cluster| !cluster.is_empty());
            (rule.unrouted == Unrouted::Ignore && !is_routed).then_some(Ignored::Unrouted)
        }
    }

    /// Finds the cluster of a mirror's copy, or why it has none.
    pub fn cluster_for(&self, mirror: &Mirror) -> std::result::Result<(), Outcome> {
        let Target::Header { name, allowed } = &mirror.target else { return Ok(()) };
        let named = self.first(name.as_str()).filter(|named| !named.is_empty()).ok_or(Outcome::NoClusterHeader)?;
        if allowed.as_ref().is_some_and(|allowed| allowed.iter().all(|name| name.as_bytes() != named)) {
            return Err(Outcome::ClusterNotAllowed);
        }
        Ok(())
    }

    /// Works out the body of a mirror's copy, if it is selected, or why there is none. `when`: what it waits for, if anything.
    pub fn body_for(&self, mirror: &Mirror, when: Option<&Value>) -> std::result::Result<Vec<u8>, Outcome> {
        let body = self.body_at_the_end(mirror)?;
        match when {
            // What waits takes at most half of the room.
            Some(_) if body.len() > self.config.limits.max_buffered_bytes / 2 => Err(Outcome::BufferLimit),
            Some(when) if !self.response.is_wanted(when) => Err(Outcome::NotWanted),
            _ => Ok(body),
        }
    }

    fn body_at_the_end(&self, mirror: &Mirror) -> std::result::Result<Vec<u8>, Outcome> {
        self.cluster_for(mirror)?;
        let limits = &self.config.limits;
        let announced =
            self.first("content-length").and_then(|length| std::str::from_utf8(length).ok()).unwrap_or_default();
        let is_number = !announced.is_empty() && announced.bytes().all(|byte| byte.is_ascii_digit());
        let mut body = Vec::new();
        let length = announced.parse().unwrap_or(usize::MAX);
        let mut is_too_large = is_number && length > limits.max_body_bytes;
        if mirror.body == BodyMode::Omit {
            return self.unless_incomplete(body);
        }
        for chunk in self.chunks.iter().filter(|chunk| !chunk.bytes.is_empty()) {
            body.extend_from_slice(&chunk.bytes);
            is_too_large = is_too_large || body.len() > limits.max_body_bytes;
            if !is_too_large && (body.len() > limits.max_buffered_bytes || chunk.gift != Gift::Whole) {
                return Err(Outcome::BufferLimit);
            }
        }
        match (is_too_large, mirror.on_oversized) {
            (false, _) => self.unless_incomplete(body),
            (true, OnOversized::Omit) => self.unless_incomplete(Vec::new()),
            (true, OnOversized::Skip) => Err(Outcome::BodyTooLarge),
        }
    }

    fn unless_incomplete(&self, body: Vec<u8>) -> std::result::Result<Vec<u8>, Outcome> {
        if self.end == End::Never { Err(Outcome::Incomplete) } else { Ok(body) }
    }

    /// Works out what becomes of the headers of traces.
    fn trace(&self, mirror: &Mirror, asked: &Value) -> Trace<'_> {
        match asked.get("trace").and_then(Value::as_str) {
            None | Some("keep") => Trace::Keep,
            Some("unsampled") => Trace::Unsampled,
            Some(_) => {
                let all = self.pairs.iter().filter(|(name, _)| name == b"traceparent").collect::<Vec<_>>();
                let is_removed = mirror.headers.remove.iter().any(|name| name.as_str() == "traceparent");
                let old = match &all[..] {
                    [(name, value)] if !is_removed && !self.is_listed(name) => Some(&value[..]),
                    _ => None,
                };
                Trace::New(old.filter(|old| trace::parts(old).is_some()), all.len())
            }
        }
    }

    /// Works out the headers of a mirror's copy, pair by pair. `asked`: the mirror as the configuration's text has it.
    pub fn headers_for(&self, mirror: &Mirror, asked: &Value, decision: Decision) -> Headers {
        let edits = &mirror.headers;
        let trace = self.trace(mirror, asked);
        let marker = self.config.marker.as_ref();
        let mut copy = Headers::new();
        let has_body = self.chunks.iter().any(|chunk| !chunk.bytes.is_empty());
        let length = self.pairs.iter().position(|(name, _)| name == b"content-length");
        for (at, (name, value)) in self.pairs.iter().enumerate() {
            let is_empty_length = length == Some(at) && value == b"0" && !has_body;
            let is = |other: &str| other.as_bytes() == name;
            let set = edits.set.iter().find(|(set, _)| is(set.as_str()));
            let is_left_behind = !is_empty_length && LEFT_BEHIND.iter().any(|left| is(left))
                || is("te") && !value.eq_ignore_ascii_case(b"trailers")
                || self.is_listed(name)
                || edits.remove.iter().any(|removed| is(removed.as_str()))
                || marker.is_some_and(|marker| is(marker.as_str()))
                || set.is_some() && copy.iter().any(|(found, _)| found == name);
            if name.first() == Some(&b':') {
                copy.push((name.clone(), self.pseudo_for(mirror, decision, name, value)));
            } else if !is_left_behind {
                let value = set.map_or_else(|| trace.value(name, value), |(_, value)| Some(value.as_bytes().to_vec()));
                copy.extend(value.map(|value| (name.clone(), value)));
            }
        }
        let has = |copy: &Headers, name: &str| copy.iter().any(|(found, _)| found == name.as_bytes());
        let more = edits.set.iter().filter(|(name, _)| !has(&copy, name.as_str())).chain(&edits.add);
        let more = more.filter(|(name, _)| Some(name) != marker);
        let more = more.map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()));
        let more: Headers = more.collect();
        copy.extend(more);
        copy.extend(trace.old().map(|old| (OLD.into(), old.to_vec())));
        let told = asked.get("when").map(|_| self.response.told()).unwrap_or_default();
        copy.extend(told.into_iter().map(|(name, value)| (name.into(), value.into_bytes())));
        copy.extend(marker.map(|name| (name.as_str().as_bytes().to_vec(), b"true".to_vec())));
        copy
    }

    fn pseudo_for(&self, mirror: &Mirror, decision: Decision, name: &[u8], value: &[u8]) -> Vec<u8> {
        match (name, &mirror.authority, &mirror.path) {
            (b":authority", Authority::Shadow, _) => shadow(value),
            (b":authority", Authority::Replace(new), _) => new.as_bytes().to_vec(),
            (b":path", _, PathRewrite::Matched(new)) => {
                let rest = &self.first(":path").unwrap()[decision.matched_uri.unwrap()..];
                [new.as_bytes(), rest].concat()
            }
            (b":path", _, PathRewrite::Regex(pattern, replacement)) => {
                let (path, query) = split_path(self.first(":path").unwrap());
                // A request has one path. Of several, each stays where the first has nothing to replace.
                let rewritten = replacement.apply(pattern, path, query).unwrap();
                rewritten.filter(|path| path.starts_with(b"/")).unwrap_or_else(|| value.to_vec())
            }
            _ => value.to_vec(),
        }
    }

    /// Returns the first value of a header.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.pairs.iter().find(|(found, _)| found == name.as_bytes()).map(|(_, value)| &value[..])
    }

    /// Tells whether `connection` lists a name.
    fn is_listed(&self, name: &[u8]) -> bool {
        let lines = self.pairs.iter().filter(|(found, _)| found == b"connection");
        let mut listed = lines.flat_map(|(_, line)| line.split(|byte| *byte == b','));
        listed.any(|listed| listed.trim_ascii().eq_ignore_ascii_case(name))
    }
}

/// Reads a header: one of the pieces, of which one byte may be another.
fn header(bytes: &mut Unstructured<'_>) -> Result<(Vec<u8>, Vec<u8>)> {
    let (name, value) = bytes.choose(HEADERS)?;
    let (place, byte) = (usize::from(bytes.arbitrary::<u8>()?), bytes.arbitrary()?);
    let mut value = value.as_bytes().to_vec();
    if let Some(changed) = place.checked_sub(1).and_then(|place| value.get_mut(place)) {
        *changed = byte;
    }
    Ok((name.as_bytes().to_vec(), value))
}
