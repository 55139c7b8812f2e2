//! Routes that a VirtualService leaves to another one, put together as Istio does.

use super::context::{Manifest, Notes, Origin};
use super::matches::find;
use crate::tree::{Tree, join};
use std::collections::{HashMap, HashSet};

/// What a route takes from its root where it does not say it itself.
const INHERITED: [&str; 8] =
    ["rewrite", "directResponse", "timeout", "mirror", "mirrorPercent", "mirrorPercentage", "mirrors", "headers"];

/// Conditions of a match that are one test.
const TESTS: [&str; 4] = ["uri", "scheme", "method", "authority"];

/// Conditions of a match that are tests by name.
const NAMED: [&str; 3] = ["headers", "withoutHeaders", "queryParams"];

/// VirtualServices by namespace and name.
#[derive(Default)]
pub(super) struct Delegates<'a>(HashMap<String, &'a Manifest<'a>>);

/// A route as Istio has it, and where its mirrors stand.
pub(super) struct Merged {
    pub(super) http: Tree,
    pub(super) mirror: Origin,
    pub(super) mirrors: Origin,
}

impl<'a> Delegates<'a> {
    /// Adds a document, if others may delegate to it.
    pub(super) fn add(&mut self, manifest: &'a Manifest<'a>) {
        if manifest.kind == "VirtualService" {
            self.0.insert(manifest.key(), manifest);
        }
    }

    /// Finds what a route of a VirtualService delegates to.
    pub(super) fn find(&self, http: &Tree, namespace: &str) -> Option<&'a Manifest<'a>> {
        let delegate = http.get("delegate")?;
        let namespace = delegate.text_at(&["namespace"]).filter(|name| !name.is_empty()).unwrap_or(namespace);
        let name = delegate.text_at(&["name"])?;
        self.0.get(&format!("{namespace}/{name}")).copied()
    }

    /// Warns of delegates that no VirtualService in the files delegates to.
    pub(super) fn warn_of_lone(&self, manifests: &[Manifest<'_>], notes: &Notes) {
        let followed: HashSet<_> = manifests.iter().flat_map(|root| self.followed(root)).collect();
        let is_lone = |manifest: &&Manifest<'_>| {
            manifest.kind == "VirtualService"
                && manifest
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.field("hosts"))
                    .is_none_or(|hosts| hosts.tree() == &Tree::List(Vec::new()))
                && !followed.contains(&manifest.number)
        };
        for manifest in manifests.iter().filter(is_lone) {
            let what = "missing: a VirtualService that others delegate to is converted with one that does";
            notes.note(&notes.warnings, manifest.place, "spec.hosts", what);
        }
    }

    /// Adds the delegates of documents whose mirrors are needed.
    pub(super) fn add_needed(&self, manifests: &[Manifest<'_>], needed: &mut HashSet<usize>) {
        let roots = manifests.iter().filter(|root| needed.contains(&root.number));
        let delegates: Vec<_> = roots.flat_map(|root| self.followed(root)).collect();
        needed.extend(delegates);
    }

    fn followed(&self, root: &Manifest<'_>) -> Vec<usize> {
        if root.kind != "VirtualService" {
            return Vec::new();
        }
        let routes = root.root.tree().at(&["spec", "http"]).map(Tree::items).unwrap_or_default();
        routes.iter().filter_map(|http| Some(self.find(http, root.namespace)?.number)).collect()
    }
}

