//! A mirror: where copies go, which requests are sampled, and how a copy differs from its request.

use super::names::{self, HeaderName, is_header_value};
use super::node::{Node, Object};
use super::pattern::{self, Replacement};
use super::rule::{all, key, optional};
use fundu::{CustomDurationParser, CustomTimeUnit, TimeUnit};
use regex::bytes::Regex;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// One mirror of a rule.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Where the copies go.
    pub target: Target,
    /// Which requests are copied.
    pub sample: Sample,
    /// What `:authority` becomes.
    pub authority: Authority,
    /// What the path becomes.
    pub path: PathRewrite,
    /// What is done to the other headers.
    pub headers: HeaderEdits,
    /// Whether the copy has the request's body.
    pub body: BodyMode,
    /// What a body above `limits.maxBodyBytes` does to the copy.
    pub on_oversized: OnOversized,
    /// How long the mirror may take to answer, 1 ms to 1 h.
    pub timeout: Duration,
}

/// How a mirror's cluster is found.
#[derive(Debug, Clone)]
pub enum Target {
    /// An Envoy cluster, by name.
    Cluster(Box<str>),
    /// The cluster that a header of the request names.
    Header {
        /// The header.
        name: HeaderName,
        /// The clusters that it may name; `None`: any.
        allowed: Option<Vec<Box<str>>>,
    },
}

/// The mirror's label in metrics and logs: its cluster, or `header:<name>`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name) => f.write_str(name),
            Self::Header { name, .. } => write!(f, "header:{name}"),
        }
    }
}

/// Which requests are copied to a mirror.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The share of requests.
    pub ratio: Ratio,
    /// Where the key of a sticky sample is found; `None`: at random.
    pub sticky: Option<Sticky>,
}

/// A share of requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// The number of equal parts that a share is counted in.
    pub const PARTS: u32 = 1_000_000;

    /// All requests.
    pub const ALWAYS: Self = Self(Self::PARTS);

    /// Makes a share of a percentage, to four decimals; `None` outside 0 to 100.
    pub fn from_percentage(percentage: f64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
        (0.0..=100.0).contains(&percentage).then(|| Self((percentage * 10_000.0).round() as u32))
    }

    /// Makes a share of a fraction, to the nearest millionth; `None` above one, or of nothing.
    pub fn from_fraction(numerator: u64, denominator: u64) -> Option<Self> {
        if denominator == 0 || numerator > denominator {
            return None;
        }
        let (numerator, denominator) = (u128::from(numerator), u128::from(denominator));
        let scaled = numerator.saturating_mul(u128::from(Self::PARTS)).saturating_add(denominator / 2);
        u32::try_from(scaled.checked_div(denominator)?).ok().map(Self)
    }

    /// Tells whether no request is in the share.
    pub fn is_never(self) -> bool {
        self.0 == 0
    }

    /// Tells whether every request is in the share.
    pub fn is_always(self) -> bool {
        self == Self::ALWAYS
    }

    /// Tells whether a part, `0..PARTS`, is in the share. A smaller share lies inside a bigger one.
    pub fn includes(self, part: u32) -> bool {
        part < self.0
    }
}

/// A sticky sample: the same key is always selected or never.
#[derive(Debug, Clone)]
pub struct Sticky {
    /// Where the key is found.
    pub key: KeySource,
    /// The seed of XXH64.
    pub seed: u64,
}

/// Where the key of a sticky sample is found.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In a header, several values joined with `,`.
    Header(HeaderName),
    /// In a cookie.
    Cookie(Box<str>),
    /// In the query: the first value of the key, as it stands there.
    QueryParameter(Box<str>),
    /// The address of the downstream peer, without the port.
    SourceIp,
}

/// What `:authority` becomes on the copy.
#[derive(Debug, Clone)]
pub enum Authority {
    /// As Envoy's own mirror does it: `-shadow` is added to the host.
    Shadow,
    /// Unchanged.
    Keep,
    /// Replaced.
    Replace(Box<str>),
}

