//! The plugin's configuration: from the bytes that Envoy hands over to checked types, by one door.
//!
//! [`Config::from_bytes`] takes JSON text or a `google.protobuf.Struct` and reports every violation, not only the
//! first. Nothing here knows of Envoy beyond its names.

mod compare;
mod document;
mod duration;
mod expression;
mod known;
mod list;
mod mirror;
mod moment;
mod names;
mod node;
mod on_invalid;
mod outline;
mod path;
mod pattern;
mod pointer;
mod redact;
mod rule;
mod sample;
mod schedule;
mod string_match;
mod target;
mod violation;
mod when;

pub use compare::Compare;
#[cfg(feature = "compare")]
pub use compare::{CompareBody, How, JsonRules};
pub use expression::{Expression, Pattern, Texts};
pub use known::Known;
pub use mirror::{Authority, BodyMode, HeaderEdits, Mirror, OnOversized, PathRewrite, Trace};
pub use moment::Moment;
pub use names::{HeaderName, MirrorLabel, RuleName, never_copied};
pub use on_invalid::OnInvalid;
pub use pattern::{Replacement, TooMuch};
pub use pointer::{Pointer, Pointers, Step};
pub use redact::{Redact, With};
pub use rule::{Match, Rule, Unrouted};
pub use sample::{KeySource, Ratio, Sample, Share, Sticky};
pub use schedule::{Period, Ramp};
pub use string_match::{Literal, StringMatch};
pub use target::Target;
pub use violation::{Violation, Violations};
pub use when::{Statuses, When};

use expression::Compiler;
use node::{Node, optional};
use outline::{Origin, Outline};
use serde_json::Value;
use std::rc::Rc;
use violation::Collector;

/// The longest body that may be asked to be copied, in bytes: copying one of this length takes the worker some 100 ms.
const MOST_BODY: u64 = 64 << 20;

/// The most that may be asked to be held in memory, in bytes: half of what a Wasm VM can have in Envoy (1 GiB).
const MOST_BUFFERED: u64 = 512 << 20;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least one rule; the first that matches a request decides it.
    pub rules: Vec<Rc<Rule>>,
    /// The header that marks copies and keeps marked requests from being copied; `None`: neither.
    pub marker: Option<HeaderName>,
    /// What copies may take.
    pub limits: Limits,
    /// What it would do if it had errors.
    pub on_invalid: OnInvalid,
}

/// What copies may take, per Envoy worker thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest body of a copy, in bytes.
    pub max_body_bytes: usize,
    /// The sum of all bodies held for copies, in bytes.
    pub max_buffered_bytes: usize,
    /// How many copies may be sent and not answered.
    pub max_in_flight: usize,
    /// How many copies a second the complete Envoy may send; `None`: any number.
    pub rate: Option<Rate>,
}

/// A token bucket's measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Copies a second, at least 1.
    pub per_second: u32,
    /// The size of the bucket, in copies, at least 1.
    pub burst: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_body_bytes: 1 << 20, max_buffered_bytes: 64 << 20, max_in_flight: 1024, rate: None }
    }
}

impl Config {
    /// Reads a configuration from JSON text or from the bytes of a `google.protobuf.Struct`.
    ///
    /// # Errors
    /// Every violation, in the order in which they were met; at least one. Of very many the first are told.
    ///
    /// ```
    /// use traffic_mirror::config::Config;
    ///
    /// let config = Config::from_bytes(br#"{"rules":[{"mirrors":[{"cluster":"mirror","percentage":5}]}]}"#);
    /// assert_eq!(config.unwrap().rules[0].name.as_str(), "rule-0");
    ///
    /// let errors = Config::from_bytes(br#"{"rules":[{"mirrors":[{"cluster":"mirror","percentage":140}]}]}"#);
    /// assert_eq!(
    ///     errors.unwrap_err().lines().collect::<Vec<_>>(),
    ///     ["rules[0].mirrors[0].percentage: 140: not between 0 and 100"],
    /// );
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Violations> {
        Self::from_bytes_sharing(bytes, &Known::default())
    }

