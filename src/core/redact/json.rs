//! Finds places in JSON text, in one walk without recursion.
//!
//! A parser would hand over values, and not where they stand; what it hands over as text (`serde_json::value::RawValue`) would be
//! read again at each level. What is taken here as JSON is what RFC 8259 allows and UTF-16 can be told of: no half of a surrogate pair.

use super::Failed;
use super::spans::Spans;
use crate::config::{Pointer, Step};
use std::borrow::Cow;

/// How deep arrays and objects may be nested.
const DEEPEST: usize = 128;

/// How many steps of pointers may be tried for each byte of a text.
const TRIES: usize = 16;

/// An array or object that has begun.
struct Open {
    is_object: bool,
    /// How many members or items have begun.
    count: usize,
    /// Where, in the list of steps, those begin that may lead on from here.
    steps: usize,
}

/// Finds the values at some places; a value inside another counts as part of it.
///
/// # Errors
/// The text is not JSON, or its values are too many or too deep.
#[inline(never)]
pub(super) fn find(body: &[u8], pointers: &[Pointer], spans: &mut Spans) -> Result<(), Failed> {
    if std::str::from_utf8(body).is_err() {
        return Err(Failed::Charset);
    }
    let mut text = Text { bytes: body, at: 0 };
    let mut open: Vec<Open> = Vec::new();
    // What is left of each pointer that may lead on, container by container; at the end those of the value that comes.
    let mut steps: Vec<&[Step]> = pointers.iter().map(Pointer::steps).collect();
    let mut own = 0;
    // How many steps may still be tried: some pointers with `*` and long lists would take too long.
    let mut tries = body.len().saturating_mul(TRIES).saturating_add(4096);
    // Where the container began that is being hidden, and how many stand around it.
    let mut hidden = None;
    loop {
        text.space();
        let start = text.at;
        let hides = steps.get(own..).is_some_and(|steps| steps.iter().any(|rest| rest.is_empty()));
        if hides {
            steps.truncate(own);
        }
        let opens = match text.peek() {
            Some(byte @ (b'{' | b'[')) => {
                text.skip(byte);
                Some(byte == b'{')
            }
            Some(b'"') => text.string().map(|_| None)?,
            Some(b't') => text.word(b"true").map(|()| None)?,
            Some(b'f') => text.word(b"false").map(|()| None)?,
            Some(b'n') => text.word(b"null").map(|()| None)?,
            _ => text.number().map(|()| None)?,
        };
        if let Some(is_object) = opens {
            if open.len() >= DEEPEST {
                return Err(Failed::Nesting);
            }
            if hides {
                hidden = Some((start, open.len()));
            }
            open.push(Open { is_object, count: 0, steps: own });
        } else {
            steps.truncate(own);
            if hides {
                spans.add(start, text.at)?;
            }
        }
        // To the next value, and out of what ends before it.
        loop {
            text.space();
            let Some(container) = open.last_mut() else {
                return if text.peek().is_none() { Ok(()) } else { Err(Failed::Malformed) };
            };
            if text.skip(if container.is_object { b'}' } else { b']' }) {
                steps.truncate(container.steps);
                open.pop();
                if let Some((start, depth)) = hidden
                    && depth == open.len()
                {
                    spans.add(start, text.at)?;
                    hidden = None;
                }
                continue;
            }
            if container.count > 0 && !text.skip(b',') {
                return Err(Failed::Malformed);
            }
            let (parent, index) = (container.steps, container.count);
            container.count = index.saturating_add(1);
            own = steps.len();
            if container.is_object {
                text.space();
                let name = text.string()?;
                text.space();
                if !text.skip(b':') {
                    return Err(Failed::Malformed);
                }
                if parent < own {
                    let name = decoded(name).ok_or(Failed::Malformed)?;
                    text.space();
                    lead_on(&mut steps, parent, text.begins(), |to, _| to.as_bytes() == &*name);
                }
            } else if parent < own {
                text.space();
                lead_on(&mut steps, parent, text.begins(), |_, to| to == Some(index));
            }
            tries = tries.checked_sub(own.saturating_sub(parent)).ok_or(Failed::Work)?;
            break;
        }
    }
}

/// Appends what is left of the pointers, from one on, whose next step leads to a member or item. `begins`: it is an array or object,
/// else pointers that lead further lead nowhere.
fn lead_on(steps: &mut Vec<&[Step]>, first: usize, begins: bool, leads: impl Fn(&str, Option<usize>) -> bool) {
    for number in first..steps.len() {
        if let Some([step, rest @ ..]) = steps.get(number).copied()
            && (begins || rest.is_empty())
            && match step {
                Step::Any => true,
                Step::To(name, index) => leads(name, *index),
            }
        {
            steps.push(rest);
        }
    }
}

/// JSON text, read up to a place.
struct Text<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl<'t> Text<'t> {
    fn rest(&self) -> &'t [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Tells whether an array or object begins.
    fn begins(&self) -> bool {
        matches!(self.peek(), Some(b'{' | b'['))
    }

    fn forward(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.forward(1);
        }
    }

    /// Goes past a byte; false: it does not come.
    fn skip(&mut self, byte: u8) -> bool {
        let comes = self.peek() == Some(byte);
        if comes {
            self.forward(1);
        }
        comes
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Failed> {
        self.forward(word.len());
        let comes = self.at.checked_sub(word.len()).and_then(|start| self.bytes.get(start..self.at)) == Some(word);
        if comes { Ok(()) } else { Err(Failed::Malformed) }
    }

    #[inline(never)]
    fn number(&mut self) -> Result<(), Failed> {
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

    fn digits(&mut self) -> Result<(), Failed> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.forward(1);
        }
        if self.at > start { Ok(()) } else { Err(Failed::Malformed) }
    }

    /// Reads a string, and returns what is between its quotes.
    #[inline(never)]
    fn string(&mut self) -> Result<&'t [u8], Failed> {
        if !self.skip(b'"') {
            return Err(Failed::Malformed);
        }
        let start = self.at;
        loop {
            let rest = self.rest();
            let ends = |byte: &u8| matches!(*byte, b'"' | b'\\' | ..0x20);
            self.forward(rest.iter().position(ends).ok_or(Failed::Malformed)?);
            match self.peek() {
                Some(b'"') => {
                    let text = self.bytes.get(start..self.at).ok_or(Failed::Malformed)?;
                    self.forward(1);
                    return Ok(text);
                }
                Some(b'\\') => {
                    let (_, rest) = unescaped(self.rest()).ok_or(Failed::Malformed)?;
                    self.at = self.bytes.len().saturating_sub(rest.len());
                }
                _ => return Err(Failed::Malformed),
            }
        }
    }
}

/// Returns what a string means, of what is between its quotes; `None` where an escape is none.
#[inline(never)]
pub(super) fn decoded(text: &[u8]) -> Option<Cow<'_, [u8]>> {
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
