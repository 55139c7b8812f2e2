//! The rules that decide as the routes of a port do, or of several that agree.

use super::context::Origin;
use super::hosts::Domain;
use super::mirror::named;
use super::overlap::Domains;
use super::route::Route;
use crate::tree::Tree;
use std::collections::{HashMap, HashSet};

/// A host and its routes in their order.
#[derive(Debug)]
pub(super) struct SortedHost {
    pub(super) domain: Domain,
    pub(super) routes: Vec<usize>,
    /// The number of the first document that has it: hosts that share nothing stay in the order of the files.
    pub(super) first: usize,
}

/// All routes of a port in the order in which Envoy tries them, by host.
#[derive(Debug)]
pub(super) struct Sorted {
    /// Routes and the numbers of the documents that they stand in.
    pub(super) routes: Vec<(Route, usize)>,
    pub(super) hosts: Vec<SortedHost>,
    /// The places of hosts in their list.
    pub(super) places: HashMap<Domain, usize>,
}

impl Sorted {
    /// Tells whether one list of rules can be right for both: whoever is routed by both is mirrored in the same way.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.is_within(other) && other.is_within(self)
    }

    fn is_within(&self, other: &Self) -> bool {
        self.hosts.iter().all(|host| match other.decides(&host.domain) {
            Some(its) => {
                let [own, its] = [self.routes_of(host), other.routes_of(its)];
                own == its || [own, its].iter().flatten().all(|route| route.mirrors.is_empty())
            }
            // Who is not routed is mirrored nowhere.
            None => true,
        })
    }

    /// Finds the host that takes the requests to a domain.
    fn decides(&self, domain: &Domain) -> Option<&SortedHost> {
        domain.outward().find_map(|domain| self.hosts.get(*self.places.get(&domain)?))
    }

    fn routes_of(&self, host: &SortedHost) -> Vec<&Route> {
        host.routes.iter().filter_map(|number| self.routes.get(*number)).map(|(route, _)| route).collect()
    }

    /// Takes over the hosts of one that it agrees with.
    pub(super) fn join(&mut self, other: Self) {
        let mut known: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, (_, document)) in self.routes.iter().enumerate() {
            known.entry(*document).or_default().push(number);
        }
        let numbers: Vec<_> = other
            .routes
            .into_iter()
            .map(|new| {
                let same =
                    known.get(&new.1).and_then(|own| own.iter().find(|number| self.routes.get(**number) == Some(&new)));
                same.copied().unwrap_or_else(|| {
                    self.routes.push(new);
                    self.routes.len().saturating_sub(1)
                })
            })
            .collect();
        for mut host in other.hosts {
            if !self.places.contains_key(&host.domain) {
                self.places.insert(host.domain.clone(), self.hosts.len());
                host.routes = host.routes.iter().filter_map(|number| numbers.get(*number)).copied().collect();
                self.hosts.push(host);
            }
        }
    }

    /// Writes the rules, and tells of each what it was made of.
    pub(super) fn rules(mut self) -> (Vec<Tree>, Vec<Source>) {
        self.sort_hosts();
        let mut rules: Vec<Rule<'_>> = Vec::new();
        for host in &self.hosts {
            for (route, document) in host.routes.iter().filter_map(|number| self.routes.get(*number)) {
                match rules.last_mut() {
                    // Matches of one route that no other stands between.
                    Some(last) if last.is_of(host, route) => last.add(route),
                    _ => rules.push(Rule::new(host, route, *document)),
                }
                if route.takes_all() {
                    break;
                }
            }
            // Who is not routed by this host is routed by no other.
            let last = rules.last().filter(|rule| !rule.entries.is_empty() && std::ptr::eq(rule.host, host));
            let rest = last.map(|last| Rule {
                name: format!("{}-rest", last.name),
                host,
                document: last.document,
                entries: Vec::new(),
                mirrors: &[],
                origins: &[],
            });
            rules.extend(rest);
        }
        // From the last rule on: one is needed if it mirrors, or keeps requests from one behind it that does.
        let mut mirrored = Domains::default();
        let mut needed = Vec::new();
        for rule in rules.iter().rev() {
            if !rule.mirrors.is_empty() {
                mirrored.add(&rule.host.domain, ());
            }
            if mirrored.overlap(&rule.host.domain) {
                needed.push(rule);
            }
        }
        let mut names = Names::default();
        needed.reverse();
        let sources = needed.iter().map(|rule| rule.source()).collect();
        (needed.into_iter().map(|rule| rule.write(&mut names)).collect(), sources)
    }

    /// Orders hosts as Envoy tries them, and puts names together that have the same routes.
    fn sort_hosts(&mut self) {
        self.hosts.sort_by_key(|host| host.first);
        let mut joined: Vec<SortedHost> = Vec::new();
        // Where names that have the same routes stand.
        let mut places: HashMap<Vec<usize>, usize> = HashMap::new();
        for host in self.hosts.drain(..) {
            let Domain::Names(more) = &host.domain else {
                joined.push(host);
                continue;
            };
            let same = places.get(&host.routes).and_then(|place| joined.get_mut(*place)?.domain.names());
            match same {
                Some(names) => names.extend_from_slice(more),
                None => {
                    places.insert(host.routes.clone(), joined.len());
                    joined.push(host);
                }
            }
        }
        joined.sort_by_key(|host| host.domain.order());
        self.hosts = joined;
    }
}

