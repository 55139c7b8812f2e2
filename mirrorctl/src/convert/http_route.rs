//! The Gateway API's HTTPRoute and GRPCRoute: their matches by precedence, and their mirrors.

use super::context::{Manifest, Origin, Resource};
use super::envoy_gateway;
use super::gateways::{Api, Proxy, Taken};
use super::grants::Grantee;
use super::hosts::{Domain, Name};
use super::listener::Section;
use super::mirror::{Changes, Path, destination};
use super::owner::Owner;
use super::pattern;
use super::ports::Ports;
use super::route::{Rank, Route};
use super::table::{Group, Order};
use super::uri::{Uri, read_path, specificity};
use super::virtual_service::timeout;
use crate::node::Node;
use crate::tree::{Tree, join};

/// The largest part of a fraction, an int32 in the Gateway API.
const PARTS: u64 = 0x7fff_ffff;

/// A parent of a route.
struct Parent<'t> {
    node: Node<'t>,
    /// What it is, where that is known.
    proxy: Option<Proxy>,
    namespace: &'t str,
    name: &'t str,
}

/// Reads the parents of a route; one of another kind is for others to read.
fn parents<'t>(manifest: &Manifest<'t>) -> Vec<Parent<'t>> {
    let read = |node: Node<'t>| {
        let namespace = node.text_at("namespace").unwrap_or(manifest.namespace);
        let name = node.text_at("name").unwrap_or_default();
        let proxy = match node.text_at("kind").unwrap_or("Gateway") {
            "Gateway" => Some(Proxy::Gateway(Api::Gateway, format!("{namespace}/{name}"))),
            "Service" => Some(Proxy::Mesh),
            _ => None,
        };
        Parent { node, proxy, namespace, name }
    };
    manifest.items("parentRefs").into_iter().map(read).collect()
}

/// Finds what the rules of a route are for, and the kinds of its parents that are not known, with their paths.
pub(super) fn proxies(manifest: &Manifest<'_>) -> (Vec<Proxy>, Vec<(String, String)>) {
    let parents = parents(manifest);
    if parents.is_empty() {
        return (vec![Proxy::Unnamed], Vec::new());
    }
    let unknown = parents.iter().filter(|parent| parent.proxy.is_none());
    let kind = |parent: &Parent<'_>| {
        (join(parent.node.path(), "kind"), parent.node.text_at("kind").unwrap_or_default().to_owned())
    };
    let unknown = unknown.map(kind).collect();
    (parents.into_iter().filter_map(|parent| parent.proxy).collect(), unknown)
}

/// All routes of a Service, which Istio puts together, among the VirtualServices of the mesh.
const TAKER: &str = "an HTTPRoute or a GRPCRoute";

/// Adds the routes of an HTTPRoute or a GRPCRoute.
pub(super) fn add(ports: &mut Ports, resource: &Resource<'_>) {
    let mut routes = Vec::new();
    for (index, rule) in resource.manifest.items("rules").iter().enumerate() {
        read_rule(resource, rule, index, &mut routes);
    }
    let manifest = resource.manifest;
    if !resource.proxies.contains(&Proxy::Mesh) {
        let taken = read_taken(resource);
        for (port, domain, order) in taken.iter().filter(|_| !routes.is_empty()) {
            let table = ports.at(*port);
            let numbers = table.insert(manifest.number, routes.clone());
            table.add(domain, order.clone(), &numbers);
        }
        return;
    }
    let domains = read_services(resource);
    if routes.is_empty() {
        return;
    }
    if let Some(older) = ports.at(None).add_first(manifest.number, TAKER, domains, routes) {
        let what = format_args!(
            "left out: a sidecar takes the older VirtualService {older}, but for clients in {}, which take the {} first",
            manifest.namespace, manifest.kind
        );
        resource.warn("spec.parentRefs", what);
    }
}

/// Finds the hosts of a route on Gateways, at which ports they are, and their order.
fn read_taken(resource: &Resource<'_>) -> Vec<(Option<u64>, Domain, Order)> {
    let manifest = resource.manifest;
    let hostnames = read_hostnames(resource);
    if resource.proxies.contains(&Proxy::Unnamed) {
        return hostnames.into_iter().map(|domain| (None, domain, Order::default())).collect();
    }
    let mut all = Vec::new();
    for parent in parents(manifest) {
        let Some(proxy) = parent.proxy.as_ref().filter(|proxy| resource.proxies.contains(proxy)) else { continue };
        warn_of_section(resource, &parent, proxy);
        let section = Section {
            name: parent.node.text_at("sectionName"),
            port: parent.node.field("port").and_then(|port| port.whole(1..=65_535)),
        };
        let taken = resource.around.gateways.within(resource, parent.node.path(), &hostnames, proxy, section);
        all.extend(taken.into_iter().map(|taken| {
            let order = order(resource, &taken, hostnames.get(taken.own));
            (taken.port, taken.domain, order)
        }));
    }
    all
}

