//! What the router does to a request before it copies it, as edits of the plugin's copy.

use super::context::Resource;
use super::pattern::replacement;
use crate::tree::Tree;
use std::collections::HashSet;
use traffic_mirror::config::{HeaderName, never_copied};
use traffic_mirror::core::copy::shadow;

/// Changes that a route makes to its requests, and so to their copies.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    pub(super) authority: Option<String>,
    pub(super) path: Path,
    pub(super) remove: Vec<Tree>,
    pub(super) set: Vec<(String, Tree)>,
    pub(super) add: Vec<(String, Tree)>,
    /// How long the route waits for an answer, if it says so.
    pub(super) timeout: Option<String>,
}

/// A change of the path.
#[derive(Debug, Clone, Default)]
pub(super) enum Path {
    #[default]
    Keep,
    /// Replaces the exact or prefix uri that matched.
    Matched(String),
    /// A regular expression and what replaces its matches, in RE2's syntax.
    Regex(String, String),
}

impl Path {
    /// Replaces the whole path.
    pub(super) fn whole(path: &str) -> Self {
        Self::Regex("^.*$".to_owned(), replacement(path))
    }
}

impl Changes {
    /// Adds the changes of Istio's `Headers` or of a Gateway API filter: `remove`, `set` and `add` as given.
    pub(super) fn edit_headers(
        &mut self,
        resource: &Resource<'_>,
        path: &str,
        remove: &[&str],
        set: &[(&str, &str)],
        add: &[(&str, &str)],
    ) {
        for name in remove {
            let is_known =
                self.remove.iter().any(|known| known.text().is_some_and(|known| known.eq_ignore_ascii_case(name)));
            if !is_known && is_editable(resource, &format!("{path}.remove"), name) {
                self.remove.push((*name).into());
            }
        }
        for (kind, edits) in [("add", add), ("set", set)] {
            for (name, value) in edits {
                let path = format!("{path}.{kind}.{name}");
                if ["host", ":authority"].contains(&&*name.to_ascii_lowercase()) {
                    self.authority = Some((*value).to_owned());
                } else if value.contains('%') {
                    resource.warn(&path, "the plugin does not fill in Envoy's variables: left out of the copy");
                } else if is_editable(resource, &path, name) {
                    let list = if kind == "set" { &mut self.set } else { &mut self.add };
                    let is_known = list.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
                    if is_known && kind == "add" {
                        resource.warn(&path, "added once more: left out of the copy");
                        continue;
                    }
                    // Of what is set twice, the last counts.
                    list.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                    list.push(((*name).to_owned(), (*value).into()));
                }
            }
        }
    }

    /// Writes a mirror.
    pub(super) fn mirror(&self, destination: Tree, share: Option<(&str, Tree)>) -> Tree {
        // The router appends to what it has rewritten; the plugin appends nothing to a rewritten authority.
        let shadowed =
            |authority: &String| String::from_utf8_lossy(&shadow(authority.as_bytes()).concat()).into_owned();
        let regex = |pattern: &String, rewrite: &String| {
            Tree::map([("match", Some(pattern.clone().into())), ("rewrite", Some(rewrite.clone().into()))])
        };
        let (uri, uri_regex) = match &self.path {
            Path::Keep => (None, None),
            Path::Matched(path) => (Some(path.clone().into()), None),
            Path::Regex(pattern, rewrite) => (None, Some(regex(pattern, rewrite))),
        };
        let authority = self.authority.as_ref().map(shadowed).map(Tree::from);
        let rewrite = Tree::map([("authority", authority), ("uri", uri), ("uriRegexRewrite", uri_regex)]);
        let list = |edits: &[(String, Tree)]| (!edits.is_empty()).then(|| Tree::Map(edits.to_vec()));
        let headers = Tree::map([
            ("remove", (!self.remove.is_empty()).then(|| self.remove.clone().into())),
            ("set", list(&self.set)),
            ("add", list(&self.add)),
        ]);
        let filled = |tree: Tree| Some(tree).filter(|tree| !tree.fields().is_empty());
        let (kind, amount) = share.map_or(("percentage", None), |(kind, amount)| (kind, Some(amount)));
        Tree::map([
            ("destination", Some(destination)),
            (kind, amount),
            ("rewrite", filled(rewrite)),
            ("headers", filled(headers)),
            ("timeout", self.timeout.clone().map(Tree::from)),
        ])
    }
}

/// Gives names to mirrors of one route that go to the same cluster: their metrics would have the same label.
pub(super) fn named(mirrors: &[Tree]) -> Vec<Tree> {
    // Labels have no dots at their ends.
    let cluster = |mirror: &'_ Tree| {
        let host = mirror.text_at(&["destination", "host"]).map(|host| host.trim_end_matches('.').to_owned());
        [
            host.map(Tree::from),
            mirror.at(&["destination", "port"]).cloned(),
            mirror.at(&["destination", "subset"]).cloned(),
        ]
    };
    let clusters: Vec<_> = mirrors.iter().map(cluster).collect();
    let mut names = HashSet::new();
    let named = |(mirror, own): (&Tree, _)| match mirror.get("destination") {
        Some(destination) if clusters.iter().filter(|other| *other == own).count() > 1 => {
            let name = ("name".to_owned(), numbered(destination, &mut names).into());
            Tree::Map([&[name], mirror.fields()].concat())
        }
        _ => mirror.clone(),
    };
    mirrors.iter().zip(&clusters).map(named).collect()
}

/// Makes a name of a destination and a number, other than those before it: `reviews-test-v2-1` for the subset v2 of the Service
/// reviews in the namespace test.
fn numbered(destination: &Tree, names: &mut HashSet<String>) -> String {
    let part = |name| destination.text_at(&[name]).unwrap_or_default();
    let (host, _) = part("host").split_once(".svc.").unwrap_or((part("host"), ""));
    let label = |character: char| if character.is_ascii_alphanumeric() || character == '_' { character } else { '-' };
    let text: String = format!("{host}-{}", part("subset")).chars().map(label).take(50).collect();
    let text = text.trim_end_matches('-');
    let mut candidates = (1..).map(|number| format!("{text}-{number}"));
    let mut name = String::new();
    while name.is_empty() || !names.insert(name.clone()) {
        name = candidates.next().unwrap_or_default();
    }
    name
}

/// Tells whether the plugin may edit a header; warns where it may not.
fn is_editable(resource: &Resource<'_>, path: &str, name: &str) -> bool {
    let is_free = HeaderName::new(name).is_some_and(|name| !never_copied(name.as_str().as_bytes()));
    if !is_free {
        resource.warn(path, format_args!("{name} belongs to one hop: left out of the copy"));
    }
    is_free
}

/// Writes a destination.
pub(super) fn destination(host: String, port: u64, subset: Option<&str>) -> Tree {
    Tree::map([
        ("host", Some(host.into())),
        ("port", Some(Tree::field("number", port))),
        ("subset", subset.filter(|subset| !subset.is_empty()).map(Tree::from)),
    ])
}
