//! A configuration and a request, as bytes spell them; and what is to become of the request, worked out from the README
//! mirror by mirror and pair by pair.

use crate::fuzz::choice;
use crate::fuzz::given::{Given, Route};
use crate::fuzz::wire;
use crate::host::Headers;
use arbitrary::{Result, Unstructured};
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
pub const STATUSES: &[Option<u16>] = &[Some(200), None, Some(404)];

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
    pub given: Given,
    /// The headers as they came, and what is to be read in them.
    pub raw: Vec<u8>,
    pub pairs: Headers,
    pub chunks: Vec<Chunk>,
    pub end: End,
    pub way: Way,
    /// What the client gets.
    pub status: Option<u16>,
}

impl Case {
    /// Reads a case; what the bytes do not say is the first choice there is.
    pub fn read(bytes: &mut Unstructured<'_>) -> Result<Self> {
        let configuration = choice::configuration(bytes)?.to_string();
        let config = Config::from_bytes(configuration.as_bytes());
        let config = config.unwrap_or_else(|violations| panic!("{configuration}: {violations:?}"));
        let (address, route) = (*bytes.choose(ADDRESSES)?, *bytes.choose(ROUTES)?);
        let (end, way) = (*bytes.choose(ENDS)?, *bytes.choose(WAYS)?);
        let status = *bytes.choose(STATUSES)?;
        let size = usize::from(bytes.arbitrary::<u16>()?).min(bytes.len());
        let raw = bytes.bytes(size)?.to_vec();
        let mut chunks = Vec::new();
        while end != End::Headers && !bytes.is_empty() && chunks.len() < 32 {
            chunks.push(Chunk::read(bytes, chunks.len())?);
        }
        let given = Given::new(HeaderMap::from_abi(raw.clone()), address, route);
        let pairs = wire::lenient(&raw);
        Ok(Self { configuration, config, given, raw, pairs, chunks, end, way, status })
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

    /// Works out the body of a mirror's copy, if it is selected, or why there is none.
    pub fn body_for(&self, mirror: &Mirror) -> std::result::Result<Vec<u8>, Outcome> {
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

    /// Works out the headers of a mirror's copy, pair by pair.
    pub fn headers_for(&self, mirror: &Mirror, decision: Decision) -> Headers {
        let edits = &mirror.headers;
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
                copy.push((name.clone(), set.map_or(value.clone(), |(_, value)| value.as_bytes().to_vec())));
            }
        }
        let has = |copy: &Headers, name: &str| copy.iter().any(|(found, _)| found == name.as_bytes());
        let more = edits.set.iter().filter(|(name, _)| !has(&copy, name.as_str())).chain(&edits.add);
        let more = more.filter(|(name, _)| Some(name) != marker);
        let more = more.map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()));
        let more: Headers = more.collect();
        copy.extend(more);
        copy.extend(marker.map(|name| (name.as_str().as_bytes().to_vec(), b"true".to_vec())));
        copy
    }

    fn pseudo_for(&self, mirror: &Mirror, decision: Decision, name: &[u8], value: &[u8]) -> Vec<u8> {
        match (name, &mirror.authority, &mirror.path) {
            (b":authority", Authority::Shadow, _) => shadow(self.first(":authority").unwrap()).concat(),
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
