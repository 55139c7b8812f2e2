//! The copy of a request: its authority, its path and its headers.

use crate::config::{Authority, HeaderName, Mirror, PathRewrite, stays_behind};
use crate::headers::HeaderMap;
use crate::request::split_path;
use std::borrow::Cow;

/// What the marker header says.
const MARKED: &[u8] = b"true";

/// What a copy has in place of the request's `:authority` and `:path`; `None`: the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewritten<'a> {
    authority: Option<Cow<'a, [u8]>>,
    path: Option<Cow<'a, [u8]>>,
}

impl<'a> Rewritten<'a> {
    /// Finds the authority and the path of a mirror's copy. `matched_uri` is the length of what the rule's `uri` matched.
    pub fn new(mirror: &'a Mirror, headers: &'a HeaderMap, matched_uri: Option<usize>) -> Self {
        let authority = match &mirror.authority {
            Authority::Keep => None,
            Authority::Replace(authority) => Some(Cow::Borrowed(authority.as_bytes())),
            Authority::Shadow => headers.first(b":authority").map(|authority| Cow::Owned(shadow(authority))),
        };
        let path = || headers.first(b":path").map(split_path);
        let path = match &mirror.path {
            PathRewrite::Keep => None,
            PathRewrite::Matched(replacement) => path().map(|(path, query)| {
                let rest = path.get(matched_uri.unwrap_or_default()..).unwrap_or_default();
                Cow::Owned([replacement.as_bytes(), rest, query].concat())
            }),
            PathRewrite::Regex(regex, replacement) => {
                path().and_then(|(path, query)| match replacement.apply(regex, path) {
                    Cow::Borrowed(_) => None,
                    Cow::Owned(mut path) => {
                        path.extend_from_slice(query);
                        Some(Cow::Owned(path))
                    }
                })
            }
        };
        Self { authority, path }
    }

    /// Lists the headers of the copy: the request's, in order, without what belongs to one hop or to the first
    /// router, with the mirror's edits and with the marker.
    pub fn headers(
        &'a self,
        mirror: &'a Mirror,
        headers: &'a HeaderMap,
        marker: Option<&'a HeaderName>,
    ) -> Vec<(&'a [u8], &'a [u8])> {
        let edits = &mirror.headers;
        let marker = marker.map(|name| name.as_str().as_bytes());
        let is_removed = |name: &[u8]| edits.remove.iter().any(|removed| removed.as_str().as_bytes() == name);
        let setting = |name: &[u8]| edits.set.iter().find(|(set, _)| set.as_str().as_bytes() == name);
        let named_by_connection = named_by_connection(headers);
        let mut copied = Vec::with_capacity(headers.iter().count().saturating_add(4));
        for (name, value) in headers.iter() {
            if name.first() == Some(&b':') {
                let rewritten = match name {
                    b":authority" => self.authority.as_deref(),
                    b":path" => self.path.as_deref(),
                    _ => None,
                };
                copied.push((name, rewritten.unwrap_or(value)));
            } else if is_left_behind(name, value)
                || named_by_connection.iter().any(|named| named.eq_ignore_ascii_case(name))
                || is_removed(name)
                || Some(name) == marker
            {
            } else if let Some((_, new)) = setting(name) {
                // The first of several values is replaced, the others go.
                if !copied.iter().any(|(copied, _)| *copied == name) {
                    copied.push((name, new.as_bytes()));
                }
            } else {
                copied.push((name, value));
            }
        }
        for (name, value) in &edits.set {
            let name = name.as_str().as_bytes();
            if !copied.iter().any(|(copied, _)| *copied == name) {
                copied.push((name, value.as_bytes()));
            }
        }
        copied.extend(edits.add.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())));
        // Last, so that no edit can take it away: it is what keeps copies from being copied.
        copied.extend(marker.map(|name| (name, MARKED)));
        copied
    }
}

/// Tells whether a header belongs to one hop or to the first router.
fn is_left_behind(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"te" => !value.eq_ignore_ascii_case(b"trailers"),
        _ => stays_behind(name),
    }
}

/// Lists the headers that `connection` names: they belong to one hop too.
fn named_by_connection(headers: &HeaderMap) -> Vec<&[u8]> {
    let lines = headers.iter().filter(|(header, _)| *header == b"connection");
    lines.flat_map(|(_, line)| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii).collect()
}

/// Adds `-shadow` to the host of an authority, as Envoy's own mirror does.
///
/// ```
/// use traffic_mirror::copy::shadow;
///
/// assert_eq!(shadow(b"reviews:9080"), b"reviews-shadow:9080");
/// assert_eq!(shadow(b"[::1]"), b"[::1]-shadow");
/// ```
pub fn shadow(authority: &[u8]) -> Vec<u8> {
    let port = authority.iter().rposition(|byte| *byte == b':');
    let port = port.filter(|colon| !authority.get(*colon..).unwrap_or_default().contains(&b']'));
    let (host, port) = port.and_then(|colon| authority.split_at_checked(colon)).unwrap_or((authority, b""));
    [host, b"-shadow", port].concat()
}
