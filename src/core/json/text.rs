//! The tokens of JSON text, and what strings mean.

use super::Bad;
use std::borrow::Cow;

/// JSON text, read up to a place.
pub(super) struct Text<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { bytes: text.as_bytes(), at: 0 }
    }

    /// Returns up to where it is read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'t [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Tells whether an array or object begins.
    pub(super) fn begins(&self) -> bool {
        matches!(self.peek(), Some(b'{' | b'['))
    }

    fn forward(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.forward(1);
        }
    }

    /// Goes past a byte; false: it does not come.
    pub(super) fn skip(&mut self, byte: u8) -> bool {
        let comes = self.peek() == Some(byte);
        if comes {
            self.forward(1);
        }
        comes
    }

    pub(super) fn word(&mut self, word: &[u8]) -> Result<(), Bad> {
        self.forward(word.len());
        let comes = self.at.checked_sub(word.len()).and_then(|start| self.bytes.get(start..self.at)) == Some(word);
        if comes { Ok(()) } else { Err(Bad::Malformed) }
    }

    #[inline(never)]
    pub(super) fn number(&mut self) -> Result<(), Bad> {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Bad> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.forward(1);
        }
        if self.at > start { Ok(()) } else { Err(Bad::Malformed) }
    }

    /// Reads a string, and returns what is between its quotes.
    #[inline(never)]
    pub(super) fn string(&mut self) -> Result<&'t [u8], Bad> {
        if !self.skip(b'"') {
            return Err(Bad::Malformed);
        }
        let start = self.at;
        loop {
            let rest = self.rest();
            let ends = |byte: &u8| matches!(*byte, b'"' | b'\\' | ..0x20);
            self.forward(rest.iter().position(ends).ok_or(Bad::Malformed)?);
            match self.peek() {
                Some(b'"') => {
                    let text = self.bytes.get(start..self.at).ok_or(Bad::Malformed)?;
                    self.forward(1);
                    return Ok(text);
                }
                Some(b'\\') => {
                    let (_, rest) = unescaped(self.rest()).ok_or(Bad::Malformed)?;
                    self.at = self.bytes.len().saturating_sub(rest.len());
                }
                _ => return Err(Bad::Malformed),
            }
        }
    }
}

/// Returns what a string means, of what is between its quotes; `None` where an escape is none.
#[inline(never)]
pub(crate) fn decoded(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    let Some(first) = memchr::memchr(b'\\', text) else { return Some(Cow::Borrowed(text)) };
    let (plain, mut rest) = text.split_at_checked(first)?;
    let mut decoded = Vec::new();
    decoded.try_reserve_exact(text.len()).ok()?;
    decoded.extend_from_slice(plain);
    while !rest.is_empty() {
        let (character, after) = unescaped(rest)?;
        decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        let (plain, escape) = after.split_at_checked(memchr::memchr(b'\\', after).unwrap_or(after.len()))?;
        decoded.extend_from_slice(plain);
        rest = escape;
    }
    Some(Cow::Owned(decoded))
}

/// What a string means, character by character, of what is between its quotes.
#[cfg(feature = "compare")]
#[derive(Debug, Clone)]
pub(crate) struct Characters<'t>(&'t str);

#[cfg(feature = "compare")]
impl<'t> Characters<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self(text)
    }
}

#[cfg(feature = "compare")]
impl Iterator for Characters<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let mut characters = self.0.chars();
        let character = characters.next()?;
        if character != '\\' {
            self.0 = characters.as_str();
            return Some(character);
        }
        let (character, rest) = unescaped(self.0.as_bytes())?;
        self.0 = self.0.get(self.0.len().saturating_sub(rest.len())..)?;
        Some(character)
    }
}

/// Reads the escape that a text begins with, and returns the rest.
#[inline(never)]
fn unescaped(text: &[u8]) -> Option<(char, &[u8])> {
    let [b'\\', kind, rest @ ..] = text else { return None };
    let character = match kind {
        b'"' | b'\\' | b'/' => char::from(*kind),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return utf_16(rest),
        _ => return None,
    };
    Some((character, rest))
}

/// Reads one or two units of UTF-16, the second with `\u` before it.
fn utf_16(text: &[u8]) -> Option<(char, &[u8])> {
    let (first, rest) = unit(text)?;
    let alone = char::decode_utf16([first]).next()?;
    if let Ok(character) = alone {
        return Some((character, rest));
    }
    let (second, rest) = unit(rest.strip_prefix(b"\\u")?)?;
    let pair = char::decode_utf16([first, second]).next()?;
    Some((pair.ok()?, rest))
}

fn unit(text: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let value = digits.iter().try_fold(0u16, |value, digit| {
        let digit = u16::try_from(char::from(*digit).to_digit(16)?).ok()?;
        Some(value << 4 | digit)
    })?;
    Some((value, rest))
}
