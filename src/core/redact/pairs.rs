//! Names and values of queries, forms and cookies.

use super::Failed;
use super::spans::Spans;
use smallvec::SmallVec;
use std::borrow::Cow;

/// The byte order mark, as a parser may skip it.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Finds the values of the listed parameters in a form.
#[inline(never)]
pub(super) fn form(body: &[u8], names: &[Box<str>], spans: &mut Spans) -> Result<(), Failed> {
    // JSON that says it is a form, as curl sends it: who does not look at the content-type reads it as JSON.
    if matches!(body.trim_ascii_start(), [b'{' | b'[' | b'"', ..]) || body.starts_with(BOM) {
        return Err(Failed::Malformed);
    }
    // UTF-16, or a name that ends there to some servers.
    if memchr::memchr(0, body).is_some() {
        return Err(Failed::Malformed);
    }
    query(body, 0, names, spans)
}

/// Finds the values of the listed parameters in a text, from a place on.
#[inline(never)]
pub(super) fn query(text: &[u8], start: usize, names: &[Box<str>], spans: &mut Spans) -> Result<(), Failed> {
    let mut start = start;
    let text = text.get(start..).unwrap_or_default();
    let has_mark = memchr::memchr(b';', text).is_some();
    for parameter in text.split(|byte| *byte == b'&') {
        let end = start.saturating_add(parameter.len());
        if !parameter.is_empty() {
            let (name, value) = split(parameter, b'=');
            if is_listed(name, names)?
                && let Some(value) = value
            {
                spans.add(end.saturating_sub(value.len()), end)?;
            }
            if has_mark {
                behind_marks(parameter, names)?;
            }
        }
        start = end.saturating_add(1);
    }
    Ok(())
}

/// Makes sure that no listed name stands behind a `;`, which to some servers is what `&` is.
fn behind_marks(parameter: &[u8], names: &[Box<str>]) -> Result<(), Failed> {
    for part in parameter.split(|byte| *byte == b';').skip(1) {
        if is_listed(split(part, b'=').0, names)? {
            return Err(Failed::Ambiguous);
        }
    }
    Ok(())
}

/// Finds the values of the listed cookies in a line. What is around a name or a value, white space and quotes, is no part of it.
#[inline(never)]
pub(super) fn cookies(line: &[u8], names: &[Box<str>], spans: &mut Spans) -> Result<(), Failed> {
    let mut start = 0usize;
    for cookie in line.split(|byte| *byte == b';') {
        let end = start.saturating_add(cookie.len());
        let (name, value) = split(cookie, b'=');
        if !stands_in(names, name.trim_ascii()) {
            if may_be_listed(cookie, names) {
                return Err(Failed::Ambiguous);
            }
        } else if let Some(value) = value {
            let from = end.saturating_sub(value.trim_ascii_start().len());
            let value = value.trim_ascii();
            let to = from.saturating_add(value.len());
            match value {
                [b'"', inner @ .., b'"'] if closes(inner) => {
                    spans.add(from.saturating_add(1), to.saturating_sub(1))?;
                }
                // To some servers the value goes on to the next quote, behind the `;`.
                [b'"', ..] => return Err(Failed::Ambiguous),
                _ => spans.add(from, to)?,
            }
        }
        start = end.saturating_add(1);
    }
    Ok(())
}

/// Returns whether some servers find a listed cookie in one of another name: behind white space, Unicode's too, or a `,`, which they
/// take for what `;` is, or behind a `=`.
fn may_be_listed(cookie: &[u8], names: &[Box<str>]) -> bool {
    cookie.split(|byte| *byte == b',' || !byte.is_ascii_graphic()).any(|part| {
        let begin = part.iter().position(|byte| *byte != b'=').unwrap_or(part.len());
        stands_in(names, split(part.get(begin..).unwrap_or_default(), b'=').0)
    })
}

/// Returns whether a quote ends what is before it: with a backslash it is a part of that.
fn closes(inner: &[u8]) -> bool {
    let backslashes = inner.iter().rev().take_while(|byte| **byte == b'\\').count();
    backslashes.is_multiple_of(2)
}

/// Returns a value as it decodes: `%41` is a byte, `+` a space; a `%` without two digits is itself. `None` where memory does not
/// suffice for that.
#[inline(never)]
pub(super) fn decoded(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::new();
    decoded.try_reserve_exact(text.len()).ok()?;
    decode(text, |byte| decoded.push(byte));
    Some(Cow::Owned(decoded))
}

fn decode(text: &[u8], mut push: impl FnMut(u8)) {
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) if let Some(byte) = hex(*high, *low) => (byte, after),
            _ => (*first, tail),
        };
        push(byte);
        rest = tail;
    }
}

/// Returns whether a name is one of these, which are in order, short ones first: a text may have a million names.
fn stands_in(names: &[Box<str>], name: &[u8]) -> bool {
    names.binary_search_by(|listed| (listed.len(), listed.as_bytes()).cmp(&(name.len(), name))).is_ok()
}

/// Returns whether the name of a parameter, as it decodes, is listed.
///
/// # Errors
/// What the name is depends on who reads it.
#[inline(never)]
fn is_listed(name: &[u8], names: &[Box<str>]) -> Result<bool, Failed> {
    if name.iter().all(|byte| is_plain(*byte) && !matches!(byte, b'%' | b'+')) {
        return Ok(stands_in(names, name));
    }
    // However it is read, it becomes no longer.
    if names.first().is_none_or(|shortest| name.len() < shortest.len()) {
        return Ok(false);
    }
    let is_escape = |rest: &[u8]| matches!(rest, [high, low, ..] if hex(*high, *low).is_some());
    let is_text = name.split(|byte| *byte == b'%').skip(1).all(is_escape);
    // Most names are short, and there may be very many: none of them is worth an allocation.
    let mut text = SmallVec::<[u8; 64]>::new();
    text.try_reserve(name.len()).map_err(|_| Failed::Memory)?;
    decode(name, |byte| text.push(byte));
    let Some(name) = std::str::from_utf8(&text).ok().filter(|_| is_text) else { return Err(Failed::Name) };
    if stands_in(names, name.as_bytes()) {
        return Ok(true);
    }
    if text.iter().all(|byte| is_plain(*byte)) {
        return Ok(false);
    }
    // Some servers take white space off a name, or a second `?`, or end it with a zero byte.
    let is_around = |character: char| character.is_whitespace() || character.is_control() || character == '?';
    let bare = name.trim_start_matches(is_around).split('\0').next().unwrap_or_default().trim_end_matches(is_around);
    if stands_in(names, bare.as_bytes()) { Err(Failed::Ambiguous) } else { Ok(false) }
}

/// Returns whether a byte is one that no server takes off a name.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'?'
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn split(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == separator);
    (parts.next().unwrap_or_default(), parts.next())
}
