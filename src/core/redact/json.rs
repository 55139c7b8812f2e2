//! Finds the values of JSON text that are to be hidden.

use super::Failed;
use super::spans::Spans;
use crate::config::Pointers;
use crate::core::json::{Bad, Visitor, walk};

/// How many steps of pointers may be tried for each byte of a text.
const TRIES: usize = 16;

/// Finds the values at some places; a value inside another counts as part of it.
///
/// # Errors
/// The text is not JSON, or its values are too many or too deep.
#[inline(never)]
pub(super) fn find(body: &[u8], pointers: &Pointers, spans: &mut Spans) -> Result<(), Failed> {
    let text = std::str::from_utf8(body).map_err(|_| Failed::Charset)?;
    let tries = body.len().saturating_mul(TRIES).saturating_add(4096);
    walk(text, pointers, tries, spans)
}

impl Visitor for Spans {
    type Failed = Failed;

    fn found(&mut self, start: usize, end: usize) -> Result<(), Failed> {
        self.add(start, end)
    }
}

impl From<Bad> for Failed {
    fn from(bad: Bad) -> Self {
        match bad {
            Bad::Malformed => Self::Malformed,
            Bad::Nesting => Self::Nesting,
            Bad::Work => Self::Work,
        }
    }
}
