//! What the router and a policy do to a copy's headers, step by step as Envoy does it, as edits of the plugin's.

use crate::tree::{Tree, join};
use std::collections::BTreeMap;
use traffic_mirror::config::{HeaderName, never_copied};

/// The header that marks copies, which no edit may name.
const MARKER: &str = "x-mirrored-request";

/// Edits that Envoy makes at once: what goes, then what comes, each seen from before anything came.
#[derive(Debug, Clone, Default)]
pub(super) struct Step {
    removed: Vec<String>,
    added: Vec<(String, String, Action)>,
    /// What of it the plugin cannot do, each with its path.
    pub(super) lacks: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Append,
    AddIfAbsent,
    Overwrite,
    OverwriteIfPresent,
}

/// A value of a header on the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// All that the request has, if it has any.
    Original,
    Text(String),
}

/// A header of which it must be known whether the request has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown(pub(super) String);

impl Step {
    /// Reads the header edits of a route, a virtual host, a route configuration or a weighted cluster.
    pub(super) fn of(owner: &Tree, path: &str) -> Self {
        let mut step = Self::default();
        for name in owner.get("request_headers_to_remove").map(Tree::items).unwrap_or_default() {
            step.remove(name);
        }
        let added = owner.get("request_headers_to_add").map(Tree::children).unwrap_or_default();
        for (index, option) in added {
            step.add(option, &join(path, &format!("request_headers_to_add{index}")));
        }
        step
    }

    /// Reads the mutations of a policy, each a step of its own.
    pub(super) fn mutations(policy: &Tree, path: &str) -> Vec<Self> {
        let mutations = policy.get("request_headers_mutations").map(Tree::children).unwrap_or_default();
        let read = |(index, mutation): (String, &Tree)| {
            let path = join(path, &format!("request_headers_mutations{index}"));
            let mut step = Self::default();
            match (mutation.get("remove"), mutation.get("append")) {
                (Some(name), _) => step.remove(name),
                (_, Some(option)) => step.add(option, &join(&path, "append")),
                _ => step.lacks.push(path),
            }
            step
        };
        mutations.into_iter().map(read).collect()
    }

    fn remove(&mut self, name: &Tree) {
        self.removed.extend(name.text().map(str::to_ascii_lowercase));
    }

    fn add(&mut self, option: &Tree, path: &str) {
        let name = option.text_at(&["header", "key"]).unwrap_or_default().to_ascii_lowercase();
        let Some(value) = option.text_at(&["header", "value"]).or(Some("")).and_then(plain) else {
            return self.lacks.push(format!("{path}: the plugin does not fill in Envoy's variables"));
        };
        if option.at(&["header", "raw_value"]).is_some() {
            return self.lacks.push(format!("{path}: a raw_value cannot be written"));
        }
        let is_free = HeaderName::new(&name).is_some_and(|name| !never_copied(name.as_str().as_bytes()));
        if !is_free || name == MARKER || name.starts_with(':') {
            return self.lacks.push(format!("{path}: the plugin does not edit {name}"));
        }
        if value.is_empty() && option.get("keep_empty_value") != Some(&Tree::Flag(true)) {
            return;
        }
        let number = |tree: &Tree| if let Tree::Number(number) = tree { number.as_u64() } else { None };
        let action = option.get("append_action");
        let appends = option.get("append") != Some(&Tree::Flag(false));
        let action = match (action.and_then(Tree::text), action.and_then(number)) {
            (Some("ADD_IF_ABSENT"), _) | (_, Some(1)) => Action::AddIfAbsent,
            (Some("OVERWRITE_IF_EXISTS_OR_ADD"), _) | (_, Some(2)) => Action::Overwrite,
            (Some("OVERWRITE_IF_EXISTS"), _) | (_, Some(3)) => Action::OverwriteIfPresent,
            (None, None) if !appends => Action::Overwrite,
            _ => Action::Append,
        };
        self.added.push((name, value, action));
    }
}

/// Headers on the copy that differ from the request's.
#[derive(Debug, Clone, Default)]
pub(super) struct Edits(BTreeMap<String, Vec<Value>>);

