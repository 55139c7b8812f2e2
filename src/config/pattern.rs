//! Reads regular expressions, and the rewrites that refer to their groups.

use super::expression::{Expression, Pattern};
use super::node::Node;
use std::rc::Rc;

/// The longest pattern that is taken, in characters.
const LONGEST: usize = 1024;

/// The longest replacement that is taken, in characters.
const LONGEST_REPLACEMENT: usize = 1024;

/// The longest path that a rewrite makes, in bytes: the host takes no more of a request's headers together.
const LONGEST_PATH: usize = 1 << 20;

/// Reads a regular expression that has to match a whole value.
#[inline(never)]
pub(super) fn whole(node: &Node<'_>, pattern: &str, ignore_case: bool) -> Option<Rc<Expression>> {
    node.compiler.whole(pattern, ignore_case).map_or_else(|fault| node.refuse(fault), Some)
}

/// Reads the text of a regular expression.
#[inline(never)]
pub(super) fn text<'a>(node: &Node<'a>) -> Option<&'a str> {
    let pattern = node.text()?;
    if pattern.chars().nth(LONGEST).is_some() {
        return node.refuse(format_args!("a regular expression longer than {LONGEST} characters"));
    }
    Some(pattern)
}

/// Reads a regular expression that may match anywhere.
#[inline(never)]
pub(super) fn anywhere(node: &Node<'_>) -> Option<Rc<Pattern>> {
    node.compiler.pattern(text(node)?).map_or_else(|fault| node.refuse(fault), Some)
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
    /// Reads RE2's rewrite syntax: `\0` to `\9` are groups of the pattern, `\\` is a backslash.
    #[inline(never)]
    pub(super) fn read(node: &Node<'_>, pattern: Option<&Pattern>) -> Option<Self> {
        let text = node.text()?;
        if !super::names::is_header_value(text) {
            return node.refuse("control characters cannot stand in a path");
        }
        if text.contains([' ', '\t', '?', '#']) {
            return node.refuse("white space, ? and # cannot stand in a path: the query stays as it is");
        }
        if text.chars().nth(LONGEST_REPLACEMENT).is_some() {
            return node.refuse(format_args!("a replacement longer than {LONGEST_REPLACEMENT} characters"));
        }
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match (byte, byte.eq(&b'\\').then(|| bytes.next()).flatten()) {
                (b'\\', Some(b'\\')) => literal.push(b'\\'),
                (b'\\', Some(digit @ b'0'..=b'9')) => {
                    let group = usize::from(digit.saturating_sub(b'0'));
                    if pattern.is_some_and(|pattern| group >= pattern.groups()) {
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

    /// Replaces every match in a path, as RE2's `GlobalReplace` and so Envoy's `regex_rewrite` do, and appends the query that
    /// the path has. `None`: there is no match.
    ///
    /// # Errors
    /// It would take too long, or make more than the host takes.
    pub fn apply(&self, pattern: &Pattern, path: &[u8], query: &[u8]) -> Result<Option<Vec<u8>>, TooMuch> {
        let most = self.0.iter().map(|piece| if let Piece::Group(group) = piece { *group } else { 0 }).max();
        let mut search = pattern.search(path, most.unwrap_or_default()).ok_or(TooMuch)?;
        let mut rewritten = Rewritten::default();
        let mut from = 0;
        let mut kept_to = 0;
        let mut last_end = None;
        while from <= path.len() && search.find(from).map_err(|_| TooMuch)? {
            let Some((start, end)) = search.group(0) else { break };
            if start == end && last_end == Some(end) {
                // Nothing, where the last match ended, is no match of its own.
                from = end.saturating_add(1);
                continue;
            }
            rewritten.push(path.get(kept_to..start))?;
            for piece in &self.0 {
                match piece {
                    Piece::Text(text) => rewritten.push(Some(text))?,
                    Piece::Group(group) => {
                        rewritten.push(search.group(*group).and_then(|(start, end)| path.get(start..end)))?;
                    }
                }
            }
            (from, kept_to, last_end) = (end, end, Some(end));
        }
        if last_end.is_none() {
            return Ok(None);
        }
        rewritten.push(path.get(kept_to..))?;
        rewritten.push(Some(query))?;
        Ok(Some(rewritten.0))
    }
}

/// A path cannot be rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuch;

/// A path in the making.
#[derive(Default)]
struct Rewritten(Vec<u8>);

impl Rewritten {
    fn push(&mut self, part: Option<&[u8]>) -> Result<(), TooMuch> {
        let part = part.unwrap_or_default();
        if part.len() > LONGEST_PATH.saturating_sub(self.0.len()) {
            return Err(TooMuch);
        }
        self.0.try_reserve(part.len()).map_err(|_| TooMuch)?;
        self.0.extend_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use serde_json::json;

    #[test]
    fn a_rewrite_is_refused_that_could_not_make_a_path() {
        let (longest, too_long) = ("é".repeat(1024), "é".repeat(1025));
        for (field, text, expected) in [
            ("match", &*longest, None),
            ("match", &too_long, Some("longer than 1024 characters")),
            ("match", "a{1001}", Some("invalid repetition size")),
            ("match", "(a", Some("not a regular expression: unclosed group")),
            ("match", r"\b\pL", Some("cannot stand beside what needs Unicode")),
            ("rewrite", &longest, None),
            ("rewrite", &too_long, Some("longer than 1024 characters")),
            ("rewrite", "/a b", Some("white space, ? and # cannot stand in a path")),
            ("rewrite", "/a?b=c", Some("white space, ? and # cannot stand in a path")),
            ("rewrite", "/a#b", Some("white space, ? and # cannot stand in a path")),
            ("rewrite", "/a\tb", Some("white space, ? and # cannot stand in a path")),
            ("rewrite", "/a\nb", Some("control characters")),
            ("rewrite", r"\2", Some("a group that the pattern does not have")),
            ("rewrite", r"\x", Some("a backslash stands before")),
            ("rewrite", r"/\0\1\\", None),
        ] {
            let mut rewrite = json!({ "match": "^/(.*)$", "rewrite": "/" });
            rewrite[field] = text.into();
            let mirror = json!({ "cluster": "a", "rewrite": { "uriRegexRewrite": rewrite } });
            let config = json!({ "rules": [{ "mirrors": [mirror] }] }).to_string();
            let said =
                Config::from_bytes(config.as_bytes()).err().map(|violations| violations.lines().collect::<String>());
            let is_as_expected = match (&said, expected) {
                (Some(said), Some(expected)) => said.contains(expected) && said.contains(&format!("Rewrite.{field}")),
                (said, expected) => said.is_none() && expected.is_none(),
            };
            assert!(is_as_expected, "{field} {text}: {said:?}");
        }
    }
}
