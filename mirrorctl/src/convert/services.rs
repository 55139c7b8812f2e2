//! What the files say of hosts: their ports, their other names, their subsets.

use super::context::{Manifest, Resource, service_of};
use super::export::Export;
use super::gateways::Proxy;
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
    /// Who sees a host, where that is not everybody.
    exports: HashMap<String, Export>,
    /// The subsets of each DestinationRule, and who sees it.
    subsets: HashMap<String, Vec<(Export, HashSet<String>)>>,
    /// The namespaces in which there is a Service of a name.
    namespaces: HashMap<String, BTreeSet<String>>,
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
        let export = Export::of(manifest);
        let restricted = Some(&export).filter(|export| **export != Export::Everybody);
        match (manifest.kind, manifest.name) {
            ("Service", Some(name)) => {
                self.namespaces.entry(name.to_owned()).or_default().insert(manifest.namespace.to_owned());
                let host = format!("{name}.{}.svc.{cluster_domain}", manifest.namespace);
                if text("type") == Some("ExternalName")
                    && let Some(external) = text("externalName")
                {
                    self.external.insert(host.clone(), external.to_owned());
                }
                self.exports.extend(restricted.map(|export| (host.clone(), export.clone())));
                self.ports.entry(host).or_insert_with(|| numbers("port"));
            }
            ("ServiceEntry", _) => {
                for host in manifest.items("hosts").iter().filter_map(Node::text) {
                    self.exports.extend(restricted.map(|export| (host.to_owned(), export.clone())));
                    self.ports.entry(host.to_owned()).or_insert_with(|| numbers("number"));
                }
            }
            ("DestinationRule", _) => {
                let subsets = manifest.items("subsets");
                let names = subsets.iter().filter_map(|subset| subset.text_at("name")).map(str::to_owned).collect();
                if let Some(host) = text("host") {
                    self.subsets.entry(full(host)).or_default().push((export, names));
                }
            }
            ("VirtualService", _) => {
                for host in manifest.items("hosts").iter().filter_map(Node::text).map(full) {
                    if let Some((name, namespace)) = service_of(&host, cluster_domain) {
                        self.namespaces.entry(name.to_owned()).or_default().insert(namespace.to_owned());
                    }
                }
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

    /// Finds another namespace with a Service of a name.
    pub(super) fn namesake(&self, name: &str, namespace: &str) -> Option<&str> {
        self.namespaces.get(name)?.iter().map(String::as_str).find(|other| *other != namespace)
    }

    /// Tells whether a document is about a host.
    pub(super) fn knows(&self, host: &str) -> bool {
        self.ports.contains_key(host)
    }

    /// Returns who sees a host, if that is not everybody.
    pub(super) fn export(&self, host: &str) -> Option<&Export> {
        self.exports.get(host)
    }

    /// Tells why no DestinationRule that a namespace sees has a subset of a host, if the files have some for it.
    pub(super) fn lacks_subset(&self, host: &str, subset: &str, namespace: Option<&str>) -> Option<String> {
        let known = self.subsets.get(host)?;
        let mut having =
            known.iter().filter(|(_, subsets)| subsets.contains(subset)).map(|(export, _)| export).peekable();
        if having.peek().is_none() {
            return Some(format!("no DestinationRule of {host} has this subset: its copies reach nobody"));
        }
        let mut unseen = None;
        for export in having {
            match export.is_to(namespace) {
                Some(true) => return None,
                Some(false) => {
                    unseen = Some(format!("{}: its copies reach nobody", export.sees("the DestinationRule")))
                }
                None => unseen = Some(format!("{}: copies of others reach nobody", export.sees("the DestinationRule"))),
            }
        }
        unseen
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

    /// Finds the port at which a sidecar takes the requests of a VirtualService: to Istio it is the port of a mirror that names none.
    fn listener(&self, resource: &Resource<'_>) -> Option<u64> {
        let manifest = resource.manifest;
        let in_mesh = resource.proxies.contains(&Proxy::Mesh) && manifest.kind == "VirtualService";
        let hosts = if in_mesh { manifest.items("hosts") } else { Vec::new() };
        let hosts = hosts.iter().filter_map(|host| Some(resource.full_name(host.text()?)));
        let ports: BTreeSet<_> = hosts.filter_map(|host| self.ports.get(&host)).flatten().copied().collect();
        ports.first().copied().filter(|_| ports.len() == 1)
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
        if let Some(listener) = self.listener(resource).filter(|_| given.is_none()) {
            match known {
                Some(known) if known.contains(&listener) => return Some(listener),
                Some(_) => {
                    let what = format_args!(
                        "missing: Istio takes the port {listener} of the VirtualService's host, which {host} has not, and mirrors \
                         nothing"
                    );
                    resource.warn(path, what);
                }
                None => {
                    resource.tell(path, format_args!("{listener}, as the VirtualService's host has it"));
                    return Some(listener);
                }
            }
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
