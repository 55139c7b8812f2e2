//! Istio's VirtualService: its HTTP routes, as Istio turns them into Envoy's.

use super::context::{Resource, number};
use super::hosts::Domain;
use super::mirror::{Changes, Path, destination};
use super::route::{Route, Table};
use crate::tree::{Tree, join};
use traffic_mirror::config::Config;

/// What a match may ask that the plugin cannot know, and why.
const UNKNOWABLE: [(&str, &str); 4] = [
    ("port", "the plugin does not know the port that the request was sent to"),
    ("sourceLabels", "the plugin does not know its workload: use the selector where it is installed"),
    ("sourceNamespace", "the plugin does not know its workload: install it in that namespace alone"),
    ("gateways", "the plugin does not know its gateway: use the selector where it is installed"),
];

/// Fields of a match that carry over as they are, or that decide nothing.
const KNOWN: [&str; 10] = [
    "uri",
    "scheme",
    "method",
    "authority",
    "headers",
    "queryParams",
    "ignoreUriCase",
    "withoutHeaders",
    "statPrefix",
    "name",
];

/// Adds the routes of a VirtualService.
pub(super) fn add(table: &mut Table, resource: &Resource<'_>) {
    let spec = resource.spec();
    let gateways = field(spec, "gateways").map(Tree::items).unwrap_or_default();
    let in_mesh = gateways.is_empty() || gateways.iter().any(|gateway| gateway.text() == Some("mesh"));
    if gateways.iter().any(|gateway| gateway.text() != Some("mesh")) {
        resource.warn("spec.gateways", "the plugin does not know its gateway: install it there, by its selector");
    }
    if field(spec, "hosts").is_none() {
        resource.warn("spec.hosts", "missing: a VirtualService that others delegate to is not converted");
    }
    let mut domains = Vec::new();
    for (index, host) in field(spec, "hosts").map(Tree::items).unwrap_or_default().iter().enumerate() {
        let full = resource.full_name(host.text().unwrap_or_default());
        // A gateway's clients know a service by the name that its VirtualService has, and by no shorter one.
        let domain = if in_mesh { Domain::of_mesh(&full, resource.cluster_domain) } else { Domain::new(&full) };
        match domain {
            Some(domain) => domains.push(domain),
            None => resource.error(&format!("spec.hosts[{index}]"), format_args!("{}: not a host", host.json())),
        }
    }
    let mut routes = Vec::new();
    for (index, http) in field(spec, "http").map(Tree::items).unwrap_or_default().iter().enumerate() {
        read_route(resource, http, index, &mut routes);
        // Istio leaves out what comes after a route that takes every request.
        if routes.last().is_some_and(|route: &Route| route.entries.is_empty()) {
            break;
        }
    }
    if !in_mesh {
        let full =
            |name: &str| if name.contains('/') { name.to_owned() } else { format!("{}/{name}", resource.namespace) };
        let gateways: Vec<_> = gateways.iter().filter_map(Tree::text).map(full).collect();
        domains = resource.within(domains, &gateways);
    }
    table.add(&domains, routes);
}

/// Returns a field by its name in JSON, or by its older one in the proto file: `mirrorPercent`, `mirror_percent`.
fn field<'t>(tree: &'t Tree, name: &str) -> Option<&'t Tree> {
    let snake = || {
        let separated = |character: char| match character.is_ascii_uppercase() {
            true => vec!['_', character.to_ascii_lowercase()],
            false => vec![character],
        };
        name.chars().flat_map(separated).collect::<String>()
    };
    tree.get(name).or_else(|| tree.get(&snake()))
}

