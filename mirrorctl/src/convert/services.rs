//! What the files say of hosts: their ports, their other names, their subsets.

use super::context::{Manifest, Resource};
use crate::node::Node;
use crate::tree::Tree;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

/// The numbers that a port may have.
const PORTS: RangeInclusive<u64> = 1..=65_535;

/// The host of `--port` that stands for all.
const EVERY: &str = "*";

/// Hosts by their full names.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// What the user says, who may leave out a Service's namespace.
    given: Vec<(String, u64)>,
    /// Those of them that a mirror names, by their places.
    used: RefCell<HashSet<usize>>,
    ports: HashMap<String, Vec<u64>>,
    /// Services that stand for a name outside of the cluster.
    external: HashMap<String, String>,
    subsets: HashMap<String, HashSet<String>>,
    /// The ports that routes name for a host.
    routed: HashMap<String, BTreeSet<u64>>,
}

impl Services {
    /// Begins with what the user says.
    pub(super) fn new(given: &[(String, u64)]) -> Self {
        Self { given: given.to_vec(), ..Self::default() }
    }

    /// Adds what a document says.
    pub(super) fn add(&mut self, manifest: &Manifest<'_>, cluster_domain: &str) {
        let full = |name: &str| match name.contains('.') {
            true => name.to_owned(),
            false => format!("{name}.{}.svc.{cluster_domain}", manifest.namespace),
        };
        let numbers = |field: &str| {
            let ports = manifest.items("ports");
            ports.iter().filter_map(|port| port.field(field)?.whole(PORTS)).collect::<Vec<_>>()
        };
        let text = |name| manifest.spec.as_ref()?.text_at(name);
        match (manifest.kind, manifest.name) {
            ("Service", Some(name)) => {
                let host = format!("{name}.{}.svc.{cluster_domain}", manifest.namespace);
                if text("type") == Some("ExternalName")
                    && let Some(external) = text("externalName")
                {
                    self.external.insert(host.clone(), external.to_owned());
                }
                self.ports.entry(host).or_insert_with(|| numbers("port"));
            }
            ("ServiceEntry", _) => {
                for host in manifest.items("hosts").iter().filter_map(Node::text) {
                    self.ports.entry(host.to_owned()).or_insert_with(|| numbers("number"));
                }
            }
            ("DestinationRule", _) => {
                let subsets = manifest.items("subsets");
                let names = subsets.iter().filter_map(|subset| subset.text_at("name")).map(str::to_owned);
                if let Some(host) = text("host") {
                    self.subsets.entry(full(host)).or_default().extend(names);
                }
            }
            ("VirtualService", _) => {
                // What is wrong there is said where routes are read.
                let routes = manifest.root.tree().at(&["spec", "http"]).map(Tree::items).unwrap_or_default();
                for destination in routes.iter().filter_map(|http| http.get("route")).flat_map(Tree::items) {
                    let host = destination.text_at(&["destination", "host"]);
                    let port = destination.at(&["destination", "port", "number"]);
                    let port = port.and_then(|port| match port {
                        Tree::Number(number) => number.as_u64(),
                        Tree::Text(text) => text.parse().ok(),
                        _ => None,
                    });
                    if let Some((host, port)) = host.zip(port) {
                        self.routed.entry(full(host)).or_default().insert(port);
                    }
                }
            }
            _ => {}
        }
    }

    /// Returns the name that a host stands for.
    pub(super) fn external_name(&self, host: &str) -> Option<&str> {
        self.external.get(host).map(String::as_str)
    }

    /// Tells whether a document is about a host.
    pub(super) fn knows(&self, host: &str) -> bool {
        self.ports.contains_key(host)
    }

    /// Tells whether the files have the subsets of a host, and not this one.
    pub(super) fn lacks_subset(&self, host: &str, subset: &str) -> bool {
        self.subsets.get(host).is_some_and(|known| !known.contains(subset))
    }

    /// Returns a host that the user gave a port for, and that no mirror names.
    pub(super) fn unused(&self) -> Option<&str> {
        let used = self.used.borrow();
        let mut given = self.given.iter().enumerate().filter(|(_, (host, _))| host != EVERY);
        given.find(|(place, _)| !used.contains(place)).map(|(_, (host, _))| host.as_str())
    }

    fn given(&self, host: &str) -> Option<u64> {
        let is_given = |own: &str| host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let mut found = None;
        for (place, (_, port)) in self.given.iter().enumerate().filter(|(_, (own, _))| is_given(own)) {
            self.used.borrow_mut().insert(place);
            found = found.or(Some(*port));
        }
        found
    }

    /// Finds the port of a host; warns of one that its Service does not have.
    pub(super) fn port(
        &self,
        resource: &Resource<'_>,
        written: Option<&Node<'_>>,
        host: &str,
        path: &str,
    ) -> Option<u64> {
        let given = self.given(host);
        let is_told = |ports: &&Vec<u64>| !ports.is_empty() && !self.external.contains_key(host);
        let known = self.ports.get(host).filter(is_told);
        if let Some(port) = written {
            let port = port.whole(PORTS)?;
            if known.is_some_and(|known| !known.contains(&port)) {
                resource.warn(path, format_args!("{port}: {host} has no such port: its copies reach nobody"));
            }
            return Some(port);
        }
        let every = || self.given.iter().find(|(host, _)| host == EVERY).map(|(_, port)| *port);
        let routed = || match self.routed.get(host) {
            Some(ports) if ports.len() == 1 => ports.first().copied(),
            _ => None,
        };
        match (given, known.map(Vec::as_slice)) {
            (Some(port), _) => Some(port),
            (None, Some([port])) => Some(*port),
            (None, None) => {
                if let Some(port) = routed() {
                    resource.tell(path, format_args!("{port}, as routes to {host} have it"));
                    return Some(port);
                }
                every().or_else(|| {
                    let what = "missing: give a file with its Service too, or say which with --port";
                    resource.refuse(path, format_args!("{what} {host}=PORT"))
                })
            }
            (None, Some(ports)) => routed().or_else(every).or_else(|| {
                let what =
                    format!("missing: the Service {host} has {} ports; say which with --port {host}=PORT", ports.len());
                resource.refuse(path, what)
            }),
        }
    }
}
