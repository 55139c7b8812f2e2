//! The copy of a request: its authority, its path and its headers.

use crate::config::{Authority, HeaderName, Mirror, PathRewrite, TooMuch};
use crate::core::digest::{Cut, Digest, Never};
use crate::core::header_map::{HeaderMap, Place};
use crate::core::outcome::is_grpc;
use crate::core::primary::Told;
use crate::core::redact::Redacted;
use crate::core::request::split_path;
use crate::core::trace::{self, Edit, Tracing};
use crate::core::writer::{Parts, Writer};

/// What the marker header says, between the zero bytes that end its name and its value.
const MARKED: &[u8] = b"\0true\0";

/// What is added to the host.
const SUFFIX: &[u8] = b"-shadow";

/// Why a header of the request is not on its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotCopied {
    /// It is on no copy.
    Never(Never),
    /// `headers.remove` of the mirror names it.
    Removed,
    /// `headers.set` of the mirror has replaced an earlier one of its name.
    Replaced,
    /// `trace` of the mirror leaves it out.
    Untraced,
}

/// What a header of the request becomes on the copy.
#[derive(Debug, Clone, Copy)]
enum Change<'a> {
    Value(Parts<'a>),
    /// Its value has [`SUFFIX`] so many bytes from its start.
    Shadow(usize),
    Gone(NotCopied),
}

impl<'a> Change<'a> {
    #[inline]
    fn write(self, place: Place, writer: &mut Writer<'a>) {
        match self {
            Self::Value(value) => writer.replace(place, value),
            Self::Shadow(at) => writer.insert(place, at, SUFFIX),
            Self::Gone(_) => writer.leave_out(place),
        }
    }
}

/// What the path becomes.
#[derive(Debug)]
enum NewPath<'a> {
    Parts(Parts<'a>),
    Made(Vec<u8>),
}

/// A copy for one mirror, before it is written.
#[derive(Debug)]
pub struct Draft<'a> {
    request: &'a Digest,
    mirror: &'a Mirror,
    /// What is in place of the request's headers, in their order.
    redacted: &'a [(Place, Vec<u8>)],
    /// `None`: as the request has it.
    path: Option<NewPath<'a>>,
    tracing: Option<Box<Tracing<'a>>>,
    /// What it tells of the primary's response.
    told: &'a [Told],
}

impl<'a> Draft<'a> {
    /// Finds the path of a mirror's copy. `matched_uri` is the length of what the rule's `uri` matched. A
    /// path stays as it is where what it would become does not begin with `/`. `random` draws the ids of a new trace.
    ///
    /// # Errors
    /// The path would become longer than the host takes, or its rewrite would take too long.
    pub fn new(
        mirror: &'a Mirror,
        request: &'a Digest,
        matched_uri: Option<usize>,
        random: impl FnMut() -> u64,
    ) -> Result<Self, TooMuch> {
        Self::redacted(mirror, request, matched_uri, None, random)
    }

    /// Does the same for a copy on which this is hidden, before anything else is done.
    ///
    /// # Errors
    /// As above.
    pub fn redacted(
        mirror: &'a Mirror,
        request: &'a Digest,
        matched_uri: Option<usize>,
        redacted: Option<&'a Redacted>,
        random: impl FnMut() -> u64,
    ) -> Result<Self, TooMuch> {
        let path = match (&mirror.path, redacted) {
            (PathRewrite::Keep, None) => None,
            _ => new_path(mirror, request, matched_uri, redacted)?,
        };
        let redacted = redacted.map_or(&[][..], |redacted| &redacted.headers);
        let tracing = Tracing::new(mirror, request, random);
        Ok(Self { request, mirror, redacted, path, tracing, told: &[] })
    }

    /// Lets the copy tell of the primary's response.
    pub fn tell(&mut self, told: &'a [Told]) {
        self.told = told;
    }

