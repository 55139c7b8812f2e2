//! How the headers and bodies of two responses differ.
//!
//! Equal bytes are the same whatever they are; only others are decoded and read.

use super::Differences;
use super::place::Places;
use crate::config::{Compare, CompareBody, How};

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
            places.add(["headers/", name.as_str()]);
        }
    }
    if let Some(rules) = &compare.body {
        match bodies(rules, primary, mirror) {
            Ok(true) => {}
            Ok(false) => {
                differences.body = true;
                places.add(["body"]);
            }
            Err(NotCompared) => differences.not_compared = true,
        }
    }
    differences.places = places.into_list();
    differences
}

/// A part of a response could not be compared.
struct NotCompared;

/// Returns whether two bodies are the same.
fn bodies(rules: &CompareBody, primary: &Response, mirror: &Response) -> Result<bool, NotCompared> {
    let (Body::Complete(primary), Body::Complete(mirror)) = (&primary.body, &mirror.body) else {
        return Err(NotCompared);
    };
    if primary.len().max(mirror.len()) > rules.max_bytes {
        return Err(NotCompared);
    }
    match rules.how {
        _ if primary == mirror => Ok(true),
        How::Exact => Ok(false),
        How::Json(_) => Err(NotCompared),
    }
}
