//! Where a mirror's copies go: an Envoy cluster, an Istio destination, or what a header of the request names.

use super::names::{self, HeaderName};
use super::node::{Node, Object, all, optional};
use std::fmt;
use std::net::Ipv6Addr;

/// How a mirror's cluster is found.
#[derive(Debug, Clone)]
pub enum Target {
    /// An Envoy cluster, by name.
    Cluster(Box<str>),
    /// The cluster that a header of the request names.
    Header {
        /// The header.
        name: HeaderName,
        /// The clusters that it may name; `None`: any.
        allowed: Option<Vec<Box<str>>>,
    },
}

/// The cluster's name, or `header:<name>`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(name) => f.write_str(name),
            Self::Header { name, .. } => write!(f, "header:{name}"),
        }
    }
}

impl Target {
    #[inline(never)]
    pub(super) fn read(object: &mut Object<'_>) -> Option<Self> {
        const KINDS: [&str; 3] = ["cluster", "destination", "clusterHeader"];
        let choice = object.choice(&KINDS);
        let allowed = object.field("allowedClusters");
        let by_header = object.has_any(&["clusterHeader"]);
        if allowed.is_some() && !by_header {
            object.refuse("allowedClusters", "only with clusterHeader");
        }
        let allowed = optional(allowed, |node| all(node.list()?.map(|name| names::cluster(&name))));
        let Some((kind, node)) = choice else {
            if !object.has_any(&KINDS) {
                object.refuse("no cluster", "exactly one of cluster, destination, clusterHeader");
            }
            return None;
        };
        match kind {
            "cluster" => names::cluster(&node).map(Self::Cluster),
            "destination" => read_destination(&node).map(Self::Cluster),
            _ => Some(Self::Header { name: HeaderName::asked_for(&node, node.text()?)?, allowed: allowed? }),
        }
    }
}

/// Reads the host of a service: a name, or an IP address without brackets, as Istio writes it into the names of its clusters.
fn read_host(node: &Node<'_>) -> Option<Box<str>> {
    let text = names::cluster(node)?;
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    // No host but the loopback has an address in ::/8: what looks like one is a slip, such as a::b.
    let is_hosts = |ip: Ipv6Addr| ip.is_loopback() || ip.octets().first().is_some_and(|first| *first > 0);
    if is_name || text.parse().is_ok_and(is_hosts) {
        return Some(text);
    }
    node.refuse("not a host: letters, digits, -, _ and ., or an IP address; no URL, no port, no path, no *")
}

/// Reads Istio's `Destination` as the name that Istio gives its cluster: `outbound|port|subset|host`.
#[inline(never)]
fn read_destination(node: &Node<'_>) -> Option<Box<str>> {
    let mut object = node.object()?;
    let [host, port, subset] = ["host", "port", "subset"].map(|name| object.field(name));
    object.finish();
    let part = |node: &Node<'_>| {
        let text = names::cluster(node)?;
        if text.contains('|') { node.refuse("a name with | in it") } else { Some(text) }
    };
    let host = match host {
        Some(node) => read_host(&node),
        None => object.missing("host", "the full name of a service, such as mirror.test.svc.cluster.local"),
    };
    let port = match port {
        Some(node) => {
            let mut port = node.object()?;
            let number = port.field("number");
            port.finish();
            match number {
                Some(node) => node.whole(1..=65_535),
                None => port.missing("number", "a port between 1 and 65535"),
            }
        }
        None => object.missing("port", "{ number: 1 to 65535 }"),
    };
    let subset = optional(subset, part);
    let (host, port, subset) = (host?, port?, subset?.unwrap_or_default());
    Some(format!("outbound|{port}|{subset}|{host}").into())
}
