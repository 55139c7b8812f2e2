//! Gateways, Istio's and the Gateway API's: which requests they take, and from which routes.

use super::context::{Manifest, Resource};
use super::grants::Grants;
use super::hosts::Domain;
use super::owner::{Classes, Owner};
use crate::node::Node;
use crate::tree::Tree;
use std::collections::HashMap;
use std::fmt;

/// What is no HTTP to Istio and the Gateway API.
const OTHER_PROTOCOLS: [&str; 6] = ["TCP", "TLS", "UDP", "MONGO", "MYSQL", "REDIS"];

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

/// Whose routes a listener takes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Everybody,
    Namespace(String),
    /// Namespaces with labels, and `true` if there is more to ask of them than labels.
    Labels(Vec<(String, String)>, bool),
}

/// A server of Istio's Gateway, or a listener of the Gateway API's.
#[derive(Debug)]
struct Listener {
    name: Option<String>,
    port: Option<u64>,
    hosts: Vec<(Who, Domain)>,
    /// The kinds of routes that it takes; empty: all.
    kinds: Vec<String>,
}

/// A Gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    /// The labels of its workload, which Istio's has.
    pub(super) selector: Option<Tree>,
    class: Option<String>,
    listeners: Vec<Listener>,
}

/// Which of a Gateway's listeners a route is for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Section<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) port: Option<u64>,
}