impl Edits {
    /// Applies steps one after the other. `assumed`: headers of which it is known whether the request has them.
    ///
    /// # Errors
    /// A header of which it must be known.
    pub(super) fn new<'s>(
        steps: impl IntoIterator<Item = &'s Step>,
        assumed: &[(String, bool)],
    ) -> Result<Self, Unknown> {
        let mut edits = Self::default();
        for step in steps {
            for name in &step.removed {
                edits.0.insert(name.clone(), Vec::new());
            }
            let mut overwrites = Vec::new();
            let mut adds = Vec::new();
            for (name, value, action) in &step.added {
                match action {
                    Action::Append => adds.push((name, value)),
                    Action::Overwrite => overwrites.push((name, value)),
                    Action::AddIfAbsent if !edits.has(name, assumed)? => adds.push((name, value)),
                    Action::OverwriteIfPresent if edits.has(name, assumed)? => overwrites.push((name, value)),
                    Action::AddIfAbsent | Action::OverwriteIfPresent => {}
                }
            }
            for (name, value) in overwrites {
                edits.0.insert(name.clone(), vec![Value::Text(value.clone())]);
            }
            for (name, value) in adds {
                edits.0.entry(name.clone()).or_insert_with(|| vec![Value::Original]).push(Value::Text(value.clone()));
            }
        }
        for (name, is_there) in assumed {
            let Some(values) = edits.0.get_mut(name) else { continue };
            if !is_there {
                values.retain(|value| *value != Value::Original);
            }
        }
        Ok(edits)
    }

    fn has(&self, name: &str, assumed: &[(String, bool)]) -> Result<bool, Unknown> {
        match self.0.get(name).map(Vec::as_slice) {
            Some([]) => Ok(false),
            Some(values) if values.iter().any(|value| *value != Value::Original) => Ok(true),
            _ => match assumed.iter().find(|(known, _)| known == name) {
                Some((_, is_there)) => Ok(*is_there),
                None => Err(Unknown(name.to_owned())),
            },
        }
    }

    /// Returns what a header is on the copy, where that does not depend on the request: its one value, or `None` for no header.
    ///
    /// # Errors
    /// It is what the request has, with or without something added: returns whether there is something added.
    pub(super) fn known(&self, name: &str) -> Result<Option<&str>, bool> {
        match self.0.get(name).map(Vec::as_slice) {
            None => Err(false),
            Some([]) => Ok(None),
            Some([Value::Text(text)]) => Ok(Some(text)),
            Some([Value::Original]) => Err(false),
            Some(_) => Err(true),
        }
    }

    /// Writes the `headers` of a mirror, if there are any.
    pub(super) fn write(&self) -> Option<Tree> {
        let (mut remove, mut set, mut add) = (Vec::new(), Vec::new(), Vec::new());
        for (name, values) in &self.0 {
            let mut texts = values.iter().filter_map(|value| match value {
                Value::Text(text) => Some(text.clone()),
                Value::Original => None,
            });
            if values.first() != Some(&Value::Original) {
                match texts.next() {
                    Some(text) => set.push((name.clone(), text.into())),
                    // What never is on a copy cannot be named either.
                    None if HeaderName::new(name).is_some_and(|name| !never_copied(name.as_str().as_bytes())) => {
                        remove.push(name.as_str().into());
                    }
                    None => {}
                }
            }
            // A list of values means what the values mean one by one.
            let rest: Vec<_> = texts.collect();
            if !rest.is_empty() {
                add.push((name.clone(), rest.join(",").into()));
            }
        }
        remove.retain(|name: &Tree| name.text() != Some(MARKER));
        let map = |fields: Vec<(String, Tree)>| (!fields.is_empty()).then_some(Tree::Map(fields));
        let headers =
            Tree::map([("remove", (!remove.is_empty()).then(|| remove.into())), ("set", map(set)), ("add", map(add))]);
        Some(headers).filter(|headers| !headers.fields().is_empty())
    }
}

/// Reads a format string without variables; `None` where it has some.
fn plain(text: &str) -> Option<String> {
    let doubled = text.replace("%%", "");
    (!doubled.contains('%')).then(|| text.replace("%%", "%"))
}