/// What a rule was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The number of the document.
    pub(super) document: usize,
    /// What the rule is called after.
    pub(super) name: String,
    /// Where its mirrors stand.
    pub(super) mirrors: Vec<Origin>,
}

/// A rule to be written.
struct Rule<'a> {
    name: String,
    host: &'a SortedHost,
    document: usize,
    /// None: every request to the host.
    entries: Vec<Tree>,
    mirrors: &'a [Tree],
    origins: &'a [Origin],
}

impl<'a> Rule<'a> {
    fn new(host: &'a SortedHost, route: &'a Route, document: usize) -> Self {
        Self {
            name: route.name.clone(),
            host,
            document,
            entries: route.entries.clone(),
            mirrors: &route.mirrors,
            origins: &route.origins,
        }
    }

    fn is_of(&self, host: &SortedHost, route: &Route) -> bool {
        std::ptr::eq(self.host, host) && self.name == route.name && self.mirrors == route.mirrors
    }

    fn add(&mut self, route: &Route) {
        if route.entries.is_empty() {
            self.entries.clear();
        } else {
            self.entries.extend_from_slice(&route.entries);
        }
    }

    fn source(&self) -> Source {
        Source { document: self.document, name: self.name.clone(), mirrors: self.origins.to_vec() }
    }

    fn write(&self, names: &mut Names) -> Tree {
        let conditions = self.host.domain.conditions();
        let every = [Tree::Map(Vec::new())];
        let entries = if self.entries.is_empty() && !conditions.is_empty() { &every[..] } else { &self.entries };
        let mut written = Vec::new();
        for entry in entries {
            written.extend(conditions.iter().map(|condition| with_authority(entry, condition)));
            written.extend(conditions.is_empty().then(|| entry.clone()));
        }
        Tree::map([
            ("name", Some(names.unique(&self.name).into())),
            ("match", (!written.is_empty()).then_some(written.into())),
            ("mirrors", Some(named(self.mirrors).into())),
        ])
    }
}

/// Adds the condition on the host to an entry. One that has a condition on the authority gets it as a header, so that both
/// must hold.
fn with_authority(entry: &Tree, condition: &Tree) -> Tree {
    let mut fields = entry.fields().to_vec();
    if entry.get("authority").is_none() {
        fields.insert(0, ("authority".to_owned(), condition.clone()));
    } else {
        let host = (":authority".to_owned(), condition.clone());
        match fields.iter_mut().find(|(name, _)| name == "headers") {
            Some((_, Tree::Map(headers))) => headers.push(host),
            _ => fields.push(("headers".to_owned(), Tree::Map(vec![host]))),
        }
    }
    Tree::Map(fields)
}

/// The names that rules have.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// The last number that was put behind a name.
    numbers: HashMap<String, u64>,
}

impl Names {
    /// Makes a rule's name of any text, other than those before it.
    pub(super) fn unique(&mut self, text: &str) -> String {
        let label =
            |character: char| if character.is_ascii_alphanumeric() || character == '_' { character } else { '-' };
        let name: String = text.chars().map(label).take(56).collect();
        let number = self.numbers.entry(name.clone()).or_insert(1);
        let mut own = name.clone();
        while !self.taken.insert(own.clone()) {
            *number = number.saturating_add(1);
            own = format!("{name}-{number}");
        }
        own
    }
}
