//! Routes of the original in the order in which Envoy tries them, and the rules that decide as they do.

use super::context::Origin;
use super::hosts::Domain;
use super::mirror::named;
use super::overlap::Domains;
use crate::tree::Tree;
use std::collections::{HashMap, HashSet};

/// A route of the original.
#[derive(Debug)]
pub(super) struct Route {
    /// What its rule is called after.
    pub(super) name: String,
    /// Conditions as the plugin writes them, one of which must hold; none: every request.
    pub(super) entries: Vec<Tree>,
    /// Whether Istio takes it for a route of every request: those come last in a gateway, and end the routes of a resource.
    pub(super) is_catch_all: bool,
    /// Mirrors as the plugin writes them.
    pub(super) mirrors: Vec<Tree>,
    /// Where they stand in the files.
    pub(super) origins: Vec<Origin>,
    /// Its place among the routes of a host, where that is not the order in which they stand.
    pub(super) rank: Option<Rank>,
}

/// The precedence of a Gateway API match: the smallest decides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Most specific first: kind and length of the path, method, headers, query parameters, each negated.
    pub(super) specificity: Vec<i64>,
    /// The oldest route first; without an age, as its namespace and name sort.
    pub(super) age: (String, String),
    pub(super) position: usize,
}

impl Route {
    /// Tells whether no request goes past it.
    pub(super) fn takes_all(&self) -> bool {
        self.is_catch_all || self.entries.is_empty()
    }
}

/// The routes of a host: a virtual host of Envoy's. Routes are known by their numbers.
#[derive(Debug)]
struct Host {
    domain: Domain,
    routes: Vec<usize>,
    /// The number of the first document that has it: hosts that share nothing stay in the order of the files.
    first: usize,
}

/// All routes, by host.
#[derive(Debug, Default)]
pub(super) struct Table {
    routes: Vec<Route>,
    hosts: Vec<Host>,
    /// The places of hosts in their list.
    places: HashMap<Domain, usize>,
    /// The resources that domains of the mesh are of.
    takers: HashMap<Domain, String>,
}

impl Table {
    /// Adds routes of a document for some domains.
    pub(super) fn add(&mut self, document: usize, domains: &[Domain], routes: Vec<Route>) {
        let first = self.routes.len();
        self.routes.extend(routes);
        let numbers: Vec<_> = (first..self.routes.len()).collect();
        for domain in domains {
            match self.places.get(domain).and_then(|place| self.hosts.get_mut(*place)) {
                Some(host) => {
                    host.routes.extend(&numbers);
                    host.first = host.first.min(document);
                }
                None => {
                    self.places.insert(domain.clone(), self.hosts.len());
                    self.hosts.push(Host { domain: domain.clone(), routes: numbers.clone(), first: document });
                }
            }
        }
    }

    /// Adds routes for domains that no resource before has taken: a sidecar takes the oldest of several. Returns the first one that
    /// another had, and its name.
    pub(super) fn add_first(
        &mut self,
        document: usize,
        name: &str,
        mut domains: Vec<Domain>,
        routes: Vec<Route>,
    ) -> Option<String> {
        let mut taken = None;
        domains.retain(|domain| match self.takers.get(domain).filter(|taker| *taker != name) {
            Some(taker) => {
                taken.get_or_insert_with(|| taker.clone());
                false
            }
            None => true,
        });
        self.takers.extend(domains.iter().map(|domain| (domain.clone(), name.to_owned())));
        self.add(document, &domains, routes);
        taken
    }

    /// Writes the rules, and tells whose mirrors they have.
    pub(super) fn rules(mut self) -> (Vec<Tree>, HashSet<Origin>) {
        self.sort();
        let mut rules: Vec<Rule<'_>> = Vec::new();
        for host in &self.hosts {
            let routes = host.routes.iter().filter_map(|number| self.routes.get(*number));
            for route in routes {
                match rules.last_mut() {
                    // Matches of one route that no other stands between.
                    Some(last) if last.is_of(host, route) => last.add(route),
                    _ => rules.push(Rule::new(host, route)),
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
                mirrored.add(&rule.host.domain);
            }
            if mirrored.overlap(&rule.host.domain) {
                needed.push(rule);
            }
        }
        let mut names = Names::default();
        let origins = needed.iter().flat_map(|rule| rule.origins).cloned().collect();
        (needed.into_iter().rev().map(|rule| rule.write(&mut names)).collect(), origins)
    }

    /// Orders hosts and routes as Envoy tries them.
    fn sort(&mut self) {
        let routes = &self.routes;
        for host in &mut self.hosts {
            let route = |number: &usize| routes.get(*number);
            // Istio moves what matches everything behind all else; the other routes of VirtualServices stay in order.
            host.routes.sort_by_key(|number| {
                route(number).map(|route| (route.rank.is_none() && route.takes_all(), route.rank.clone()))
            });
        }
        self.hosts.sort_by_key(|host| host.first);
        let mut joined: Vec<Host> = Vec::new();
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

/// A rule to be written.
struct Rule<'a> {
    name: String,
    host: &'a Host,
    /// None: every request to the host.
    entries: Vec<Tree>,
    mirrors: &'a [Tree],
    origins: &'a [Origin],
}

impl<'a> Rule<'a> {
    fn new(host: &'a Host, route: &'a Route) -> Self {
        Self {
            name: route.name.clone(),
            host,
            entries: route.entries.clone(),
            mirrors: &route.mirrors,
            origins: &route.origins,
        }
    }

    fn is_of(&self, host: &Host, route: &Route) -> bool {
        std::ptr::eq(self.host, host) && self.name == route.name && self.mirrors == route.mirrors
    }

    fn add(&mut self, route: &Route) {
        if route.entries.is_empty() {
            self.entries.clear();
        } else {
            self.entries.extend_from_slice(&route.entries);
        }
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
