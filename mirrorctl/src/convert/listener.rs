//! A server of Istio's Gateway, or a listener of the Gateway API's: its port, its hosts, and whose routes it takes.

use super::context::{Manifest, Resource};
use super::grants::Grants;
use super::hosts::Domain;
use crate::node::Node;

/// What is no HTTP to Istio and the Gateway API.
const OTHER_PROTOCOLS: [&str; 6] = ["TCP", "TLS", "UDP", "MONGO", "MYSQL", "REDIS"];

/// Whose routes a listener takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Who {
    Everybody,
    Namespace(String),
    /// Namespaces with labels, and `true` if there is more to ask of them than labels.
    Labels(Vec<(String, String)>, bool),
}

/// A server of Istio's Gateway, or a listener of the Gateway API's.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) name: Option<String>,
    pub(super) port: Option<u64>,
    /// Whether it has HTTPS, so that the host of the handshake decides which listener of the port a request comes to.
    pub(super) is_tls: bool,
    pub(super) hosts: Vec<(Who, Domain)>,
    /// The kinds of routes that it takes; empty: all.
    kinds: Vec<String>,
}

/// Which of a Gateway's listeners a route is for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Section<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) port: Option<u64>,
}

impl Section<'_> {
    pub(super) fn is_of(&self, listener: &Listener) -> bool {
        self.name.is_none_or(|name| listener.name.as_deref() == Some(name))
            && self.port.is_none_or(|port| listener.port == Some(port))
    }
}

impl Listener {
    /// Reads a server of Istio's Gateway; `None` where it has no HTTP.
    pub(super) fn of_server(server: &Node<'_>, manifest: &Manifest<'_>) -> Option<Self> {
        let port = server.field("port");
        let protocol = port.as_ref().and_then(|port| port.text_at("protocol")).unwrap_or_default().to_ascii_uppercase();
        if OTHER_PROTOCOLS.contains(&&*protocol) {
            return None;
        }
        let mut hosts = Vec::new();
        for host in server.items_at("hosts") {
            // To Istio, a server of `*/*` has no other hosts.
            if host.text() == Some("*/*") {
                hosts = vec![(Who::Everybody, Domain::Any)];
                break;
            }
            let Some(text) = host.text() else { continue };
            let (who, host) = match text.split_once('/') {
                Some(("*", host)) => (Who::Everybody, host),
                Some((".", host)) => (Who::Namespace(manifest.namespace.to_owned()), host),
                Some((namespace, host)) => (Who::Namespace(namespace.to_owned()), host),
                None => (Who::Everybody, text),
            };
            hosts.extend(Domain::new(host).map(|domain| (who, domain)));
        }
        Some(Self {
            name: server.text_at("name").map(str::to_owned),
            port: port.and_then(|port| port.field("number")?.whole(1..=65_535)),
            is_tls: protocol == "HTTPS",
            hosts,
            kinds: Vec::new(),
        })
    }

    /// Reads a listener of the Gateway API's Gateway; `None` where it has no HTTP.
    pub(super) fn of_listener(listener: &Node<'_>, manifest: &Manifest<'_>) -> Option<Self> {
        let protocol = listener.text_at("protocol").unwrap_or_default();
        if OTHER_PROTOCOLS.contains(&protocol) {
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
        Some(Self {
            name: listener.text_at("name").map(str::to_owned),
            port: listener.field("port").and_then(|port| port.whole(1..=65_535)),
            is_tls: protocol == "HTTPS",
            hosts: domain.into_iter().map(|domain| (who.clone(), domain)).collect(),
            kinds: kinds.iter().filter_map(|kind| kind.text_at("kind")).map(str::to_owned).collect(),
        })
    }

    /// Tells whether it takes routes of a kind.
    pub(super) fn takes(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|own| own == kind)
    }

    /// Tells whether requests come to one of two listeners by their hosts, rather than by a port or a handshake.
    pub(super) fn shares(&self, other: &Self) -> bool {
        self.port == other.port && self.is_tls == other.is_tls
    }
}

impl Who {
    /// Tells whether routes of a resource's namespace are among them.
    pub(super) fn is(&self, resource: &Resource<'_>, path: &str, grants: &Grants) -> bool {
        let namespace = resource.manifest.namespace;
        match self {
            Self::Everybody => true,
            Self::Namespace(own) => own == namespace,
            Self::Labels(labels, has_more) => {
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
}