/// Puts the routes of a delegate under one of its root; those that contradict it are left out. `full` makes a full name of a
/// host of the delegate, which is in another namespace than its root's.
pub(super) fn merge(
    root: &Tree,
    path: &str,
    number: usize,
    delegate: &Manifest<'_>,
    full: &dyn Fn(&str) -> String,
) -> Vec<Merged> {
    let routes = delegate.root.tree().at(&["spec", "http"]).map(Tree::items).unwrap_or_default();
    let merge = |(index, own): (usize, &Tree)| {
        let matches = merge_matches(list(root), list(own))?;
        let own_path = format!("spec.http[{index}]");
        let origin = |name: &str| match find(own, name) {
            Some(_) => (delegate.number, join(&own_path, name)),
            None => (number, join(path, name)),
        };
        let own = &with_full_names(own, full);
        let mut fields: Vec<_> =
            own.fields().iter().filter(|(name, _)| name != "match" && name != "name").cloned().collect();
        for name in INHERITED {
            if let Some(value) = find(root, name).filter(|_| find(own, name).is_none()) {
                fields.push((name.to_owned(), value.clone()));
            }
        }
        let label = joined(root.text_at(&["name"]), own.text_at(&["name"]));
        fields.extend(label.map(|label| ("name".to_owned(), label.into())));
        if !matches.is_empty() {
            fields.push(("match".to_owned(), matches.into()));
        }
        Some(Merged { http: Tree::Map(fields), mirror: origin("mirror"), mirrors: origin("mirrors") })
    };
    routes.iter().enumerate().filter_map(merge).collect()
}

/// Gives the hosts that mirrors of a route go to their full names.
fn with_full_names(http: &Tree, full: &dyn Fn(&str) -> String) -> Tree {
    let edit = |tree: &Tree, edit: &dyn Fn(&str, &Tree) -> Tree| match tree {
        Tree::Map(fields) => Tree::Map(fields.iter().map(|(name, value)| (name.clone(), edit(name, value))).collect()),
        other => other.clone(),
    };
    let destination = |tree: &Tree| {
        edit(tree, &|name, value| match value.text().filter(|_| name == "host") {
            Some(host) => full(host).into(),
            None => value.clone(),
        })
    };
    edit(http, &|name, value| match (name, value) {
        ("mirror", value) => destination(value),
        ("mirrors", Tree::List(mirrors)) => {
            let mirror = |mirror: &Tree| {
                edit(mirror, &|name, value| if name == "destination" { destination(value) } else { value.clone() })
            };
            mirrors.iter().map(mirror).collect::<Vec<_>>().into()
        }
        (_, value) => value.clone(),
    })
}

fn list(http: &Tree) -> &[Tree] {
    http.get("match").map(Tree::items).unwrap_or_default()
}

fn joined(root: Option<&str>, own: Option<&str>) -> Option<String> {
    let parts: Vec<_> = [root, own].into_iter().flatten().filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join("-"))
}

