//! Istio's VirtualService: its HTTP routes, as Istio turns them into Envoy's.

use super::context::Resource;
use super::hosts::Domain;
use super::mirror::{Changes, Path, destination};
use super::route::{Route, Table};
use crate::node::Node;
use crate::tree::{Tree, join};
use traffic_mirror::config::Config;

/// What a match may ask that the plugin cannot know, and why.
const UNKNOWABLE: [(&str, &str); 4] = [
    ("port", "the plugin does not know the port that the request was sent to"),
    ("sourceLabels", "the plugin does not know its workload: use the selector where it is installed"),
    ("sourceNamespace", "the plugin does not know its workload: install it in that namespace alone"),
    ("gateways", "the plugin does not know its gateway: use the selector where it is installed"),
];

/// Adds the routes of a VirtualService.
pub(super) fn add(table: &mut Table, resource: &Resource<'_>) {
    let spec = resource.manifest.spec.as_ref();
    let gateways = resource.manifest.items("gateways");
    let gateways: Vec<_> = gateways.iter().filter_map(Node::text).collect();
    let in_mesh = gateways.is_empty() || gateways.contains(&"mesh");
    if gateways.iter().any(|gateway| *gateway != "mesh") {
        resource.warn("spec.gateways", "the plugin does not know its gateway: install it there, by its selector");
    }
    if spec.is_none_or(|spec| spec.field("hosts").is_none()) {
        resource.warn("spec.hosts", "missing: a VirtualService that others delegate to is not converted");
    }
    let mut domains = Vec::new();
    for host in resource.manifest.items("hosts") {
        let Some(text) = host.text() else { continue };
        let full = resource.full_name(text);
        // A gateway's clients know a service by the name that its VirtualService has, and by no shorter one.
        let domain = if in_mesh { Domain::of_mesh(&full, resource.cluster_domain) } else { Domain::new(&full) };
        match domain {
            Some(domain) => domains.push(domain),
            None => resource.error(host.path(), format_args!("{}: not a host", host.tree().json())),
        }
    }
    let mut routes = Vec::new();
    for (index, http) in resource.manifest.items("http").iter().enumerate() {
        read_route(resource, http, index, &mut routes);
        // Istio leaves out what comes after a route that takes every request.
        if routes.last().is_some_and(|route: &Route| route.entries.is_empty()) {
            break;
        }
    }
    if !in_mesh {
        let namespace = resource.manifest.namespace;
        let full = |name: &&str| if name.contains('/') { (*name).to_owned() } else { format!("{namespace}/{name}") };
        domains = resource.within(domains, &gateways.iter().map(full).collect::<Vec<_>>());
    }
    table.add(&domains, routes);
}

/// Returns a field by its name in JSON, or by its older one in the proto file: `mirrorPercent`, `mirror_percent`.
fn field<'t>(node: &Node<'t>, name: &str) -> Option<Node<'t>> {
    let snake = || {
        let separated = |character: char| match character.is_ascii_uppercase() {
            true => vec!['_', character.to_ascii_lowercase()],
            false => vec![character],
        };
        name.chars().flat_map(separated).collect::<String>()
    };
    node.field(name).or_else(|| node.field(&snake()))
}

/// Tells whether an object is there.
fn has(node: &Node<'_>, name: &str) -> bool {
    field(node, name).is_some_and(|node| node.object().is_some())
}

fn read_route(resource: &Resource<'_>, http: &Node<'_>, index: usize, routes: &mut Vec<Route>) {
    let mut entries: Vec<_> = http.items_at("match").iter().map(|entry| read_match(resource, entry)).collect();
    if entries.iter().any(|entry| entry.fields().is_empty()) {
        entries.clear();
    }
    if has(http, "delegate") {
        resource.warn(&join(http.path(), "delegate"), "not followed: what it routes is not converted");
    }
    let label = http.text_at("name").map_or_else(|| index.to_string(), str::to_owned);
    let name = format!("{}-{label}", resource.name());
    let changes = read_changes(resource, http);
    let [redirected, answered] = ["redirect", "directResponse"].map(|name| has(http, name));
    let routed = !redirected && !answered;
    let uri = http.field("rewrite").and_then(|rewrite| rewrite.text_at("uri"));
    let rewrite = uri.filter(|uri| !uri.is_empty() && routed && !matches!(changes.path, Path::Regex(..)));
    let Some(uri) = rewrite else {
        let mirrors = if routed { read_mirrors(resource, http, &changes) } else { Vec::new() };
        routes.push(Route { name, entries, mirrors, rank: None });
        return;
    };
    // Envoy replaces what the entry matched: a prefix, or all that an expression matched.
    let is_regex = |entry: &Tree| entry.at(&["uri", "regex"]).is_some();
    for entry in &mut entries {
        if let Tree::Map(fields) = entry
            && !fields.iter().any(|(name, _)| name == "uri")
        {
            fields.push(("uri".to_owned(), Tree::field("prefix", "/")));
        }
    }
    if entries.is_empty() {
        entries.push(Tree::field("uri", Tree::field("prefix", "/")));
    }
    for run in entries.chunk_by(|one, other| is_regex(one) == is_regex(other)) {
        let whole = run.iter().all(is_regex);
        let path_change = if whole { Path::whole(uri) } else { Path::Matched(uri.to_owned()) };
        let mirrors = read_mirrors(resource, http, &Changes { path: path_change, ..changes.clone() });
        routes.push(Route { name: name.clone(), entries: run.to_vec(), mirrors, rank: None });
    }
}

