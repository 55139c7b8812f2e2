//! Istio's `StringMatch`, on bytes.

use super::expression::{Expression, Texts};
use super::node::Node;
use super::pattern;
use std::rc::Rc;

/// A test of one value; see [`StringMatch::holds`].
#[derive(Debug, Clone)]
pub struct StringMatch {
    test: Test,
    ignore_case: bool,
    /// How many of a value's first bytes a rewrite replaces.
    rewritten_len: Option<usize>,
}

/// A text that a value has to be, to begin with or to contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Literal<'a> {
    /// It is this text.
    Exact(&'a [u8]),
    /// It begins with this text.
    Prefix(&'a [u8]),
    /// It contains this text, in whichever case.
    Contains(&'a [u8]),
    /// It contains a text of each list, in whichever case, which is not enough.
    Within(&'a [Texts]),
}

#[derive(Debug, Clone)]
enum Test {
    Present,
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    /// In lower case, where case does not count.
    Contains(Box<[u8]>),
    Regex(Rc<Expression>),
}

impl StringMatch {
    /// Tells whether the test holds for a value that is there. Case means ASCII case, as in Envoy.
    pub fn holds(&self, value: &[u8]) -> bool {
        let same = |part: Option<&[u8]>, wanted: &[u8]| {
            part.is_some_and(|part| if self.ignore_case { part.eq_ignore_ascii_case(wanted) } else { part == wanted })
        };
        match &self.test {
            Test::Present => true,
            Test::Exact(wanted) => same(Some(value), wanted),
            Test::Prefix(wanted) => same(value.get(..wanted.len()), wanted),
            Test::Suffix(wanted) => {
                let start = value.len().checked_sub(wanted.len());
                same(start.and_then(|start| value.get(start..)), wanted)
            }
            // The library's search takes linear time; folding case while searching by hand would not.
            Test::Contains(wanted) if self.ignore_case => {
                memchr::memmem::find(&value.to_ascii_lowercase(), wanted).is_some()
            }
            Test::Contains(wanted) => memchr::memmem::find(value, wanted).is_some(),
            Test::Regex(regex) => regex.is_match(value),
        }
    }

    /// Tells whether the test is a regular expression, the dearest of all.
    pub fn is_regex(&self) -> bool {
        matches!(self.test, Test::Regex(_))
    }

    /// Tells whether the test asks for presence alone, which an absent value, though it counts as empty, never has.
    pub fn is_presence(&self) -> bool {
        matches!(self.test, Test::Present)
    }

    /// Returns the text that a value has to be or to begin with, to the letter, or what it has to
    /// contain.
    pub fn literal(&self) -> Option<Literal<'_>> {
        match &self.test {
            Test::Exact(text) if !self.ignore_case => Some(Literal::Exact(text)),
            Test::Prefix(text) if !self.ignore_case => Some(Literal::Prefix(text)),
            Test::Contains(wanted) => Some(Literal::Contains(wanted)),
            Test::Regex(regex) => Some(Literal::Within(regex.required())),
            _ => None,
        }
    }

    /// Returns how many of a value's first bytes a rewrite replaces: those of the prefix, or all of the exact value.
    pub fn rewritten_len(&self) -> Option<usize> {
        self.rewritten_len
    }

    /// Reads a match. `ignore_uri_case` is Istio's `ignoreUriCase`, which leaves regular expressions alone.
    #[inline(never)]
    pub(super) fn read(node: &Node<'_>, ignore_uri_case: bool) -> Option<Self> {
        let mut object = node.object()?;
        let test = object.choice(&["exact", "prefix", "suffix", "contains", "regex"]);
        let many = test.is_none() && object.has_any(&["exact", "prefix", "suffix", "contains", "regex"]);
        let ignore_case = object.field("ignoreCase");
        object.finish();
        let own_case = match ignore_case {
            Some(node) => node.flag()?,
            None => false,
        };
        if many {
            return None;
        }
        let ignore_case = own_case || ignore_uri_case;
        let Some((kind, wanted)) = test else {
            return Some(Self { test: Test::Present, ignore_case, rewritten_len: None });
        };
        let text = wanted.text()?;
        let bytes = || text.as_bytes().into();
        let test = match kind {
            "exact" => Test::Exact(bytes()),
            "prefix" => Test::Prefix(bytes()),
            "suffix" => Test::Suffix(bytes()),
            "regex" => {
                let pattern = pattern::text(&wanted)?;
                let test = match simpler(pattern) {
                    Some(test) if !own_case => test,
                    _ => Test::Regex(pattern::whole(&wanted, pattern, own_case)?),
                };
                return Some(Self { test, ignore_case: false, rewritten_len: None });
            }
            _ if ignore_case => Test::Contains(text.to_ascii_lowercase().into_bytes().into()),
            _ => Test::Contains(bytes()),
        };
        let rewritten_len = matches!(test, Test::Exact(_) | Test::Prefix(_)).then_some(text.len());
        Some(Self { test, ignore_case, rewritten_len })
    }
}

/// Finds the plain test that a regular expression such as `.*Mobile.*` or `/api/v1\.0/.*` spells: a text is looked for faster
/// than an expression is tested, and can be found in a table. `.*` takes all that a header or a path can hold.
fn simpler(pattern: &str) -> Option<Test> {
    let pattern = pattern.strip_prefix('^').unwrap_or(pattern);
    let (open_start, mut rest) = pattern.strip_prefix(".*").map_or((false, pattern), |rest| (true, rest));
    let mut text = Vec::new();
    let open_end = loop {
        match rest {
            "" | "$" => break false,
            ".*" | ".*$" => break true,
            _ => {}
        }
        let mut characters = rest.chars();
        match characters.next() {
            Some('\\') => match characters.next() {
                // Not \< and \>, which are assertions.
                Some(escaped) if escaped.is_ascii_punctuation() && !"<>".contains(escaped) => text.push(escaped as u8),
                _ => return None,
            },
            Some(special) if ".+*?()|[]{}^$".contains(special) => return None,
            Some(plain) => text.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
            None => return None,
        }
        rest = characters.as_str();
    };
    let text = text.into();
    Some(match (open_start, open_end) {
        (false, false) => Test::Exact(text),
        (false, true) => Test::Prefix(text),
        (true, false) => Test::Suffix(text),
        (true, true) => Test::Contains(text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_simpler_test_holds_where_its_expression_does(
            pattern in "\\^?(\\.\\*)?([ab.]|\\\\[.*$^-]){0,3}(\\.\\*)?\\$?", value in prop::collection::vec(prop::sample::select(&b"ab.*$^-\xff"[..]), 0..6),
        ) {
            let regex = regex::bytes::RegexBuilder::new(&format!("\\A(?:{pattern})\\z")).unicode(false).build().unwrap();
            if let Some(test) = simpler(&pattern) {
                prop_assert_eq!(StringMatch { test, ignore_case: false, rewritten_len: None }.holds(&value), regex.is_match(&value));
            }
        }
    }
}
