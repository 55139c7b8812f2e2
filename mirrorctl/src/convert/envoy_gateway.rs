//! What Envoy Gateway needs beside the plugin: a route that makes the cluster of each mirror.

use super::context::Resource;
use super::gateways::{Gateways, Proxy};
use crate::node::Node;
use crate::tree::Tree;

pub(super) const GATEWAY_API: &str = "gateway.networking.k8s.io";
pub(super) const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io/v1alpha1";

/// Writes the cluster of a mirror, and adds the resources that make it: a route for a host that nobody asks for, and how long
/// connections to the mirror last.
pub(super) fn target(resource: &Resource<'_>, backend: &Node<'_>) -> Option<Vec<(String, Tree)>> {
    let kind = resource.manifest.kind;
    let own = resource.manifest.namespace;
    let proxy = resource.proxies.first()?;
    let (gateway_namespace, gateway) = match proxy {
        Proxy::Gateway(_, key) => key.split_once('/')?,
        // A route without parents is on no gateway: the user has to say on which.
        _ => (own, "gateway"),
    };
    let backend_name = backend.text_at("name")?;
    let namespace = backend.text_at("namespace").filter(|namespace| *namespace != own);
    let port = backend.field("port").and_then(|port| port.whole(1..=65_535)).map(|port| port.to_string());
    let parts = [Some("mirror"), Some(gateway), namespace, Some(backend_name), port.as_deref()];
    let name = parts.into_iter().flatten().collect::<Vec<_>>().join("-");
    resource.extra.borrow_mut().entry(format!("{own}/{name}")).or_insert_with(|| {
        let parent = Tree::map([
            ("name", Some(gateway.into())),
            ("namespace", (gateway_namespace != own).then(|| gateway_namespace.into())),
        ]);
        let rule = rule(resource.around.gateways, proxy, kind, &name, backend.tree());
        vec![route(kind, own, &name, parent, rule), connections(kind, own, &name)]
    });
    let cluster = format!("{}/{own}/{name}/rule/0", kind.to_ascii_lowercase());
    Some(vec![("cluster".to_owned(), cluster.into())])
}

/// Writes the hostname and the rule of the route; a gateway that takes only hosts that are asked for gets a path besides.
fn rule(gateways: &Gateways, proxy: &Proxy, kind: &str, name: &str, backend: &Tree) -> (Option<String>, Tree) {
    let (hostname, path) = match gateways.unasked(proxy, name) {
        Ok(hostname) => (Some(hostname), false),
        Err(hostname) => (hostname, true),
    };
    let condition = match kind {
        "GRPCRoute" => Tree::field("method", Tree::field("service", name)),
        _ => Tree::field(
            "path",
            Tree::map([("type", Some("Exact".into())), ("value", Some(format!("/{name}.invalid").into()))]),
        ),
    };
    let rule = Tree::map([
        ("matches", path.then(|| vec![condition].into())),
        ("backendRefs", Some(vec![backend.clone()].into())),
    ]);
    (hostname, rule)
}

fn route(kind: &str, namespace: &str, name: &str, parent: Tree, (hostname, rule): (Option<String>, Tree)) -> Tree {
    let spec = Tree::map([
        ("parentRefs", Some(vec![parent].into())),
        ("hostnames", hostname.map(|hostname| vec![Tree::from(hostname)].into())),
        ("rules", Some(vec![rule].into())),
    ]);
    resource(&format!("{GATEWAY_API}/v1"), kind, namespace, name, spec)
}

/// Ends a connection after a second: its last response is awaited, and a mirror cannot flood it for ever.
fn connections(kind: &str, namespace: &str, name: &str) -> Tree {
    let target =
        Tree::map([("group", Some(GATEWAY_API.into())), ("kind", Some(kind.into())), ("name", Some(name.into()))]);
    let spec = Tree::map([
        ("targetRefs", Some(vec![target].into())),
        ("timeout", Some(Tree::field("http", Tree::field("maxConnectionDuration", "1s")))),
    ]);
    resource(ENVOY_GATEWAY, "BackendTrafficPolicy", namespace, name, spec)
}

/// Writes a resource of Kubernetes.
pub(super) fn resource(version: &str, kind: &str, namespace: &str, name: &str, spec: impl Into<Tree>) -> Tree {
    let metadata = Tree::map([("name", Some(name.into())), ("namespace", Some(namespace.into()))]);
    Tree::map([
        ("apiVersion", Some(version.into())),
        ("kind", Some(kind.into())),
        ("metadata", Some(metadata)),
        ("spec", Some(spec.into())),
    ])
}
