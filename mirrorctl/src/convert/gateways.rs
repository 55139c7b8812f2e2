//! Gateways, Istio's and the Gateway API's: which requests they take, and from which routes.

use super::context::{Manifest, Resource};
use super::hosts::Domain;
use super::listener::{Listener, Section, Who};
use super::overlap::Domains;
use super::owner::{Classes, Owner};
use crate::node::Node;
use crate::tree::Tree;
use std::collections::HashMap;
use std::fmt;

/// Which of the two APIs a Gateway is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Api {
    Istio,
    Gateway,
}

/// What routes are for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Proxy {
    /// The proxies beside the clients of a mesh.
    Mesh,
    /// A Gateway, by its namespace and name.
    Gateway(Api, String),
    /// A route that says nothing of it.
    Unnamed,
}

impl Proxy {
    /// Returns the namespace and name of a Gateway.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Gateway(_, name) => name,
            Self::Mesh | Self::Unnamed => "",
        }
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mesh => f.write_str("the mesh"),
            Self::Gateway(_, name) => write!(f, "the gateway {name}"),
            Self::Unnamed => f.write_str("routes without a parent"),
        }
    }
}

/// A Gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    /// The labels of its workload, which Istio's has.
    pub(super) selector: Option<Tree>,
    class: Option<String>,
    listeners: Vec<Listener>,
    hosts: Vec<Host>,
    /// The places of hosts in their list.
    index: Domains<usize>,
    /// The same of listeners with a name.
    named: HashMap<String, Vec<usize>>,
    /// When it was made, and its name: Istio puts the servers of the oldest first.
    age: (String, String),
    /// Its place among all Gateways by age.
    rank: usize,
}

/// A host of a listener.
#[derive(Debug)]
struct Host {
    /// The listener's place in its Gateway.
    listener: usize,
    who: Who,
    domain: Domain,
}

/// Requests that a gateway takes for a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Taken {
    /// `None`: of every port, for the Gateway is in no file.
    pub(super) port: Option<u64>,
    /// The places of the Gateway and of its listener.
    pub(super) listener: (usize, usize),
    /// The place of the route's own domain.
    pub(super) own: usize,
    pub(super) domain: Domain,
}

impl Gateway {
    fn new(manifest: &Manifest<'_>, api: Api) -> Self {
        let spec = manifest.spec.as_ref();
        let listeners: Vec<_> = match api {
            Api::Istio => {
                manifest.items("servers").iter().filter_map(|one| Listener::of_server(one, manifest)).collect()
            }
            Api::Gateway => {
                let listeners = manifest.items("listeners");
                let mut listeners: Vec<_> =
                    listeners.iter().filter_map(|one| Listener::of_listener(one, manifest)).collect();
                // Istio makes a Gateway of each, and sorts them by name.
                listeners.sort_by(|one, other| one.name.cmp(&other.name));
                listeners
            }
        };
        let mut hosts = Vec::new();
        let mut index = Domains::default();
        let mut named: HashMap<_, Vec<_>> = HashMap::new();
        for (place, listener) in listeners.iter().enumerate() {
            for (who, domain) in &listener.hosts {
                index.add(domain, hosts.len());
                if let Some(name) = &listener.name {
                    named.entry(name.clone()).or_default().push(hosts.len());
                }
                hosts.push(Host { listener: place, who: who.clone(), domain: domain.clone() });
            }
        }
        let class = spec.and_then(|spec| spec.text_at("gatewayClassName")).map(str::to_owned);
        let selector = spec.filter(|_| api == Api::Istio).and_then(|spec| labels(&spec.field("selector")?));
        Self { selector, class, listeners, hosts, index, named, age: manifest.age(), rank: 0 }
    }

    /// Returns hosts and their listeners, in the order of the file.
    fn hosts(&self, places: impl Iterator<Item = usize>) -> Vec<(&Host, &Listener)> {
        let mut places: Vec<_> = places.collect();
        places.sort_unstable();
        places.dedup();
        let hosts = places.into_iter().filter_map(|place| self.hosts.get(place));
        hosts.filter_map(|host| Some((host, self.listeners.get(host.listener)?))).collect()
    }

    /// Returns the hosts of a section that share requests with a domain.
    fn hosts_for(&self, domain: &Domain, section: Section<'_>) -> Vec<(&Host, &Listener)> {
        let mut hosts = match section.name {
            Some(name) => self.hosts(self.named.get(name).into_iter().flatten().copied()),
            None => self.hosts(self.index.overlapping(domain)),
        };
        hosts.retain(|(host, listener)| section.is_of(listener) && host.domain.overlaps(domain));
        hosts
    }
}

