//! A mirror: where copies go, which requests are sampled, and how a copy differs from its request.

use super::duration;
use super::expression::Pattern;
use super::names::{HeaderName, MirrorLabel, Spellings, is_header_value};
use super::node::{HIDDEN, Node, all, optional};
use super::pattern::{self, Replacement};
use super::redact::Redact;
use super::sample::Sample;
use super::target::Target;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

/// One mirror of a rule.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// The label in metrics and logs; no other mirror of the rule has it.
    pub label: MirrorLabel,
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
    /// What is hidden, before anything else is done; `None`: nothing.
    pub redact: Option<Redact>,
    /// Whether the copy has the request's body.
    pub body: BodyMode,
    /// What a body above `limits.maxBodyBytes` does to the copy.
    pub on_oversized: OnOversized,
    /// How long the mirror may take to answer, 1 ms to 1 h.
    pub timeout: Duration,
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
    Regex(Rc<Pattern>, Replacement),
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
    /// Reads a mirror. `rewritable`: whether every match of its rule has a `uri` that `rewrite.uri` can replace; `marker`: the
    /// header that no edit may name.
    #[inline(never)]
    pub(super) fn read(node: &Node<'_>, rewritable: bool, marker: Option<&HeaderName>) -> Option<Self> {
        let mut object = node.object()?;
        let name = object.field("name");
        let target = Target::read(&mut object);
        let sample = Sample::read(&mut object);
        let [rewrite, headers, redact] = ["rewrite", "headers", "redact"].map(|name| object.field(name));
        let keep_authority = object.field("disableShadowHostSuffixAppend");
        let [body, on_oversized, timeout] = ["body", "onOversizedBody", "timeout"].map(|name| object.field(name));
        object.finish();

        let label = match name {
            Some(node) => MirrorLabel::read(&node),
            None => target.as_ref().and_then(|target| {
                let nothing = "no label is left of it, for Envoy removes the dots at the end: give the mirror a name";
                MirrorLabel::of(target).or_else(|| node.refuse_as(format_args!("cluster {target}"), nothing))
            }),
        };
        let rewrite = optional(rewrite, |node| read_rewrite(node, rewritable));
        let keep_authority = optional(keep_authority, Node::flag);
        let headers = optional(headers, |node| HeaderEdits::read(node, marker));
        let removed = headers.as_ref().and_then(Option::as_ref).map_or(&[][..], |headers| &headers.remove);
        let redact = optional(redact, |node| Redact::read(node, removed, marker));
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
            label: label?,
            target: target?,
            sample: sample?,
            authority: authority.map_or(shadow, Authority::Replace),
            path,
            headers: headers?.unwrap_or_default(),
            redact: redact?,
            body: body?.unwrap_or(BodyMode::Include),
            on_oversized: on_oversized?.unwrap_or(OnOversized::Skip),
            timeout: timeout?.unwrap_or(Duration::from_secs(5)),
        })
    }
}

#[inline(never)]
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

#[inline(never)]
fn read_uri(node: &Node<'_>, rewritable: bool) -> Option<PathRewrite> {
    let text = node.text()?;
    if !rewritable {
        return node.refuse("every entry of the rule's match needs an exact or prefix uri, which this replaces");
    }
    if !text.starts_with('/') || !is_header_value(text) || text.contains(['?', '#', ' ', '\t']) {
        return node.refuse("not a path: it begins with /, and has no ?, no # and no white space");
    }
    Some(PathRewrite::Matched(text.into()))
}

#[inline(never)]
fn read_regex_rewrite(node: &Node<'_>) -> Option<PathRewrite> {
    let mut object = node.object()?;
    let [pattern, rewrite] = ["match", "rewrite"].map(|name| object.field(name));
    object.finish();
    let regex = match &pattern {
        Some(node) => pattern::anywhere(node),
        None => object.missing("match", "a regular expression"),
    };
    let replacement = match rewrite {
        Some(node) => Replacement::read(&node, regex.as_deref()),
        None => object.missing("rewrite", "what matches are replaced with"),
    };
    Some(PathRewrite::Regex(regex?, replacement?))
}

impl HeaderEdits {
    #[inline(never)]
    fn read(node: &Node<'_>, marker: Option<&HeaderName>) -> Option<Self> {
        let mut object = node.object()?;
        let [remove, set, add] = ["remove", "set", "add"].map(|name| object.field(name));
        object.finish();
        let remove = optional(remove, |node| {
            let mut known = Spellings::default();
            all(node.list()?.map(|node| {
                let text = node.text()?;
                known.add(&node, text, HeaderName::edited(&node, text, marker)?)
            }))
        });
        let [set, add] = [set, add].map(|field| {
            optional(field, |node| {
                let mut known = Spellings::default();
                all(node.entries()?.map(|(text, node)| {
                    let name = HeaderName::edited(&node, text, marker);
                    let name = name.and_then(|name| known.add(&node, text, name));
                    let value = read_value(&node);
                    Some((name?, value?))
                }))
            })
        });
        Some(Self { remove: remove?.unwrap_or_default(), set: set?.unwrap_or_default(), add: add?.unwrap_or_default() })
    }
}

/// Reads a header's value, which may be a secret and so is never repeated in an error.
#[inline(never)]
fn read_value(node: &Node<'_>) -> Option<Box<str>> {
    match node.as_text() {
        Some(text) if is_header_value(text) => Some(text.into()),
        Some(_) => node.refuse_as(HIDDEN, "control characters cannot stand in a header"),
        None => node.refuse_as(HIDDEN, "not a string"),
    }
}

/// Reads a duration as Go and proto3 JSON write it: `5s`, `1.5s`, `100ms`, `1m30s`.
#[inline(never)]
fn read_timeout(node: &Node<'_>) -> Option<Duration> {
    // The host counts in whole milliseconds, and takes 0 for ever.
    const ALLOWED: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(1);
    let text = node.text()?;
    match duration::parse(text) {
        Some(timeout) if ALLOWED.contains(&timeout) => Some(timeout),
        _ => node.refuse("not a duration between 1ms and 1h, such as 500ms or 5s"),
    }
}
