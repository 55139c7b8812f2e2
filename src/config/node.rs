//! Reads a tree of values field by field, and says of each value that does not fit where it stands and what would.

use super::expression::Compiler;
use super::path::Path;
use super::violation::{Collector, Violation, shown};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// Stands in an error for a value that may be a secret.
pub(super) const HIDDEN: &str = "(not shown)";

/// Room for the names of an object's fields.
const ROOM: usize = 16;

/// A value of the configuration together with its path.
///
/// Every reader returns `None` after it has reported why; the caller goes on with the other fields.
pub(super) struct Node<'a> {
    pub(super) path: Path<'a>,
    value: &'a Value,
    violations: &'a Collector,
    /// Makes the expressions of the configuration.
    pub(super) compiler: &'a Compiler<'a>,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, violations: &'a Collector, compiler: &'a Compiler<'a>) -> Self {
        Self { path: Path::Root, value, violations, compiler }
    }

    fn child<'b>(&'b self, path: Path<'b>, value: &'b Value) -> Node<'b> {
        Node { path, value, violations: self.violations, compiler: self.compiler }
    }

    /// Reports that this value is not what is `allowed`.
    pub(super) fn refuse<T>(&self, allowed: impl Display) -> Option<T> {
        report(self.violations, &self.path, &shown(self.value), &allowed);
        None
    }

    /// Reports a violation of this value that is better named than shown, be it long or a secret.
    pub(super) fn refuse_as<T>(&self, value: impl Display, allowed: impl Display) -> Option<T> {
        report(self.violations, &self.path, &value, &allowed);
        None
    }

    /// Returns the value itself.
    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    /// Returns whether anything of the configuration was wrong so far.
    pub(super) fn has_violations(&self) -> bool {
        self.violations.has_any()
    }

    /// Returns the string that this is, without a word where it is none.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    #[inline(never)]
    pub(super) fn text(&self) -> Option<&'a str> {
        self.as_text().or_else(|| self.refuse("not a string"))
    }

    #[inline(never)]
    pub(super) fn flag(&self) -> Option<bool> {
        self.value.as_bool().or_else(|| self.refuse("not true or false"))
    }

    #[inline(never)]
    pub(super) fn number(&self) -> Option<f64> {
        self.value.as_f64().or_else(|| self.refuse("not a number"))
    }

    /// Reads a whole number: `5`, or `"5"` as proto3 JSON writes 64-bit integers. `5.0` is `5` already.
    #[inline(never)]
    pub(super) fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.whole_or(range, "")
    }

    /// Reads a whole number as [`Self::whole`] does, with a hint for who means something else.
    pub(super) fn whole_or(&self, range: RangeInclusive<u64>, hint: &str) -> Option<u64> {
        match whole(self.value).filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.refuse(format_args!("not a whole number between {} and {}{hint}", range.start(), range.end())),
        }
    }

    /// Reads a list, item by item.
    pub(super) fn list(&self) -> Option<impl Iterator<Item = Node<'_>>> {
        let Value::Array(items) = self.value else { return self.refuse("not a list") };
        Some(items.iter().enumerate().map(|(index, value)| self.child(Path::Item(&self.path, index), value)))
    }

    /// Reads an object whose keys are names of the user's.
    pub(super) fn entries(&self) -> Option<impl Iterator<Item = (&str, Node<'_>)>> {
        let Value::Object(map) = self.value else { return self.refuse_as(HIDDEN, "not an object") };
        Some(map.iter().map(|(key, value)| (key.as_str(), self.child(Path::Field(&self.path, key), value))))
    }

    /// Reads an object whose keys are fields of ours.
    #[inline(never)]
    pub(super) fn object(&self) -> Option<Object<'_>> {
        let Value::Object(map) = self.value else { return self.refuse("not an object") };
        let Self { violations, compiler, .. } = *self;
        Some(Object { path: &self.path, map, known: Vec::with_capacity(ROOM), violations, compiler })
    }
}

