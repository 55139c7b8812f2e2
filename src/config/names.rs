//! Names that have rules: of headers, of clusters, of rules.

use super::node::Node;
use std::fmt;

/// Headers that belong to one hop or that the host writes itself; no edit may name them, no copy carries them.
const HOP_BY_HOP: [&str; 11] = [
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
    "te",
];

/// Envoy's control headers: the router that sends the copy would obey them.
const CONTROL: [&str; 14] = [
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

/// Tells whether a header of this name (in lower case) stays behind when a request is copied.
pub fn stays_behind(name: &[u8]) -> bool {
    if let Some(rest) = name.strip_prefix(b"x-envoy-") {
        return CONTROL.iter().any(|control| control.as_bytes().get(8..) == Some(rest));
    }
    HOP_BY_HOP.iter().any(|hop| hop.as_bytes() == name)
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

    /// Reads the name of a header that a copy may be given or may lose. The node may be the header's value, which may
    /// be a secret, so that errors show the name.
    pub(super) fn edited(node: &Node<'_>, text: &str) -> Option<Self> {
        match Self::new(text) {
            Some(name) if stays_behind(name.0.as_bytes()) => {
                node.refuse_as(name, "the host or a single hop owns this header: it cannot be edited")
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

    pub(super) fn read(node: &Node<'_>) -> Option<Self> {
        let text = node.text()?;
        let is_label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(is_label) {
            Some(Self(text.into()))
        } else {
            node.refuse("not 1 to 64 of A-Z, a-z, 0-9, _ and -")
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the name of an Envoy cluster: anything that can stand in a metric's name and come out of it again.
pub(super) fn cluster(node: &Node<'_>) -> Option<Box<str>> {
    let text = node.text()?;
    if text.is_empty() || text.len() > 1024 || !is_header_value(text) || text.contains(";.;") {
        return node.refuse("not the name of a cluster: 1 to 1024 characters, no control characters, no \";.;\"");
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
        for name in HOP_BY_HOP.iter().chain(&CONTROL) {
            assert!(stays_behind(name.as_bytes()), "{name}");
        }
        for name in ["x-envoy-original-path", "x-envoy-", "via", "cookie", "te2", ":path"] {
            assert!(!stays_behind(name.as_bytes()), "{name}");
        }
    }
}