    /// Reads a configuration as [`Self::from_bytes`] does. Rules and regular expressions that another configuration has, which
    /// was read with the same `known` and is still there, are not made again.
    ///
    /// # Errors
    /// As above.
    pub fn from_bytes_sharing(bytes: &[u8], known: &Known) -> Result<Self, Violations> {
        known.forget();
        let text = document::text(bytes);
        // What it has made of expressions is there for the second reading, too.
        let compiler = Compiler::new(&known.expressions);
        if let Some(Outline { value, origins }) = Outline::read(&text, known)
            && let Ok(config) = Self::of(&value, Collector::default(), &compiler, &origins, known)
        {
            return Ok(config);
        }
        // What is wrong is told as if no other configuration had been read.
        let violations = Collector::default();
        match document::read(&text, &violations) {
            Ok(value) => Self::of(&value, violations, &Compiler::new(&known.expressions), &[], known),
            Err(violation) => Err(violation.into()),
        }
    }

    /// Reads a tree of values. `violations`: those of the text; `origins`: what the rules are made of, where that is known.
    fn of(
        value: &Value,
        violations: Collector,
        compiler: &Compiler<'_>,
        origins: &[Origin],
        known: &Known,
    ) -> Result<Self, Violations> {
        let config = Self::read(&Node::root(value, &violations, compiler), origins, known);
        let violations = violations.into_violations();
        config.filter(|_| violations.is_empty()).ok_or(violations)
    }

    fn read(node: &Node<'_>, origins: &[Origin], known: &Known) -> Option<Self> {
        let mut object = node.object()?;
        let [rules, marker, limits, on_invalid] =
            ["rules", "markerHeader", "limits", "onInvalid"].map(|name| object.field(name));
        object.finish();
        let marker = match marker {
            Some(node) => read_marker(&node),
            None => Some(HeaderName::new("x-mirrored-request")),
        };
        let rules = match rules {
            Some(node) => {
                let marker = marker.as_ref().and_then(Option::as_ref);
                read_rules(&node, |index, node| read_rule(node, index, marker, origins.get(index), known))
            }
            None => object.missing("rules", "a list of at least one rule"),
        };
        let limits = optional(limits, Limits::read);
        let on_invalid = optional(on_invalid, OnInvalid::read);
        Some(Self {
            rules: rules?,
            marker: marker?,
            limits: limits?.unwrap_or_default(),
            on_invalid: on_invalid?.unwrap_or_default(),
        })
    }

    /// Returns the places that ask for pseudonyms, and so for a key.
    pub fn needs_key(&self) -> impl Iterator<Item = String> {
        let rules = self.rules.iter().enumerate();
        let mirrors =
            rules.flat_map(|(rule, rules)| rules.mirrors.iter().enumerate().map(move |mirror| (rule, mirror)));
        let needs = |mirror: &Mirror| mirror.redact.as_ref().is_some_and(|redact| redact.with == With::Pseudonym);
        mirrors
            .filter(move |(_, (_, mirror))| needs(mirror))
            .map(|(rule, (mirror, _))| format!("rules[{rule}].mirrors[{mirror}].redact.with"))
    }

    /// Returns the places that ask for headers or bodies of responses to be compared, and so for the compare build.
    pub fn needs_compare(&self) -> impl Iterator<Item = String> {
        let needs = |rule: &Rule| rule.compare.as_ref().is_some_and(|compare| compare.needs_content());
        let rules = self.rules.iter().enumerate().filter(move |(_, rule)| needs(rule));
        rules.map(|(index, _)| format!("rules[{index}].compare"))
    }

    /// Returns a configuration that no request matches, which no bytes can say: one needs rules.
    pub fn nothing() -> Self {
        Self { rules: Vec::new(), marker: None, limits: Limits::default(), on_invalid: OnInvalid::KeepLast }
    }
}

