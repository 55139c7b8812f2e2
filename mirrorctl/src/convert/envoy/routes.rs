//! A route as rules: one for each cluster that mirrors by itself, and one for each answer to what must be known of a header.

use super::edits::{Edits, Step, Unknown};
use super::entry::Entry;
use super::matcher::{self, Matched};
use super::mirror::{Rewrites, Target, named, write};
use super::{Heard, Lost};
use crate::tree::{Tree, join};

/// A header edit may depend on so many headers of the request; each doubles the rules.
const MOST_ASSUMED: usize = 3;

/// A rule without its host.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) name: String,
    /// None: every request.
    pub(super) entries: Vec<Entry>,
    pub(super) mirrors: Vec<Tree>,
}

/// A virtual host, and what its routes have from around them.
pub(super) struct Host<'a> {
    pub(super) name: &'a str,
    pub(super) path: String,
    pub(super) tree: &'a Tree,
    pub(super) table: &'a Tree,
    pub(super) clusters: &'a [(String, Vec<Tree>)],
    /// Names that just one route of the configuration has.
    pub(super) unique: &'a [&'a str],
    pub(super) heard: &'a Heard,
}

/// What one of a route's clusters gets.
#[derive(Clone)]
struct Variant<'a> {
    /// The cluster that the rule asks for; `None`: any.
    cluster: Option<&'a str>,
    policies: Vec<(String, &'a Tree)>,
    /// Edits of a weighted cluster's own.
    step: Option<Step>,
    host: Option<&'a str>,
}

