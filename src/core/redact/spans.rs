//! Where values stand in a text, and the text with others in their place.

use super::Failed;
use super::hide::{Hide, Token};
use super::pairs;
use crate::core::json;
use smallvec::SmallVec;

/// The most values of one text that are hidden.
const MOST: usize = 1000;

/// How the values of a text are written in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// As they are.
    None,
    /// As in URLs: `%41`, and `+` for a space.
    Url,
    /// As in JSON, where what stands in place of a value is a string.
    Json,
}

/// The values of a text that are to be hidden: in their order, and none inside another.
#[derive(Debug, Default)]
pub(super) struct Spans {
    list: SmallVec<[(usize, usize); 4]>,
    /// Their bytes.
    size: usize,
}

impl Spans {
    /// Adds the value from one place to another.
    pub(super) fn add(&mut self, start: usize, end: usize) -> Result<(), Failed> {
        if self.list.len() >= MOST {
            return Err(Failed::Values);
        }
        self.list.push((start, end));
        self.size = self.size.saturating_add(end.saturating_sub(start));
        Ok(())
    }

    pub(super) fn count(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns how long the text becomes.
    pub(super) fn length(&self, text: &[u8], escapes: Escapes, hide: Hide<'_>) -> usize {
        let quotes = if escapes == Escapes::Json { 2 } else { 0 };
        let tokens = hide.length().saturating_add(quotes).saturating_mul(self.list.len());
        text.len().saturating_sub(self.size).saturating_add(tokens)
    }

    /// Returns the text with something else in place of the values; `None` where memory does not suffice for that.
    #[inline(never)]
    pub(super) fn replaced(&self, text: &[u8], escapes: Escapes, hide: Hide<'_>) -> Option<Vec<u8>> {
        let mut replaced = Vec::new();
        replaced.try_reserve_exact(self.length(text, escapes, hide)).ok()?;
        let mut kept = 0;
        for (start, end) in &self.list {
            replaced.extend_from_slice(text.get(kept..*start)?);
            let token = token(text.get(*start..*end)?, escapes, hide)?;
            if escapes == Escapes::Json {
                replaced.push(b'"');
                replaced.extend_from_slice(token.as_bytes());
                replaced.push(b'"');
            } else {
                replaced.extend_from_slice(token.as_bytes());
            }
            kept = *end;
        }
        replaced.extend_from_slice(text.get(kept..)?);
        Some(replaced)
    }
}

/// Returns what stands in place of a value. A pseudonym is one of what the value means, not of how it is written.
fn token(value: &[u8], escapes: Escapes, hide: Hide<'_>) -> Option<Token> {
    let Hide::Pseudonym(key) = hide else { return Some(Token::MASK) };
    Some(match (escapes, value) {
        (Escapes::Url, _) => key.pseudonym(&pairs::decoded(value)?),
        (Escapes::Json, [b'"', text @ .., b'"']) => key.pseudonym(&json::decoded(text)?),
        _ => key.pseudonym(value),
    })
}
