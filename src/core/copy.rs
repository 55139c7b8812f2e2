//! The copy of a request: its authority, its path and its headers.

use crate::config::{Authority, HeaderName, Mirror, PathRewrite, TooMuch, never_copied};
use crate::core::headers::{HeaderMap, Writer};
use crate::core::request::split_path;
use std::borrow::Cow;

/// What the marker header says.
const MARKED: &[u8] = b"true";

/// Why a header of the request is not on its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCopied {
    /// It belongs to one hop or to the first router.
    OfHop,
    /// `connection` lists it.
    Listed,
    /// `headers.remove` of the mirror names it.
    Removed,
    /// It is the marker, which the copy gets anew.
    Marker,
}

/// What keeps headers of one request off its copy to one mirror.
pub struct Sieve<'a> {
    listed: Vec<&'a [u8]>,
    removed: &'a [HeaderName],
    marker: Option<&'a [u8]>,
}

impl<'a> Sieve<'a> {
    /// Reads what decides: the request's `connection`, the mirror's edits, the marker.
    pub fn new(mirror: &'a Mirror, headers: &'a HeaderMap, marker: Option<&'a HeaderName>) -> Self {
        let marker = marker.map(|name| name.as_str().as_bytes());
        Self { listed: headers.connection().collect(), removed: &mirror.headers.remove, marker }
    }

    /// Tells why a header stays behind; `None`: it does not. Pseudo headers never do.
    pub fn not_copied(&self, name: &[u8], value: &[u8]) -> Option<NotCopied> {
        if name.first() == Some(&b':') {
            None
        } else if is_of_hop(name, value) {
            Some(NotCopied::OfHop)
        } else if self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(name)) {
            Some(NotCopied::Listed)
        } else if self.removed.iter().any(|removed| removed.as_str().as_bytes() == name) {
            Some(NotCopied::Removed)
        } else {
            (Some(name) == self.marker).then_some(NotCopied::Marker)
        }
    }
}

/// What a copy has in place of the request's `:authority` and `:path`; `None`: the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rewritten<'a> {
    authority: Option<Cow<'a, [u8]>>,
    path: Option<Cow<'a, [u8]>>,
}

impl<'a> Rewritten<'a> {
    /// Finds the authority and the path of a mirror's copy. `matched_uri` is the length of what the rule's `uri` matched. A
    /// path stays as it is where what it would become does not begin with `/`.
    ///
    /// # Errors
    /// The path would become longer than the host takes, or its rewrite would take too long.
    pub fn new(mirror: &'a Mirror, headers: &'a HeaderMap, matched_uri: Option<usize>) -> Result<Self, TooMuch> {
        let authority = match &mirror.authority {
            Authority::Keep => None,
            Authority::Replace(authority) => Some(Cow::Borrowed(authority.as_bytes())),
            Authority::Shadow => headers.first(b":authority").map(|authority| Cow::Owned(shadow(authority))),
        };
        let path = headers.first(b":path").map(split_path);
        let path = match (&mirror.path, path) {
            (PathRewrite::Keep, _) | (_, None) => None,
            (PathRewrite::Matched(replacement), Some((path, query))) => {
                let rest = path.get(matched_uri.unwrap_or_default()..).unwrap_or_default();
                Some([replacement.as_bytes(), rest, query].concat())
            }
            (PathRewrite::Regex(pattern, replacement), Some((path, query))) => {
                replacement.apply(pattern, path, query)?
            }
        };
        let path = path.filter(|path| path.first() == Some(&b'/')).map(Cow::Owned);
        Ok(Self { authority, path })
    }

    /// Writes the headers of the copy, in the ABI's encoding: the request's, in order, without what belongs to one hop or
    /// to the first router, with the mirror's edits and with the marker.
    pub fn write_headers(&self, mirror: &Mirror, headers: &HeaderMap, marker: Option<&HeaderName>) -> Vec<u8> {
        let edits = &mirror.headers;
        let sieve = Sieve::new(mirror, headers, marker);
        let mut is_set = vec![false; edits.set.len()];
        let more = edits.set.len().saturating_add(edits.add.len()).saturating_add(1);
        let mut writer = Writer::new(headers.len().saturating_add(more), headers.size());

        // What stays as it is, from here to the header at hand, is copied in one piece.
        let mut run = headers.iter();
        let mut walk = headers.iter();
        loop {
            let before = walk.clone();
            let Some((name, value)) = walk.next() else { break };
            let replacement = if name.first() == Some(&b':') {
                match self.pseudo(name) {
                    Some(rewritten) => Some(rewritten),
                    None => continue,
                }
            } else if sieve.not_copied(name, value).is_some() {
                None
            } else {
                let mut settings = edits.set.iter().zip(&mut is_set);
                match settings.find(|((set, _), _)| set.as_str().as_bytes() == name) {
                    // The first of several values is replaced, the others go.
                    Some(((_, new), is_set)) => (!std::mem::replace(is_set, true)).then_some(new.as_bytes()),
                    None => continue,
                }
            };
            writer.copy(&run, &before);
            if let Some(replacement) = replacement {
                writer.push(name, replacement);
            }
            run = walk.clone();
        }
        writer.copy(&run, &walk);

        let appended = edits.set.iter().zip(&is_set).filter(|(_, is_set)| !**is_set).map(|(pair, _)| pair);
        for (name, value) in appended.chain(&edits.add) {
            writer.push(name.as_str().as_bytes(), value.as_bytes());
        }
        // Last and alone, for no edit may name it: it is what keeps copies from being copied.
        if let Some(marker) = sieve.marker {
            writer.push(marker, MARKED);
        }
        writer.finish()
    }

