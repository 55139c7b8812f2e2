//! Names that have rules: of headers, of cookies and query parameters, of clusters, of rules and mirrors.

use super::node::Node;
use super::target::Target;
use std::collections::BTreeMap;
use std::fmt;

/// Tells whether a header of this name (in lower case) stays behind when a request is copied: it belongs to one hop, or the
/// host or the filter writes it itself, or it is one of Envoy's control headers, which the router that sends the copy would obey.
///
/// No edit may name such a header either. `te` is left to the copy, which may carry `trailers`.
pub fn never_copied(name: &[u8]) -> bool {
    // The length tells most names apart, and a switch over it is one step; a match of all names would be tried one by one.
    let is_of_hop = match name.len() {
        2 => name == b"te",
        4 => name == b"host",
        6 => name == b"expect",
        7 => name == b"trailer" || name == b"upgrade",
        10 => name == b"connection" || name == b"keep-alive",
        14 => name == b"content-length" || name == b"http2-settings",
        16 => name == b"proxy-connection",
        17 => name == b"transfer-encoding",
        // A copy tells of its primary by these.
        21 => name == b"x-mirrored-primary-ms",
        22 => name == b"x-mirrored-traceparent",
        25 => name == b"x-mirrored-primary-status",
        _ => false,
    };
    is_of_hop || name.strip_prefix(b"x-envoy-").is_some_and(is_control)
}

/// Returns whether this is one of Envoy's control headers, without `x-envoy-`.
fn is_control(name: &[u8]) -> bool {
    matches!(
        name,
        b"retry-on"
            | b"retry-grpc-on"
            | b"max-retries"
            | b"retriable-header-names"
            | b"retriable-status-codes"
            | b"hedge-on-per-try-timeout"
            | b"upstream-rq-timeout-ms"
            | b"upstream-rq-per-try-timeout-ms"
            | b"upstream-rq-timeout-alt-response"
            | b"upstream-alt-stat-name"
            | b"upstream-stream-duration-ms"
            | b"expected-rq-timeout-ms"
            | b"internal"
            | b"attempt-count"
    )
}

/// The name of a header: a token in lower case, or one of HTTP/2's pseudo headers where a match asks for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeaderName(Box<str>);

impl HeaderName {
    /// Makes a name of `text`, in lower case; `None` where it is not a token.
    pub fn new(text: &str) -> Option<Self> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let token = !text.is_empty() && text.bytes().all(is_token);
        token.then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// Returns the name, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the name of a header that a request is asked for: pseudo headers too; `host` is `:authority` to Envoy.
    #[inline(never)]
    pub(super) fn asked_for(node: &Node<'_>, text: &str) -> Option<Self> {
        if [":authority", ":method", ":path", ":scheme"].contains(&text) {
            return Some(Self(text.into()));
        }
        match Self::new(text) {
            Some(name) if name.as_str() == "host" => Some(Self(":authority".into())),
            Some(name) => Some(name),
            None => node.refuse("not the name of a header"),
        }
    }

