//! What the router does to a request before it copies it, as edits of the plugin's copy.

use super::context::Resource;
use super::pattern::replacement;
use crate::tree::Tree;
use traffic_mirror::config::{HeaderName, stays_behind};
use traffic_mirror::copy::shadow;

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
        let shadowed = |authority: &String| String::from_utf8_lossy(&shadow(authority.as_bytes())).into_owned();
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

/// Tells whether the plugin may edit a header; warns where it may not.
fn is_editable(resource: &Resource<'_>, path: &str, name: &str) -> bool {
    let is_free = HeaderName::new(name).is_some_and(|name| !stays_behind(name.as_str().as_bytes()));
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
