//! Names and values of queries, forms and cookies.

use super::Failed;
use super::spans::Spans;
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
    query(body, 0, names, spans)
}

/// Finds the values of the listed parameters in a text, from a place on.
#[inline(never)]
pub(super) fn query(text: &[u8], start: usize, names: &[Box<str>], spans: &mut Spans) -> Result<(), Failed> {
    let mut start = start;
    for parameter in text.get(start..).unwrap_or_default().split(|byte| *byte == b'&') {
        let end = start.saturating_add(parameter.len());
        let (name, value) = split(parameter, b'=');
        if is_listed(name, names)?
            && let Some(value) = value
        {
            spans.add(end.saturating_sub(value.len()), end)?;
        }
        // To some servers `;` is what `&` is.
        if let Some(mark) = memchr::memchr(b';', parameter) {
            for part in parameter.get(mark.saturating_add(1)..).unwrap_or_default().split(|byte| *byte == b';') {
                if is_listed(split(part, b'=').0, names)? {
                    return Err(Failed::Ambiguous);
                }
            }
        }
        start = end.saturating_add(1);
    }
    Ok(())
}

/// Finds the values of the listed cookies in a line. What is around a name or a value, white space and quotes, is no part of it.
#[inline(never)]
pub(super) fn cookies(line: &[u8], names: &[Box<str>], spans: &mut Spans) -> Result<(), Failed> {
    let is_listed = |name: &[u8]| stands_in(names, name.trim_ascii());
    let mut start = 0usize;
    for cookie in line.split(|byte| *byte == b';') {
        let end = start.saturating_add(cookie.len());
        let (name, value) = split(cookie, b'=');
        if !is_listed(name) {
            // To some servers `,` is what `;` is.
            if cookie.split(|byte| *byte == b',').skip(1).any(|part| is_listed(split(part, b'=').0)) {
                return Err(Failed::Ambiguous);
            }
        } else if let Some(value) = value {
            let from = end.saturating_sub(value.trim_ascii_start().len());
            let value = value.trim_ascii();
            let to = from.saturating_add(value.len());
            match value {
                [b'"', .., b'"'] => spans.add(from.saturating_add(1), to.saturating_sub(1))?,
                // To some servers the value goes on to the next quote, behind the `;`.
                [b'"', ..] => return Err(Failed::Ambiguous),
                _ => spans.add(from, to)?,
            }
        }
        start = end.saturating_add(1);
    }
    Ok(())
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
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) if let Some(byte) = hex(*high, *low) => (byte, after),
            _ => (*first, tail),
        };
        decoded.push(byte);
        rest = tail;
    }
    Some(Cow::Owned(decoded))
}

/// Returns whether a name is one of these, which are in order: a text may have a million names.
fn stands_in(names: &[Box<str>], name: &[u8]) -> bool {
    names.binary_search_by(|listed| listed.as_bytes().cmp(name)).is_ok()
}

/// Returns whether the name of a parameter, as it decodes, is listed.
///
/// # Errors
/// What the name is depends on who reads it.
#[inline(never)]
fn is_listed(name: &[u8], names: &[Box<str>]) -> Result<bool, Failed> {
    let is = |name: &[u8]| stands_in(names, name);
    if name.iter().all(|byte| byte.is_ascii() && !matches!(byte, b'%' | b'+')) {
        return Ok(is(name));
    }
    let is_escape = |rest: &[u8]| matches!(rest, [high, low, ..] if hex(*high, *low).is_some());
    let is_text = name.split(|byte| *byte == b'%').skip(1).all(is_escape);
    let name = decoded(name).ok_or(Failed::Memory)?;
    if is_text && std::str::from_utf8(&name).is_ok() { Ok(is(&name)) } else { Err(Failed::Name) }
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

fn split(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == separator);
    (parts.next().unwrap_or_default(), parts.next())
}