fn read_route(resource: &Resource<'_>, http: &Tree, index: usize, routes: &mut Vec<Route>) {
    let path = format!("spec.http[{index}]");
    let matches = field(http, "match").map(Tree::items).unwrap_or_default();
    let mut entries = Vec::new();
    for (number, entry) in matches.iter().enumerate() {
        entries.push(read_match(resource, entry, &format!("{path}.match[{number}]")));
    }
    if entries.iter().any(|entry| entry.fields().is_empty()) {
        entries.clear();
    }
    if field(http, "delegate").is_some() {
        resource.warn(&join(&path, "delegate"), "not followed: what it routes is not converted");
    }
    let label = http.text_at(&["name"]).map_or_else(|| index.to_string(), str::to_owned);
    let name = format!("{}-{label}", resource.name);
    let changes = read_changes(resource, http, &path);
    let routed = field(http, "redirect").is_none() && field(http, "directResponse").is_none();
    let rewrite = field(http, "rewrite").and_then(|rewrite| rewrite.text_at(&["uri"])).filter(|uri| !uri.is_empty());
    let Some(uri) = rewrite.filter(|_| routed && !matches!(changes.path, Path::Regex(..))) else {
        let mirrors = if routed { read_mirrors(resource, http, &path, &changes) } else { Vec::new() };
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
        let mirrors = read_mirrors(resource, http, &path, &Changes { path: path_change, ..changes.clone() });
        routes.push(Route { name: name.clone(), entries: run.to_vec(), mirrors, rank: None });
    }
}

