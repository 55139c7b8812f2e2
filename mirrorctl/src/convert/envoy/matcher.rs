//! A route's `match` as entries of the plugin's, and what of it the plugin cannot ask.

use super::entry::{Clash, Entry, is_presence, takes_empty};
use crate::convert::pattern::literal;
use crate::tree::Tree;

/// Which requests a route is for.
#[derive(Debug, Default)]
pub(super) struct Matched {
    /// One of these holds; none: no request.
    pub(super) entries: Vec<Entry>,
    /// How the path is compared, for a rewrite of what was matched.
    pub(super) path: PathKind,
    /// Conditions that the entries do not have, each with its path below the match.
    pub(super) lacks: Vec<String>,
    /// What is to be said of conditions that hold always, as things are.
    pub(super) notes: Vec<String>,
}

/// How a route compares the path.
#[derive(Debug, Clone, Default)]
pub(super) enum PathKind {
    /// Exactly, or its beginning: the plugin replaces what its `uri` matched.
    Uri,
    /// Its first segments.
    Segments { prefix: String, ignores_case: bool },
    /// As a whole.
    #[default]
    Whole,
}

/// Fields of a match that do not choose, or are looked at together with others.
const OTHERS: [&str; 2] = ["case_sensitive", "@type"];

/// Reads a match.
pub(super) fn read(tree: &Tree) -> Matched {
    let mut matched = Matched { entries: vec![Entry::default()], ..Matched::default() };
    let ignores_case = tree.get("case_sensitive") == Some(&Tree::Flag(false));
    for (field, value) in tree.fields() {
        match (&**field, value.text()) {
            ("prefix", Some(prefix)) => matched.uri("prefix", prefix, ignores_case),
            ("path", Some(path)) => matched.uri("exact", path, ignores_case),
            ("path_separated_prefix", Some(prefix)) => matched.segments(prefix, ignores_case),
            ("safe_regex", _) => match value.text_at(&["regex"]) {
                Some(regex) => matched.each(|entry| entry.uri = Some(Tree::field("regex", regex))),
                None => matched.lack(field),
            },
            // CONNECT has no copies, the plugin's nor Envoy's own.
            ("connect_matcher", _) => matched.entries.clear(),
            ("headers", _) => value.children().iter().for_each(|(index, header)| {
                if matched.header(header).is_none() {
                    matched.lack(&format!("headers{index}"));
                }
            }),
            ("query_parameters", _) => value.children().iter().for_each(|(index, parameter)| {
                if matched.parameter(parameter).is_none() {
                    matched.lack(&format!("query_parameters{index}"));
                }
            }),
            ("grpc", _) => {
                let test = Tree::field("regex", r"application/grpc(\+.*)?");
                if matched.all(|entry| entry.with("content-type", &test)).is_none() {
                    matched.lack(field);
                }
            }
            ("runtime_fraction", _) => matched.fraction(value),
            (other, _) if OTHERS.contains(&other) => {}
            (other, _) => matched.lack(other),
        }
    }
    matched
}

impl Matched {
    fn lack(&mut self, field: &str) {
        self.lacks.push(field.to_owned());
    }

    fn each(&mut self, change: impl Fn(&mut Entry)) {
        self.entries.iter_mut().for_each(change);
    }

    /// Adds a condition to all entries; those that nothing can meet go. `None`, and no change, where it cannot be written.
    pub(super) fn all(&mut self, change: impl Fn(&mut Entry) -> Result<(), Clash>) -> Option<()> {
        let mut changed = Vec::new();
        for entry in &self.entries {
            let mut entry = entry.clone();
            match change(&mut entry) {
                Ok(()) => changed.push(entry),
                Err(Clash::Never) => {}
                Err(Clash::Unwritable) => return None,
            }
        }
        self.entries = changed;
        Some(())
    }

    fn uri(&mut self, kind: &str, text: &str, ignores_case: bool) {
        self.path = PathKind::Uri;
        self.each(|entry| {
            entry.uri = Some(Tree::field(kind, text));
            entry.ignores_uri_case = ignores_case;
        });
    }

    fn segments(&mut self, prefix: &str, ignores_case: bool) {
        self.path = PathKind::Segments { prefix: prefix.to_owned(), ignores_case };
        let tests = [Tree::field("exact", prefix), Tree::field("prefix", format!("{prefix}/"))];
        let with = |entry: &Entry| tests.each_ref().map(|test| entry.with_uri(test, ignores_case));
        self.entries = self.entries.iter().flat_map(with).collect();
    }

