//! Reads a document field by field. A value of the wrong type is reported with its path, and never taken for absent or empty.

use crate::tree::{Tree, join};
use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use traffic_mirror::config::Violation;

/// Stands for text where none was expected: it may be a secret in the wrong place.
const HIDDEN: &str = "(not shown)";

/// How alike two names have to be for one to be taken for the other, between 0 and 1.
const ALIKE: f64 = 0.86;

/// What is of the wrong type in a document or has an unknown name, each path once.
#[derive(Debug, Default)]
pub(crate) struct Mismatches {
    errors: RefCell<Vec<Violation>>,
    warnings: RefCell<Vec<Violation>>,
    paths: RefCell<HashSet<String>>,
}

impl Mismatches {
    /// Takes all that were found since.
    pub(crate) fn take(&self) -> Vec<Violation> {
        self.errors.take()
    }

    /// Takes what may be as it should, because newer versions of a resource have it.
    pub(crate) fn take_warnings(&self) -> Vec<Violation> {
        self.warnings.take()
    }

    fn add(&self, list: &RefCell<Vec<Violation>>, path: &str, value: String, what: impl Display) {
        if self.paths.borrow_mut().insert(path.to_owned()) {
            list.borrow_mut().push(Violation::new(path, value, what));
        }
    }
}

/// A value of a document together with its path.
///
/// Every reader returns nothing after it has reported why; the caller goes on with the other fields.
#[derive(Debug, Clone)]
pub(crate) struct Node<'t> {
    path: String,
    tree: &'t Tree,
    mismatches: &'t Mismatches,
}

impl<'t> Node<'t> {
    /// Begins with a document.
    pub(crate) fn root(tree: &'t Tree, mismatches: &'t Mismatches) -> Self {
        Self { path: String::new(), tree, mismatches }
    }

    /// Returns the kind of a Kubernetes resource.
    pub(crate) fn kind(&self) -> Option<&'t str> {
        let is_resource = self.tree.get("apiVersion").is_some();
        if is_resource { self.text_at("kind") } else { self.tree.text_at(&["kind"]) }
    }

    fn child(&self, name: &str, tree: &'t Tree) -> Self {
        Self { path: join(&self.path, name), tree, mismatches: self.mismatches }
    }

    /// Returns what stands in its place where it says nothing.
    pub(crate) fn with(&self, tree: &'t Tree) -> Self {
        Self { tree, ..self.clone() }
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn tree(&self) -> &'t Tree {
        self.tree
    }

    /// Returns a field of an object; `null` means that it is absent.
    pub(crate) fn field(&self, name: &str) -> Option<Self> {
        Some(self.child(name, self.object()?.tree.get(name)?))
    }

    /// Returns the text of a field.
    pub(crate) fn text_at(&self, name: &str) -> Option<&'t str> {
        self.field(name)?.text()
    }

    /// Returns the items of a field; none where it is absent.
    pub(crate) fn items_at(&self, name: &str) -> Vec<Self> {
        self.field(name).map(|list| list.items()).unwrap_or_default()
    }

    /// Returns it, if it is an object.
    pub(crate) fn object(&self) -> Option<&Self> {
        if matches!(self.tree, Tree::Map(_)) { Some(self) } else { self.mismatch("an object") }
    }

    pub(crate) fn text(&self) -> Option<&'t str> {
        self.tree.text().or_else(|| self.mismatch("a string"))
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        match self.tree {
            Tree::Flag(flag) => Some(*flag),
            _ => self.mismatch("true or false"),
        }
    }

    pub(crate) fn number(&self) -> Option<f64> {
        match self.tree {
            Tree::Number(number) => number.as_f64(),
            _ => self.mismatch("a number"),
        }
    }

    /// Reads a whole number, which proto3 JSON may write as a string.
    pub(crate) fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match self.tree {
            Tree::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
            // No sign: u64's own parser would take one.
            Tree::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Tree::Text(_) => None,
            _ => return self.mismatch("a whole number"),
        };
        number.filter(|number| range.contains(number)).or_else(|| {
            self.refuse(
                self.tree.json(),
                format_args!("not a whole number between {} and {}", range.start(), range.end()),
            )
        })
    }

    /// Returns the items of a list.
    pub(crate) fn items(&self) -> Vec<Self> {
        let Tree::List(items) = self.tree else { return self.mismatch("a list").unwrap_or_default() };
        items.iter().enumerate().map(|(index, item)| self.child(&format!("[{index}]"), item)).collect()
    }

    /// Returns the fields of an object whose names are the user's.
    pub(crate) fn entries(&self) -> Vec<(&'t str, Self)> {
        let Some(object) = self.object() else { return Vec::new() };
        object.tree.fields().iter().map(|(name, value)| (name.as_str(), self.child(name, value))).collect()
    }

    /// Returns all fields and items, of whatever type it is.
    pub(crate) fn children(&self) -> Vec<Self> {
        self.tree.children().into_iter().map(|(name, child)| self.child(&name, child)).collect()
    }

    fn mismatch<T>(&self, expected: &str) -> Option<T> {
        let found = match self.tree {
            Tree::Null => "nothing",
            Tree::Flag(_) => "a boolean",
            Tree::Number(_) => "a number",
            Tree::Text(_) => "a string",
            Tree::List(_) => "a list",
            Tree::Map(_) => "an object",
        };
        let hint = match self.tree {
            Tree::Flag(true) if expected == "a string" => {
                "; YAML takes y, yes, on and true for true where they stand without quotes: put it in quotes"
            }
            Tree::Flag(false) if expected == "a string" => {
                "; YAML takes n, no, off and false for false where they stand without quotes: put it in quotes"
            }
            Tree::Number(_) if expected == "a string" => "; put it in quotes",
            _ => "",
        };
        self.refuse(self.shown(), format_args!("{found}, not {expected}{hint}"))
    }

    /// Reports that it has a name that nothing has there, among those that are known.
    pub(crate) fn unknown(&self, name: &str, known: &[&str], is_error: bool) {
        let alike = known.iter().map(|known| (strsim::jaro_winkler(name, known), known));
        let nearest = alike.filter(|(alike, _)| *alike > ALIKE).max_by(|(one, _), (other, _)| one.total_cmp(other));
        let hint = nearest.map_or_else(
            || format!("known here: {}", known.join(", ")),
            |(_, nearest)| format!("did you mean {nearest}?"),
        );
        let list = if is_error { &self.mismatches.errors } else { &self.mismatches.warnings };
        self.mismatches.add(list, &self.path, self.shown(), format_args!("unknown field; {hint}"));
    }

    /// Reports it as something that cannot be there, with what is shown of it.
    pub(crate) fn refuse<T>(&self, shown: String, what: impl Display) -> Option<T> {
        self.mismatches.add(&self.mismatches.errors, &self.path, shown, what);
        None
    }

    /// Writes as much of it as may be shown.
    fn shown(&self) -> String {
        match self.tree {
            Tree::Text(_) => HIDDEN.to_owned(),
            Tree::List(_) => "[…]".to_owned(),
            Tree::Map(_) => "{…}".to_owned(),
            tree => tree.json(),
        }
    }
}

/// Takes `80.0` for 80, as the plugin does.
fn whole(number: f64) -> Option<u64> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number that has 32 bits")]
    (number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number)).then_some(number as u64)
}
