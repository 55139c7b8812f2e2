//! The Gateway API's HTTPRoute: its matches by precedence, and its mirrors.

use super::context::{Resource, whole};
use super::hosts::{Domain, Name};
use super::mirror::{Changes, Path, destination};
use super::pattern;
use super::route::{Rank, Route, Table};
use super::virtual_service::timeout;
use crate::tree::{Tree, join};

/// Adds the routes of an HTTPRoute.
pub(super) fn add(table: &mut Table, resource: &Resource<'_>) {
    let mut routes = Vec::new();
    for (index, rule) in items(resource.spec(), "rules").iter().enumerate() {
        read_rule(resource, rule, index, &mut routes);
    }
    table.add(&read_domains(resource), routes);
}

fn items<'t>(tree: &'t Tree, name: &str) -> &'t [Tree] {
    tree.get(name).map(Tree::items).unwrap_or_default()
}

/// Finds the hosts: those of the route on a Gateway, those of a Service that it is attached to.
fn read_domains(resource: &Resource<'_>) -> Vec<Domain> {
    let parents = items(resource.spec(), "parentRefs");
    let mut domains: Vec<Domain> = Vec::new();
    let mut gateways = Vec::new();
    for (index, parent) in parents.iter().enumerate() {
        let path = format!("spec.parentRefs[{index}]");
        for name in ["port", "sectionName"] {
            if parent.get(name).is_some() {
                resource.warn(&join(&path, name), "left out: the plugin does not know its listener");
            }
        }
        let namespace = parent.text_at(&["namespace"]).unwrap_or(resource.namespace);
        let name = parent.text_at(&["name"]).unwrap_or_default();
        match parent.text_at(&["kind"]).unwrap_or("Gateway") {
            "Gateway" => gateways.push(format!("{namespace}/{name}")),
            "Service" => {
                domains.push(Domain::Names(vec![Name::of_service(name, namespace, resource.cluster_domain)]));
            }
            kind => resource.error(&join(&path, "kind"), format_args!("{kind}: not Gateway or Service")),
        }
    }
    if parents.is_empty() || !gateways.is_empty() {
        domains.extend(resource.within(read_hostnames(resource), &gateways));
    }
    domains
}

fn read_hostnames(resource: &Resource<'_>) -> Vec<Domain> {
    let hostnames = items(resource.spec(), "hostnames");
    let mut domains = Vec::new();
    for (index, hostname) in hostnames.iter().enumerate() {
        match Domain::new(hostname.text().unwrap_or_default()) {
            Some(domain) => domains.push(domain),
            None => {
                let path = format!("spec.hostnames[{index}]");
                resource.error(&path, format_args!("{}: not a hostname", hostname.json()));
            }
        }
    }
    if hostnames.is_empty() { vec![Domain::Any] } else { domains }
}

fn read_rule(resource: &Resource<'_>, rule: &Tree, index: usize, routes: &mut Vec<Route>) {
    let path = format!("spec.rules[{index}]");
    let label = rule.text_at(&["name"]).map_or_else(|| index.to_string(), str::to_owned);
    let every = [Tree::Map(Vec::new())];
    let matches = match items(rule, "matches") {
        [] => &every,
        matches => matches,
    };
    for (number, backend) in items(rule, "backendRefs").iter().enumerate() {
        if !items(backend, "filters").is_empty() {
            let path = format!("{path}.backendRefs[{number}].filters");
            resource.warn(&path, "left out: the plugin does not know which backend was chosen");
        }
    }
    for (number, entry) in matches.iter().enumerate() {
        let Some(uri) = read_path(resource, entry, &format!("{path}.matches[{number}].path")) else { continue };
        let entries = read_match(resource, entry, &uri, &format!("{path}.matches[{number}]"));
        let Some(mirrors) = read_mirrors(resource, rule, &path, &uri) else { continue };
        let count = |name| i64::try_from(items(entry, name).len()).unwrap_or(i64::MAX);
        let (kind, length) = uri.specificity();
        let method = i64::from(entry.get("method").is_some());
        let age = resource.document.tree.text_at(&["metadata", "creationTimestamp"]).unwrap_or("9999").to_owned();
        let rank = Rank {
            specificity: [kind, length, method, count("headers"), count("queryParams")].map(i64::saturating_neg),
            age: (age, format!("{}/{}", resource.namespace, resource.name)),
            position: routes.len(),
        };
        routes.push(Route { name: format!("{}-{label}", resource.name), entries, mirrors, rank: Some(rank) });
    }
}