    fn pseudo(&self, name: &[u8]) -> Option<&[u8]> {
        match name {
            b":authority" => self.authority.as_deref(),
            b":path" => self.path.as_deref(),
            _ => None,
        }
    }
}

/// Tells whether a header belongs to one hop or to the first router.
fn is_of_hop(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"te" => !value.eq_ignore_ascii_case(b"trailers"),
        _ => never_copied(name),
    }
}

/// Adds `-shadow` to the host of an authority, as Envoy's own mirror does.
///
/// ```
/// use traffic_mirror::core::copy::shadow;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn mirror(fields: Value) -> Mirror {
        let mut mirror = json!({ "cluster": "mirror" });
        mirror.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        let rule = json!({ "match": [{ "uri": { "prefix": "/api" } }], "mirrors": [mirror] });
        let text = json!({ "rules": [rule] }).to_string();
        Config::from_bytes(text.as_bytes()).unwrap().rules[0].mirrors[0].clone()
    }

    fn marker() -> HeaderName {
        HeaderName::new("x-mirrored-request").unwrap()
    }

    /// Copies a request; lists the copy's headers, one a line.
    fn copy(mirror: &Mirror, request: &[(&str, &[u8])], marker: Option<&HeaderName>) -> Vec<String> {
        let headers = HeaderMap::from_pairs(request.iter().map(|(name, value)| (name.as_bytes(), *value)));
        let rewritten = Rewritten::new(mirror, &headers, Some("/api".len())).unwrap();
        let copied = HeaderMap::from_abi(rewritten.write_headers(mirror, &headers, marker));
        copied.iter().map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii())).collect()
    }

    #[test]
    fn a_copy_has_the_headers_of_its_request_in_order_and_the_marker() {
        let request: [(&str, &[u8]); 6] = [
            (":authority", b"reviews:9080"),
            (":path", b"/api?q"),
            (":method", b"GET"),
            ("b", b"caf\xe9"),
            ("a", b"1"),
            ("b", b"2"),
        ];
        assert_eq!(
            copy(&mirror(json!({})), &request, Some(&marker())),
            [
                ":authority: reviews-shadow:9080",
                ":path: /api?q",
                ":method: GET",
                "b: caf\\xe9",
                "a: 1",
                "b: 2",
                "x-mirrored-request: true"
            ]
        );
        assert_eq!(copy(&mirror(json!({})), &request, None).len(), 6);
    }

    #[test]
    fn what_belongs_to_one_hop_or_to_the_router_stays_behind() {
        let request: [(&str, &[u8]); 9] = [
            ("connection", b"close, X-Hop"),
            ("connection", b"other"),
            ("x-hop", b"1"),
            ("other", b"1"),
            ("te", b"gzip"),
            ("te", b"trailers"),
            ("content-length", b"5"),
            ("x-envoy-max-retries", b"3"),
            ("x-envoy-original-path", b"/"),
        ];
        assert_eq!(copy(&mirror(json!({})), &request, None), ["te: trailers", "x-envoy-original-path: /"]);
    }

    #[test]
    fn why_a_header_stays_behind_is_told() {
        let request: [(&[u8], &[u8]); 1] = [(b"connection", b"X-Hop")];
        let headers = HeaderMap::from_pairs(request);
        let (mirror, marker) = (mirror(json!({ "headers": { "remove": ["cookie"] } })), marker());
        let sieve = Sieve::new(&mirror, &headers, Some(&marker));
        for (name, value, expected) in [
            ("connection", "X-Hop", Some(NotCopied::OfHop)),
            ("te", "gzip", Some(NotCopied::OfHop)),
            ("te", "trailers", None),
            ("x-hop", "1", Some(NotCopied::Listed)),
            ("cookie", "a=b", Some(NotCopied::Removed)),
            ("x-mirrored-request", "no", Some(NotCopied::Marker)),
            ("accept", "*/*", None),
            (":path", "/", None),
        ] {
            assert_eq!(sieve.not_copied(name.as_bytes(), value.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn headers_are_removed_then_set_then_added() {
        let edits = json!({ "headers": {
            "remove": ["Cookie", "both"],
            "set": { "x-env": "staging", "both": "set", "new": "1" },
            "add": { "via": "mirror", "x-env": "two" },
        }});
        let request: [(&str, &[u8]); 6] =
            [("x-env", b"a"), ("cookie", b"c"), ("both", b"b"), ("via", b"1"), ("x-env", b"b"), ("z", b"")];
        assert_eq!(
            copy(&mirror(edits), &request, None),
            ["x-env: staging", "via: 1", "z: ", "both: set", "new: 1", "via: mirror", "x-env: two"]
        );
    }

    #[test]
    fn the_marker_stands_last_and_alone_whatever_the_request_has() {
        let edits = mirror(json!({ "headers": { "set": { "a": "1" }, "add": { "b": "2" } } }));
        let request: [(&str, &[u8]); 3] = [("x-mirrored-request", b"no"), ("a", b"0"), ("x-mirrored-request", b"true")];
        let copied = copy(&edits, &request, Some(&marker()));
        assert_eq!(copied, ["a: 1", "b: 2", "x-mirrored-request: true"]);
    }

    #[test]
    fn authority_and_path_are_rewritten_as_configured() {
        for (fields, authority, path) in [
            (json!({}), "host-shadow:80", "/api/v1/x?q=/api#f"),
            (json!({ "disableShadowHostSuffixAppend": true }), "host:80", "/api/v1/x?q=/api#f"),
            (json!({ "rewrite": { "authority": "other" } }), "other", "/api/v1/x?q=/api#f"),
            (json!({ "rewrite": { "uri": "/v2" } }), "host-shadow:80", "/v2/v1/x?q=/api#f"),
            (
                json!({ "rewrite": { "uriRegexRewrite": { "match": "^/api/(v.)/(.*)$", "rewrite": "/\\2\\\\\\1" } } }),
                "host-shadow:80",
                "/x\\\\v1?q=/api#f",
            ),
            (
                json!({ "rewrite": { "uriRegexRewrite": { "match": "/", "rewrite": "//" } } }),
                "host-shadow:80",
                "//api//v1//x?q=/api#f",
            ),
            (
                json!({ "rewrite": { "uriRegexRewrite": { "match": "nothing", "rewrite": "" } } }),
                "host-shadow:80",
                "/api/v1/x?q=/api#f",
            ),
        ] {
            let request: [(&str, &[u8]); 2] = [(":authority", b"host:80"), (":path", b"/api/v1/x?q=/api#f")];
            let expected = [format!(":authority: {authority}"), format!(":path: {path}")];
            assert_eq!(copy(&mirror(fields.clone()), &request, None), expected, "{fields}");
        }
    }

    #[test]
    fn shadow_goes_before_the_port() {
        for (authority, expected) in [
            ("reviews", "reviews-shadow"),
            ("reviews:9080", "reviews-shadow:9080"),
            ("[::1]:80", "[::1]-shadow:80"),
            ("[::1]", "[::1]-shadow"),
            ("", "-shadow"),
            ("a:", "a-shadow:"),
            ("a:b:c", "a:b-shadow:c"),
        ] {
            assert_eq!(shadow(authority.as_bytes()).escape_ascii().to_string(), expected);
        }
    }

    proptest! {
        #[test]
        fn without_the_suffix_every_shadow_is_its_authority(authority: Vec<u8>) {
            let shadow = shadow(&authority);
            let without = (0..=authority.len()).any(|at| {
                let (host, port) = authority.split_at(at);
                shadow == [host, b"-shadow", port].concat()
            });
            prop_assert!(without);
        }

        #[test]
        fn whatever_a_request_carries_its_copy_is_marked_and_carries_nothing_of_the_hop(
            pairs in prop::collection::vec(("[a-z:-]{0,17}", any::<Vec<u8>>()), 0..20), connection: Vec<u8>,
        ) {
            let mut request: Vec<(&str, &[u8])> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            request.push(("connection", &connection));
            let copied = copy(&mirror(json!({ "headers": { "remove": ["a"], "set": { "b": "x" } } })), &request, Some(&marker()));
            prop_assert_eq!(copied.iter().filter(|line| line.starts_with("x-mirrored-request: ")).count(), 1);
            prop_assert_eq!(copied.iter().filter(|line| line.starts_with("b: ")).count(), 1);
            prop_assert!(!copied.iter().any(|line| line.starts_with("connection: ") || line.starts_with("a: ")));
        }
    }
}
