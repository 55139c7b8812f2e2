//! What the router does to a request before it copies it, as edits of the plugin's copy.

use super::context::Resource;
use super::owner::Owner;
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
    /// How long the route waits for a response, if it says so.
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
                    resource.warn(&path, "not done to the copy: the plugin does not fill in Envoy's variables");
                } else if is_editable(resource, &path, name) {
                    let list = if kind == "set" { &mut self.set } else { &mut self.add };
                    let is_known = list.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
                    if is_known && kind == "add" {
                        resource.warn(&path, "added once more: the copy has it once");
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
    pub(super) fn mirror(
        &self,
        resource: &Resource<'_>,
        target: Vec<(String, Tree)>,
        share: Option<(&str, Tree)>,
    ) -> Tree {
        if self.timeout.is_none() {
            let untimed = &resource.around.notes.untimed;
            untimed.set(untimed.get().saturating_add(1));
        }
        let has_suffix = resource.around.has_suffix;
        // The router appends to what it has rewritten; the plugin appends nothing to a rewritten authority.
        let suffixed = |authority: &String| match has_suffix {
            true => String::from_utf8_lossy(&shadow(authority.as_bytes())).into_owned(),
            false => authority.clone(),
        };
        let regex = |pattern: &String, rewrite: &String| {
            Tree::map([("match", Some(pattern.clone().into())), ("rewrite", Some(rewrite.clone().into()))])
        };
        let (uri, uri_regex) = match &self.path {
            Path::Keep => (None, None),
            Path::Matched(path) => (Some(path.clone().into()), None),
            Path::Regex(pattern, rewrite) => (None, Some(regex(pattern, rewrite))),
        };
        let authority = self.authority.as_ref().map(suffixed).map(Tree::from);
        let rewrite = Tree::map([("authority", authority), ("uri", uri), ("uriRegexRewrite", uri_regex)]);
        let list = |edits: &[(String, Tree)]| (!edits.is_empty()).then(|| Tree::Map(edits.to_vec()));
        let headers = Tree::map([
            ("remove", (!self.remove.is_empty()).then(|| self.remove.clone().into())),
            ("set", list(&self.set)),
            ("add", list(&self.add)),
        ]);
        let filled = |tree: Tree| Some(tree).filter(|tree| !tree.fields().is_empty());
        let (kind, amount) = share.map_or(("percentage", None), |(kind, amount)| (kind, Some(amount)));
        let rest = Tree::map([
            (kind, amount),
            // Istio appends nothing since 1.28, Envoy Gateway since 1.6.
            ("disableShadowHostSuffixAppend", (!has_suffix && self.authority.is_none()).then(|| true.into())),
            ("rewrite", filled(rewrite)),
            ("headers", filled(headers)),
            ("timeout", self.timeout.clone().map(Tree::from)),
            // As Istio has its own mirrors.
            ("trace", (*resource.owner == Owner::Istio).then(|| "unsampled".into())),
        ]);
        Tree::Map([target, rest.fields().to_vec()].concat())
    }
}

/// Gives names to mirrors of one route that go to the same cluster: their metrics would have the same label.
pub(super) fn named(mirrors: &[Tree]) -> Vec<Tree> {
    // Labels have no dots at their ends.
    let cluster = |mirror: &'_ Tree| {
        if let Some(cluster) = mirror.get("cluster") {
            return [Some(cluster.clone()), None, None];
        }
        let host = mirror.text_at(&["destination", "host"]).map(|host| host.trim_end_matches('.').to_owned());
        [
            host.map(Tree::from),
            mirror.at(&["destination", "port"]).cloned(),
            mirror.at(&["destination", "subset"]).cloned(),
        ]
    };
    let clusters: Vec<_> = mirrors.iter().map(cluster).collect();
    let mut names = HashSet::new();
    let named = |(mirror, own): (&Tree, _)| {
        if clusters.iter().filter(|other| *other == own).count() < 2 {
            return mirror.clone();
        }
        let name = ("name".to_owned(), numbered(mirror, &mut names).into());
        Tree::Map([&[name], mirror.fields()].concat())
    };
    mirrors.iter().zip(&clusters).map(named).collect()
}

/// Makes a name of a mirror's destination or cluster and a number, other than those before it: `reviews-test-v2-1` for the
/// subset v2 of the Service reviews in the namespace test.
fn numbered(mirror: &Tree, names: &mut HashSet<String>) -> String {
    let part =
        |name| mirror.text_at(&["destination", name]).or_else(|| mirror.text_at(&["cluster"])).unwrap_or_default();
    let (host, _) = part("host").split_once(".svc.").unwrap_or((part("host"), ""));
    let label = |character: char| if character.is_ascii_alphanumeric() || character == '_' { character } else { '-' };
    let subset = mirror.text_at(&["destination", "subset"]).unwrap_or_default();
    let text: String = format!("{host}-{subset}").chars().map(label).take(50).collect();
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
        resource.warn(path, format_args!("not done to the copy: {name} belongs to one hop"));
    }
    is_free
}

/// Writes a destination of Istio's; an `ExternalName` stands for another host there.
pub(super) fn destination(
    resource: &Resource<'_>,
    path: &str,
    host: &str,
    port: u64,
    subset: Option<&str>,
) -> Vec<(String, Tree)> {
    let services = resource.around.services;
    let external = services.external_name(host);
    if let Some(name) = external.filter(|name| !services.knows(name)) {
        let what = format_args!("{host} stands for {name}: copies reach it where a ServiceEntry has that host");
        resource.warn(path, what);
    }
    let subset = subset.filter(|subset| !subset.is_empty());
    let seen = services.export(host).map(|export| (export, export.is_to(resource.namespace)));
    match seen {
        Some((export, Some(false))) => {
            resource.warn(path, format_args!("{}: its copies reach nobody", export.sees(host)));
        }
        Some((export, None)) => {
            resource.warn(path, format_args!("{}: copies of others reach nobody", export.sees(host)));
        }
        Some((_, Some(true))) | None => {}
    }
    let namespace = resource.namespace;
    if let Some((subset, why)) =
        subset.and_then(|subset| Some((subset, services.lacks_subset(host, subset, namespace)?)))
    {
        resource.warn(path, format_args!("{subset}: {why}"));
    }
    let destination = Tree::map([
        ("host", Some(external.unwrap_or(host).into())),
        ("port", Some(Tree::field("number", port))),
        ("subset", subset.map(Tree::from)),
    ]);
    vec![("destination".to_owned(), destination)]
}