    /// Reads the name of a header that a copy may be given or may lose; `marker` is the one that every copy carries. The
    /// node may be the header's value, which may be a secret, so that errors show the name.
    #[inline(never)]
    pub(super) fn edited(node: &Node<'_>, text: &str, marker: Option<&Self>) -> Option<Self> {
        match Self::new(text) {
            Some(name) if Some(&name) == marker => {
                node.refuse_as(name, "the markerHeader, which every copy carries: it cannot be edited")
            }
            Some(name) if never_copied(name.0.as_bytes()) => {
                let owner = if name.0.starts_with("x-mirrored-") { "the filter" } else { "the host or a single hop" };
                node.refuse_as(name, format_args!("{owner} owns this header: it cannot be edited"))
            }
            Some(name) => Some(name),
            None if text.starts_with(':') => node.refuse_as(text, "a pseudo header: use rewrite"),
            None => node.refuse_as(text, "not the name of a header"),
        }
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The headers that one map or list names, each as it is spelled there.
#[derive(Default)]
pub(super) struct Spellings(BTreeMap<HeaderName, Box<str>>);

impl Spellings {
    /// Takes in a header; refuses one that stands there already, in whatever spelling.
    #[inline(never)]
    pub(super) fn add(&mut self, node: &Node<'_>, spelled: &str, name: HeaderName) -> Option<HeaderName> {
        match self.0.insert(name.clone(), spelled.into()) {
            Some(other) => node.refuse_as(spelled, format_args!("the same header as {other}, which stands here too")),
            None => Some(name),
        }
    }
}

/// Tells whether `text` may stand in a header's value: no control characters, so that it cannot end the line.
pub(super) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// The label of a rule in metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleName(Box<str>);

impl RuleName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn by_index(index: usize) -> Self {
        Self(format!("rule-{index}").into())
    }

    #[inline(never)]
    pub(super) fn read(node: &Node<'_>) -> Option<Self> {
        read_label(node).map(Self)
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The label of a mirror in metrics and logs: its name, or that of its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorLabel(Box<str>);

impl MirrorLabel {
    /// Returns the label.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[inline(never)]
    pub(super) fn read(node: &Node<'_>) -> Option<Self> {
        read_label(node).map(Self)
    }

    /// Makes the label of a mirror without a name; `None` where nothing is left of it.
    ///
    /// Envoy removes the dots at the end of a tag's value, as its symbol table does of any name. So does this, so that labels
    /// are told apart, and are the same in the log as in the metrics.
    pub(super) fn of(target: &Target) -> Option<Self> {
        let text = target.to_string();
        let label = text.trim_end_matches('.');
        (!label.is_empty()).then(|| Self(label.into()))
    }
}

impl fmt::Display for MirrorLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[inline(never)]
fn read_label(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(is_label) {
        Some(text.into())
    } else {
        node.refuse("not 1 to 64 of A-Z, a-z, 0-9, _ and -")
    }
}

/// Reads the name of a cookie or of a key in a query.
#[inline(never)]
pub(super) fn key(node: &Node<'_>, text: &str) -> Option<Box<str>> {
    if text.is_empty() || !is_header_value(text) {
        return node.refuse("a name that is empty or has control characters");
    }
    Some(text.into())
}

/// Reads the name of an Envoy cluster: anything that can stand in a metric's name and come out of it again, where tags
/// are `tag=.=value;.;`.
#[inline(never)]
pub(super) fn cluster(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    let comes_out = !text.contains("=.=") && !text.contains(";.;") && !text.ends_with(";.");
    if text.is_empty() || text.len() > 1024 || !is_header_value(text) || !comes_out {
        return node.refuse(
            "not the name of a cluster: 1 to 1024 characters, no control characters, no \"=.=\", no \";.;\", no \";.\" at its end",
        );
    }
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_tokens_in_lower_case() {
        for (text, expected) in [
            ("X-User", Some("x-user")),
            ("a!#$%&'*+-.^_`|~1", Some("a!#$%&'*+-.^_`|~1")),
            ("", None),
            ("a b", None),
            ("a:b", None),
            (":path", None),
            ("ä", None),
            ("a\n", None),
        ] {
            assert_eq!(HeaderName::new(text).as_ref().map(HeaderName::as_str), expected, "{text:?}");
        }
    }

    #[test]
    fn what_belongs_to_a_hop_or_to_the_router_stays_behind() {
        let hop = "connection keep-alive proxy-connection te trailer transfer-encoding upgrade expect http2-settings host \
                   content-length";
        let control = "retry-on retry-grpc-on max-retries retriable-header-names retriable-status-codes \
                       hedge-on-per-try-timeout upstream-rq-timeout-ms upstream-rq-per-try-timeout-ms \
                       upstream-rq-timeout-alt-response upstream-alt-stat-name upstream-stream-duration-ms \
                       expected-rq-timeout-ms internal attempt-count";
        let control = control.split_whitespace().map(|name| format!("x-envoy-{name}"));
        let told = ["primary-status", "primary-ms", "traceparent"].map(|name| format!("x-mirrored-{name}"));
        for name in hop.split_whitespace().map(str::to_owned).chain(control).chain(told) {
            assert!(never_copied(name.as_bytes()), "{name}");
        }
        for name in ["x-envoy-original-path", "x-envoy-", "via", "cookie", "te2", ":path"] {
            assert!(!never_copied(name.as_bytes()), "{name}");
        }
    }
}
