//! What converting a resource needs to know of the others, and to say of what does not carry over.

use super::hosts::Domain;
use crate::input::Document;
use crate::tree::Tree;
use std::cell::RefCell;
use std::fmt::Display;

/// What is said while files are converted, each with its place and path.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: RefCell<Vec<String>>,
    pub(super) errors: RefCell<Vec<String>>,
}

/// The ports of hosts: Services and ServiceEntries by their full names.
#[derive(Debug, Default)]
pub(super) struct Ports {
    /// What the user says, who may leave out a Service's namespace.
    given: Vec<(String, Vec<u64>)>,
    found: Vec<(String, Vec<u64>)>,
}

impl Ports {
    /// Begins with what the user says.
    pub(super) fn new(given: &[(String, u64)]) -> Self {
        let given = given.iter().map(|(host, port)| (host.clone(), vec![*port]));
        Self { given: given.collect(), found: Vec::new() }
    }

    /// Adds those of a document, if it has any.
    pub(super) fn add(&mut self, document: &Document, namespace: &str, cluster_domain: &str) {
        let tree = &document.tree;
        let numbers = |field: &str| {
            let ports = tree.at(&["spec", "ports"]).map(Tree::items).unwrap_or_default();
            ports.iter().filter_map(|port| whole(port.get(field)?)).collect::<Vec<_>>()
        };
        match (tree.text_at(&["kind"]), tree.text_at(&["metadata", "name"])) {
            (Some("Service"), Some(name)) => {
                let namespace = tree.text_at(&["metadata", "namespace"]).unwrap_or(namespace);
                self.found.push((format!("{name}.{namespace}.svc.{cluster_domain}"), numbers("port")));
            }
            (Some("ServiceEntry"), _) => {
                let hosts = tree.at(&["spec", "hosts"]).map(Tree::items).unwrap_or_default();
                self.found.extend(hosts.iter().filter_map(|host| Some((host.text()?.to_owned(), numbers("number")))));
            }
            _ => {}
        }
    }

    fn of(&self, host: &str) -> Option<&[u64]> {
        let is_given = |own: &str| host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let given = self.given.iter().find(|(own, _)| is_given(own));
        given.or_else(|| self.found.iter().find(|(own, _)| own == host)).map(|(_, ports)| &**ports)
    }
}

/// The domains of Gateways, Istio's and the Gateway API's, by their namespaces and names.
#[derive(Debug, Default)]
pub(super) struct Gateways(Vec<(String, Vec<Domain>)>);

impl Gateways {
    /// Adds those of a document, if it is a Gateway.
    pub(super) fn add(&mut self, document: &Document, namespace: &str) {
        let tree = &document.tree;
        let (Some("Gateway"), Some(name)) = (tree.text_at(&["kind"]), tree.text_at(&["metadata", "name"])) else {
            return;
        };
        let items = |path: &[&str]| tree.at(path).map(Tree::items).unwrap_or_default();
        let servers = items(&["spec", "servers"])
            .iter()
            .flat_map(|server| server.get("hosts").map(Tree::items).unwrap_or_default());
        // Istio's may name the namespace of the VirtualServices that they are for.
        let hosts = servers.filter_map(Tree::text).map(|host| host.rsplit('/').next().unwrap_or(host));
        let listeners =
            items(&["spec", "listeners"]).iter().map(|listener| listener.text_at(&["hostname"]).unwrap_or("*"));
        let domains = hosts.chain(listeners).filter_map(Domain::new).collect();
        let namespace = tree.text_at(&["metadata", "namespace"]).unwrap_or(namespace);
        self.0.push((format!("{namespace}/{name}"), domains));
    }
}

/// A resource that is converted, and what there is around it.
pub(super) struct Resource<'a> {
    pub(super) document: &'a Document,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) cluster_domain: &'a str,
    pub(super) ports: &'a Ports,
    pub(super) gateways: &'a Gateways,
    pub(super) notes: &'a Notes,
}

impl<'a> Resource<'a> {
    pub(super) fn spec(&self) -> &'a Tree {
        self.document.tree.get("spec").unwrap_or(&Tree::Null)
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

    /// Notes something once, however many rules a route becomes.
    fn note(&self, notes: &RefCell<Vec<String>>, path: &str, what: impl Display) {
        let note = format!("{}: {path}: {what}", self.document.place);
        let mut notes = notes.borrow_mut();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    /// Returns the full name of a host, as Istio finds it: one without dots is a Service of the same namespace.
    pub(super) fn full_name(&self, host: &str) -> String {
        if host.contains('.') || host.starts_with('*') {
            return host.to_owned();
        }
        self.service(host, self.namespace)
    }

    /// Returns the full name of a Service.
    pub(super) fn service(&self, name: &str, namespace: &str) -> String {
        format!("{name}.{namespace}.svc.{}", self.cluster_domain)
    }

    /// Narrows domains to those that some gateways take; one that is in no file takes all.
    pub(super) fn within(&self, domains: Vec<Domain>, gateways: &[String]) -> Vec<Domain> {
        let find = |name: &String| self.gateways.0.iter().find(|(own, _)| own == name).map(|(_, taken)| taken);
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
        narrowed
    }

    /// Finds the port of a host: the one that is given, or the only one of its Service.
    pub(super) fn port(&self, given: Option<&Tree>, host: &str, path: &str) -> Option<u64> {
        if let Some(given) = given {
            return whole(given).or_else(|| self.refuse(path, format_args!("{}: not a port", given.json())));
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

/// Reads a whole number, which proto3 JSON may write as a string.
pub(super) fn whole(tree: &Tree) -> Option<u64> {
    match tree {
        Tree::Number(number) => number.as_u64(),
        Tree::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Reads a number.
pub(super) fn number(tree: &Tree) -> Option<f64> {
    match tree {
        Tree::Number(number) => number.as_f64(),
        _ => None,
    }
}
