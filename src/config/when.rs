//! Conditions on the primary's response, for copies that are sent only once it is over.

use super::mirror::read_duration;
use super::node::{Node, all, optional};
use serde_json::Value;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Conditions on a response, all of which have to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// On its status; `None`: any.
    pub status: Option<Statuses>,
    /// The response took longer than this.
    pub slower_than: Option<Duration>,
}

/// Status codes, and whether no response at all is one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses {
    ranges: Vec<RangeInclusive<u16>>,
    includes_none: bool,
}

impl Statuses {
    /// Returns whether a status is one of these; `None`: the client got no response.
    pub fn includes(&self, status: Option<u16>) -> bool {
        match status {
            Some(status) => self.ranges.iter().any(|range| range.contains(&status)),
            None => self.includes_none,
        }
    }

    #[inline(never)]
    fn read(node: &Node<'_>) -> Option<Self> {
        let entries = all(node.list()?.map(|node| read_status(&node)))?;
        if entries.is_empty() {
            return node.refuse("a list of at least one status");
        }
        Some(Self { includes_none: entries.contains(&None), ranges: entries.into_iter().flatten().collect() })
    }
}

impl fmt::Display for Statuses {
    /// Shows it as the configuration has it, classes as ranges.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for range in &self.ranges {
            let (first, last) = (range.start(), range.end());
            if first == last {
                write!(f, "{separator}{first}")?
            } else {
                write!(f, "{separator}{first}-{last}")?
            }
            separator = ", ";
        }
        if self.includes_none { write!(f, "{separator}none") } else { Ok(()) }
    }
}

impl When {
    /// Returns whether a response is such a one. `took`: how long the upstream took, where one responded.
    pub fn holds(&self, status: Option<u16>, took: Option<Duration>) -> bool {
        self.status.as_ref().is_none_or(|statuses| statuses.includes(status))
            && self.slower_than.is_none_or(|least| took.is_some_and(|took| took > least))
    }

    /// Reads the entries of a list, at least one.
    #[inline(never)]
    pub(super) fn read_all(node: &Node<'_>) -> Option<Vec<Self>> {
        let entries = all(node.list()?.map(|node| Self::read(&node)))?;
        if entries.is_empty() { node.refuse("a list of at least one entry") } else { Some(entries) }
    }

    #[inline(never)]
    fn read(node: &Node<'_>) -> Option<Self> {
        let mut object = node.object()?;
        let [status, slower_than] = ["status", "slowerThan"].map(|name| object.field(name));
        object.finish();
        if status.is_none() && slower_than.is_none() {
            return node.refuse("at least one of status, slowerThan");
        }
        let (status, slower_than) = (optional(status, Statuses::read), optional(slower_than, read_duration));
        Some(Self { status: status?, slower_than: slower_than? })
    }
}

/// Reads `5xx`, `429`, `500-503` or `none`, which is `Some(None)`.
#[inline(never)]
fn read_status(node: &Node<'_>) -> Option<Option<RangeInclusive<u16>>> {
    let range = match node.value() {
        Value::Number(number) => number.as_u64().and_then(|code| u16::try_from(code).ok()).map(|code| code..=code),
        Value::String(text) if text == "none" => return Some(None),
        Value::String(text) => parse(text.as_bytes()),
        _ => None,
    };
    match range.filter(|range| *range.start() >= 100 && *range.end() < 600 && range.start() <= range.end()) {
        Some(range) => Some(Some(range)),
        None => node.refuse("not a class (5xx), a code between 100 and 599, a range of codes (500-503), or none"),
    }
}

fn parse(text: &[u8]) -> Option<RangeInclusive<u16>> {
    match text {
        [class, b'x', b'x'] => {
            let first = u16::from(class.checked_sub(b'0')?).checked_mul(100)?;
            Some(first..=first.checked_add(99)?)
        }
        [code @ .., b'-', _, _, _] if code.len() == 3 => Some(number(code)?..=number(text.get(4..)?)?),
        _ => number(text).map(|code| code..=code),
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    let is_code = digits.len() == 3 && digits.iter().all(u8::is_ascii_digit);
    if is_code { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;

    fn statuses(ranges: &[RangeInclusive<u16>], includes_none: bool) -> Option<Statuses> {
        Some(Statuses { ranges: ranges.to_vec(), includes_none })
    }

    #[test]
    fn a_condition_holds_where_all_that_it_names_does() {
        let ms = Duration::from_millis;
        for (status, slower_than, response, took, expected) in [
            (statuses(&[500..=599], false), None, Some(500), None, true),
            (statuses(&[500..=599], false), None, Some(599), Some(ms(1)), true),
            (statuses(&[500..=599], false), None, Some(499), None, false),
            (statuses(&[500..=599], false), None, None, None, false),
            (statuses(&[429..=429], true), None, None, None, true),
            (statuses(&[429..=429], true), None, Some(429), None, true),
            (None, Some(ms(500)), Some(200), Some(ms(500)), false),
            (None, Some(ms(500)), Some(200), Some(ms(501)), true),
            (None, Some(ms(500)), Some(504), None, false),
            (statuses(&[200..=299], false), Some(ms(500)), Some(200), Some(ms(501)), true),
            (statuses(&[200..=299], false), Some(ms(500)), Some(500), Some(ms(501)), false),
            (statuses(&[200..=299], false), Some(ms(500)), Some(200), Some(ms(1)), false),
        ] {
            let when = When { status, slower_than };
            assert_eq!(when.holds(response, took), expected, "{when:?} {response:?} {took:?}");
        }
    }
}