/// What the path becomes on the copy; the query stays.
#[derive(Debug, Clone)]
pub enum PathRewrite {
    /// Unchanged.
    Keep,
    /// Replaces the exact or prefix `uri` that matched.
    Matched(Box<str>),
    /// Replaces what a regular expression finds.
    Regex(Regex, Replacement),
}

/// What is done to the copy's headers: remove, then set, then add.
#[derive(Debug, Clone, Default)]
pub struct HeaderEdits {
    /// Headers that go.
    pub remove: Vec<HeaderName>,
    /// Headers that get this one value.
    pub set: Vec<(HeaderName, Box<str>)>,
    /// Values that are added to what a header has.
    pub add: Vec<(HeaderName, Box<str>)>,
}

/// Whether a copy has the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// It has.
    Include,
    /// It has none.
    Omit,
}

/// What a body above the limit does to the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnOversized {
    /// There is no copy.
    Skip,
    /// The copy has no body.
    Omit,
}

impl Mirror {
    /// Reads a mirror. `rewritable`: whether every match of its rule has a `uri` that `rewrite.uri` can replace.
    pub(super) fn read(node: &Node<'_>, rewritable: bool) -> Option<Self> {
        let mut object = node.object()?;
        let target = Target::read(&mut object);
        let ratio = read_ratio(&mut object);
        let [sticky, rewrite, headers] = ["consistentHash", "rewrite", "headers"].map(|name| object.field(name));
        let keep_authority = object.field("disableShadowHostSuffixAppend");
        let [body, on_oversized, timeout] = ["body", "onOversizedBody", "timeout"].map(|name| object.field(name));
        object.finish();

        let sticky = optional(sticky, Sticky::read);
        let rewrite = optional(rewrite, |node| read_rewrite(node, rewritable));
        let keep_authority = optional(keep_authority, Node::flag);
        let headers = optional(headers, HeaderEdits::read);
        let body = optional(body, |node| match node.text()? {
            "include" => Some(BodyMode::Include),
            "omit" => Some(BodyMode::Omit),
            _ => node.refuse("include or omit"),
        });
        let on_oversized = optional(on_oversized, |node| match node.text()? {
            "skip" => Some(OnOversized::Skip),
            "omit" => Some(OnOversized::Omit),
            _ => node.refuse("skip or omit"),
        });
        let timeout = optional(timeout, read_timeout);

        let (authority, path) = rewrite?.unwrap_or((None, PathRewrite::Keep));
        let shadow = if keep_authority?.unwrap_or(false) { Authority::Keep } else { Authority::Shadow };
        Some(Self {
            target: target?,
            sample: Sample { ratio: ratio?, sticky: sticky? },
            authority: authority.map_or(shadow, Authority::Replace),
            path,
            headers: headers?.unwrap_or_default(),
            body: body?.unwrap_or(BodyMode::Include),
            on_oversized: on_oversized?.unwrap_or(OnOversized::Skip),
            timeout: timeout?.unwrap_or(Duration::from_secs(5)),
        })
    }
}

impl Target {
    fn read(object: &mut Object<'_>) -> Option<Self> {
        const KINDS: [&str; 3] = ["cluster", "destination", "clusterHeader"];
        let choice = object.choice(&KINDS);
        let allowed = object.field("allowedClusters");
        let by_header = object.has_any(&["clusterHeader"]);
        if allowed.is_some() && !by_header {
            object.refuse("allowedClusters", "only with clusterHeader");
        }
        let allowed = optional(allowed, |node| all(node.list()?.map(|name| names::cluster(&name))));
        let Some((kind, node)) = choice else {
            if !object.has_any(&KINDS) {
                object.refuse("no cluster", "exactly one of cluster, destination, clusterHeader");
            }
            return None;
        };
        match kind {
            "cluster" => names::cluster(&node).map(Self::Cluster),
            "destination" => read_destination(&node).map(Self::Cluster),
            _ => Some(Self::Header { name: HeaderName::asked_for(&node, node.text()?)?, allowed: allowed? }),
        }
    }
}