/// Finds the place of a route's rules among those of a host: to Istio, the routes of a listener that have a hostname in common are one
/// VirtualService. Elsewhere all are one list.
fn order(resource: &Resource<'_>, taken: &Taken, hostname: Option<&Domain>) -> Order {
    let manifest = resource.manifest;
    if *resource.owner == Owner::EnvoyGateway {
        return Order::default();
    }
    let hostname = hostname.map(Domain::to_string).unwrap_or_default();
    let group = Group { created: manifest.age().0, hostname, kind: manifest.kind.to_owned() };
    let nearness = u8::from(resource.namespace != Some(manifest.namespace));
    Order { listener: taken.listener, nearness, group: Some(group) }
}

/// Finds the hosts of the Services that a route is attached to.
fn read_services(resource: &Resource<'_>) -> Vec<Domain> {
    let manifest = resource.manifest;
    let mut domains: Vec<Domain> = Vec::new();
    for parent in parents(manifest) {
        let Some(proxy) = parent.proxy.as_ref().filter(|proxy| resource.proxies.contains(proxy)) else { continue };
        warn_of_section(resource, &parent, proxy);
        if parent.namespace != manifest.namespace {
            let what = format_args!(
                "a route of another namespace than its Service acts for clients in {} alone: install the plugin there alone",
                manifest.namespace
            );
            resource.warn(&join(parent.node.path(), "namespace"), what);
        }
        resource.warn_of_short(&join(parent.node.path(), "name"), parent.name, parent.namespace);
        let name = Name::of_service(parent.name, parent.namespace, resource.around.cluster_domain);
        let domain = Domain::Names(vec![name]);
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    domains
}

/// Warns of a part of a parent that is not known.
fn warn_of_section(resource: &Resource<'_>, parent: &Parent<'_>, proxy: &Proxy) {
    if resource.around.gateways.get(proxy).is_some() {
        return;
    }
    for field in ["port", "sectionName"].iter().filter_map(|name| parent.node.field(name)) {
        let path = field.path();
        match proxy {
            // Once for all of its routes: each would say the same.
            Proxy::Gateway(_, name) if resource.around.notes.is_first(name) => resource.warn(
                path,
                format_args!(
                    "not checked, as in all routes of {name}: the rules also match requests to its other listeners; give a file with this \
                     Gateway too"
                ),
            ),
            Proxy::Gateway(..) => {}
            _ => resource.warn(path, "not checked: the rule also matches requests to other ports of the Service"),
        }
    }
}

fn read_hostnames(resource: &Resource<'_>) -> Vec<Domain> {
    let hostnames = resource.manifest.items("hostnames");
    let mut domains = Vec::new();
    for hostname in &hostnames {
        let Some(text) = hostname.text() else { continue };
        match Domain::new(text) {
            Some(domain) => domains.push(domain),
            None => resource.error(hostname.path(), format_args!("{}: not a hostname", hostname.tree().json())),
        }
    }
    if hostnames.is_empty() { vec![Domain::Any] } else { domains }
}

/// Finds the backend of a rule that has only one, and tells whether it has any: without one, the proxy responds itself.
fn backends<'t>(rule: &Node<'t>) -> Vec<Node<'t>> {
    let mut backends = rule.items_at("backendRefs");
    let is_chosen = |backend: &Node<'_>| match backend.field("weight") {
        Some(weight) => weight.number() != Some(0.0),
        None => true,
    };
    backends.retain(is_chosen);
    backends
}

fn read_rule(resource: &Resource<'_>, rule: &Node<'_>, index: usize, routes: &mut Vec<Route>) {
    let label = rule.text_at("name").map_or_else(|| index.to_string(), str::to_owned);
    let every = Tree::Map(Vec::new());
    let mut matches = rule.items_at("matches");
    if matches.is_empty() {
        matches.push(rule.with(&every));
    }
    for entry in &matches {
        let Some(uri) = read_path(resource, entry) else { continue };
        let entries = read_match(resource, entry, &uri);
        let Some((mirrors, origins)) = read_mirrors(resource, rule, &uri) else { continue };
        let rank = Rank {
            specificity: specificity(resource, entry, &uri).into_iter().map(i64::saturating_neg).collect(),
            age: resource.manifest.age(),
            position: routes.len(),
        };
        let name = format!("{}-{label}", resource.name());
        // To Istio, this expression is every path, too.
        let is_every = |entry: &Tree| entry.fields().len() == 1 && entry.text_at(&["uri", "regex"]) == Some(".*");
        let is_catch_all = *resource.owner != Owner::EnvoyGateway && entries.iter().any(is_every);
        routes.push(Route { name, entries, is_catch_all, mirrors, origins, rank: Some(rank) });
    }
}

