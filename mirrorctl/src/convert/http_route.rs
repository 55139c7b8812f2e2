//! The Gateway API's HTTPRoute: its matches by precedence, and its mirrors.

use super::context::Resource;
use super::hosts::{Domain, Name};
use super::mirror::{Changes, Path, destination};
use super::pattern;
use super::route::{Rank, Route, Table};
use super::virtual_service::timeout;
use crate::node::Node;
use crate::tree::{Tree, join};

/// The largest part of a fraction, an int32 in the Gateway API.
const PARTS: u64 = 0x7fff_ffff;

/// Adds the routes of an HTTPRoute.
pub(super) fn add(table: &mut Table, resource: &Resource<'_>) {
    let mut routes = Vec::new();
    for (index, rule) in resource.manifest.items("rules").iter().enumerate() {
        read_rule(resource, rule, index, &mut routes);
    }
    table.add(&read_domains(resource), routes);
}

/// Finds the hosts: those of the route on a Gateway, those of a Service that it is attached to.
fn read_domains(resource: &Resource<'_>) -> Vec<Domain> {
    let parents = resource.manifest.items("parentRefs");
    let mut domains: Vec<Domain> = Vec::new();
    let mut gateways = Vec::new();
    for parent in &parents {
        for name in ["port", "sectionName"] {
            if let Some(field) = parent.field(name) {
                resource.warn(field.path(), "left out: the plugin does not know its listener");
            }
        }
        let namespace = parent.text_at("namespace").unwrap_or(resource.manifest.namespace);
        let name = parent.text_at("name").unwrap_or_default();
        match parent.text_at("kind").unwrap_or("Gateway") {
            "Gateway" => gateways.push(format!("{namespace}/{name}")),
            "Service" => {
                domains.push(Domain::Names(vec![Name::of_service(name, namespace, resource.cluster_domain)]));
            }
            kind => {
                resource.error(&join(parent.path(), "kind"), format_args!("{kind}: not Gateway or Service"));
            }
        }
    }
    if parents.is_empty() || !gateways.is_empty() {
        domains.extend(resource.within(read_hostnames(resource), &gateways));
    }
    domains
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

fn read_rule(resource: &Resource<'_>, rule: &Node<'_>, index: usize, routes: &mut Vec<Route>) {
    let label = rule.text_at("name").map_or_else(|| index.to_string(), str::to_owned);
    for backend in rule.items_at("backendRefs") {
        if let Some(filters) = backend.field("filters").filter(|filters| !filters.items().is_empty()) {
            resource.warn(filters.path(), "left out: the plugin does not know which backend was chosen");
        }
    }
    let every = Tree::Map(Vec::new());
    let mut matches = rule.items_at("matches");
    if matches.is_empty() {
        matches.push(rule.with(&every));
    }
    for entry in &matches {
        let Some(uri) = read_path(resource, entry) else { continue };
        let entries = read_match(resource, entry, &uri);
        let Some(mirrors) = read_mirrors(resource, rule, &uri) else { continue };
        let count = |name| i64::try_from(entry.items_at(name).len()).unwrap_or(i64::MAX);
        let (kind, length) = uri.specificity();
        let method = i64::from(entry.field("method").is_some());
        let rank = Rank {
            specificity: [kind, length, method, count("headers"), count("queryParams")].map(i64::saturating_neg),
            age: resource.manifest.age(),
            position: routes.len(),
        };
        routes.push(Route { name: format!("{}-{label}", resource.name()), entries, mirrors, rank: Some(rank) });
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

fn read_path<'t>(resource: &Resource<'_>, entry: &Node<'t>) -> Option<Uri<'t>> {
    let given = entry.field("path");
    let text = |name| given.as_ref()?.text_at(name);
    let value = text("value").unwrap_or("/");
    match text("type").unwrap_or("PathPrefix") {
        "Exact" => Some(Uri::Exact(value)),
        "PathPrefix" => Some(Uri::Prefix(value.trim_end_matches('/'))),
        "RegularExpression" => {
            let what = "which of a prefix and an expression decides is left open: as in Istio, the prefix does";
            resource.warn(&join(entry.path(), "path"), what);
            Some(Uri::Regex(value))
        }
        kind => {
            let what = format_args!("{kind}: not Exact, PathPrefix or RegularExpression");
            resource.refuse(&join(entry.path(), "path.type"), what)
        }
    }
}

/// Writes a match as entries, one of which must hold: a prefix is itself, or goes on with `/`.
fn read_match(resource: &Resource<'_>, entry: &Node<'_>, uri: &Uri<'_>) -> Vec<Tree> {
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
    let method = entry.text_at("method").map(|method| Tree::field("exact", method));
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
fn read_mirrors(resource: &Resource<'_>, rule: &Node<'_>, uri: &Uri<'_>) -> Option<Vec<Tree>> {
    let given = rule.field("timeouts").and_then(|timeouts| timeouts.field("request"));
    let timeout = given.and_then(|given| timeout(resource, &given));
    let mut changes = Changes { timeout, ..Changes::default() };
    let mut mirrors = Vec::new();
    let mut is_redirected = false;
    for filter in rule.items_at("filters") {
        match filter.text_at("type").unwrap_or_default() {
            "RequestMirror" => mirrors.push(filter),
            "RequestRedirect" => is_redirected = true,
            "RequestHeaderModifier" => {
                let Some(modifier) = filter.field("requestHeaderModifier") else { continue };
                let (remove, set, add) =
                    (modifier.items_at("remove"), modifier.items_at("set"), modifier.items_at("add"));
                let remove: Vec<_> = remove.iter().filter_map(Node::text).collect();
                let [set, add] = [set, add].map(|edits| edits.iter().filter_map(read_edit).collect::<Vec<_>>());
                changes.edit_headers(resource, modifier.path(), &remove, &set, &add);
            }
            "URLRewrite" => {
                let Some(rewrite) = filter.field("urlRewrite") else { continue };
                changes.authority = rewrite.text_at("hostname").map(str::to_owned).or(changes.authority);
                changes.path = rewrite.field("path").map_or(Path::Keep, |path| read_rewrite(&path, uri));
            }
            "ResponseHeaderModifier" => {}
            kind => {
                resource.warn(filter.path(), format_args!("{kind}: what it does to requests is left out of the copy"))
            }
        }
    }
    if is_redirected {
        return Some(Vec::new());
    }
    mirrors.into_iter().map(|filter| read_mirror(resource, &filter, &changes)).collect()
}

fn read_edit<'t>(edit: &Node<'t>) -> Option<(&'t str, &'t str)> {
    edit.text_at("name").zip(edit.text_at("value"))
}

/// Reads a change of the path; a prefix is replaced by elements, as it is matched.
fn read_rewrite(rewrite: &Node<'_>, uri: &Uri<'_>) -> Path {
    if let Some(path) = rewrite.text_at("replaceFullPath") {
        return Path::whole(path);
    }
    let (Some(new), Uri::Prefix(prefix)) = (rewrite.text_at("replacePrefixMatch"), uri) else { return Path::Keep };
    let prefix = pattern::literal(prefix);
    match new.trim_end_matches('/') {
        "" => Path::Regex(format!("^{prefix}/?"), "/".to_owned()),
        new => Path::Regex(format!("^{prefix}"), pattern::replacement(new)),
    }
}

fn read_mirror(resource: &Resource<'_>, filter: &Node<'_>, changes: &Changes) -> Option<Tree> {
    let mirror = resource.required(filter, "requestMirror")?;
    let backend = resource.required(&mirror, "backendRef")?;
    let path_of = |name: &str| join(backend.path(), name);
    let name = resource.required(&backend, "name")?.text()?;
    let host = match backend.text_at("kind").unwrap_or("Service") {
        "Service" => resource.service(name, backend.text_at("namespace").unwrap_or(resource.manifest.namespace)),
        "Hostname" => name.to_owned(),
        kind => return resource.refuse(&path_of("kind"), format_args!("{kind}: not Service or Hostname")),
    };
    let port = resource.port(backend.field("port").as_ref(), &host, &path_of("port"));
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
    Some(changes.mirror(destination(host, port?, None), share))
}