impl<'a> Host<'a> {
    /// Reads the routes up to the one that every request meets.
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if self.tree.get("matcher").is_some() {
            let what = "a tree of matchers is not read: nothing of this virtual host is mirrored";
            self.heard.warn(&join(&self.path, "matcher"), what, Lost::Mirror);
            return pieces;
        }
        for (index, route) in self.tree.get("routes").map(Tree::children).unwrap_or_default() {
            let path = join(&self.path, &format!("routes{index}"));
            if self.add(&mut pieces, &index, route, &path) {
                break;
            }
        }
        pieces
    }

    /// Adds a route's rules; returns whether every request meets the route.
    fn add(&self, pieces: &mut Vec<Piece>, index: &str, route: &'a Tree, path: &str) -> bool {
        let empty = Tree::Map(Vec::new());
        let conditions = route.get("match").unwrap_or(&empty);
        let mut matched = matcher::read(conditions);
        let match_path = join(path, "match");
        let own = route.text_at(&["name"]).filter(|name| !name.is_empty());
        let number: String = index.chars().filter(char::is_ascii_digit).collect();
        let name = format!("{}-{}", self.name, own.unwrap_or(&number));
        let Some(action) = route.get("route") else {
            // Redirects and the like have no cluster, so no copies: the rule is for who asks what happens.
            if matched.lacks.is_empty() {
                let every = matched.entries.iter().any(Entry::is_whole);
                self.push(pieces, &name, matched.entries, Vec::new());
                return every;
            }
            return false;
        };
        for note in &matched.notes {
            self.heard.warn(&match_path, note, Lost::Nothing);
        }
        let every = matched.lacks.is_empty() && matched.entries.iter().any(Entry::is_whole);
        if matched.entries.is_empty() {
            return false;
        }
        let by_uri = matched.lacks.is_empty();
        let mut is_excluded = false;
        for lack in &matched.lacks {
            let path = join(&match_path, lack);
            if let Some(own) = own.filter(|own| self.unique.contains(own)) {
                let what =
                    format!("the plugin cannot ask this: the rule goes by the route's name, {own}, so keep the name");
                self.heard.warn(&path, &what, Lost::Nothing);
                matched.entries = vec![Entry::of_route(own)];
            } else {
                let what = "the plugin cannot ask this: whatever meets the route's other conditions is not mirrored; \
                            give the route a name that no other has, and the rule goes by that";
                self.heard.warn(&path, what, Lost::Mirror);
                is_excluded = true;
            }
        }
        if is_excluded {
            self.push(pieces, &name, matched.entries, Vec::new());
            return false;
        }
        for variant in self.variants(action, path) {
            self.add_variant(pieces, &name, route, &variant, &matched, (by_uri, path));
        }
        every
    }

    /// Adds the rules of one of a route's clusters.
    fn add_variant(
        &self,
        pieces: &mut Vec<Piece>,
        name: &str,
        route: &'a Tree,
        variant: &Variant<'a>,
        matched: &Matched,
        (by_uri, path): (bool, &str),
    ) {
        let empty = Tree::Map(Vec::new());
        let action = route.get("route").unwrap_or(&empty);
        let name = variant.cluster.map_or_else(|| name.to_owned(), |cluster| format!("{name}-{cluster}"));
        let mut rewrites = Rewrites::read(action, &matched.path, by_uri, route.get("match").unwrap_or(&empty));
        if let Some(host) = variant.host {
            rewrites.host = Some(host.to_owned());
        }
        let mut steps = vec![Step::of(route, path), Step::of(self.tree, &self.path), Step::of(self.table, "")];
        if self.table.get("most_specific_header_mutations_wins") == Some(&Tree::Flag(true)) {
            steps.reverse();
        }
        // A weighted cluster's own come first, whoever wins.
        steps.splice(0..0, variant.step.clone());
        if !variant.policies.is_empty() {
            for lack in &rewrites.lacks {
                self.heard.warn(&join(path, "route"), lack, Lost::Edit);
            }
            for lack in steps.iter().flat_map(|step| &step.lacks) {
                self.heard.warn("", &format!("{lack}: left out of the copies"), Lost::Edit);
            }
        }
        let policies: Vec<_> =
            variant.policies.iter().map(|(path, policy)| (path, *policy, Step::mutations(policy, path))).collect();
        for (path, policy, mutations) in &policies {
            self.tell(path, policy, mutations);
        }
        let mut assumptions = vec![Vec::new()];
        while let Some(assumed) = assumptions.pop() {
            let mut mirrors = Vec::new();
            let made = policies.iter().try_for_each(|(path, policy, mutations)| {
                let routed = Edits::new(&steps, &assumed)?;
                let target = match Target::read(policy, &routed) {
                    Ok(Some(target)) => target,
                    Ok(None) => return Ok(()),
                    Err(what) => {
                        self.heard.warn(path, &what, Lost::Mirror);
                        return Ok(());
                    }
                };
                mirrors.push(write(policy, &target, &rewrites, &Edits::new(steps.iter().chain(mutations), &assumed)?));
                Ok(())
            });
            match made {
                Ok(()) => {
                    let mut own = Matched { entries: matched.entries.clone(), ..Matched::default() };
                    let presence = Tree::Map(Vec::new());
                    for (header, is_there) in &assumed {
                        let written = own.all(|entry| {
                            if *is_there { entry.with(header, &presence) } else { entry.without(header, &presence) }
                        });
                        if written.is_none() {
                            self.heard.warn(path, &format!("an edit depends on {header}: not mirrored"), Lost::Mirror);
                            mirrors.clear();
                        }
                    }
                    for entry in &mut own.entries {
                        entry.cluster = variant.cluster.map(str::to_owned);
                        if !rewrites.replaces_uri() {
                            entry.drop_slash();
                        }
                    }
                    self.push(pieces, &name, own.entries, named(mirrors));
                }
                Err(Unknown(header)) if assumed.len() < MOST_ASSUMED => {
                    for is_there in [false, true] {
                        let mut more = assumed.clone();
                        more.push((header.clone(), is_there));
                        assumptions.push(more);
                    }
                }
                Err(Unknown(header)) => {
                    let what =
                        format!("edits depend on too many headers of the request, {header} among them: not mirrored");
                    self.heard.warn(path, &what, Lost::Mirror);
                    let entries = matched.entries.clone();
                    self.push(pieces, &name, entries, Vec::new());
                    return;
                }
            }
        }
    }

    /// Says what a policy has that the plugin has not.
    fn tell(&self, path: &str, policy: &Tree, mutations: &[Step]) {
        const KNOWN: [&str; 7] = [
            "cluster",
            "cluster_header",
            "runtime_fraction",
            "trace_sampled",
            "disable_shadow_host_suffix_append",
            "host_rewrite_literal",
            "request_headers_mutations",
        ];
        for lack in mutations.iter().flat_map(|step| &step.lacks) {
            self.heard.warn("", &format!("{lack}: left out of the copies"), Lost::Edit);
        }
        if let Some(key) = policy.text_at(&["runtime_fraction", "runtime_key"]).filter(|key| !key.is_empty()) {
            let what = format!(
                "the runtime key {key} is not asked: the share is the default value, until the configuration changes"
            );
            self.heard.warn(&join(path, "runtime_fraction.runtime_key"), &what, Lost::Nothing);
        }
        if policy.get("trace_sampled") == Some(&Tree::Flag(true)) {
            let what = "true: not carried over: a copy is sampled where its request is";
            self.heard.warn(&join(path, "trace_sampled"), what, Lost::Edit);
        }
        for (field, _) in policy.fields().iter().filter(|(field, _)| !KNOWN.contains(&&**field)) {
            self.heard.warn(&join(path, field), "not known: left out of the copies", Lost::Edit);
        }
    }

    /// Lists a route's clusters, as far as they differ in what is mirrored.
    fn variants(&self, action: &'a Tree, path: &str) -> Vec<Variant<'a>> {
        let inherited = self.policies(action, path);
        let own = |cluster: &str| {
            let known = self.clusters.iter().find(|(name, _)| name == cluster).map(|(_, policies)| policies);
            let numbered = |policies: &'a Vec<Tree>| {
                let path = |index: usize| format!("cluster {cluster}: request_mirror_policies[{index}]");
                policies.iter().enumerate().map(|(index, policy)| (path(index), policy)).collect::<Vec<_>>()
            };
            known.map(numbered)
        };
        let any = Variant { cluster: None, policies: inherited.clone(), step: None, host: None };
        if let Some(cluster) = action.text_at(&["cluster"]) {
            return match own(cluster) {
                Some(policies) => vec![Variant { cluster: Some(cluster), policies, ..any }],
                None => vec![any],
            };
        }
        let Some(weighted) = action.at(&["weighted_clusters", "clusters"]) else {
            // The request says where it goes, or an extension.
            let named = self.clusters.iter().filter_map(|(name, _)| {
                Some(Variant { cluster: Some(name), policies: own(name)?, step: None, host: None })
            });
            return named.chain([any]).collect();
        };
        let mut variants: Vec<Variant<'a>> = Vec::new();
        let mut differ = false;
        for (index, cluster) in weighted.children() {
            let path = join(path, &format!("route.weighted_clusters.clusters{index}"));
            let Some(name) = cluster.text_at(&["name"]).filter(|name| !name.is_empty()) else {
                self.heard.warn(&path, "the request names the cluster: its edits are left out", Lost::Edit);
                continue;
            };
            let host = cluster.text_at(&["host_rewrite_literal"]).filter(|host| !host.is_empty());
            let edits = ["request_headers_to_add", "request_headers_to_remove"];
            let step = edits.iter().any(|field| cluster.get(field).is_some()).then(|| Step::of(cluster, &path));
            differ = differ || host.is_some() || step.is_some() || own(name).is_some();
            if variants.iter().any(|variant| variant.cluster == Some(name)) {
                if host.is_some() || step.is_some() {
                    self.heard.warn(&path, "stands there twice: its edits are left out", Lost::Edit);
                }
                continue;
            }
            let policies = own(name).unwrap_or_else(|| inherited.clone());
            variants.push(Variant { cluster: Some(name), policies, step, host });
        }
        // Where the request names one of them, that may be any.
        let rest = (variants.len() < weighted.items().len()).then(|| any.clone());
        if differ { variants.into_iter().chain(rest).collect() } else { vec![any] }
    }

    /// Returns the policies of a route: the most specific list that is not empty.
    fn policies(&self, action: &'a Tree, path: &str) -> Vec<(String, &'a Tree)> {
        let levels = [(action, join(path, "route")), (self.tree, self.path.clone()), (self.table, String::new())];
        let lists = levels.into_iter().map(|(owner, path)| {
            let items = owner.get("request_mirror_policies").map(Tree::children).unwrap_or_default();
            let named = |(index, policy)| (join(&path, &format!("request_mirror_policies{index}")), policy);
            items.into_iter().map(named).collect::<Vec<_>>()
        });
        lists.into_iter().find(|list| !list.is_empty()).unwrap_or_default()
    }

    fn push(&self, pieces: &mut Vec<Piece>, name: &str, entries: Vec<Entry>, mirrors: Vec<Tree>) {
        if !entries.is_empty() {
            pieces.push(Piece { name: name.to_owned(), entries, mirrors });
        }
    }
}
