//! What namespaces allow: references from other namespaces into them, and routes on a Gateway.

use super::context::Manifest;
use crate::node::Node;
use std::collections::{HashMap, HashSet};

/// The label that Kubernetes gives every namespace.
const NAME: &str = "kubernetes.io/metadata.name";

/// What a ReferenceGrant allows: routes of a kind in a namespace may name a Service, or each.
#[derive(Debug)]
struct Grant {
    kind: String,
    from: String,
    service: Option<String>,
}

/// What the files say of namespaces.
#[derive(Debug, Default)]
pub(super) struct Grants {
    grants: HashMap<String, Vec<Grant>>,
    /// Namespaces of which the files have the labels.
    labels: HashMap<String, HashMap<String, String>>,
}

/// What a ReferenceGrant says of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grantee {
    Allowed,
    /// No grant of the namespace is in the files.
    Unknown,
    Refused,
}

impl Grants {
    /// Adds what a document says.
    pub(super) fn add(&mut self, manifest: &Manifest<'_>) {
        match manifest.kind {
            "ReferenceGrant" => {
                let all = self.grants.entry(manifest.namespace.to_owned()).or_default();
                for from in manifest.items("from") {
                    for to in manifest.items("to") {
                        let text = |node: &Node<'_>, name| node.text_at(name).unwrap_or_default().to_owned();
                        if text(&to, "kind") == "Service" {
                            let service = to.text_at("name").map(str::to_owned);
                            all.push(Grant { kind: text(&from, "kind"), from: text(&from, "namespace"), service });
                        }
                    }
                }
            }
            "Namespace" => {
                let name = manifest.name.unwrap_or_default();
                let labels = manifest.metadata.as_ref().and_then(|metadata| metadata.field("labels"));
                let labels = labels.map(|labels| labels.entries()).unwrap_or_default();
                let labels =
                    labels.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.text()?.to_owned())));
                let own = (NAME.to_owned(), name.to_owned());
                self.labels.insert(name.to_owned(), labels.chain([own]).collect());
            }
            _ => {}
        }
    }

    /// Tells whether routes of a kind in one namespace may name a Service of another.
    pub(super) fn allow(&self, kind: &str, from: &str, to: &str, service: &str) -> Grantee {
        if from == to {
            return Grantee::Allowed;
        }
        let Some(grants) = self.grants.get(to) else { return Grantee::Unknown };
        let is_allowed = |grant: &Grant| {
            grant.kind == kind && grant.from == from && grant.service.as_ref().is_none_or(|own| own == service)
        };
        if grants.iter().any(is_allowed) { Grantee::Allowed } else { Grantee::Refused }
    }

    /// Tells whether a namespace has labels; `None`: the files do not tell.
    pub(super) fn has_labels(&self, namespace: &str, wanted: &[(String, String)]) -> Option<bool> {
        let known = self.labels.get(namespace);
        let named: HashSet<_> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let has = |(name, value): &(String, String)| match known {
            Some(labels) => labels.get(name) == Some(value),
            None => name == NAME && value == namespace,
        };
        (known.is_some() || named == HashSet::from([NAME])).then(|| wanted.iter().all(has))
    }
}