/// Reads the marker's name; none, where it is empty.
fn read_marker(node: &Node<'_>) -> Option<Option<HeaderName>> {
    match node.text()? {
        "" => Some(None),
        name => HeaderName::edited(node, name, None).map(Some),
    }
}

fn read_rules(node: &Node<'_>, read_rule: impl Fn(usize, &Node<'_>) -> Option<Rc<Rule>>) -> Option<Vec<Rc<Rule>>> {
    let nodes: Vec<_> = node.list()?.collect();
    if nodes.is_empty() {
        return node.refuse("a list of at least one rule");
    }
    let rules: Vec<_> = nodes.iter().enumerate().map(|(index, node)| (node, read_rule(index, node))).collect();
    let mut seen = std::collections::HashMap::new();
    for (node, rule) in &rules {
        if let Some(rule) = rule
            && let Some(first) = seen.insert(rule.name.as_str().to_owned(), &node.path)
        {
            node.refuse_as::<()>(format_args!("name {}", rule.name), format_args!("already the name of {first}"));
        }
    }
    rules.into_iter().map(|(_, rule)| rule).collect()
}

fn read_rule(
    node: &Node<'_>,
    index: usize,
    marker: Option<&HeaderName>,
    origin: Option<&Origin>,
    known: &Known,
) -> Option<Rc<Rule>> {
    if let Some(Origin { known: Some((rule, expressions)), .. }) = origin {
        return if node.compiler.count(expressions) { Some(Rc::clone(rule)) } else { node.refuse("fewer expressions") };
    }
    let asked = node.compiler.asked();
    let rule = Rc::new(Rule::read(node, index, marker)?);
    if let Some(Origin { source, .. }) = origin
        && !node.has_violations()
    {
        let is_named = node.value().get("name").is_some_and(|name| !name.is_null());
        known.keep(*source, &rule, node.compiler.since(asked), (!is_named).then_some(index));
    }
    Some(rule)
}

impl Limits {
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let [body, buffered, in_flight] =
            ["maxBodyBytes", "maxBufferedBytes", "maxInFlight"].map(|name| object.field(name));
        let [per_second, burst] = ["maxRequestsPerSecond", "burst"].map(|name| object.field(name));
        object.finish();
        let default = Self::default();
        let count = |field: Option<Node<'_>>, most: u64, default: usize| match field {
            Some(node) => usize::try_from(node.whole(0..=most)?).ok(),
            None => Some(default),
        };
        let max_buffered_bytes = count(buffered, MOST_BUFFERED, default.max_buffered_bytes);
        let max_body_bytes = read_body(body, max_buffered_bytes, default.max_body_bytes);
        let max_in_flight = match in_flight {
            Some(node) => mirror::read_in_flight(&node),
            None => Some(default.max_in_flight),
        };
        let copies = |node: &Node<'_>| node.whole(1..=1_000_000_000).and_then(|number| u32::try_from(number).ok());
        let rate = match (per_second, burst) {
            (Some(per_second), burst) => {
                let per_second = copies(&per_second);
                let burst = optional(burst, |node| copies(node));
                (|| Some(Some(Rate { per_second: per_second?, burst: burst?.or(per_second)? })))()
            }
            (None, Some(burst)) => burst.refuse("only with maxRequestsPerSecond"),
            (None, None) => Some(None),
        };
        Some(Self {
            max_body_bytes: max_body_bytes?,
            max_buffered_bytes: max_buffered_bytes?,
            max_in_flight: max_in_flight?,
            rate: rate?,
        })
    }
}

/// Reads the longest body, which has to fit into what may be held of all; `default` too is cut to that.
fn read_body(field: Option<Node<'_>>, buffered: Option<usize>, default: usize) -> Option<usize> {
    let most = buffered.unwrap_or(usize::MAX);
    let Some(node) = field else { return Some(default.min(most)) };
    match usize::try_from(node.whole(0..=MOST_BODY)?).ok()? {
        bytes if bytes > most => node.refuse(format_args!("at most maxBufferedBytes, {most}")),
        bytes => Some(bytes),
    }
}

#[cfg(test)]
mod tests;