/// The ports of a Service, and of the workload behind them, if those are numbers.
type TargetPorts = HashMap<u64, Option<u64>>;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    all: HashMap<Proxy, Gateway>,
    classes: Classes,
    /// The labels of workloads and the namespaces that they are in.
    workloads: Vec<(Tree, String)>,
    /// The labels that Services select, and their ports.
    ports: Vec<(Tree, TargetPorts)>,
}

impl Gateways {
    /// Adds what a document says.
    pub(super) fn add(&mut self, manifest: &Manifest<'_>) {
        self.classes.add(manifest);
        self.add_workload(manifest);
        if manifest.kind != "Gateway" || manifest.name.is_none() {
            return;
        }
        let api = if manifest.is_istio() { Api::Istio } else { Api::Gateway };
        self.all.entry(Proxy::Gateway(api, manifest.key())).or_insert_with(|| Gateway::new(manifest, api));
    }

    /// Finds their order, once all of them are there.
    pub(super) fn sort(&mut self) {
        let mut all: Vec<_> = self.all.values_mut().collect();
        all.sort_by(|one, other| one.age.cmp(&other.age));
        all.into_iter().enumerate().for_each(|(rank, gateway)| gateway.rank = rank);
    }

    fn add_workload(&mut self, manifest: &Manifest<'_>) {
        let spec = manifest.spec.as_ref();
        let found = match manifest.kind {
            "Service" => spec.and_then(|spec| spec.field("selector")),
            "Deployment" | "DaemonSet" => spec
                .and_then(|spec| spec.field("template")?.field("metadata"))
                .and_then(|metadata| metadata.field("labels")),
            "Pod" => manifest.metadata.as_ref().and_then(|metadata| metadata.field("labels")),
            _ => None,
        };
        if let Some(labels) = found.as_ref().and_then(labels) {
            if manifest.kind == "Service" {
                self.ports.push((labels.clone(), ports(manifest)));
            }
            self.workloads.push((labels, manifest.namespace.to_owned()));
        }
    }

    pub(super) fn get(&self, proxy: &Proxy) -> Option<&Gateway> {
        self.all.get(proxy)
    }

    /// Finds out who makes a proxy.
    pub(super) fn owner(&self, proxy: &Proxy) -> Owner {
        match proxy {
            Proxy::Gateway(Api::Gateway, _) => {
                self.get(proxy).map_or(Owner::Unknown, |gateway| self.classes.owner(gateway.class.as_deref()))
            }
            _ => Owner::Istio,
        }
    }

    /// Finds the namespace of a gateway's workload.
    pub(super) fn namespace<'a>(&'a self, proxy: &'a Proxy) -> Option<&'a str> {
        match proxy {
            Proxy::Gateway(Api::Gateway, key) => key.split_once('/').map(|(namespace, _)| namespace),
            Proxy::Gateway(Api::Istio, _) => self.namespace_of(self.get(proxy)?.selector.as_ref()?),
            Proxy::Mesh | Proxy::Unnamed => None,
        }
    }