    /// Writes the headers of the copy, in the ABI's encoding, into `buffer`, whose content goes: the request's, in order,
    /// without what never travels, with the mirror's edits and with the marker. `None` where memory does not suffice for that.
    pub fn write(&self, marker: Option<&HeaderName>, buffer: Vec<u8>) -> Option<HeaderMap> {
        let (request, edits) = (self.request, &self.mirror.headers);
        // Beside the marker and what tells of the trace.
        let appended = edits.set.len().wrapping_add(edits.add.len()).wrapping_add(self.told.len());
        let most = request.end().number.wrapping_add(appended).wrapping_add(2);
        let mut writer = Writer::new(request.map(), request.start(), most, buffer)?;
        if self.is_edited() {
            self.write_edited(&mut writer);
        } else {
            for (place, cut) in request.cuts() {
                if let Some(change) = self.change(*place, *cut) {
                    change.write(*place, &mut writer);
                }
            }
            writer.keep(request.end());
        }
        for (name, value) in &edits.add {
            writer.append(name.as_str().as_bytes(), value.as_bytes());
        }
        if self.tracing.is_some() || !self.told.is_empty() {
            self.write_what_is_told(&mut writer);
        }
        if let Some(marker) = marker {
            // Last and alone, for no edit may name it: it is what keeps copies from being copied.
            writer.append_ended(marker.as_str().as_bytes(), MARKED);
        }
        writer.finish()
    }

    /// Returns the headers of the request that are not on the copy, in order, each with the reason.
    pub fn not_copied(&self) -> Vec<(&'a [u8], &'a [u8], NotCopied)> {
        let (map, mut gone) = (self.request.map(), Vec::new());
        let mut note = |place, change: Change<'_>| {
            if let Change::Gone(why) = change {
                gone.push((map.name(place), map.value(place), why));
            }
        };
        if self.is_edited() {
            self.each_edit(&mut note);
        } else {
            let changes =
                self.request.cuts().iter().filter_map(|(place, cut)| Some((*place, self.change(*place, *cut)?)));
            changes.for_each(|(place, change)| note(place, change));
        }
        gone
    }

    /// Returns whether the copy, once it is written, is a gRPC request to Envoy.
    pub fn is_grpc(&self, copied: &HeaderMap) -> bool {
        let edits = &self.mirror.headers;
        let mut edited = edits.remove.iter().chain(edits.set.iter().chain(&edits.add).map(|(name, _)| name));
        if edited.any(|name| name.as_str() == "content-type") {
            copied.joined(b"content-type").is_some_and(|lines| is_grpc(&lines))
        } else {
            self.request.is_grpc()
        }
    }

    /// Returns whether the mirror removes, sets or hides headers, or edits those of traces: then all of them have to be looked at.
    fn is_edited(&self) -> bool {
        let edits = &self.mirror.headers;
        !edits.remove.is_empty() || !edits.set.is_empty() || !self.redacted.is_empty() || self.tracing.is_some()
    }

    /// Writes the request's headers for such a mirror, and what it sets that the request has not.
    #[cold]
    fn write_edited<'c>(&'c self, writer: &mut Writer<'c>) {
        let is_set = self.each_edit(&mut |place, change| change.write(place, writer));
        writer.keep(self.request.end());
        for ((name, value), is_set) in self.mirror.headers.set.iter().zip(is_set) {
            if !is_set {
                writer.append(name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }

    #[cold]
    fn write_what_is_told<'c>(&'c self, writer: &mut Writer<'c>) {
        if let Some(old) = self.tracing.as_ref().and_then(|tracing| tracing.old()) {
            writer.append(trace::OLD.as_bytes(), old);
        }
        for (name, value) in self.told {
            writer.append(name.as_bytes(), value.as_bytes());
        }
    }

    /// Walks over the headers that the copies of such a mirror have in another form or not at all, in order; returns which of those
    /// that it sets are among them.
    #[cold]
    fn each_edit<'c>(&'c self, each: &mut dyn FnMut(Place, Change<'c>)) -> Vec<bool> {
        let edits = &self.mirror.headers;
        let mut is_set = vec![false; edits.set.len()];
        let mut cuts = self.request.cuts();
        let mut redacted = self.redacted.iter().peekable();
        for (place, name, value) in self.request.map().places() {
            let hidden = redacted.next_if(|(hidden, _)| *hidden == place).map(|(_, value)| &value[..]);
            let change = if let [(cut_at, cut), rest @ ..] = cuts
                && *cut_at == place
            {
                cuts = rest;
                self.change(place, *cut)
            } else if name.first() == Some(&b':') {
                None
            } else if edits.remove.iter().any(|removed| removed.as_str().as_bytes() == name) {
                Some(Change::Gone(NotCopied::Removed))
            } else {
                let mut settings = edits.set.iter().zip(&mut is_set);
                match settings.find(|((set, _), _)| set.as_str().as_bytes() == name) {
                    // The first of several values is replaced, the others go.
                    Some(((_, new), is_set)) => Some(if std::mem::replace(is_set, true) {
                        Change::Gone(NotCopied::Replaced)
                    } else {
                        Change::Value([new.as_bytes(), b"", b""])
                    }),
                    None => match self.tracing.as_ref().and_then(|tracing| tracing.edit(name, hidden.unwrap_or(value)))
                    {
                        Some(Edit::Value(parts)) => Some(Change::Value(parts)),
                        Some(Edit::Gone) => Some(Change::Gone(NotCopied::Untraced)),
                        None => hidden.map(|value| Change::Value([value, b"", b""])),
                    },
                }
            };
            if let Some(change) = change {
                each(place, change);
            }
        }
        is_set
    }

    /// Finds what a cut makes of a header; `None`: it stays.
    fn change(&self, place: Place, cut: Cut) -> Option<Change<'_>> {
        match cut {
            Cut::Authority => match &self.mirror.authority {
                Authority::Keep => None,
                Authority::Replace(authority) => Some(Change::Value([authority.as_bytes(), b"", b""])),
                Authority::Shadow => Some(Change::Shadow(host(self.request.map().value(place)).len())),
            },
            Cut::Path => self.path.as_ref().map(|path| Change::Value(path.parts())),
            Cut::EmptyLength => self.request.has_body().then_some(Change::Gone(NotCopied::Never(Never::OfHop))),
            Cut::Never(why) => Some(Change::Gone(NotCopied::Never(why))),
        }
    }
}