impl Section<'_> {
    fn is_of(&self, listener: &Listener) -> bool {
        self.name.is_none_or(|name| listener.name.as_deref() == Some(name))
            && self.port.is_none_or(|port| listener.port == Some(port))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Gateways {
    all: HashMap<Proxy, Gateway>,
    classes: Classes,
    /// The labels of workloads and the namespaces that they are in.
    workloads: Vec<(Tree, String)>,
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
        let spec = manifest.spec.as_ref();
        let listeners = match api {
            Api::Istio => manifest.items("servers").iter().filter_map(|server| server_of(server, manifest)).collect(),
            Api::Gateway => manifest.items("listeners").iter().filter_map(|one| listener_of(one, manifest)).collect(),
        };
        let gateway = Gateway {
            selector: spec.filter(|_| api == Api::Istio).and_then(|spec| labels(&spec.field("selector")?)),
            class: spec.and_then(|spec| spec.text_at("gatewayClassName")).map(str::to_owned),
            listeners,
        };
        self.all.entry(Proxy::Gateway(api, manifest.key())).or_insert(gateway);
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

    /// Finds the namespace of the workload that has labels, if it is in the files, and there is one.
    pub(super) fn namespace_of(&self, selector: &Tree) -> Option<&str> {
        let has = |labels: &Tree| selector.fields().iter().all(|(name, value)| labels.get(name) == Some(value));
        let mut found = self.workloads.iter().filter(|(labels, _)| has(labels)).map(|(_, namespace)| namespace);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    /// Narrows a route's domains to those that a gateway takes from it; one that is in no file takes all.
    pub(super) fn within(
        &self,
        resource: &Resource<'_>,
        path: &str,
        domains: &[Domain],
        proxy: &Proxy,
        section: Section<'_>,
    ) -> Vec<Domain> {
        let Some(gateway) = self.get(proxy) else { return domains.to_vec() };
        let manifest = resource.manifest;
        let mut narrowed: Vec<(Option<u64>, Domain)> = Vec::new();
        for listener in gateway.listeners.iter().filter(|listener| section.is_of(listener)) {
            if !listener.kinds.is_empty() && !listener.kinds.iter().any(|kind| kind == manifest.kind) {
                continue;
            }
            for (who, taken) in &listener.hosts {
                if is_allowed(who, resource, path, resource.around.grants) {
                    let met = domains.iter().filter_map(|domain| domain.meet(taken));
                    narrowed.extend(met.map(|domain| (listener.port, domain)));
                }
            }
        }
        // Each port has a list of its own, in which the narrower domain decides.
        let differ = |(port, domain): &(Option<u64>, Domain)| {
            let mut rest = narrowed.iter().filter(|(other, _)| other != port);
            rest.any(|(_, other)| other != domain && other.overlaps(domain))
        };
        if narrowed.iter().any(differ) {
            let what = "two ports of the gateway take other hosts of it: what is mirrored is the same on both, for the \
                        plugin does not know the port";
            resource.warn(path, what);
        }
        let mut unique: Vec<Domain> = Vec::new();
        for (_, domain) in narrowed {
            if !unique.contains(&domain) {
                unique.push(domain);
            }
        }
        let others = gateway.listeners.iter().filter(|listener| !section.is_of(listener));
        let mut others = others.flat_map(|listener| &listener.hosts).map(|(_, domain)| domain);
        if others.any(|other| unique.iter().any(|domain| domain.overlaps(other))) {
            let what = "another listener of the gateway takes requests for the same hosts: they are mirrored too, for \
                        the plugin does not know the listener";
            resource.warn(path, what);
        }
        if unique.is_empty() && manifest.mirrors() {
            let all = gateway.listeners.iter().flat_map(|listener| &listener.hosts);
            let is_there = all.into_iter().any(|(_, taken)| domains.iter().any(|domain| domain.overlaps(taken)));
            let name = proxy.name();
            if is_there {
                let namespace = manifest.namespace;
                resource.warn(
                    path,
                    format_args!("the Gateway {name} takes no such route from {namespace}: not converted for it"),
                );
            } else {
                resource.warn(path, format_args!("the Gateway {name} has none of them: no request comes here"));
            }
        }
        unique
    }

    /// Returns a hostname that a listener of a gateway takes and nobody asks for; none: only hosts that are asked for.
    pub(super) fn unasked(&self, proxy: &Proxy, name: &str) -> Result<String, Option<String>> {
        let free = format!("{name}.invalid");
        let Some(gateway) = self.get(proxy) else { return Ok(free) };
        let domains = || gateway.listeners.iter().flat_map(|listener| &listener.hosts).map(|(_, domain)| domain);
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

/// Tells whether a listener takes routes of a namespace.
fn is_allowed(who: &Who, resource: &Resource<'_>, path: &str, grants: &Grants) -> bool {
    let namespace = resource.manifest.namespace;
    match who {
        Who::Everybody => true,
        Who::Namespace(own) => own == namespace,
        Who::Labels(labels, has_more) => {
            let known = grants.has_labels(namespace, labels);
            if known.is_none() || *has_more && known == Some(true) {
                let what = format!(
                    "taken as allowed: the gateway takes routes of namespaces with some labels; give a file with the \
                     Namespace {namespace} too"
                );
                resource.warn(path, what);
            }
            known.unwrap_or(true)
        }
    }
}

/// Reads a server of Istio's Gateway; `None` where it has no HTTP.
fn server_of(server: &Node<'_>, manifest: &Manifest<'_>) -> Option<Listener> {
    let port = server.field("port");
    let protocol = port.as_ref().and_then(|port| port.text_at("protocol")).unwrap_or_default().to_ascii_uppercase();
    if OTHER_PROTOCOLS.contains(&&*protocol) {
        return None;
    }
    let mut hosts = Vec::new();
    for host in server.items_at("hosts") {
        let Some(text) = host.text() else { continue };
        let (who, host) = match text.split_once('/') {
            Some(("*", host)) => (Who::Everybody, host),
            Some((".", host)) => (Who::Namespace(manifest.namespace.to_owned()), host),
            Some((namespace, host)) => (Who::Namespace(namespace.to_owned()), host),
            None => (Who::Everybody, text),
        };
        hosts.extend(Domain::new(host).map(|domain| (who, domain)));
    }
    Some(Listener {
        name: server.text_at("name").map(str::to_owned),
        port: port.and_then(|port| port.field("number")?.whole(1..=65_535)),
        hosts,
        kinds: Vec::new(),
    })
}

/// Reads a listener of the Gateway API's Gateway; `None` where it has no HTTP.
fn listener_of(listener: &Node<'_>, manifest: &Manifest<'_>) -> Option<Listener> {
    if listener.text_at("protocol").is_some_and(|protocol| OTHER_PROTOCOLS.contains(&protocol)) {
        return None;
    }
    let allowed = listener.field("allowedRoutes");
    let namespaces = allowed.as_ref().and_then(|allowed| allowed.field("namespaces"));
    let from = namespaces.as_ref().and_then(|namespaces| namespaces.text_at("from")).unwrap_or("Same");
    let who = match from {
        "All" => Who::Everybody,
        "Selector" => {
            let selector = namespaces.as_ref().and_then(|namespaces| namespaces.field("selector"));
            let wanted = selector.as_ref().and_then(|selector| selector.field("matchLabels"));
            let wanted = wanted.map(|wanted| wanted.entries()).unwrap_or_default();
            let wanted =
                wanted.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.text()?.to_owned())));
            let has_more = selector.is_some_and(|selector| !selector.items_at("matchExpressions").is_empty());
            Who::Labels(wanted.collect(), has_more)
        }
        _ => Who::Namespace(manifest.namespace.to_owned()),
    };
    let kinds = allowed.map(|allowed| allowed.items_at("kinds")).unwrap_or_default();
    let domain = Domain::new(listener.text_at("hostname").filter(|name| !name.is_empty()).unwrap_or("*"));
    Some(Listener {
        name: listener.text_at("name").map(str::to_owned),
        port: listener.field("port").and_then(|port| port.whole(1..=65_535)),
        hosts: domain.into_iter().map(|domain| (who.clone(), domain)).collect(),
        kinds: kinds.iter().filter_map(|kind| kind.text_at("kind")).map(str::to_owned).collect(),
    })
}

/// Reads labels; `None` where there are none.
fn labels(labels: &Node<'_>) -> Option<Tree> {
    let entries = labels.entries().into_iter();
    let read = entries.map(|(name, value)| Some((name.to_owned(), value.text()?.into())));
    read.collect::<Option<Vec<_>>>().filter(|labels| !labels.is_empty()).map(Tree::Map)
}
