//! What converting a resource needs to know of the others, and to say of what does not carry over.

use super::hosts::Domain;
use crate::input::{Document, Place};
use crate::node::{Mismatches, Node};
use crate::shape;
use crate::tree::join;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::ops::RangeInclusive;

/// The numbers that a port may have.
const PORTS: RangeInclusive<u64> = 1..=65_535;

/// The kinds that converting reads.
pub(super) const KINDS: [&str; 5] = ["VirtualService", "HTTPRoute", "Gateway", "Service", "ServiceEntry"];

/// What is said while files are converted, each with its place and path.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: RefCell<Vec<String>>,
    pub(super) errors: RefCell<Vec<String>>,
    /// All of them: each is said once.
    said: RefCell<HashSet<String>>,
}

/// A document of a kind that converting reads.
pub(super) struct Manifest<'a> {
    pub(super) place: &'a Place,
    pub(super) kind: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) namespace: &'a str,
    pub(super) spec: Option<Node<'a>>,
    created: Option<&'a str>,
}

impl<'a> Manifest<'a> {
    /// Reads what every kind has; `None`: it is of another kind, and nothing of it is read.
    pub(super) fn read(document: &'a Document, namespace: &'a str, mismatches: &'a Mismatches) -> Option<Self> {
        let root = Node::root(&document.tree, mismatches);
        let kind = root.kind().filter(|kind| KINDS.contains(kind))?;
        shape::check(&root);
        let metadata = root.field("metadata");
        let text = |name| metadata.as_ref()?.text_at(name);
        Some(Self {
            place: &document.place,
            kind,
            name: text("name"),
            namespace: text("namespace").unwrap_or(namespace),
            spec: root.field("spec"),
            created: text("creationTimestamp"),
        })
    }

    /// Returns the items of a field of `spec`.
    pub(super) fn items(&self, name: &str) -> Vec<Node<'a>> {
        self.spec.as_ref().map(|spec| spec.items_at(name)).unwrap_or_default()
    }

    /// Orders by age, the oldest first; without one, by namespace and name.
    pub(super) fn age(&self) -> (String, String) {
        let name = self.name.unwrap_or_default();
        (self.created.unwrap_or("9999").to_owned(), format!("{}/{name}", self.namespace))
    }
}

/// The ports of hosts: Services and ServiceEntries by their full names.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// What the user says, who may leave out a Service's namespace.
    given: Vec<(String, Vec<u64>)>,
    found: HashMap<String, Vec<u64>>,
}

impl Ports {
    /// Begins with what the user says.
    pub(super) fn new(given: &[(String, u64)]) -> Self {
        let given = given.iter().map(|(host, port)| (host.clone(), vec![*port]));
        Self { given: given.collect(), found: HashMap::new() }
    }

    /// Adds those of a document, if it has any.
    pub(super) fn add(&mut self, manifest: &Manifest<'_>, cluster_domain: &str) {
        let numbers = |field: &str| {
            let ports = manifest.items("ports");
            ports.iter().filter_map(|port| port.field(field)?.whole(PORTS)).collect::<Vec<_>>()
        };
        match (manifest.kind, manifest.name) {
            ("Service", Some(name)) => {
                let host = format!("{name}.{}.svc.{cluster_domain}", manifest.namespace);
                self.found.entry(host).or_insert_with(|| numbers("port"));
            }
            ("ServiceEntry", _) => {
                let hosts = manifest.items("hosts");
                for host in hosts.iter().filter_map(Node::text) {
                    self.found.entry(host.to_owned()).or_insert_with(|| numbers("number"));
                }
            }
            _ => {}
        }
    }

    fn of(&self, host: &str) -> Option<&[u64]> {
        let is_given = |own: &str| host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let given = self.given.iter().find(|(own, _)| is_given(own));
        given.map(|(_, ports)| ports).or_else(|| self.found.get(host)).map(Vec::as_slice)
    }
}

/// The domains of Gateways, Istio's and the Gateway API's, by their namespaces and names.
#[derive(Debug, Default)]
pub(super) struct Gateways(HashMap<String, Vec<Domain>>);

