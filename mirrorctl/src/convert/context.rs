//! What converting a resource needs to know of the others, and to say of what does not carry over.

use super::gateways::{Gateways, Proxy};
use super::grants::Grants;
use super::owner::Owner;
use super::services::Services;
use crate::input::{Document, Place};
use crate::node::{Mismatches, Node};
use crate::shape;
use crate::tree::{Tree, join};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;

const ISTIO: &str = "networking.istio.io";
const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// The kinds that are read, and the groups that they are of.
pub(super) const KINDS: [(&str, &[&str]); 13] = [
    ("VirtualService", &[ISTIO]),
    ("HTTPRoute", &[GATEWAY_API]),
    ("GRPCRoute", &[GATEWAY_API]),
    ("Gateway", &[ISTIO, GATEWAY_API]),
    ("GatewayClass", &[GATEWAY_API]),
    ("ReferenceGrant", &[GATEWAY_API]),
    ("ServiceEntry", &[ISTIO]),
    ("DestinationRule", &[ISTIO]),
    ("Service", &[""]),
    ("Namespace", &[""]),
    ("Deployment", &["apps"]),
    ("DaemonSet", &["apps"]),
    ("Pod", &[""]),
];

/// What is said while files are converted, each with its place and path.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) warnings: RefCell<Vec<String>>,
    pub(super) errors: RefCell<Vec<String>>,
    /// What was found out, and might be known better by the user.
    pub(super) words: RefCell<Vec<String>>,
    /// How many mirrors are of routes that wait without an end.
    pub(super) untimed: Cell<usize>,
    /// All of them: each is said once.
    said: RefCell<HashSet<String>>,
}

impl Notes {
    /// Tells whether something is to be said of a gateway for the first time.
    pub(super) fn is_first(&self, gateway: &str) -> bool {
        self.said.borrow_mut().insert(gateway.to_owned())
    }

    /// Notes something once, however many rules a route becomes.
    pub(super) fn note(&self, notes: &RefCell<Vec<String>>, place: &Place, path: &str, what: impl Display) {
        let note = format!("{place}: {path}: {what}");
        if self.said.borrow_mut().insert(note.clone()) {
            notes.borrow_mut().push(note);
        }
    }
}

/// A document of a kind that converting reads.
pub(super) struct Manifest<'a> {
    /// Its place among all documents.
    pub(super) number: usize,
    pub(super) place: &'a Place,
    pub(super) kind: &'a str,
    pub(super) name: Option<&'a str>,
    pub(super) namespace: &'a str,
    pub(super) metadata: Option<Node<'a>>,
    pub(super) spec: Option<Node<'a>>,
    pub(super) root: Node<'a>,
    created: Option<&'a str>,
}

impl<'a> Manifest<'a> {
    /// Reads what every kind has; `None`: it is of another kind, and nothing of it is read.
    pub(super) fn read(
        number: usize,
        document: &'a Document,
        namespace: &'a str,
        mismatches: &'a Mismatches,
        notes: &Notes,
    ) -> Option<Self> {
        let root = Node::root(&document.tree, mismatches);
        let kind = root.kind()?;
        let (_, groups) = KINDS.iter().find(|(own, _)| *own == kind)?;
        let version = root.tree().text_at(&["apiVersion"]);
        let group = version.map(|version| version.split_once('/').map_or("", |(group, _)| group));
        if let Some(other) = group.filter(|group| !groups.contains(group)) {
            if ["VirtualService", "HTTPRoute", "GRPCRoute"].contains(&kind) {
                let what = format_args!("{other}: not converted: not a {kind} of {}", groups.concat());
                notes.note(&notes.warnings, &document.place, "apiVersion", what);
            }
            return None;
        }
        shape::check(&root);
        let metadata = root.field("metadata");
        let text = |name| metadata.as_ref()?.text_at(name);
        Some(Self {
            number,
            place: &document.place,
            kind,
            name: text("name"),
            namespace: text("namespace").unwrap_or(namespace),
            created: text("creationTimestamp"),
            spec: root.field("spec"),
            metadata,
            root,
        })
    }

    /// Tells whether it is a route.
    pub(super) fn is_route(&self) -> bool {
        ["VirtualService", "HTTPRoute", "GRPCRoute"].contains(&self.kind)
    }

    /// Tells whether it is Istio's; a Gateway without `apiVersion` is by its fields.
    pub(super) fn is_istio(&self) -> bool {
        match self.root.tree().text_at(&["apiVersion"]) {
            Some(version) => version.starts_with(ISTIO),
            None => ["servers", "selector"].iter().any(|field| self.root.tree().at(&["spec", field]).is_some()),
        }
    }

    /// Tells whether a mirror is named anywhere in it.
    pub(super) fn mirrors(&self) -> bool {
        let spec = self.root.tree().get("spec");
        let list = |name| spec.and_then(|spec| spec.get(name)).map(Tree::items).unwrap_or_default().iter();
        let is_mirror = |filter: &Tree| filter.text_at(&["type"]) == Some("RequestMirror");
        let filters = |rule: &Tree| rule.get("filters").is_some_and(|filters| filters.items().iter().any(is_mirror));
        list("http").any(|http| ["mirror", "mirrors"].iter().any(|name| http.get(name).is_some()))
            || list("rules").any(filters)
    }