    /// Adds a condition on a header; `None` where it cannot be written.
    fn header(&mut self, matcher: &Tree) -> Option<()> {
        let name = matcher.text_at(&["name"])?.to_ascii_lowercase();
        let name = if name == "host" { ":authority" } else { &*name };
        let is = |field: &str| matcher.get(field) == Some(&Tree::Flag(true));
        let (inverts, takes_missing) = (is("invert_match"), is("treat_missing_header_as_empty"));
        let presence = Tree::Map(Vec::new());
        let test = test_of(matcher)?;
        if is_presence(&test) {
            let wanted = matcher.get("present_match") != Some(&Tree::Flag(false));
            return match (takes_missing, wanted != inverts) {
                (true, true) => Some(()),
                (true, false) => {
                    self.entries.clear();
                    Some(())
                }
                (false, true) => self.all(|entry| entry.with(name, &presence)),
                (false, false) => self.all(|entry| entry.without(name, &presence)),
            };
        }
        match (inverts, takes_missing) {
            (false, true) if takes_empty(&test) => {
                let mut missing = Self { entries: self.entries.clone(), ..Self::default() };
                missing.all(|entry| entry.without(name, &presence))?;
                self.all(|entry| entry.with(name, &test))?;
                self.entries.append(&mut missing.entries);
                Some(())
            }
            (false, _) => self.all(|entry| entry.with(name, &test)),
            (true, true) => self.all(|entry| entry.without(name, &test)),
            (true, false) => self.all(|entry| entry.with(name, &presence).and_then(|()| entry.without(name, &test))),
        }
    }

    /// Adds a condition on a query parameter; `None` where it cannot be written.
    fn parameter(&mut self, matcher: &Tree) -> Option<()> {
        let name = matcher.text_at(&["name"])?;
        let known = ["name", "string_match", "present_match"];
        if matcher.fields().iter().any(|(field, _)| !known.contains(&&**field)) {
            return None;
        }
        if matcher.get("present_match") == Some(&Tree::Flag(false)) {
            let named = format!(r"[^?]*\?(.*&)?{}([=&].*)?", literal(name));
            return self.all(|entry| entry.without(":path", &Tree::field("regex", named.clone())));
        }
        let test = match matcher.get("string_match") {
            Some(test) => string_match(test)?,
            None => Tree::Map(Vec::new()),
        };
        self.all(|entry| entry.query(name, &test))
    }

    /// Reads which share of requests a route is for.
    fn fraction(&mut self, fraction: &Tree) {
        let key = fraction.text_at(&["runtime_key"]).filter(|key| !key.is_empty());
        let share = share(fraction);
        if share > 0.0 && share < 100.0 {
            return self.lack("runtime_fraction");
        }
        if let Some(key) = key {
            self.notes.push(format!("runtime_fraction: the runtime key {key} is not asked: {share} % is what counts"));
        }
        if share <= 0.0 {
            self.entries.clear();
        }
    }
}

/// Reads a fraction, in per cent.
pub(super) fn share(fraction: &Tree) -> f64 {
    let number = |tree: &Tree| match tree {
        Tree::Number(number) => number.as_f64(),
        Tree::Text(text) => text.parse().ok(),
        _ => None,
    };
    let Some(value) = fraction.get("default_value") else { return 0.0 };
    let numerator = value.get("numerator").and_then(number).unwrap_or(0.0);
    let parts = match (value.text_at(&["denominator"]), value.get("denominator").and_then(number)) {
        (Some("TEN_THOUSAND"), _) => 10_000.0,
        (Some("MILLION"), _) => 1_000_000.0,
        (_, Some(1.0)) => 10_000.0,
        (_, Some(2.0)) => 1_000_000.0,
        _ => 100.0,
    };
    // Four decimals are all that a share in a million has.
    ((numerator / parts * 1_000_000.0).round() / 10_000.0).min(100.0)
}

/// Reads what a header's value is compared with; `{}`: only whether it is there. `None` where the plugin cannot ask that.
fn test_of(matcher: &Tree) -> Option<Tree> {
    let known = [
        "name",
        "invert_match",
        "treat_missing_header_as_empty",
        "present_match",
        "string_match",
        "exact_match",
        "prefix_match",
        "suffix_match",
        "contains_match",
        "safe_regex_match",
    ];
    if matcher.fields().iter().any(|(field, _)| !known.contains(&&**field)) {
        return None;
    }
    if let Some(test) = matcher.get("string_match") {
        return string_match(test);
    }
    let kinds = [("exact_match", "exact"), ("prefix_match", "prefix"), ("suffix_match", "suffix")];
    for (field, kind) in kinds.into_iter().chain([("contains_match", "contains")]) {
        if let Some(text) = matcher.text_at(&[field]) {
            return Some(Tree::field(kind, text));
        }
    }
    if let Some(regex) = matcher.get("safe_regex_match") {
        return Some(Tree::field("regex", regex.text_at(&["regex"])?));
    }
    Some(Tree::Map(Vec::new()))
}

/// Reads a `StringMatcher`; `None` where the plugin has no such test.
fn string_match(test: &Tree) -> Option<Tree> {
    let ignores_case = test.get("ignore_case") == Some(&Tree::Flag(true));
    for kind in ["exact", "prefix", "suffix", "contains"] {
        if let Some(text) = test.text_at(&[kind]) {
            return Some(Tree::map([(kind, Some(text.into())), ("ignoreCase", ignores_case.then_some(true.into()))]));
        }
    }
    Some(Tree::field("regex", test.text_at(&["safe_regex", "regex"])?))
}