/// Puts matches together: each of the delegate's has to lie inside one of the root's. `None`: one does not.
fn merge_matches(root: &[Tree], own: &[Tree]) -> Option<Vec<Tree>> {
    if root.is_empty() || own.is_empty() {
        return Some([root, own].concat());
    }
    let mut merged = Vec::new();
    for leaf in own {
        let before = merged.len();
        merged.extend(root.iter().filter(|root| !contradict(root, leaf)).map(|root| merge_match(root, leaf)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn merge_match(root: &Tree, leaf: &Tree) -> Tree {
    let mut fields = leaf.fields().to_vec();
    for (name, value) in root.fields() {
        match fields.iter_mut().find(|(own, _)| own == name) {
            None => fields.push((name.clone(), value.clone())),
            Some((_, Tree::Map(own))) if NAMED.contains(&&**name) || name == "sourceLabels" => {
                let more = value.fields().iter().filter(|(key, _)| !own.iter().any(|(known, _)| known == key));
                let more: Vec<_> = more.cloned().collect();
                own.extend(more);
            }
            Some(_) => {}
        }
    }
    Tree::Map(fields)
}

fn contradict(root: &Tree, leaf: &Tree) -> bool {
    let tests = |name: &str| {
        let (root, leaf) = (find(root, name), find(leaf, name));
        let entries = leaf.map(Tree::fields).unwrap_or_default();
        entries.iter().any(|(key, test)| tests_contradict(root.and_then(|root| root.get(key)), Some(test)))
    };
    let flag = |tree: &Tree| find(tree, "ignoreUriCase") == Some(&Tree::Flag(true));
    let differ = |name: &str| matches!((find(root, name), find(leaf, name)), (Some(one), Some(other)) if one != other);
    let labels = || {
        let (root, leaf) = (find(root, "sourceLabels"), find(leaf, "sourceLabels"));
        let entries = leaf.map(Tree::fields).unwrap_or_default();
        entries.iter().any(|(key, value)| root.and_then(|root| root.get(key)).is_some_and(|own| own != value))
    };
    let gateways = || {
        let names = |tree| find(tree, "gateways").map(Tree::items).unwrap_or_default();
        let (root, leaf) = (names(root), names(leaf));
        !root.is_empty() && leaf.iter().any(|name| !root.contains(name))
    };
    TESTS.iter().any(|name| tests_contradict(find(root, name), find(leaf, name)))
        || NAMED.iter().any(|name| tests(name))
        || flag(root) != flag(leaf)
        || differ("port")
        || find(root, "sourceNamespace").is_some_and(|own| find(leaf, "sourceNamespace") != Some(own))
        || labels()
        || gateways()
}

/// Tells whether no value that a leaf takes is one that its root takes, as far as Istio looks.
fn tests_contradict(root: Option<&Tree>, leaf: Option<&Tree>) -> bool {
    let (Some(root), Some(leaf)) = (root, leaf) else { return false };
    let text = |test: &'_ Tree, kind| test.text_at(&[kind]).unwrap_or_default().to_owned();
    let [root, leaf] = [root, leaf].map(|test| ["exact", "prefix", "regex"].map(|kind| text(test, kind)));
    let ([exact, prefix, regex], [leaf_exact, leaf_prefix, leaf_regex]) = (&root, &leaf);
    let has_any = |test: &[String; 3]| test.iter().any(|text| !text.is_empty());
    if !regex.is_empty() && has_any(&leaf) || !leaf_regex.is_empty() && has_any(&root) {
        return true;
    }
    if !exact.is_empty() {
        return !leaf_prefix.is_empty() || leaf_exact != exact;
    }
    if !prefix.is_empty() && !leaf_prefix.is_empty() {
        return !leaf_prefix.starts_with(prefix);
    }
    if !prefix.is_empty() && !leaf_exact.is_empty() {
        return !leaf_exact.starts_with(prefix);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::yaml;

    #[test]
    fn a_match_lies_inside_its_root_or_contradicts_it() {
        for (root, leaf, expected) in [
            ("{uri: {prefix: /a}}", "{uri: {prefix: /a/b}}", false),
            ("{uri: {prefix: /a}}", "{uri: {exact: /ab}}", false),
            ("{uri: {prefix: /a}}", "{uri: {prefix: /}}", true),
            ("{uri: {prefix: /a}}", "{uri: {regex: /a.*}}", true),
            ("{uri: {exact: /a}}", "{uri: {exact: /a}}", false),
            ("{uri: {exact: /a}}", "{uri: {prefix: /a}}", true),
            ("{uri: {regex: /a}}", "{uri: {exact: /a}}", true),
            ("{uri: {prefix: /a}}", "{method: {exact: GET}}", false),
            ("{headers: {x: {exact: '1'}}}", "{headers: {x: {exact: '2'}}}", true),
            ("{headers: {x: {exact: '1'}}}", "{headers: {z: {exact: '2'}}}", false),
            ("{ignoreUriCase: true}", "{}", true),
            ("{ignore_uri_case: true}", "{ignoreUriCase: true}", false),
            ("{port: 80}", "{port: 81}", true),
            ("{port: 80}", "{}", false),
            ("{sourceNamespace: a}", "{}", true),
            ("{sourceLabels: {a: b}}", "{sourceLabels: {a: c}}", true),
            ("{gateways: [a, b]}", "{gateways: [a]}", false),
            ("{gateways: [a]}", "{gateways: [b]}", true),
        ] {
            let [one, other] = [root, leaf].map(|text| yaml(text).remove(0).unwrap());
            assert_eq!(contradict(&one, &other), expected, "{root} {leaf}");
        }
    }

    #[test]
    fn what_both_have_the_delegate_says() {
        let [root, leaf, expected] = [
            "{uri: {prefix: /a}, headers: {x: {exact: '1'}, z: {exact: '1'}}}",
            "{headers: {x: {exact: '1'}}, method: {exact: GET}}",
            "{headers: {x: {exact: '1'}, z: {exact: '1'}}, method: {exact: GET}, uri: {prefix: /a}}",
        ]
        .map(|text| yaml(text).remove(0).unwrap());
        assert_eq!(merge_match(&root, &leaf), expected);
    }
}
