//! Which namespaces see a resource of Istio's: `exportTo`.

use super::context::Manifest;
use crate::node::Node;
use std::collections::BTreeSet;
use std::fmt;

/// The annotation that says it of a Kubernetes Service.
const ANNOTATION: &str = "networking.istio.io/exportTo";

/// Who sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Export {
    Everybody,
    /// Clients and gateways in some namespaces; none: nobody.
    Namespaces(BTreeSet<String>),
}

impl Export {
    /// Reads what a document says; without a word, everybody sees it.
    pub(super) fn of(manifest: &Manifest<'_>) -> Self {
        let annotations = || manifest.metadata.as_ref()?.field("annotations")?.text_at(ANNOTATION);
        let annotated = annotations().filter(|_| manifest.kind == "Service").unwrap_or_default();
        let items = if manifest.kind == "Service" { Vec::new() } else { manifest.items("exportTo") };
        let named: Vec<_> = items.iter().filter_map(Node::text).chain(annotated.split(',')).map(str::trim).collect();
        let mut named = named.into_iter().filter(|name| !name.is_empty()).peekable();
        if named.peek().is_none() {
            return Self::Everybody;
        }
        let mut namespaces = BTreeSet::new();
        for name in named {
            match name {
                "*" => return Self::Everybody,
                "~" => {}
                "." => drop(namespaces.insert(manifest.namespace.to_owned())),
                name => drop(namespaces.insert(name.to_owned())),
            }
        }
        Self::Namespaces(namespaces)
    }

    /// Tells whether a namespace sees it; `None`: that depends on the namespace, which is not known.
    pub(super) fn is_to(&self, namespace: Option<&str>) -> Option<bool> {
        match self {
            Self::Everybody => Some(true),
            Self::Namespaces(all) if all.is_empty() => Some(false),
            Self::Namespaces(all) => namespace.map(|namespace| all.contains(namespace)),
        }
    }

    /// Says who sees something.
    pub(super) fn sees(&self, what: &str) -> String {
        match self {
            Self::Namespaces(all) if all.is_empty() => format!("nobody sees {what}"),
            Self::Namespaces(all) if all.len() > 1 => format!("only {self} see {what}"),
            _ => format!("only {self} sees {what}"),
        }
    }

    /// Returns the only namespace that sees it, if it is one.
    pub(super) fn only(&self) -> Option<&str> {
        match self {
            Self::Namespaces(all) if all.len() == 1 => all.first().map(String::as_str),
            _ => None,
        }
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("every namespace"),
            Self::Namespaces(all) if all.is_empty() => f.write_str("no namespace"),
            Self::Namespaces(all) => {
                let all: Vec<_> = all.iter().map(String::as_str).collect();
                f.write_str(&all.join(" and "))
            }
        }
    }
}