/// Finds what the path becomes; `None`: it stays.
#[cold]
fn new_path<'a>(
    mirror: &'a Mirror,
    request: &'a Digest,
    matched_uri: Option<usize>,
    redacted: Option<&'a Redacted>,
) -> Result<Option<NewPath<'a>>, TooMuch> {
    let hidden = redacted.and_then(|redacted| redacted.path.as_deref());
    let split = || hidden.or(request.path()).map(split_path);
    let path = match &mirror.path {
        PathRewrite::Keep => None,
        PathRewrite::Matched(replacement) => split().map(|(path, query)| {
            let rest = path.get(matched_uri.unwrap_or_default()..).unwrap_or_default();
            NewPath::Parts([replacement.as_bytes(), rest, query])
        }),
        PathRewrite::Regex(pattern, replacement) => match split() {
            Some((path, query)) => replacement.apply(pattern, path, query)?.map(NewPath::Made),
            None => None,
        },
    };
    let begins = |path: &NewPath<'_>| path.parts().into_iter().flatten().next() == Some(&b'/');
    Ok(path.filter(begins).or(hidden.map(|path| NewPath::Parts([path, b"", b""]))))
}

impl NewPath<'_> {
    fn parts(&self) -> Parts<'_> {
        match self {
            Self::Parts(parts) => *parts,
            Self::Made(path) => [path, b"", b""],
        }
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
    let host = host(authority);
    [host, SUFFIX, authority.get(host.len()..).unwrap_or_default()].concat()
}