fn read_match(resource: &Resource<'_>, entry: &Node<'_>) -> Tree {
    for (name, value) in entry.entries().into_iter().filter(|(_, value)| *value.tree() != Tree::Null) {
        if let Some((_, why)) = UNKNOWABLE.iter().find(|(field, _)| is_field(name, field)) {
            resource.warn(value.path(), format_args!("{}: left out: {why}", value.tree().json()));
        }
    }
    let test = |name: &str| field(entry, name).map(|test| read_test(&test));
    let tests = |name: &str| {
        let keep = |(key, value): (&str, Node<'_>)| {
            let is_claim = key.starts_with('@');
            if is_claim {
                resource.warn(value.path(), "left out: the plugin does not know the claims of a token");
            }
            (!is_claim).then(|| (key.to_owned(), read_test(&value)))
        };
        let kept: Vec<_> = field(entry, name)?.entries().into_iter().filter_map(keep).collect();
        (!kept.is_empty()).then_some(Tree::Map(kept))
    };
    // A uri of no kind, or the prefix `/`, is every path.
    let uri = test("uri").filter(|uri| !uri.fields().is_empty() && uri.text_at(&["prefix"]) != Some("/"));
    let ignores_case = field(entry, "ignoreUriCase").and_then(|flag| flag.flag()).unwrap_or_default();
    Tree::map([
        ("uri", uri.clone()),
        ("ignoreUriCase", (ignores_case && uri.is_some()).then_some(true.into())),
        ("method", test("method")),
        ("scheme", test("scheme")),
        ("authority", test("authority")),
        ("headers", tests("headers")),
        ("withoutHeaders", tests("withoutHeaders")),
        ("queryParams", tests("queryParams")),
    ])
}

/// Tells whether a name is a field's, in one of its spellings.
fn is_field(name: &str, camel: &str) -> bool {
    name.replace('_', "").eq_ignore_ascii_case(camel)
}

/// Reads a `StringMatch`; the expression `*` is Istio's older way to ask for presence.
fn read_test(test: &Node<'_>) -> Tree {
    let presence = Tree::Map(Vec::new());
    if *test.tree() == Tree::Null {
        return presence;
    }
    let [_, _, regex] = ["exact", "prefix", "regex"].map(|kind| test.text_at(kind));
    if regex == Some("*") { presence } else { test.tree().clone() }
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
    match &*http.items_at("route") {
        [one] => edit(&mut changes, one),
        several => {
            for request in several.iter().filter_map(edits_of).filter(|request| request.object().is_some()) {
                let what = "left out of the copy: the plugin does not know which destination was chosen";
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
        let what = format_args!("{text}: left out: the plugin waits between 1ms and 1h, by default 5s");
        resource.warn(given.path(), what);
    }
    None
}

/// Reads `mirror` with its percentage in any spelling, or `mirrors`.
fn read_mirrors(resource: &Resource<'_>, http: &Node<'_>, changes: &Changes) -> Vec<Tree> {
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
        mirrors.extend(share.and_then(|share| read_mirror(resource, &mirror, share, changes)));
    }
    for policy in &several {
        let share = policy.field("percentage").map_or(Some(None), |percentage| read_percentage(resource, &percentage));
        let destination = resource.required(policy, "destination");
        mirrors.extend(destination.zip(share).and_then(|(to, share)| read_mirror(resource, &to, share, changes)));
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
    let port = resource.port(port.as_ref(), &host, &path);
    let destination = destination(host, port?, mirror.text_at("subset"));
    Some(changes.mirror(destination, share.map(|share| ("percentage", share))))
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