/// Reads Istio's `Destination` as the name that Istio gives its cluster: `outbound|port|subset|host`.
fn read_destination(node: &Node<'_>) -> Option<Box<str>> {
    let mut object = node.object()?;
    let [host, port, subset] = ["host", "port", "subset"].map(|name| object.field(name));
    object.finish();
    let part = |node: &Node<'_>| {
        let text = names::cluster(node)?;
        if text.contains('|') { node.refuse("a name with | in it") } else { Some(text) }
    };
    let host = match host {
        Some(node) => part(&node),
        None => object.missing("host", "the full name of a service, such as mirror.test.svc.cluster.local"),
    };
    let port = match port {
        Some(node) => {
            let mut port = node.object()?;
            let number = port.field("number");
            port.finish();
            match number {
                Some(node) => node.whole(1..=65_535),
                None => port.missing("number", "a port between 1 and 65535"),
            }
        }
        None => object.missing("port", "{ number: 1 to 65535 }"),
    };
    let subset = optional(subset, part);
    let (host, port, subset) = (host?, port?, subset?.unwrap_or_default());
    Some(format!("outbound|{port}|{subset}|{host}").into())
}

fn read_ratio(object: &mut Object<'_>) -> Option<Ratio> {
    const KINDS: [&str; 2] = ["percentage", "fraction"];
    let Some((kind, node)) = object.choice(&KINDS) else {
        return (!object.has_any(&KINDS)).then_some(Ratio::ALWAYS);
    };
    if kind == "percentage" {
        return Ratio::from_percentage(node.number()?).or_else(|| node.refuse("not between 0 and 100"));
    }
    let mut fraction = node.object()?;
    let [numerator, denominator] = ["numerator", "denominator"].map(|name| fraction.field(name));
    fraction.finish();
    let numerator = match numerator {
        Some(node) => node.whole(0..=u64::MAX),
        None => fraction.missing("numerator", "a whole number"),
    };
    let denominator = match denominator {
        Some(node) => node.whole(1..=u64::MAX),
        None => fraction.missing("denominator", "a whole number, at least 1"),
    };
    Ratio::from_fraction(numerator?, denominator?).or_else(|| node.refuse("a numerator above the denominator"))
}

impl Sticky {
    fn read(node: &Node<'_>) -> Option<Self> {
        const KINDS: [&str; 4] = ["httpHeaderName", "httpCookieName", "httpQueryParameterName", "useSourceIp"];
        let mut object = node.object()?;
        let choice = object.choice(&KINDS);
        let seed = object.field("seed");
        object.finish();
        let seed = optional(seed, |node| node.whole(0..=u64::MAX));
        let Some((kind, node)) = choice else {
            if !object.has_any(&KINDS) {
                object.refuse("no key", format_args!("exactly one of {}", KINDS.join(", ")));
            }
            return None;
        };
        let key = match kind {
            "httpHeaderName" => KeySource::Header(HeaderName::asked_for(&node, node.text()?)?),
            "httpCookieName" => KeySource::Cookie(key(&node, node.text()?)?),
            "httpQueryParameterName" => KeySource::QueryParameter(key(&node, node.text()?)?),
            _ if node.flag()? => KeySource::SourceIp,
            _ => return node.refuse("true, or another key"),
        };
        Some(Self { key, seed: seed?.unwrap_or(0) })
    }
}

fn read_rewrite(node: &Node<'_>, rewritable: bool) -> Option<(Option<Box<str>>, PathRewrite)> {
    let mut object = node.object()?;
    let authority = object.field("authority");
    let path = object.choice(&["uri", "uriRegexRewrite"]);
    let both = path.is_none() && object.has_any(&["uri", "uriRegexRewrite"]);
    object.finish();
    let authority = optional(authority, |node| {
        let text = node.text()?;
        let fits = !text.is_empty() && is_header_value(text) && !text.contains([' ', '/', '\t']);
        if fits { Some(text.into()) } else { node.refuse("not a host, or a host and a port") }
    });
    let path = match path {
        None => (!both).then_some(PathRewrite::Keep),
        Some(("uri", node)) => read_uri(&node, rewritable),
        Some((_, node)) => read_regex_rewrite(&node),
    };
    Some((authority?, path?))
}