    /// Returns `namespace/name`.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name.unwrap_or_default())
    }

    /// Returns the items of a field of `spec`.
    pub(super) fn items(&self, name: &str) -> Vec<Node<'a>> {
        self.spec.as_ref().map(|spec| spec.items_at(name)).unwrap_or_default()
    }

    /// Orders by age, the oldest first. Those of one second, such as all that one `kubectl apply` makes, go by their names: in
    /// Istio as `name.namespace`, in the Gateway API as `namespace/name`.
    pub(super) fn age(&self) -> (String, String) {
        let name = self.name.unwrap_or_default();
        let is_istios = self.kind == "VirtualService" || self.kind == "Gateway";
        let own = if is_istios { format!("{name}.{}", self.namespace) } else { self.key() };
        (self.created.unwrap_or("9999").to_owned(), own)
    }

    /// Tells whether it says when it was made.
    pub(super) fn has_age(&self) -> bool {
        self.created.is_some()
    }
}

/// Where a mirror stands: the number of its document, and its path there.
pub(super) type Origin = (usize, String);

/// A resource that is converted for a workload, and what there is around it.
pub(super) struct Resource<'a> {
    pub(super) manifest: &'a Manifest<'a>,
    pub(super) around: &'a Around<'a>,
    /// Those of the workload that the configuration is for.
    pub(super) proxies: &'a [Proxy],
    pub(super) owner: &'a Owner,
    /// The namespace of a gateway's workload, or the only one whose clients see routes of the mesh; `None`: the files do not tell.
    pub(super) namespace: Option<&'a str>,
    /// Routes that make a cluster of each mirror, by their names.
    pub(super) extra: &'a RefCell<BTreeMap<String, Vec<Tree>>>,
}

/// What all resources have around them.
pub(super) struct Around<'a> {
    pub(super) cluster_domain: &'a str,
    pub(super) has_suffix: bool,
    pub(super) services: &'a Services,
    pub(super) gateways: &'a Gateways,
    pub(super) grants: &'a Grants,
    pub(super) notes: &'a Notes,
}

impl<'a> Resource<'a> {
    /// Returns the name that rules are called after.
    pub(super) fn name(&self) -> &'a str {
        self.manifest.name.unwrap_or("route")
    }

    /// Warns of what the converted configuration cannot say.
    pub(super) fn warn(&self, path: &str, what: impl Display) {
        self.note(&self.around.notes.warnings, path, what);
    }

    /// Says what was found out, and might be known better by the user.
    pub(super) fn tell(&self, path: &str, what: impl Display) {
        self.note(&self.around.notes.words, path, what);
    }

    /// Says what has to be changed before this can be converted.
    pub(super) fn error(&self, path: &str, what: impl Display) {
        self.note(&self.around.notes.errors, path, what);
    }

    /// Says what has to be changed before there can be what was asked for.
    pub(super) fn refuse<T>(&self, path: &str, what: impl Display) -> Option<T> {
        self.error(path, what);
        None
    }

    fn note(&self, notes: &RefCell<Vec<String>>, path: &str, what: impl Display) {
        self.around.notes.note(notes, self.manifest.place, path, what);
    }

    /// Returns a field that has to be there.
    pub(super) fn required<'t>(&self, parent: &Node<'t>, name: &str) -> Option<Node<'t>> {
        parent.object()?;
        parent.field(name).or_else(|| self.refuse(&join(parent.path(), name), "missing"))
    }

    /// Returns the full name of a host, as Istio finds it: one without dots is a Service of the same namespace.
    pub(super) fn full_name(&self, host: &str) -> String {
        self.around.full_name(host, self.manifest.namespace)
    }

    /// Returns the full name of a Service.
    pub(super) fn service(&self, name: &str, namespace: &str) -> String {
        self.around.service(name, namespace)
    }

    /// Warns of a Service of the mesh of whose name there are others: a client's own namespace decides which one it means.
    pub(super) fn warn_of_short(&self, path: &str, name: &str, namespace: &str) {
        if let Some(other) = self.around.services.namesake(name, namespace).filter(|_| self.manifest.mirrors()) {
            let what = format_args!(
                "clients in {other} mean another Service by {name}, and the plugin takes it for the one in {namespace}: install it \
                 where no client of {other} is"
            );
            self.warn(path, what);
        }
    }

    /// Finds the port of a host: the one that is given, or the only one that is known.
    pub(super) fn port(&self, given: Option<&Node<'_>>, host: &str, path: &str) -> Option<u64> {
        self.around.services.port(self, given, host, path)
    }
}

impl Around<'_> {
    pub(super) fn full_name(&self, host: &str, namespace: &str) -> String {
        if host.contains('.') || host.starts_with('*') {
            return host.to_owned();
        }
        self.service(host, namespace)
    }

    pub(super) fn service(&self, name: &str, namespace: &str) -> String {
        format!("{name}.{namespace}.svc.{}", self.cluster_domain)
    }

    /// Finds the name and the namespace of the Service that a full name is of.
    pub(super) fn service_of<'h>(&self, host: &'h str) -> Option<(&'h str, &'h str)> {
        service_of(host, self.cluster_domain)
    }
}

/// Finds the name and the namespace of the Service that a full name is of.
pub(super) fn service_of<'h>(host: &'h str, cluster_domain: &str) -> Option<(&'h str, &'h str)> {
    let service = host.strip_suffix(cluster_domain)?.strip_suffix(".svc.")?;
    service.split_once('.').filter(|(name, namespace)| *name != "*" && !namespace.contains('.'))
}
