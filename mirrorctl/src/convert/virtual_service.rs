//! Istio's VirtualService: its HTTP routes, as Istio turns them into Envoy's.

use super::context::{Manifest, Origin, Resource};
use super::delegate::{Delegates, merge};
use super::export::Export;
use super::gateways::{Api, Proxy, Taken};
use super::hosts::Domain;
use super::listener::Section;
use super::matches::{Spot, field, is_for, read_match};
use super::mirror::{Changes, Path, destination};
use super::ports::Ports;
use super::route::Route;
use super::table::{Order, Table};
use crate::node::Node;
use crate::tree::{Tree, join};
use std::collections::BTreeMap;
use traffic_mirror::config::Config;

/// Finds what the routes of a VirtualService are for. One without hosts is a delegate of others.
pub(super) fn proxies(manifest: &Manifest<'_>) -> Vec<Proxy> {
    if manifest.items("hosts").is_empty() {
        return Vec::new();
    }
    let gateways = manifest.items("gateways");
    let mut proxies: Vec<_> = gateways.iter().filter_map(Node::text).map(|name| proxy(name, manifest)).collect();
    if proxies.is_empty() {
        proxies.push(Proxy::Mesh);
    }
    proxies
}

/// Reads the name of a gateway; one without a namespace is in that of the VirtualService.
pub(super) fn proxy(name: &str, manifest: &Manifest<'_>) -> Proxy {
    match name {
        "mesh" => Proxy::Mesh,
        _ if name.contains('/') => Proxy::Gateway(Api::Istio, name.to_owned()),
        _ => Proxy::Gateway(Api::Istio, format!("{}/{name}", manifest.namespace)),
    }
}

/// Adds the routes of a VirtualService.
pub(super) fn add(ports: &mut Ports, resource: &Resource<'_>, delegates: &Delegates<'_>) {
    let manifest = resource.manifest;
    let own = proxies(manifest);
    let export = Export::of(manifest);
    for proxy in resource.proxies.iter().filter(|proxy| own.contains(proxy)) {
        let Some(nearness) = nearness(resource, &export, proxy) else { continue };
        if *proxy == Proxy::Mesh {
            add_to_mesh(ports.at(None), resource, delegates);
            continue;
        }
        let domains = read_domains(resource, proxy);
        let gateways = resource.around.gateways;
        let mut by_port: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for taken in gateways.within(resource, "spec.hosts", &domains, proxy, Section::default()) {
            by_port.entry(taken.port).or_default().push(taken);
        }
        if by_port.is_empty() {
            // What is wrong with it is said all the same.
            read_routes(resource, delegates, Spot { proxy, port: None });
        }
        for (port, taken) in by_port {
            let routes = read_routes(resource, delegates, Spot { proxy, port });
            if routes.is_empty() {
                continue;
            }
            let table = ports.at(port);
            let numbers = table.insert(manifest.number, routes);
            for Taken { listener, domain, .. } in taken {
                table.add(&domain, Order { listener, nearness, group: None }, &numbers);
            }
        }
    }
}

fn add_to_mesh(table: &mut Table, resource: &Resource<'_>, delegates: &Delegates<'_>) {
    let manifest = resource.manifest;
    let domains = read_domains(resource, &Proxy::Mesh);
    let routes = read_routes(resource, delegates, Spot { proxy: &Proxy::Mesh, port: None });
    if routes.is_empty() {
        return;
    }
    if let Some(older) = table.add_first(manifest.number, &manifest.key(), domains, routes) {
        let guess = if manifest.has_age() { "" } else { " (without creationTimestamp, the first by name)" };
        let what =
            format_args!("nothing of it is converted: a sidecar takes the older of two for one host: {older}{guess}");
        resource.warn("spec.hosts", what);
    }
}