fn read_uri(node: &Node<'_>, rewritable: bool) -> Option<PathRewrite> {
    let text = node.text()?;
    if !rewritable {
        return node.refuse("every entry of the rule's match needs an exact or prefix uri, which this replaces");
    }
    if !text.starts_with('/') || !is_header_value(text) || text.contains(['?', '#', ' ']) {
        return node.refuse("not a path: it begins with / and has no query");
    }
    Some(PathRewrite::Matched(text.into()))
}

fn read_regex_rewrite(node: &Node<'_>) -> Option<PathRewrite> {
    let mut object = node.object()?;
    let [pattern, rewrite] = ["match", "rewrite"].map(|name| object.field(name));
    object.finish();
    let regex = match &pattern {
        Some(node) => pattern::anywhere(node),
        None => object.missing("match", "a regular expression"),
    };
    let replacement = match rewrite {
        Some(node) => Replacement::read(&node, regex.as_ref()),
        None => object.missing("rewrite", "what matches are replaced with"),
    };
    Some(PathRewrite::Regex(regex?, replacement?))
}

impl HeaderEdits {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let [remove, set, add] = ["remove", "set", "add"].map(|name| object.field(name));
        object.finish();
        let remove = optional(remove, |node| all(node.list()?.map(|name| HeaderName::edited(&name, name.text()?))));
        let [set, add] = [set, add].map(|field| {
            optional(field, |node| {
                all(node.entries()?.map(|(name, node)| {
                    let name = HeaderName::edited(&node, name);
                    let value = read_value(&node);
                    Some((name?, value?))
                }))
            })
        });
        Some(Self { remove: remove?.unwrap_or_default(), set: set?.unwrap_or_default(), add: add?.unwrap_or_default() })
    }
}

/// Reads a header's value, which may be a secret and so is never repeated in an error.
fn read_value(node: &Node<'_>) -> Option<Box<str>> {
    match node.as_text() {
        Some(text) if is_header_value(text) => Some(text.into()),
        Some(_) => node.refuse_as("(not shown)", "control characters cannot stand in a header"),
        None => node.refuse_as("(not shown)", "not a string"),
    }
}

/// Reads a duration as Go and proto3 JSON write it: `5s`, `1.5s`, `100ms`, `1m30s`.
fn read_timeout(node: &Node<'_>) -> Option<Duration> {
    const UNITS: [CustomTimeUnit<'_>; 6] = [
        CustomTimeUnit::with_default(TimeUnit::NanoSecond, &["ns"]),
        CustomTimeUnit::with_default(TimeUnit::MicroSecond, &["us", "µs", "μs"]),
        CustomTimeUnit::with_default(TimeUnit::MilliSecond, &["ms"]),
        CustomTimeUnit::with_default(TimeUnit::Second, &["s"]),
        CustomTimeUnit::with_default(TimeUnit::Minute, &["m"]),
        CustomTimeUnit::with_default(TimeUnit::Hour, &["h"]),
    ];
    // The host counts in whole milliseconds, and takes 0 for ever.
    const ALLOWED: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
    let text = node.text()?;
    let parser = CustomDurationParser::builder()
        .time_units(&UNITS)
        .disable_exponent()
        .disable_infinity()
        .parse_multiple(None)
        .build();
    // A bare number would be taken for seconds.
    let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
    let parsed = has_unit.then(|| parser.parse(text).ok()).flatten();
    match parsed.and_then(|duration| Duration::try_from(duration).ok()) {
        Some(timeout) if ALLOWED.contains(&timeout) => Some(timeout),
        _ => node.refuse("not a duration between 1ms and 1h, such as 500ms or 5s"),
    }
}