/// Writes a match as entries, one of which must hold: a prefix is itself, or goes on with `/`.
fn read_match(resource: &Resource<'_>, entry: &Node<'_>, uri: &Uri<'_>) -> Vec<Tree> {
    let kinds = match uri {
        Uri::Exact(text) => vec![Some(Tree::field("exact", &**text))],
        Uri::Prefix(text) if text.is_empty() => vec![None],
        Uri::Prefix(text) => {
            vec![Some(Tree::field("exact", &**text)), Some(Tree::field("prefix", format!("{text}/")))]
        }
        Uri::Regex(text) => vec![Some(Tree::field("regex", &**text))],
    };
    let tests = |name: &str| {
        let mut tests: Vec<(String, Tree)> = Vec::new();
        for test in entry.items_at(name) {
            let kind = match test.text_at("type").unwrap_or("Exact") {
                "Exact" => "exact",
                "RegularExpression" => "regex",
                kind => {
                    resource.error(&join(test.path(), "type"), format_args!("{kind}: not Exact or RegularExpression"));
                    continue;
                }
            };
            let key = test.text_at("name").unwrap_or_default();
            let value = test.text_at("value").unwrap_or_default();
            // Of several tests of one name, the first counts.
            if !tests.iter().any(|(known, _)| known.eq_ignore_ascii_case(key) && name == "headers" || known == key) {
                tests.push((key.to_owned(), Tree::field(kind, value)));
            }
        }
        (!tests.is_empty()).then_some(Tree::Map(tests))
    };
    let (headers, params) = (tests("headers"), tests("queryParams"));
    let is_http = resource.manifest.kind == "HTTPRoute";
    let method = entry.field("method").filter(|_| is_http).and_then(|method| method.text());
    let method = method.map(|method| Tree::field("exact", method));
    let write = |uri| {
        Tree::map([
            ("uri", uri),
            ("method", method.clone()),
            ("headers", headers.clone()),
            ("queryParams", params.clone()),
        ])
    };
    let mut entries: Vec<_> = kinds.into_iter().map(write).collect();
    // One without conditions is every request.
    entries.retain(|entry| !entry.fields().is_empty());
    entries
}

/// Reads the mirrors of a rule and their places, with what its other filters change in the copy; `None` where something is wrong.
fn read_mirrors(resource: &Resource<'_>, rule: &Node<'_>, uri: &Uri<'_>) -> Option<(Vec<Tree>, Vec<Origin>)> {
    let given = rule.field("timeouts").and_then(|timeouts| timeouts.field("request"));
    let timeout = given.and_then(|given| timeout(resource, &given));
    let mut changes = Changes { timeout, ..Changes::default() };
    let mut mirrors = Vec::new();
    let mut is_redirected = false;
    for filter in rule.items_at("filters") {
        match filter.text_at("type").unwrap_or_default() {
            "RequestMirror" => mirrors.push(filter),
            "RequestRedirect" => is_redirected = true,
            "RequestHeaderModifier" => edit_headers(resource, &filter, &mut changes),
            "URLRewrite" => {
                let Some(rewrite) = filter.field("urlRewrite") else { continue };
                changes.authority = rewrite.text_at("hostname").map(str::to_owned).or(changes.authority);
                changes.path = rewrite.field("path").map_or(Path::Keep, |path| read_rewrite(resource, &path, uri));
            }
            "ResponseHeaderModifier" | "CORS" => {}
            kind => {
                resource.warn(filter.path(), format_args!("{kind}: what it does to requests is not done to the copy"))
            }
        }
    }
    let backends = backends(rule);
    if is_redirected || mirrors.is_empty() {
        return Some((Vec::new(), Vec::new()));
    }
    if backends.is_empty() {
        resource.warn(rule.path(), "not mirrored: without a backend, the proxy responds with 500 itself");
        return Some((Vec::new(), Vec::new()));
    }
    for filter in backends.iter().flat_map(|backend| backend.items_at("filters")) {
        match filter.text_at("type").unwrap_or_default() {
            "RequestHeaderModifier" if backends.len() == 1 => edit_headers(resource, &filter, &mut changes),
            "ResponseHeaderModifier" => {}
            _ if backends.len() == 1 => resource.warn(filter.path(), "not done to the copy"),
            _ => {
                resource.warn(filter.path(), "not done to the copy: the plugin does not know which backend was chosen")
            }
        }
    }
    let number = resource.manifest.number;
    let mut read = (Vec::new(), Vec::new());
    for filter in mirrors {
        if let Some(mirror) = read_mirror(resource, &filter, &changes)? {
            read.0.push(mirror);
            read.1.push((number, filter.path().to_owned()));
        }
    }
    Some(read)
}