/// Tells whether the proxies see a VirtualService: what only their own namespace sees comes first, what others see last.
fn nearness(resource: &Resource<'_>, export: &Export, proxy: &Proxy) -> Option<u8> {
    let manifest = resource.manifest;
    let path = "spec.exportTo";
    match export.is_to(resource.namespace) {
        Some(true) if *export == Export::Everybody => return Some(2),
        Some(true) => {
            if *proxy == Proxy::Mesh {
                resource.tell(path, format_args!("the plugin is for clients in {export} alone: install it there"));
            }
            return Some(u8::from(resource.namespace != Some(manifest.namespace)));
        }
        Some(false) if manifest.mirrors() => {
            resource.warn(path, format_args!("not converted for {proxy}: {}", export.sees("the VirtualService")));
        }
        Some(false) => {}
        None => {
            let what = match proxy {
                Proxy::Mesh => {
                    format!("only clients in {export} see the VirtualService: install the plugin there alone")
                }
                _ => format!(
                    "only gateways in {export} see the VirtualService, and no file tells where the workload of {proxy} is: taken \
                     as seen; give a file with its Service or Deployment too"
                ),
            };
            resource.warn(path, what);
            return Some(2);
        }
    }
    None
}

fn read_domains(resource: &Resource<'_>, proxy: &Proxy) -> Vec<Domain> {
    let in_mesh = *proxy == Proxy::Mesh;
    let mut domains = Vec::new();
    for host in resource.manifest.items("hosts") {
        let Some(text) = host.text() else { continue };
        let full = resource.full_name(text);
        // A gateway's clients know a service by the name that its VirtualService has, and by no shorter one.
        let domain = if in_mesh { Domain::of_mesh(&full, resource.around.cluster_domain) } else { Domain::new(&full) };
        if in_mesh && let Some((name, namespace)) = resource.around.service_of(&full) {
            resource.warn_of_short(host.path(), name, namespace);
        }
        match domain {
            Some(domain) => domains.push(domain),
            None => {
                let hint = if text.contains(['$', '{']) { ": a template: render it first" } else { "" };
                resource.error(host.path(), format_args!("{}: not a host{hint}", host.tree().json()));
            }
        }
    }
    domains
}

fn read_routes(resource: &Resource<'_>, delegates: &Delegates<'_>, spot: Spot<'_>) -> Vec<Route> {
    let mut routes = Vec::new();
    for (index, http) in resource.manifest.items("http").iter().enumerate() {
        // Istio leaves out what comes after a route that takes every request.
        if routes.last().is_some_and(Route::takes_all) {
            break;
        }
        read_or_follow(resource, delegates, spot, http, index, &mut routes);
    }
    routes
}

/// Reads a route, or those of the VirtualService that it delegates to.
fn read_or_follow(
    resource: &Resource<'_>,
    delegates: &Delegates<'_>,
    spot: Spot<'_>,
    http: &Node<'_>,
    index: usize,
    routes: &mut Vec<Route>,
) {
    let manifest = resource.manifest;
    let number = manifest.number;
    if !has(http, "delegate") {
        let [mirror, mirrors] = ["mirror", "mirrors"].map(|name| (number, join(http.path(), name)));
        return read_route(resource, spot, http, [&mirror, &mirrors], index.to_string(), routes);
    }
    let Some(delegate) = delegates.find(http.tree(), manifest.namespace) else {
        let what = "not followed: the VirtualService is not in the files, so what it routes is not mirrored";
        resource.warn(&join(http.path(), "delegate"), what);
        let first = routes.len();
        let nowhere = (number, String::new());
        read_route(resource, spot, http, [&nowhere, &nowhere], index.to_string(), routes);
        for route in routes.iter_mut().skip(first) {
            route.mirrors.clear();
            route.origins.clear();
        }
        return;
    };
    let export = Export::of(delegate);
    if export.is_to(Some(manifest.namespace)) == Some(false) {
        let (seen, own) = (export.sees("the VirtualService"), manifest.namespace);
        resource.warn(&join(http.path(), "delegate"), format_args!("left out, as in Istio: {seen}, and not {own}"));
        return;
    }
    let full = |host: &str| resource.around.full_name(host, delegate.namespace);
    for (part, merged) in merge(http.tree(), http.path(), number, delegate, &full).iter().enumerate() {
        if routes.last().is_some_and(Route::takes_all) {
            break;
        }
        let label = format!("{index}-{part}");
        read_route(resource, spot, &http.with(&merged.http), [&merged.mirror, &merged.mirrors], label, routes);
    }
}

