//! What is hidden on a copy: where the values stand, and what stands in their place. It fails closed: where a listed part cannot
//! be looked at, there is no copy.
//!
//! Only the bytes of values are replaced; nothing is written anew of what is around them. No value is in any error.

mod content;
mod hide;
mod json;
mod pairs;
mod spans;

pub use hide::{Hide, KEY, Key};

use crate::config::Redact;
use crate::core::digest::Digest;
use crate::core::header_map::Place;
use content::Content;
use spans::{Escapes, Spans};
use std::fmt;

/// Why a copy cannot be had without the values that are to be hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The query or the cookies can be read in more than one way, and in one of them a listed name stands there.
    Ambiguous,
    /// A name in the query, or in a form, is not text.
    Name,
    /// The body has no content-type, several, or one that is not looked at.
    ContentType,
    /// The body is not UTF-8.
    Charset,
    /// The body is compressed.
    ContentEncoding,
    /// The body is not what its content-type says.
    Malformed,
    /// JSON is nested too deeply.
    Nesting,
    /// There are too many values to hide.
    Values,
    /// To look for the places in it would take too long.
    Work,
    /// The body becomes longer than `limits.maxBodyBytes`.
    TooLong,
    /// There is no memory.
    Memory,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ambiguous => "servers may read the query, the form or the cookies in two ways",
            Self::Name => "a parameter has a name that is not UTF-8, or has a % without two digits",
            Self::ContentType => "the body has no content-type, several, or one that is not looked at",
            Self::Charset => "the body is not UTF-8",
            Self::ContentEncoding => "the body has a content-encoding",
            Self::Malformed => "the body is not what its content-type says",
            Self::Nesting => "the JSON is nested deeper than 128",
            Self::Values => "more than 1,000 values are to be hidden",
            Self::Work => "it has too many places for so many pointers with *",
            Self::TooLong => "the body becomes longer than limits.maxBodyBytes",
            Self::Memory => "there is no memory",
        })
    }
}

/// What a copy has in place of parts of the request; `None`: it has the request's own.
#[derive(Debug, Default)]
pub struct Redacted {
    /// The path, with its query.
    pub path: Option<Vec<u8>>,
    /// Values of headers, in their order.
    pub headers: Vec<(Place, Vec<u8>)>,
    /// The body.
    pub body: Option<Vec<u8>>,
}

/// A copy of which all values are found that are to be hidden; of the body nothing is made yet.
#[derive(Debug)]
pub struct Redaction<'a> {
    hide: Hide<'a>,
    redacted: Redacted,
    body: &'a [u8],
    spans: Spans,
    escapes: Escapes,
}

impl<'a> Redaction<'a> {
    /// Finds what is to be hidden of a request. `body` is what goes along with the copy, `max_body` the most that may.
    ///
    /// # Errors
    /// Why there can be no copy.
    pub fn new(
        redact: &Redact,
        hide: Hide<'a>,
        request: &Digest,
        body: &'a [u8],
        max_body: usize,
    ) -> Result<Self, Failed> {
        let headers = headers(redact, hide, request)?;
        let path = match request.path() {
            Some(path) if !redact.query_params.is_empty() => hide_in_path(path, &redact.query_params, hide)?,
            _ => None,
        };
        let redacted = Redacted { path, headers, body: None };
        let (mut spans, mut escapes) = (Spans::default(), Escapes::None);
        if redact.has_body() && !body.is_empty() {
            escapes = match Content::of(request.map(), redact)? {
                Content::Json => json::find(body, &redact.json, &mut spans).map(|()| Escapes::Json),
                Content::Form => pairs::form(body, &redact.form, &mut spans).map(|()| Escapes::Url),
            }?;
        }
        let redaction = Self { hide, redacted, body, spans, escapes };
        if redaction.body_length() > max_body { Err(Failed::TooLong) } else { Ok(redaction) }
    }

    /// Returns how many bytes of a body will be made; 0: the request's own serves.
    pub fn body_length(&self) -> usize {
        if self.spans.is_empty() { 0 } else { self.spans.length(self.body, self.escapes, self.hide) }
    }

    /// Returns how many values of the body are hidden.
    pub fn values_in_body(&self) -> usize {
        self.spans.count()
    }

    /// Makes what the copy has in place of parts of the request; `None` where memory does not suffice for that.
    pub fn make(self) -> Option<Redacted> {
        let mut redacted = self.redacted;
        if !self.spans.is_empty() {
            redacted.body = Some(self.spans.replaced(self.body, self.escapes, self.hide)?);
        }
        Some(redacted)
    }
}

/// Makes the new values of headers, cookies among them.
#[inline(never)]
fn headers(redact: &Redact, hide: Hide<'_>, request: &Digest) -> Result<Vec<(Place, Vec<u8>)>, Failed> {
    let mut headers = Vec::new();
    if redact.headers.is_empty() && redact.cookies.is_empty() {
        return Ok(headers);
    }
    for (place, name, value) in request.map().places() {
        let mut spans = Spans::default();
        if redact.headers.iter().any(|listed| name.eq_ignore_ascii_case(listed.as_str().as_bytes())) {
            spans.add(0, value.len())?;
        } else if name.eq_ignore_ascii_case(b"cookie") {
            pairs::cookies(value, &redact.cookies, &mut spans)?;
        }
        if !spans.is_empty() {
            headers.push((place, spans.replaced(value, Escapes::None, hide).ok_or(Failed::Memory)?));
        }
    }
    Ok(headers)
}

/// Makes the new path; `None`: the query has no value that is to be hidden.
#[inline(never)]
fn hide_in_path(path: &[u8], names: &[Box<str>], hide: Hide<'_>) -> Result<Option<Vec<u8>>, Failed> {
    // Envoy refuses such a path by default, and servers do not agree where its query ends.
    if path.contains(&b'#') {
        return Err(Failed::Ambiguous);
    }
    let Some(mark) = path.iter().position(|byte| *byte == b'?') else { return Ok(None) };
    let mut spans = Spans::default();
    pairs::query(path, mark.saturating_add(1), names, &mut spans)?;
    if spans.is_empty() {
        return Ok(None);
    }
    spans.replaced(path, Escapes::Url, hide).map(Some).ok_or(Failed::Memory)
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "small numbers of the tests' own, and places that they found"
)]
mod tests;