impl Gateways {
    /// Adds those of a document, if it is a Gateway.
    pub(super) fn add(&mut self, manifest: &Manifest<'_>) {
        let ("Gateway", Some(name)) = (manifest.kind, manifest.name) else { return };
        let (servers, listeners) = (manifest.items("servers"), manifest.items("listeners"));
        // Istio's may name the namespace of the VirtualServices that they are for.
        let hosts = servers.iter().flat_map(|server| server.items_at("hosts")).filter_map(|host| host.text());
        let hosts = hosts.map(|host| host.rsplit('/').next().unwrap_or(host));
        let listeners = listeners.iter().map(|listener| listener.text_at("hostname").unwrap_or("*"));
        let domains = hosts.chain(listeners).filter_map(Domain::new).collect();
        self.0.entry(format!("{}/{name}", manifest.namespace)).or_insert(domains);
    }
}

/// A resource that is converted, and what there is around it.
pub(super) struct Resource<'a> {
    pub(super) manifest: &'a Manifest<'a>,
    pub(super) cluster_domain: &'a str,
    pub(super) ports: &'a Ports,
    pub(super) gateways: &'a Gateways,
    pub(super) notes: &'a Notes,
}

impl<'a> Resource<'a> {
    /// Returns the name that rules are called after.
    pub(super) fn name(&self) -> &'a str {
        self.manifest.name.unwrap_or("route")
    }

    /// Warns of what the converted configuration cannot say.
    pub(super) fn warn(&self, path: &str, what: impl Display) {
        self.note(&self.notes.warnings, path, what);
    }

    /// Says what has to be changed before this can be converted.
    pub(super) fn error(&self, path: &str, what: impl Display) {
        self.note(&self.notes.errors, path, what);
    }

    /// Says what has to be changed before there can be what was asked for.
    pub(super) fn refuse<T>(&self, path: &str, what: impl Display) -> Option<T> {
        self.error(path, what);
        None
    }

    /// Returns a field that has to be there.
    pub(super) fn required<'t>(&self, parent: &Node<'t>, name: &str) -> Option<Node<'t>> {
        parent.object()?;
        parent.field(name).or_else(|| self.refuse(&join(parent.path(), name), "missing"))
    }

    /// Notes something once, however many rules a route becomes.
    fn note(&self, notes: &RefCell<Vec<String>>, path: &str, what: impl Display) {
        let note = format!("{}: {path}: {what}", self.manifest.place);
        if self.notes.said.borrow_mut().insert(note.clone()) {
            notes.borrow_mut().push(note);
        }
    }

    /// Returns the full name of a host, as Istio finds it: one without dots is a Service of the same namespace.
    pub(super) fn full_name(&self, host: &str) -> String {
        if host.contains('.') || host.starts_with('*') {
            return host.to_owned();
        }
        self.service(host, self.manifest.namespace)
    }

    /// Returns the full name of a Service.
    pub(super) fn service(&self, name: &str, namespace: &str) -> String {
        format!("{name}.{namespace}.svc.{}", self.cluster_domain)
    }

    /// Narrows domains to those that some gateways take; one that is in no file takes all.
    pub(super) fn within(&self, domains: Vec<Domain>, gateways: &[String]) -> Vec<Domain> {
        let find = |name: &String| self.gateways.0.get(name);
        let Some(taken) = gateways.iter().map(find).collect::<Option<Vec<_>>>().filter(|taken| !taken.is_empty())
        else {
            return domains;
        };
        let mut narrowed = Vec::new();
        for domain in
            taken.into_iter().flatten().flat_map(|taken| domains.iter().filter_map(|domain| domain.meet(taken)))
        {
            if !narrowed.contains(&domain) {
                narrowed.push(domain);
            }
        }
        if narrowed.is_empty() && !domains.is_empty() {
            let field = if self.manifest.kind == "VirtualService" { "spec.hosts" } else { "spec.hostnames" };
            let names = gateways.join(", ");
            self.warn(field, format_args!("the Gateway {names} has none of them: no request comes here"));
        }
        narrowed
    }

    /// Finds the port of a host: the one that is given, or the only one of its Service.
    pub(super) fn port(&self, given: Option<&Node<'_>>, host: &str, path: &str) -> Option<u64> {
        if let Some(given) = given {
            return given.whole(PORTS);
        }
        match self.ports.of(host) {
            Some([port]) => Some(*port),
            Some(ports) => {
                let what =
                    format!("missing: the Service {host} has {} ports; say which with --port {host}=PORT", ports.len());
                self.refuse(path, what)
            }
            None => {
                let what = "missing: give a file with its Service too, or say which with --port";
                self.refuse(path, format_args!("{what} {host}=PORT"))
            }
        }
    }
}