/// Tells whether an object is there.
fn has(node: &Node<'_>, name: &str) -> bool {
    field(node, name).is_some_and(|node| node.object().is_some())
}

/// Reads a route: one for each entry of its match, and with the places of `mirror` and `mirrors`.
fn read_route(
    resource: &Resource<'_>,
    spot: Spot<'_>,
    http: &Node<'_>,
    [mirror, mirrors]: [&Origin; 2],
    label: String,
    routes: &mut Vec<Route>,
) {
    let every = Tree::Map(Vec::new());
    let mut matches = http.items_at("match");
    if matches.is_empty() {
        matches.push(http.with(&every));
    }
    let label = http.text_at("name").filter(|name| !name.is_empty()).map_or(label, str::to_owned);
    let name = format!("{}-{label}", resource.name());
    let changes = read_changes(resource, http);
    let [redirected, answered] = ["redirect", "directResponse"].map(|name| has(http, name));
    let routed = !redirected && !answered;
    let uri = http.field("rewrite").and_then(|rewrite| rewrite.text_at("uri"));
    let rewrite = uri.filter(|uri| !uri.is_empty() && routed && !matches!(changes.path, Path::Regex(..)));
    for entry in matches.iter().filter(|entry| is_for(resource, entry, spot)) {
        let (mut condition, is_catch_all) = read_match(resource, entry, spot);
        let mut changes = changes.clone();
        if let Some(uri) = rewrite {
            // Envoy replaces what the entry matched: a prefix, or all that an expression matched.
            let is_regex = condition.at(&["uri", "regex"]).is_some();
            if let Tree::Map(fields) = &mut condition
                && !fields.iter().any(|(name, _)| name == "uri")
            {
                fields.push(("uri".to_owned(), Tree::field("prefix", "/")));
            }
            changes.path = if is_regex { Path::whole(uri) } else { Path::Matched(uri.to_owned()) };
        }
        let (mirrors, origins) = match routed {
            true => read_mirrors(resource, http, &changes, [mirror, mirrors]).into_iter().unzip(),
            false => (Vec::new(), Vec::new()),
        };
        let entries = if condition.fields().is_empty() { Vec::new() } else { vec![condition] };
        routes.push(Route { name: name.clone(), entries, is_catch_all, mirrors, origins, rank: None });
        if is_catch_all {
            break;
        }
    }
}

/// Finds the edits of a request's headers.
fn edits_of<'t>(node: &Node<'t>) -> Option<Node<'t>> {
    node.field("headers")?.field("request")
}

/// Reads what the route changes in its requests, without `rewrite.uri`.
fn read_changes(resource: &Resource<'_>, http: &Node<'_>) -> Changes {
    let timeout = http.field("timeout").and_then(|given| timeout(resource, &given));
    let mut changes = Changes { timeout, ..Changes::default() };
    let edit = |changes: &mut Changes, node: &Node<'_>| {
        let Some(request) = edits_of(node) else { return };
        let remove = request.items_at("remove");
        let [set, add] = ["set", "add"].map(|name| {
            let entries = request.field(name).map(|edits| edits.entries()).unwrap_or_default();
            entries.into_iter().filter_map(|(name, value)| Some((name, value.text()?))).collect::<Vec<_>>()
        });
        let remove: Vec<_> = remove.iter().filter_map(Node::text).collect();
        changes.edit_headers(resource, request.path(), &remove, &set, &add);
    };
    edit(&mut changes, http);
    let mut chosen = http.items_at("route");
    let has_weight =
        |destination: &Node<'_>| destination.field("weight").is_some_and(|weight| weight.number() != Some(0.0));
    if chosen.iter().any(has_weight) {
        chosen.retain(has_weight);
    }
    match &*chosen {
        [one] => edit(&mut changes, one),
        several => {
            for request in several.iter().filter_map(edits_of).filter(|request| request.object().is_some()) {
                let what = "not done to the copy: the plugin does not know which destination was chosen";
                resource.warn(request.path(), what);
            }
        }
    }
    if let Some(rewrite) = http.field("rewrite") {
        let authority = rewrite.text_at("authority").filter(|authority| !authority.is_empty());
        changes.authority = authority.map(str::to_owned).or(changes.authority);
        if let Some(regex) = field(&rewrite, "uriRegexRewrite") {
            let part = |name| regex.text_at(name).unwrap_or_default().to_owned();
            changes.path = Path::Regex(part("match"), part("rewrite"));
        }
    }
    changes
}