fn edit_headers(resource: &Resource<'_>, filter: &Node<'_>, changes: &mut Changes) {
    let Some(modifier) = filter.field("requestHeaderModifier") else { return };
    let (remove, set, add) = (modifier.items_at("remove"), modifier.items_at("set"), modifier.items_at("add"));
    let remove: Vec<_> = remove.iter().filter_map(Node::text).collect();
    let [set, add] = [set, add].map(|edits| edits.iter().filter_map(read_edit).collect::<Vec<_>>());
    changes.edit_headers(resource, modifier.path(), &remove, &set, &add);
}

fn read_edit<'t>(edit: &Node<'t>) -> Option<(&'t str, &'t str)> {
    edit.text_at("name").zip(edit.text_at("value"))
}

/// Reads a change of the path; a prefix is replaced by elements, as it is matched, but for `/`: Istio and Envoy Gateway put the
/// new text in its place, and nothing between.
fn read_rewrite(resource: &Resource<'_>, rewrite: &Node<'_>, uri: &Uri<'_>) -> Path {
    if let Some(path) = rewrite.text_at("replaceFullPath") {
        return Path::whole(path);
    }
    let (Some(new), Uri::Prefix(prefix)) = (rewrite.text_at("replacePrefixMatch"), uri) else { return Path::Keep };
    let slashes = if *resource.owner == Owner::EnvoyGateway { "*" } else { "?" };
    let prefix = pattern::literal(prefix);
    match new.trim_end_matches('/') {
        "" => Path::Regex(format!("^{prefix}/{slashes}"), "/".to_owned()),
        new if prefix.is_empty() => Path::Regex("^/".to_owned(), pattern::replacement(new)),
        new => Path::Regex(format!("^{prefix}"), pattern::replacement(new)),
    }
}

/// Reads a mirror; `Some(None)`: the proxy does not mirror there.
fn read_mirror(resource: &Resource<'_>, filter: &Node<'_>, changes: &Changes) -> Option<Option<Tree>> {
    let mirror = resource.required(filter, "requestMirror")?;
    let backend = resource.required(&mirror, "backendRef")?;
    let path_of = |name: &str| join(backend.path(), name);
    let name = resource.required(&backend, "name")?.text()?;
    let manifest = resource.manifest;
    let namespace = backend.text_at("namespace").unwrap_or(manifest.namespace);
    let kind = backend.text_at("kind").unwrap_or("Service");
    let is_envoy_gateway = *resource.owner == Owner::EnvoyGateway;
    if kind == "Service" {
        let grants = resource.around.grants;
        match grants.allow(manifest.kind, manifest.namespace, namespace, name) {
            Grantee::Allowed => {}
            Grantee::Unknown => {
                let what = format_args!(
                    "taken as allowed: a ReferenceGrant in {namespace} has to allow it, and none is in the files"
                );
                resource.warn(&path_of("namespace"), what);
            }
            Grantee::Refused => {
                let what = format_args!("not mirrored: no ReferenceGrant in {namespace} allows it");
                resource.warn(&path_of("namespace"), what);
                return Some(None);
            }
        }
    }
    let target = if is_envoy_gateway {
        envoy_gateway::target(resource, &backend)?
    } else {
        let host = match kind {
            "Service" => resource.service(name, namespace),
            "Hostname" => name.to_owned(),
            kind => return resource.refuse(&path_of("kind"), format_args!("{kind}: not Service or Hostname")),
        };
        let port = resource.port(backend.field("port").as_ref(), &host, &path_of("port"))?;
        destination(resource, backend.path(), &host, port, None)
    };
    let share = match (mirror.field("percent"), mirror.field("fraction")) {
        (None, None) => None,
        (Some(percent), None) => Some(("percentage", percent.whole(0..=100)?.into())),
        (None, Some(fraction)) => {
            let numerator = resource.required(&fraction, "numerator")?.whole(0..=PARTS);
            let denominator = fraction.field("denominator").map_or(Some(100), |part| part.whole(1..=PARTS));
            let fields = [("numerator", Some(numerator?.into())), ("denominator", Some(denominator?.into()))];
            Some(("fraction", Tree::map(fields)))
        }
        (Some(_), Some(_)) => return resource.refuse(mirror.path(), "percent and fraction: at most one of them"),
    };
    Some(Some(changes.mirror(resource, target, share)))
}
