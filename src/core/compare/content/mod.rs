//! How the headers and bodies of two responses differ.
//!
//! Equal bytes are the same whatever they are; only others are decoded and read.

mod digest;
mod document;
mod encoding;
mod json;
mod number;
mod place;

use super::Differences;
use crate::config::{Compare, CompareBody, How};
use encoding::decoded;
use place::Places;

/// A response, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The values of [`Compare::headers`], in their order, those of one name joined with `,`; `None`: it has none.
    pub headers: Vec<Option<Box<[u8]>>>,
    /// Its content-encoding, in the same way.
    pub encoding: Option<Box<[u8]>>,
    /// Its body.
    pub body: Body,
}

/// The body of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All of it, as it came.
    Complete(Vec<u8>),
    /// It is longer than what is compared, it broke off, or there was no room for it.
    NotKept,
}

/// Compares two responses. The work is bounded, whatever their bytes are.
pub fn differences(compare: &Compare, primary: &Response, mirror: &Response) -> Differences {
    let mut differences = Differences::default();
    let mut places = Places::default();
    let values = primary.headers.iter().zip(&mirror.headers);
    for (name, (primary, mirror)) in compare.headers.iter().zip(values) {
        if primary != mirror {
            differences.headers = true;
            places.add("headers/".chars().chain(name.as_str().chars()));
        }
    }
    if let Some(rules) = &compare.body {
        match bodies(rules, primary, mirror, &mut places) {
            Ok(is_same) => differences.body = !is_same,
            Err(NotCompared) => differences.not_compared = true,
        }
    }
    differences.places = places.into_list();
    differences
}

/// A part of a response could not be compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotCompared;

/// Returns whether two bodies are the same, and adds the places where they differ.
fn bodies(
    rules: &CompareBody,
    primary: &Response,
    mirror: &Response,
    places: &mut Places,
) -> Result<bool, NotCompared> {
    let (Body::Complete(of_primary), Body::Complete(of_mirror)) = (&primary.body, &mirror.body) else {
        return Err(NotCompared);
    };
    if of_primary.len().max(of_mirror.len()) > rules.max_bytes {
        return Err(NotCompared);
    }
    if of_primary == of_mirror {
        return Ok(true);
    }
    let [of_primary, of_mirror] = [(primary, of_primary), (mirror, of_mirror)]
        .map(|(response, body)| decoded(response.encoding.as_deref(), body, rules.max_bytes));
    let (of_primary, of_mirror) = (of_primary?, of_mirror?);
    match &rules.how {
        _ if of_primary == of_mirror => Ok(true),
        // No body is no JSON, but it is not what a body is, either.
        How::Json(rules) if !of_primary.is_empty() && !of_mirror.is_empty() => {
            json::compare(rules, &of_primary, &of_mirror, places)
        }
        How::Exact | How::Json(_) => {
            places.add("body".chars());
            Ok(false)
        }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests;
