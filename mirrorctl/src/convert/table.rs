//! Routes by host, in the order in which Envoy tries them: what a port of a proxy has.

use super::hosts::Domain;
use super::route::Route;
use super::rules::{Sorted, SortedHost};
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// Where routes stand among those of a host, before their own precedence counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    /// The places of the Gateway and of its listener: Istio goes through one listener after the other.
    pub(super) listener: (usize, usize),
    /// What the gateway's own namespace has for itself comes first.
    pub(super) nearness: u8,
    /// The routes of the Gateway API that Istio sorts among themselves alone.
    pub(super) group: Option<Group>,
}

/// Routes of the Gateway API that have a hostname in common: their age is that of the oldest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) created: String,
    pub(super) hostname: String,
    pub(super) kind: String,
}

/// The routes of a host: a virtual host of Envoy's. Routes are known by their numbers.
#[derive(Debug)]
struct Host {
    domain: Domain,
    routes: Vec<(Order, usize)>,
    /// The number of the first document that has it.
    first: usize,
}

/// All routes of a proxy's port, by host.
#[derive(Debug, Default)]
pub(super) struct Table {
    routes: Vec<Route>,
    hosts: Vec<Host>,
    /// The numbers of the documents that routes stand in.
    documents: Vec<usize>,
    /// The places of hosts in their list.
    places: HashMap<Domain, usize>,
    /// The resources that domains of the mesh are of.
    takers: HashMap<Domain, String>,
    /// The orders of groups, by their listener, hostname and kind.
    groups: HashMap<((usize, usize), String, String), Order>,
    /// The routes of the last document.
    last: Vec<Range<usize>>,
}

impl Table {
    /// Adds routes of a document, or finds the same ones of it; documents come one after the other.
    pub(super) fn insert(&mut self, document: usize, routes: Vec<Route>) -> Range<usize> {
        let first = self.routes.len();
        if self.documents.last() != Some(&document) {
            self.last.clear();
        }
        if let Some(same) = self.last.iter().find(|range| self.routes.get((*range).clone()) == Some(&routes)) {
            return same.clone();
        }
        self.routes.extend(routes);
        self.documents.resize(self.routes.len(), document);
        self.last.push(first..self.routes.len());
        first..self.routes.len()
    }

    /// Gives routes to a domain.
    pub(super) fn add(&mut self, domain: &Domain, order: Order, numbers: &Range<usize>) {
        let order = match &order.group {
            Some(Group { hostname, kind, .. }) => {
                let key = (order.listener, hostname.clone(), kind.clone());
                self.groups.entry(key).or_insert(order).clone()
            }
            None => order,
        };
        let routes = numbers.clone().map(|number| (order.clone(), number));
        let document =
            numbers.clone().next().and_then(|number| self.documents.get(number)).copied().unwrap_or_default();
        match self.places.get(domain).and_then(|place| self.hosts.get_mut(*place)) {
            Some(host) => {
                host.routes.extend(routes);
                host.first = host.first.min(document);
            }
            None => {
                self.places.insert(domain.clone(), self.hosts.len());
                self.hosts.push(Host { domain: domain.clone(), routes: routes.collect(), first: document });
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
        let numbers = self.insert(document, routes);
        domains.iter().for_each(|domain| self.add(domain, Order::default(), &numbers));
        taken
    }

    /// Orders routes as Envoy tries them.
    pub(super) fn sorted(self) -> Sorted {
        let Self { routes, hosts, documents, places, .. } = self;
        let routes: Vec<_> = routes.into_iter().zip(documents).collect();
        let hosts = hosts.into_iter().map(|Host { domain, routes: own, first }| {
            let own = in_order(own, &routes);
            SortedHost { domain, routes: own, first }
        });
        let hosts = hosts.collect();
        Sorted { routes, hosts, places }
    }
}

/// Orders the routes of a host, each once.
fn in_order(mut own: Vec<(Order, usize)>, routes: &[(Route, usize)]) -> Vec<usize> {
    let route = |number: usize| routes.get(number).map(|(route, _)| route);
    let rank = |number: usize| route(number).and_then(|route| route.rank.as_ref());
    let takes_all = |number: usize| route(number).is_some_and(Route::takes_all);
    own.sort_by(|(order, number), (other, its)| order.cmp(other).then_with(|| rank(*number).cmp(&rank(*its))));
    // Istio leaves out what comes behind a route of every request in a group.
    let mut closed: Option<&Order> = None;
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for (order, number) in &own {
        if rank(*number).is_some() && closed == Some(order) {
            continue;
        }
        if seen.insert(*number) {
            kept.push(*number);
        }
        if takes_all(*number) {
            closed = Some(order);
        }
    }
    // It moves what matches everything behind all else.
    kept.sort_by_key(|number| takes_all(*number));
    kept
}