fn read_match(resource: &Resource<'_>, entry: &Tree, path: &str) -> Tree {
    for (name, value) in entry.fields().iter().filter(|(_, value)| *value != Tree::Null) {
        if let Some((_, why)) = UNKNOWABLE.iter().find(|(field, _)| is_field(name, field)) {
            resource.warn(&join(path, name), format_args!("{}: left out: {why}", value.json()));
        } else if !KNOWN.iter().any(|field| is_field(name, field)) {
            resource.warn(&join(path, name), "unknown field: left out");
        }
    }
    let test = |name: &str| field(entry, name).map(read_test);
    let tests = |name: &str| {
        let keep = |(key, value): &(String, Tree)| {
            let is_claim = key.starts_with('@');
            if is_claim {
                resource
                    .warn(&format!("{path}.{name}.{key}"), "left out: the plugin does not know the claims of a token");
            }
            (!is_claim).then(|| (key.clone(), read_test(value)))
        };
        let kept: Vec<_> = field(entry, name)?.fields().iter().filter_map(keep).collect();
        (!kept.is_empty()).then_some(Tree::Map(kept))
    };
    // A uri of no kind, or the prefix `/`, is every path.
    let uri = test("uri").filter(|uri| !uri.fields().is_empty() && uri.text_at(&["prefix"]) != Some("/"));
    let ignores_case = field(entry, "ignoreUriCase").filter(|flag| **flag == Tree::Flag(true) && uri.is_some());
    Tree::map([
        ("uri", uri.clone()),
        ("ignoreUriCase", ignores_case.cloned()),
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
fn read_test(test: &Tree) -> Tree {
    let is_presence = *test == Tree::Null || test.text_at(&["regex"]) == Some("*");
    if is_presence { Tree::Map(Vec::new()) } else { test.clone() }
}

/// Reads what the route changes in its requests, without `rewrite.uri`.
fn read_changes(resource: &Resource<'_>, http: &Tree, path: &str) -> Changes {
    let mut changes =
        Changes { timeout: timeout(resource, http.get("timeout"), &join(path, "timeout")), ..Changes::default() };
    let edit = |changes: &mut Changes, tree: &Tree, path: String| {
        if let Some(request) = tree.at(&["headers", "request"]) {
            let list = |name| request.get(name).map(Tree::items).unwrap_or_default();
            let map = |name| request.get(name).map(Tree::fields).unwrap_or_default();
            changes.edit_headers(resource, &join(&path, "headers.request"), list("remove"), map("set"), map("add"));
        }
    };
    edit(&mut changes, http, path.to_owned());
    match field(http, "route").map(Tree::items).unwrap_or_default() {
        [one] => edit(&mut changes, one, join(path, "route[0]")),
        several => {
            for (index, _) in several.iter().enumerate().filter(|(_, one)| one.at(&["headers", "request"]).is_some()) {
                let path = format!("{path}.route[{index}].headers.request");
                resource.warn(&path, "left out of the copy: the plugin does not know which destination was chosen");
            }
        }
    }
    if let Some(rewrite) = field(http, "rewrite") {
        let authority = rewrite.text_at(&["authority"]).filter(|authority| !authority.is_empty());
        changes.authority = authority.map(str::to_owned).or(changes.authority);
        if let Some(regex) = field(rewrite, "uriRegexRewrite") {
            let part = |name| regex.text_at(&[name]).unwrap_or_default().to_owned();
            changes.path = Path::Regex(part("match"), part("rewrite"));
        }
    }
    changes
}

/// Takes over a timeout that the plugin can have; none, Istio's default, it cannot.
pub(super) fn timeout(resource: &Resource<'_>, given: Option<&Tree>, path: &str) -> Option<String> {
    let text = given?.text()?;
    let mirror = Tree::map([("cluster", Some("any".into())), ("timeout", Some(text.into()))]);
    let config = Tree::field("rules", vec![Tree::field("mirrors", vec![mirror])]);
    if Config::from_bytes(config.json().as_bytes()).is_ok() {
        return Some(text.to_owned());
    }
    let is_zero = !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if !is_zero {
        resource.warn(path, format_args!("{text}: left out: the plugin waits between 1ms and 1h, by default 5s"));
    }
    None
}

/// Reads `mirror` with its percentage in any spelling, or `mirrors`.
fn read_mirrors(resource: &Resource<'_>, http: &Tree, path: &str, changes: &Changes) -> Vec<Tree> {
    let several = field(http, "mirrors").map(Tree::items).unwrap_or_default();
    let one = field(http, "mirror");
    if one.is_some() && !several.is_empty() {
        resource.error(path, "mirror and mirrors: at most one of them");
        return Vec::new();
    }
    let mut mirrors = Vec::new();
    if let Some(mirror) = one {
        let percentage =
            field(http, "mirrorPercentage").map(|percentage| (percentage.get("value"), "mirrorPercentage.value"));
        let percent = field(http, "mirrorPercent").map(|percent| (Some(percent), "mirrorPercent"));
        mirrors.extend(read_mirror(resource, mirror, &join(path, "mirror"), percentage.or(percent), path, changes));
    }
    for (index, policy) in several.iter().enumerate() {
        let path = format!("{path}.mirrors[{index}]");
        let percentage = policy.get("percentage").map(|percentage| (percentage.get("value"), "percentage.value"));
        match policy.get("destination") {
            Some(mirror) => {
                mirrors.extend(read_mirror(resource, mirror, &join(&path, "destination"), percentage, &path, changes));
            }
            None => resource.error(&join(&path, "destination"), "missing"),
        }
    }
    mirrors
}

fn read_mirror(
    resource: &Resource<'_>,
    mirror: &Tree,
    path: &str,
    share: Option<(Option<&Tree>, &str)>,
    share_path: &str,
    changes: &Changes,
) -> Option<Tree> {
    let Some(host) = mirror.text_at(&["host"]) else { return resource.refuse(&join(path, "host"), "missing") };
    let host = resource.full_name(host);
    let port = resource.port(mirror.at(&["port", "number"]), &host, &join(path, "port.number"));
    let share = match share {
        None => None,
        Some((value, name)) => match percentage(value) {
            Some(percentage) => Some(("percentage", percentage)),
            None => return resource.refuse(&join(share_path, name), "not a number between 0 and 100"),
        },
    };
    Some(changes.mirror(destination(host, port?, mirror.text_at(&["subset"])), share))
}

/// Reads a percentage as Istio does: cut to four decimals; an object without a value is 0.
fn percentage(value: Option<&Tree>) -> Option<Tree> {
    let value = value.map_or(Some(0.0), number).filter(|value| (0.0..=100.0).contains(value))?;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
    let parts = (value * 10_000.0) as u64;
    Some(if parts.is_multiple_of(10_000) { (parts / 10_000).into() } else { (parts as f64 / 10_000.0).into() })
}