/// A condition on the path.
enum Uri<'a> {
    Exact(&'a str),
    /// Whole elements of the path, without a `/` at the end; empty: every path.
    Prefix(&'a str),
    Regex(&'a str),
}

impl Uri<'_> {
    /// Ranks kinds as Istio does, for the Gateway API leaves the place of expressions open; and then by length.
    fn specificity(&self) -> (i64, i64) {
        let (kind, text) = match self {
            Self::Exact(text) => (3, text),
            Self::Prefix(text) => (2, text),
            Self::Regex(text) => (1, text),
        };
        (kind, i64::try_from(text.len()).unwrap_or(i64::MAX))
    }
}

fn read_path<'t>(resource: &Resource<'_>, entry: &'t Tree, path: &str) -> Option<Uri<'t>> {
    let value = entry.text_at(&["path", "value"]).unwrap_or("/");
    match entry.text_at(&["path", "type"]).unwrap_or("PathPrefix") {
        "Exact" => Some(Uri::Exact(value)),
        "PathPrefix" => Some(Uri::Prefix(value.trim_end_matches('/'))),
        "RegularExpression" => {
            resource
                .warn(path, "which of a prefix and an expression decides is left open: as in Istio, the prefix does");
            Some(Uri::Regex(value))
        }
        kind => {
            resource.refuse(&join(path, "type"), format_args!("{kind}: not Exact, PathPrefix or RegularExpression"))
        }
    }
}

/// Writes a match as entries, one of which must hold: a prefix is itself, or goes on with `/`.
fn read_match(resource: &Resource<'_>, entry: &Tree, uri: &Uri<'_>, path: &str) -> Vec<Tree> {
    let kinds = match uri {
        Uri::Exact(text) => vec![Some(Tree::field("exact", *text))],
        Uri::Prefix("") => vec![None],
        Uri::Prefix(text) => {
            vec![Some(Tree::field("exact", *text)), Some(Tree::field("prefix", format!("{text}/")))]
        }
        Uri::Regex(text) => vec![Some(Tree::field("regex", *text))],
    };
    let tests = |name: &str| {
        let mut tests: Vec<(String, Tree)> = Vec::new();
        for (index, test) in items(entry, name).iter().enumerate() {
            let kind = match test.text_at(&["type"]).unwrap_or("Exact") {
                "Exact" => "exact",
                "RegularExpression" => "regex",
                kind => {
                    let path = format!("{path}.{name}[{index}].type");
                    resource.error(&path, format_args!("{kind}: not Exact or RegularExpression"));
                    continue;
                }
            };
            let key = test.text_at(&["name"]).unwrap_or_default();
            // Of several tests of one name, the first counts.
            if !tests.iter().any(|(known, _)| known.eq_ignore_ascii_case(key) && name == "headers" || known == key) {
                tests.push((key.to_owned(), Tree::field(kind, test.text_at(&["value"]).unwrap_or_default())));
            }
        }
        (!tests.is_empty()).then_some(Tree::Map(tests))
    };
    let (headers, params) = (tests("headers"), tests("queryParams"));
    let method = entry.text_at(&["method"]).map(|method| Tree::field("exact", method));
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

/// Reads the mirrors of a rule, with what its other filters change in the copy; `None` where something is wrong.
fn read_mirrors(resource: &Resource<'_>, rule: &Tree, path: &str, uri: &Uri<'_>) -> Option<Vec<Tree>> {
    let timeout = timeout(resource, rule.at(&["timeouts", "request"]), &join(path, "timeouts.request"));
    let mut changes = Changes { timeout, ..Changes::default() };
    let mut mirrors = Vec::new();
    let mut is_redirected = false;
    for (index, filter) in items(rule, "filters").iter().enumerate() {
        let path = format!("{path}.filters[{index}]");
        match filter.text_at(&["type"]).unwrap_or_default() {
            "RequestMirror" => mirrors.push((filter.get("requestMirror"), join(&path, "requestMirror"))),
            "RequestRedirect" => is_redirected = true,
            "RequestHeaderModifier" => {
                let filter = filter.get("requestHeaderModifier").unwrap_or(&Tree::Null);
                let pairs = |name| {
                    let pair = |edit: &Tree| Some((edit.text_at(&["name"])?.to_owned(), edit.get("value")?.clone()));
                    items(filter, name).iter().filter_map(pair).collect::<Vec<_>>()
                };
                let path = join(&path, "requestHeaderModifier");
                changes.edit_headers(resource, &path, items(filter, "remove"), &pairs("set"), &pairs("add"));
            }
            "URLRewrite" => {
                let filter = filter.get("urlRewrite").unwrap_or(&Tree::Null);
                changes.authority = filter.text_at(&["hostname"]).map(str::to_owned).or(changes.authority);
                changes.path = read_rewrite(filter, uri);
            }
            "ResponseHeaderModifier" => {}
            kind => resource.warn(&path, format_args!("{kind}: what it does to requests is left out of the copy")),
        }
    }
    if is_redirected {
        return Some(Vec::new());
    }
    mirrors.into_iter().map(|(mirror, path)| read_mirror(resource, mirror, &path, &changes)).collect()
}

/// Reads a change of the path; a prefix is replaced by elements, as it is matched.
fn read_rewrite(filter: &Tree, uri: &Uri<'_>) -> Path {
    let given = |name| filter.text_at(&["path", name]);
    if let Some(path) = given("replaceFullPath") {
        return Path::whole(path);
    }
    let (Some(new), Uri::Prefix(prefix)) = (given("replacePrefixMatch"), uri) else { return Path::Keep };
    let prefix = pattern::literal(prefix);
    match new.trim_end_matches('/') {
        "" => Path::Regex(format!("^{prefix}/?"), "/".to_owned()),
        new => Path::Regex(format!("^{prefix}"), pattern::replacement(new)),
    }
}

fn read_mirror(resource: &Resource<'_>, mirror: Option<&Tree>, path: &str, changes: &Changes) -> Option<Tree> {
    let mirror = mirror.unwrap_or(&Tree::Null);
    let Some(backend) = mirror.get("backendRef") else { return resource.refuse(&join(path, "backendRef"), "missing") };
    let path_of = |name: &str| format!("{path}.backendRef.{name}");
    let Some(name) = backend.text_at(&["name"]) else { return resource.refuse(&path_of("name"), "missing") };
    let host = match backend.text_at(&["kind"]).unwrap_or("Service") {
        "Service" => resource.service(name, backend.text_at(&["namespace"]).unwrap_or(resource.namespace)),
        "Hostname" => name.to_owned(),
        kind => return resource.refuse(&path_of("kind"), format_args!("{kind}: not Service or Hostname")),
    };
    let port = resource.port(backend.get("port"), &host, &path_of("port"));
    let share = match (mirror.get("percent"), mirror.get("fraction")) {
        (None, None) => None,
        (Some(percent), None) if whole(percent).is_some_and(|percent| percent <= 100) => {
            Some(("percentage", percent.clone()))
        }
        (Some(_), None) => return resource.refuse(&join(path, "percent"), "not a whole number between 0 and 100"),
        (None, Some(fraction)) => {
            let denominator = fraction.get("denominator").cloned().unwrap_or_else(|| 100u64.into());
            let fields = [("numerator", fraction.get("numerator").cloned()), ("denominator", Some(denominator))];
            Some(("fraction", Tree::map(fields)))
        }
        (Some(_), Some(_)) => return resource.refuse(path, "percent and fraction: at most one of them"),
    };
    Some(changes.mirror(destination(host, port?, None), share))
}