/// Returns an authority without its port.
fn host(authority: &[u8]) -> &[u8] {
    // A colon before the bracket is one of an IPv6 address.
    let port = authority.iter().rposition(|byte| matches!(byte, b':' | b']'));
    let port = port.filter(|at| authority.get(*at) == Some(&b':'));
    port.and_then(|colon| authority.get(..colon)).unwrap_or(authority)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::core::primary::Primary;
    use crate::core::redact::{Hide, Redaction};
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
        let request = Digest::new(headers, marker);
        let draft = Draft::new(mirror, &request, Some("/api".len()), || 7).unwrap();
        let copied = draft.write(marker, Vec::new()).unwrap();
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

    /// Copies a request whose values are hidden.
    fn redacted(fields: Value, request: &[(&str, &[u8])]) -> Vec<String> {
        let mirror = mirror(fields);
        let headers = HeaderMap::from_pairs(request.iter().map(|(name, value)| (name.as_bytes(), *value)));
        let request = Digest::new(headers, None);
        let redact = mirror.redact.as_ref().unwrap();
        let redacted = Redaction::new(redact, Hide::Mask, &request, b"", 0).unwrap().make().unwrap();
        let draft = Draft::redacted(&mirror, &request, Some("/api".len()), Some(&redacted), || 7).unwrap();
        let copied = draft.write(None, Vec::new()).unwrap();
        copied.iter().map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii())).collect()
    }

    #[test]
    fn values_are_hidden_where_they_stand_and_before_anything_else_is_done() {
        let request: [(&str, &[u8]); 10] = [
            (":authority", b"a"),
            (":path", b"/api/1?token=secret&q=1"),
            ("x-a", b"secret"),
            ("content-length", b"5"),
            ("cookie", b"b=1; session=\"secret\""),
            ("x-b", b"secret"),
            ("X-A", b""),
            ("cookie", b"session=secret; session=secret"),
            ("x-c", b"caf\xe9"),
            ("x-b", b"secret"),
        ];
        let redact = json!({ "headers": ["x-a", "x-b"], "cookies": ["session"], "queryParams": ["token"] });
        let of = |fields: Value| {
            let mut all = json!({ "redact": redact.clone(), "disableShadowHostSuffixAppend": true });
            all.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
            redacted(all, &request)
        };
        let cookies = ["cookie: b=1; session=\\\"***\\\"", "cookie: session=***; session=***"];
        let path = ":path: /api/1?token=***&q=1";
        assert_eq!(
            of(json!({})),
            [
                ":authority: a",
                path,
                "x-a: ***",
                cookies[0],
                "x-b: ***",
                "X-A: ***",
                cookies[1],
                "x-c: caf\\xe9",
                "x-b: ***"
            ]
        );
        let edits = json!({ "headers": { "set": { "x-b": "new" }, "add": { "x-a": "added" }, "remove": ["x-c"] } });
        assert_eq!(
            of(edits),
            [":authority: a", path, "x-a: ***", cookies[0], "x-b: new", "X-A: ***", cookies[1], "x-a: added"]
        );
        let removed = of(json!({ "headers": { "remove": ["cookie"] } }));
        assert_eq!(removed, [":authority: a", path, "x-a: ***", "x-b: ***", "X-A: ***", "x-c: caf\\xe9", "x-b: ***"]);
    }

    #[test]
    fn what_a_path_becomes_has_no_hidden_value() {
        let redact = json!({ "queryParams": ["token"] });
        for (rewrite, expected) in [
            (json!({}), "/api/1?token=***"),
            (json!({ "uri": "/v2" }), "/v2/1?token=***"),
            (json!({ "uriRegexRewrite": { "match": "^/api", "rewrite": "" } }), "/1?token=***"),
            (json!({ "uriRegexRewrite": { "match": "nowhere", "rewrite": "" } }), "/api/1?token=***"),
            // It would not begin with a slash.
            (json!({ "uriRegexRewrite": { "match": "^/", "rewrite": "" } }), "/api/1?token=***"),
        ] {
            let copy = redacted(
                json!({ "redact": redact.clone(), "rewrite": rewrite.clone() }),
                &[(":path", b"/api/1?token=secret")],
            );
            assert_eq!(copy, [format!(":path: {expected}")], "{rewrite}");
        }
    }

    #[test]
    fn a_length_of_0_is_copied_where_the_body_is_empty() {
        let edits = json!({ "headers": { "remove": ["x-a"] } });
        for (lengths, has_body, expected) in [
            (&["0"][..], false, &["content-length: 0"][..]),
            (&["0"], true, &[]),
            (&["5"], false, &[]),
            (&["00"], false, &[]),
            (&["0", "0"], false, &["content-length: 0"]),
            (&["5", "0"], false, &[]),
            (&[], false, &[]),
        ] {
            let lengths = lengths.iter().map(|length| (&b"content-length"[..], length.as_bytes()));
            let mut request = Digest::new(HeaderMap::from_pairs(lengths), None);
            if has_body {
                request.body_came();
            }
            for mirror in [mirror(json!({})), mirror(edits.clone())] {
                let copied = Draft::new(&mirror, &request, None, || 7).unwrap().write(None, Vec::new()).unwrap();
                let copied =
                    copied.iter().map(|(name, value)| format!("{}: {}", name.escape_ascii(), value.escape_ascii()));
                assert_eq!(copied.collect::<Vec<_>>(), expected, "{request:?}");
            }
        }
        let listed = [(&b"content-length"[..], &b"0"[..]), (b"connection", b"content-length")];
        let listed = Digest::new(HeaderMap::from_pairs(listed), None);
        let copied = Draft::new(&mirror(json!({})), &listed, None, || 7).unwrap().write(None, Vec::new());
        assert!(copied.unwrap().is_empty());
    }

    #[test]
    fn headers_of_traces_and_of_the_primary_come_before_the_edits() {
        let old = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let request: [(&str, &[u8]); 8] = [
            (":path", b"/api"),
            ("x-mirrored-traceparent", b"a client's"),
            ("x-mirrored-primary-status", b"a client's"),
            ("x-mirrored-primary-ms", b"a client's"),
            ("traceparent", old.as_bytes()),
            ("tracestate", b"a=b"),
            ("b3", b"1"),
            ("x-request-id", b"5b1f3c2e-9f3a-9d0c-8d5e-0c7f1b2a3d4e"),
        ];
        let edits = json!({ "set": { "b3": "set" }, "add": { "via": "mirror" } });
        let unsampled = format!("traceparent: {}0", old.strip_suffix('1').unwrap());
        let (new, told) = (
            format!("traceparent: 00-{:032x}-{:016x}-01", (7u128 << 64) + 7, 7),
            format!("x-mirrored-traceparent: {old}"),
        );
        let (kept, id) = (format!("traceparent: {old}"), "x-request-id: 5b1f3c2e-9f3a-9d0c-8d5e-0c7f1b2a3d4e");
        let no_trace = "x-request-id: 5b1f3c2e-9f3a-4d0c-8d5e-0c7f1b2a3d4e";
        for (fields, expected) in [
            (json!({}), &[":path: /api", &kept, "tracestate: a=b", "b3: 1", id][..]),
            (json!({ "trace": "unsampled" }), &[":path: /api", &unsampled, "tracestate: a=b", "b3: 0", no_trace]),
            (json!({ "trace": "new" }), &[":path: /api", &new, id, &told]),
            (json!({ "trace": "new", "headers": edits }), &[":path: /api", &new, "b3: set", id, "via: mirror", &told]),
        ] {
            assert_eq!(copy(&mirror(fields.clone()), &request, None), expected, "{fields}");
        }
        let (mirror, request) =
            (mirror(json!({})), Digest::new(HeaderMap::from_pairs([(&b"x-mirrored-primary-ms"[..], &b"1"[..])]), None));
        let mut draft = Draft::new(&mirror, &request, None, || 7).unwrap();
        let told = Primary { status: Some(503), took: Some(std::time::Duration::from_millis(12)) }.told();
        draft.tell(&told);
        let copied = draft.write(None, Vec::new()).unwrap();
        let told: Vec<_> = copied.iter().collect();
        assert_eq!(told, [(&b"x-mirrored-primary-status"[..], &b"503"[..]), (b"x-mirrored-primary-ms", b"12")]);
    }

    #[test]
    fn why_a_header_is_not_copied_is_told() {
        let request: [(&[u8], &[u8]); 9] = [
            (b":path", b"/"),
            (b"connection", b"X-Hop"),
            (b"te", b"gzip"),
            (b"te", b"trailers"),
            (b"x-hop", b"1"),
            (b"cookie", b"a=b"),
            (b"x-env", b"a"),
            (b"x-env", b"b"),
            (b"x-mirrored-request", b"no"),
        ];
        let mirror = mirror(json!({ "headers": { "remove": ["cookie"], "set": { "x-env": "c" } } }));
        let request = Digest::new(HeaderMap::from_pairs(request), Some(&marker()));
        let draft = Draft::new(&mirror, &request, None, || 7).unwrap();
        let expected: [(&[u8], &[u8], NotCopied); 6] = [
            (b"connection", b"X-Hop", NotCopied::Never(Never::OfHop)),
            (b"te", b"gzip", NotCopied::Never(Never::OfHop)),
            (b"x-hop", b"1", NotCopied::Never(Never::Listed)),
            (b"cookie", b"a=b", NotCopied::Removed),
            (b"x-env", b"b", NotCopied::Replaced),
            (b"x-mirrored-request", b"no", NotCopied::Never(Never::Marker)),
        ];
        assert_eq!(draft.not_copied(), expected);
    }

    #[test]
    fn a_copy_is_grpc_by_its_own_content_type() {
        let grpc = ("content-type", &b"application/grpc"[..]);
        let plain = ("content-type", &b"text/plain"[..]);
        for (edits, request, expected) in [
            (json!({}), &[grpc][..], true),
            (json!({}), &[plain], false),
            (json!({}), &[grpc, grpc], false),
            (json!({ "remove": ["content-type"] }), &[grpc], false),
            (json!({ "set": { "content-type": "application/grpc+x" } }), &[plain, plain], true),
            (json!({ "set": { "content-type": "text/plain" } }), &[grpc], false),
            (json!({ "add": { "content-type": "application/grpc" } }), &[], true),
            (json!({ "add": { "content-type": "application/grpc" } }), &[grpc], false),
            (json!({ "remove": ["content-type"], "add": { "content-type": "application/grpc" } }), &[plain], true),
            (json!({ "set": { "content-type": "application/grpc" }, "add": { "content-type": "x" } }), &[], false),
        ] {
            let mirror = mirror(json!({ "headers": edits }));
            let pairs = request.iter().map(|(name, value)| (name.as_bytes(), *value));
            let request = Digest::new(HeaderMap::from_pairs(pairs), None);
            let draft = Draft::new(&mirror, &request, None, || 7).unwrap();
            let copied = draft.write(None, Vec::new()).unwrap();
            assert_eq!(draft.is_grpc(&copied), expected, "{edits}");
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
                json!({ "rewrite": { "uriRegexRewrite": { "match": "^/api", "rewrite": "" } } }),
                "host-shadow:80",
                "/v1/x?q=/api#f",
            ),
            // What they make is no path.
            (
                json!({ "rewrite": { "uriRegexRewrite": { "match": "^/api/", "rewrite": "" } } }),
                "host-shadow:80",
                "/api/v1/x?q=/api#f",
            ),
            (
                json!({ "rewrite": { "uriRegexRewrite": { "match": "^.*$", "rewrite": "" } } }),
                "host-shadow:80",
                "/api/v1/x?q=/api#f",
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
    fn a_path_that_would_become_too_long_makes_no_copy() {
        let rewrite = json!({ "match": ".", "rewrite": "x".repeat(1024) });
        let mirror = mirror(json!({ "rewrite": { "uriRegexRewrite": rewrite } }));
        let path = b"/".repeat(1024);
        for (path, query, expected) in
            [(&path, "", Ok(())), (&path, "?", Err(TooMuch)), (&b"/".repeat(50_000), "", Err(TooMuch))]
        {
            let path = [path, query.as_bytes()].concat();
            let headers = HeaderMap::from_pairs([(&b":path"[..], &path[..])]);
            let request = Digest::new(headers, None);
            assert_eq!(Draft::new(&mirror, &request, None, || 7).map(|_| ()), expected, "{}{query}", path.len());
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
