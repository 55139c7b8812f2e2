//! What is wrong with a configuration: each violation with its place, its value and what would be allowed.

use serde_json::Value;
use std::cell::RefCell;
use std::fmt;

/// The longest piece of a refused value that an error repeats, in characters.
const SHOWN: usize = 80;

/// The most violations of one configuration that are told one by one: a log is to be read.
const MOST: usize = 100;

/// One reason why a configuration is refused.
///
/// Prints as `path: value: what is allowed`, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    path: String,
    value: String,
    allowed: String,
}

impl Violation {
    /// States that `value`, found at `path`, is not what is `allowed` there.
    pub fn new(path: impl Into<String>, value: impl Into<String>, allowed: impl fmt::Display) -> Self {
        Self { path: path.into(), value: value.into(), allowed: allowed.to_string() }
    }

    /// Moves it to where the configuration stands in a bigger document.
    fn below(self, parent: &str) -> Self {
        let path = if self.path.is_empty() { parent.to_owned() } else { format!("{parent}.{}", self.path) };
        Self { path, ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "configuration" } else { &self.path };
        // One violation, one line of log, and nothing in it that a terminal obeys: a key may hold anything.
        let line = format!("{path}: {}: {}", self.value, self.allowed);
        f.write_str(&line.replace(char::is_control, " "))
    }
}

/// Why a configuration is refused: its first violations, and how many more there are.
///
/// It never takes more memory than the first ones need, however many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Violations {
    first: Vec<Violation>,
    more: usize,
}

impl Violations {
    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Writes each violation on a line of its own, at most 100 of them; where there are others, a last line counts them.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        self.first.iter().map(Violation::to_string).chain(more)
    }

    /// Returns the path, the value and what is allowed of each, at most 100 of them.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.first.iter().map(|violation| (&*violation.path, &*violation.value, &*violation.allowed))
    }

    /// Moves all of them to where the configuration stands in a bigger document.
    pub fn below(self, parent: &str) -> Self {
        Self { first: self.first.into_iter().map(|violation| violation.below(parent)).collect(), ..self }
    }

    fn push(&mut self, violation: Violation) {
        if self.first.len() < MOST {
            self.first.push(violation);
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

impl From<Violation> for Violations {
    fn from(violation: Violation) -> Self {
        Self { first: vec![violation], more: 0 }
    }
}

/// Collects violations while a configuration is read, so that all of them can be told at once.
#[derive(Debug, Default)]
pub(super) struct Collector(RefCell<Violations>);

impl Collector {
    pub(super) fn push(&self, violation: Violation) {
        self.0.borrow_mut().push(violation);
    }

    pub(super) fn has_any(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    pub(super) fn into_violations(self) -> Violations {
        self.0.into_inner()
    }
}

/// Shows a refused value as compact JSON, cut where it gets long; what is inside of it has violations of its own.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Object(fields) if !fields.is_empty() => return "{…}".to_owned(),
        Value::Array(items) if !items.is_empty() => return "[…]".to_owned(),
        value => serde_json::to_string(value).unwrap_or_default(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}