/// An object of the configuration, read field by field; what was not asked for is unknown.
pub(super) struct Object<'a> {
    path: &'a Path<'a>,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
    violations: &'a Collector,
    compiler: &'a Compiler<'a>,
}

impl<'a> Object<'a> {
    /// Takes a field; `null` means absent, as everywhere in proto3 JSON.
    #[inline(never)]
    pub(super) fn field(&mut self, name: &'static str) -> Option<Node<'a>> {
        self.known.push(name);
        let value = self.map.get(name).filter(|value| !value.is_null())?;
        Some(Node { path: Path::Field(self.path, name), value, violations: self.violations, compiler: self.compiler })
    }

    /// Takes exactly one of several fields that exclude each other; `None` where there is none, or too many.
    #[inline(never)]
    pub(super) fn choice(&mut self, names: &[&'static str]) -> Option<(&'static str, Node<'a>)> {
        let mut found: Vec<_> = names.iter().filter_map(|name| Some((*name, self.field(name)?))).collect();
        if found.len() > 1 {
            let given: Vec<_> = found.iter().map(|(name, _)| *name).collect();
            self.refuse(given.join(" and "), format_args!("at most one of {}", names.join(", ")));
            return None;
        }
        found.pop()
    }

    /// Tells whether any of the fields is given.
    #[inline(never)]
    pub(super) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.map.get(*name).is_some_and(|value| !value.is_null()))
    }

    /// Reports every field that was not asked for: all that are known have to be, before.
    #[inline(never)]
    pub(super) fn finish(&self) {
        for (name, value) in self.map.iter().filter(|(name, _)| !self.known.contains(&name.as_str())) {
            let allowed = format!("unknown field; known here: {}", self.known.join(", "));
            // A header that stands in the wrong place: its value may be a secret.
            let value = if value.is_number() || value.is_boolean() { shown(value) } else { HIDDEN.to_owned() };
            report(self.violations, &Path::Field(self.path, name), &value, &allowed);
        }
    }

    /// Reports a violation of the object as a whole.
    pub(super) fn refuse(&self, value: impl Display, allowed: impl Display) {
        report(self.violations, self.path, &value, &allowed);
    }

    /// Reports that a required field is missing.
    pub(super) fn missing<T>(&self, name: &str, allowed: impl Display) -> Option<T> {
        report(self.violations, &Path::Field(self.path, name), &"missing", &allowed);
        None
    }
}

/// Reports a violation: once for all kinds of messages, and away from what reads.
#[cold]
#[inline(never)]
fn report(violations: &Collector, path: &Path<'_>, value: &dyn Display, allowed: &dyn Display) {
    violations.push(Violation::new(path.to_string(), value.to_string(), allowed));
}

/// Collects what was read, reading on after a violation, so that each is reported.
pub(super) fn all<T>(items: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let mut read = Vec::new();
    let mut is_whole = true;
    for item in items {
        match item {
            Some(item) => read.push(item),
            None => is_whole = false,
        }
    }
    is_whole.then_some(read)
}

/// Reads a field that may be absent: `Some(None)` then, `None` where it is there and wrong.
pub(super) fn optional<'a, T>(field: Option<Node<'a>>, read: impl FnOnce(&Node<'a>) -> Option<T>) -> Option<Option<T>> {
    match field {
        Some(node) => read(&node).map(Some),
        None => Some(None),
    }
}

fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64(),
        // No sign: u64's own parser would take "+5".
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_numbers_are_taken_as_number_and_as_decimal_string() {
        for (value, expected) in [
            (json!(5), Some(5)),
            (json!("5"), Some(5)),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!("18446744073709551615"), Some(u64::MAX)),
            (json!(5.5), None),
            (json!(-1), None),
            (json!("+5"), None),
            (json!(""), None),
            (json!("5.0"), None),
            (json!(1e300), None),
            (json!(true), None),
            (json!([5]), None),
        ] {
            assert_eq!(whole(&value), expected, "{value}");
        }
    }
}