    /// Finds the namespace of the workload that has labels, if it is in the files, and there is one.
    pub(super) fn namespace_of(&self, selector: &Tree) -> Option<&str> {
        let of_selector = self.workloads.iter().filter(|(labels, _)| has_labels(labels, selector));
        let mut found = of_selector.map(|(_, namespace)| namespace);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// Finds the port at which a gateway's workload listens for one of its Gateway; `None`: no file tells.
    pub(super) fn workload_port(&self, proxy: &Proxy, port: u64) -> Option<u64> {
        let Some(selector) = self.get(proxy).and_then(|gateway| gateway.selector.as_ref()) else { return Some(port) };
        let mut services = self.ports.iter().filter(|(labels, _)| has_labels(labels, selector)).peekable();
        services.peek()?;
        // One that no Service has, the workload listens on itself.
        services.find_map(|(_, ports)| ports.get(&port)).copied().unwrap_or(Some(port))
    }

    /// Narrows a route's domains to those that a gateway takes from it; one that is in no file takes all.
    pub(super) fn within(
        &self,
        resource: &Resource<'_>,
        path: &str,
        domains: &[Domain],
        proxy: &Proxy,
        section: Section<'_>,
    ) -> Vec<Taken> {
        let Some(gateway) = self.get(proxy) else {
            let all =
                |(own, domain): (usize, &Domain)| Taken { port: None, listener: (0, 0), own, domain: domain.clone() };
            return domains.iter().enumerate().map(all).collect();
        };
        let manifest = resource.manifest;
        // In the Gateway API, the listener with the narrowest hostname has the requests; elsewhere where a handshake tells the host.
        let are_apart = matches!(proxy, Proxy::Gateway(Api::Gateway, _));
        let mut taken = Vec::new();
        let (mut is_there, mut is_narrower, mut is_shared) = (false, false, false);
        for (own, domain) in domains.iter().enumerate() {
            let around = gateway.hosts(gateway.index.around(domain));
            is_there |= gateway.index.overlap(domain);
            for (host, listener) in gateway.hosts_for(domain, section) {
                let is_narrowed = |(other, its): &(&Host, &Listener)| {
                    other.listener != host.listener
                        && its.shares(listener)
                        && other.domain != host.domain
                        && other.domain.order() < host.domain.order()
                };
                if (are_apart || listener.is_tls) && around.iter().any(is_narrowed) {
                    is_narrower = true;
                    continue;
                }
                if !listener.takes(manifest.kind) || !host.who.is(resource, path, resource.around.grants) {
                    continue;
                }
                let Some(met) = host.domain.meet(domain) else { continue };
                // The host of a handshake chooses among these, and the plugin sees none.
                is_shared |= listener.is_tls
                    && gateway
                        .index
                        .overlapping(&met)
                        .filter_map(|place| gateway.listeners.get(gateway.hosts.get(place)?.listener))
                        .any(|other| !section.is_of(other) && other.shares(listener));
                let listened = (gateway.rank, host.listener);
                taken.push(Taken { port: listener.port, listener: listened, own, domain: met });
            }
        }
        if is_shared {
            let what = "another listener of the gateway takes requests for the same hosts: they are mirrored too, for \
                        the plugin does not know the listener";
            resource.warn(path, what);
        }
        if taken.is_empty() && manifest.mirrors() {
            let (name, namespace) = (proxy.name(), manifest.namespace);
            if is_narrower {
                let what = "has another listener that takes all requests for these hosts: not converted for it";
                resource.warn(path, format_args!("the Gateway {name} {what}"));
            } else if is_there {
                let what = format_args!("takes no such route from {namespace}: not converted for it");
                resource.warn(path, format_args!("the Gateway {name} {what}"));
            } else {
                resource.warn(path, format_args!("the Gateway {name} has none of them: no request comes here"));
            }
        }
        taken
    }

    /// Returns a hostname that a listener of a gateway takes and nobody asks for; none: only hosts that are asked for.
    pub(super) fn unasked(&self, proxy: &Proxy, name: &str) -> Result<String, Option<String>> {
        let free = format!("{name}.invalid");
        let Some(gateway) = self.get(proxy) else { return Ok(free) };
        let domains = || gateway.hosts.iter().map(|host| &host.domain);
        if domains().any(|domain| *domain == Domain::Any) || domains().next().is_none() {
            return Ok(free);
        }
        let mut wildcards = domains().filter_map(|domain| match domain {
            Domain::Wildcard(suffix) => Some(format!("{name}{suffix}")),
            _ => None,
        });
        wildcards.next().ok_or_else(|| domains().find_map(Domain::first_name))
    }
}

/// Tells whether labels are among those that are selected.
fn has_labels(labels: &Tree, selector: &Tree) -> bool {
    selector.fields().iter().all(|(name, value)| labels.get(name) == Some(value))
}

/// Reads the ports of a Service.
fn ports(service: &Manifest<'_>) -> TargetPorts {
    let number = |port: &Node<'_>, name: &str| port.field(name)?.whole(1..=65_535);
    let target = |port: &Node<'_>| match port.tree().get("targetPort") {
        // A name is that of a port of the Pods.
        Some(Tree::Text(name)) => name.parse().ok(),
        Some(_) => number(port, "targetPort"),
        None => number(port, "port"),
    };
    service.items("ports").iter().filter_map(|port| Some((number(port, "port")?, target(port)))).collect()
}

/// Reads labels; `None` where there are none.
fn labels(labels: &Node<'_>) -> Option<Tree> {
    let entries = labels.entries().into_iter();
    let read = entries.map(|(name, value)| Some((name.to_owned(), value.text()?.into())));
    read.collect::<Option<Vec<_>>>().filter(|labels| !labels.is_empty()).map(Tree::Map)
}