/// Takes over a timeout that the plugin can have; none, Istio's default, it cannot.
pub(super) fn timeout(resource: &Resource<'_>, given: &Node<'_>) -> Option<String> {
    let text = given.text()?;
    let mirror = Tree::map([("cluster", Some("any".into())), ("timeout", Some(text.into()))]);
    let config = Tree::field("rules", vec![Tree::field("mirrors", vec![mirror])]);
    if Config::from_bytes(config.json().as_bytes()).is_ok() {
        return Some(text.to_owned());
    }
    let is_zero = !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if !is_zero {
        let what = format_args!("{text}: not carried over, copies wait 5s: the plugin waits between 1ms and 1h");
        resource.warn(given.path(), what);
    }
    None
}

/// Reads `mirror` with its percentage in any spelling, or `mirrors`, each with its place.
fn read_mirrors(
    resource: &Resource<'_>,
    http: &Node<'_>,
    changes: &Changes,
    [own, all]: [&Origin; 2],
) -> Vec<(Tree, Origin)> {
    let several = http.items_at("mirrors");
    let one = http.field("mirror");
    if one.is_some() && !several.is_empty() {
        resource.error(http.path(), "mirror and mirrors: at most one of them");
        return Vec::new();
    }
    let mut mirrors = Vec::new();
    if let Some(mirror) = one {
        let share = match (field(http, "mirrorPercentage"), field(http, "mirrorPercent")) {
            (Some(percentage), _) => read_percentage(resource, &percentage),
            (None, Some(percent)) => read_share(resource, &percent).map(Some),
            (None, None) => Some(None),
        };
        let read = share.and_then(|share| read_mirror(resource, &mirror, share, changes));
        mirrors.extend(read.map(|read| (read, own.clone())));
    }
    for (index, policy) in several.iter().enumerate() {
        let share = policy.field("percentage").map_or(Some(None), |percentage| read_percentage(resource, &percentage));
        let destination = resource.required(policy, "destination");
        let read = destination.zip(share).and_then(|(to, share)| read_mirror(resource, &to, share, changes));
        let (number, path) = all;
        mirrors.extend(read.map(|read| (read, (*number, join(path, &format!("[{index}]"))))));
    }
    mirrors
}

fn read_mirror(resource: &Resource<'_>, mirror: &Node<'_>, share: Option<Tree>, changes: &Changes) -> Option<Tree> {
    let host = resource.full_name(resource.required(mirror, "host")?.text()?);
    let path = join(mirror.path(), "port.number");
    let port = match mirror.field("port") {
        Some(port) => port.object()?.field("number"),
        None => None,
    };
    let port = resource.port(port.as_ref(), &host, &path)?;
    let target = destination(resource, mirror.path(), &host, port, mirror.text_at("subset"));
    Some(changes.mirror(resource, target, share.map(|share| ("percentage", share))))
}

/// Reads Istio's `Percent`; one without a value is 0.
fn read_percentage(resource: &Resource<'_>, percentage: &Node<'_>) -> Option<Option<Tree>> {
    percentage.object()?;
    let value = percentage.field("value");
    value.map_or(Some(0u64.into()), |value| read_share(resource, &value)).map(Some)
}

/// Reads a percentage as Istio does: cut to four decimals.
fn read_share(resource: &Resource<'_>, share: &Node<'_>) -> Option<Tree> {
    let value = share.number()?;
    if !(0.0..=100.0).contains(&value) {
        return resource.refuse(share.path(), "not a number between 0 and 100");
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
    let parts = (value * 10_000.0) as u64;
    Some(if parts.is_multiple_of(10_000) { (parts / 10_000).into() } else { (parts as f64 / 10_000.0).into() })
}
