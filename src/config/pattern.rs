//! Regular expressions in RE2's syntax, on bytes, in linear time; and the rewrites that refer to their groups.

use super::node::Node;
use regex::bytes::{Regex, RegexBuilder};
use std::borrow::Cow;

/// The longest pattern that is taken, in characters.
const LONGEST: usize = 1024;

/// The most memory that one compiled pattern may take, in bytes: `(a{1000}){1000}` is short and would take gigabytes.
const LARGEST: usize = 1 << 20;

/// The most memory that one pattern may take while it is used, in bytes. Thousands of patterns have to fit into a VM,
/// whatever requests make of them; one that needs more is matched more slowly.
const LARGEST_CACHE: usize = 64 << 10;

/// Reads the text of a regular expression.
pub(super) fn text<'a>(node: &Node<'a>) -> Option<&'a str> {
    let pattern = node.text()?;
    if pattern.chars().count() > LONGEST {
        return node.refuse(format_args!("a regular expression longer than {LONGEST} characters"));
    }
    Some(pattern)
}

/// Reads a regular expression that has to match a whole value.
pub(super) fn full_match(node: &Node<'_>, pattern: &str, ignore_case: bool) -> Option<Regex> {
    // First alone: `a)(b` is no pattern, but would be one inside the parentheses.
    read(node, pattern, ignore_case)?;
    read(node, &format!(r"\A(?:{pattern})\z"), ignore_case)
}

/// Reads a regular expression that may match anywhere.
pub(super) fn anywhere(node: &Node<'_>) -> Option<Regex> {
    read(node, text(node)?, false)
}

fn read(node: &Node<'_>, pattern: &str, ignore_case: bool) -> Option<Regex> {
    match compile(pattern, ignore_case) {
        Ok(regex) => Some(regex),
        Err(error) => {
            // The library draws the place on lines of their own; the last line says what is wrong.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            node.refuse(format_args!("not a regular expression: {}", reason.trim_start_matches("error: ")))
        }
    }
}

/// Compiles with RE2's ASCII `\d`, `\w` and a dot that takes any byte, for values need not be UTF-8; a pattern that needs
/// Unicode (`\pL`) is compiled with it.
pub(super) fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, regex::Error> {
    let build = |unicode| {
        RegexBuilder::new(pattern)
            .unicode(unicode)
            .case_insensitive(ignore_case)
            .size_limit(LARGEST)
            .dfa_size_limit(LARGEST_CACHE)
            .build()
    };
    build(false).or_else(|_| build(true))
}

/// What a regular expression's matches are replaced with: text, and groups as `\1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Group(usize),
}

impl Replacement {
    /// Reads RE2's rewrite syntax: `\0` to `\9` are groups of `regex`, `\\` is a backslash.
    pub(super) fn read(node: &Node<'_>, regex: Option<&Regex>) -> Option<Self> {
        let text = node.text()?;
        if !super::names::is_header_value(text) {
            return node.refuse("control characters cannot stand in a path");
        }
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match (byte, byte.eq(&b'\\').then(|| bytes.next()).flatten()) {
                (b'\\', Some(b'\\')) => literal.push(b'\\'),
                (b'\\', Some(digit @ b'0'..=b'9')) => {
                    let group = usize::from(digit.saturating_sub(b'0'));
                    if regex.is_some_and(|regex| group >= regex.captures_len()) {
                        return node.refuse(format_args!("\\{group} names a group that the pattern does not have"));
                    }
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                    pieces.push(Piece::Group(group));
                }
                (b'\\', _) => return node.refuse("a backslash stands before 0 to 9 or another backslash"),
                (byte, _) => literal.push(byte),
            }
        }
        pieces.push(Piece::Text(literal));
        pieces.retain(|piece| *piece != Piece::Text(Vec::new()));
        Some(Self(pieces))
    }

    /// Replaces every match in `text`, as RE2's `GlobalReplace` and so Envoy's `regex_rewrite` do.
    pub fn apply<'t>(&self, regex: &Regex, text: &'t [u8]) -> Cow<'t, [u8]> {
        regex.replace_all(text, |found: &regex::bytes::Captures<'_>| {
            let mut out = Vec::new();
            for piece in &self.0 {
                match piece {
                    Piece::Text(text) => out.extend_from_slice(text),
                    Piece::Group(group) => out.extend(found.get(*group).map_or(&[][..], |group| group.as_bytes())),
                }
            }
            out
        })
    }
}
