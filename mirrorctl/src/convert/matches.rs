//! A match of a VirtualService's route: for which gateways it is, and what it asks of requests.

use super::context::Resource;
use super::gateways::Proxy;
use super::virtual_service::proxy;
use crate::node::Node;
use crate::tree::Tree;

/// What a match may ask that the plugin cannot know, and why.
const UNKNOWABLE: [(&str, &str); 3] = [
    ("port", "the rule also matches requests to other ports: the plugin does not know to which one a request was sent"),
    (
        "sourceLabels",
        "the rule also matches requests of other workloads: use the selector where the plugin is installed",
    ),
    ("sourceNamespace", "the rule also matches requests of other namespaces: install the plugin in that one alone"),
];

/// Where routes are: what they are for, and at which port, if that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) port: Option<u64>,
}

/// Returns a field by its name in JSON, or by its older one in the proto file: `mirrorPercent`, `mirror_percent`.
pub(super) fn find<'t>(tree: &'t Tree, name: &str) -> Option<&'t Tree> {
    tree.get(name).or_else(|| tree.get(&snake(name)))
}

pub(super) fn field<'t>(node: &Node<'t>, name: &str) -> Option<Node<'t>> {
    node.field(name).or_else(|| node.field(&snake(name)))
}

fn snake(name: &str) -> String {
    let separated = |character: char| match character.is_ascii_uppercase() {
        true => vec!['_', character.to_ascii_lowercase()],
        false => vec![character],
    };
    name.chars().flat_map(separated).collect()
}

/// Tells whether an entry of a match is for a gateway and its port, as far as that is known.
pub(super) fn is_for(resource: &Resource<'_>, entry: &Node<'_>, spot: Spot<'_>) -> bool {
    let gateways = field(entry, "gateways").map(|gateways| gateways.items()).unwrap_or_default();
    let mut named = gateways.iter().filter_map(Node::text).map(|name| proxy(name, resource.manifest)).peekable();
    let is_at = named.peek().is_none() || named.any(|proxy| proxy == *spot.proxy);
    let port = entry.field("port").and_then(|port| port.whole(1..=65_535));
    is_at && port.is_none_or(|port| spot.port.is_none_or(|own| port == own))
}

/// Reads an entry of a match, and whether Istio takes it for one of every request.
pub(super) fn read_match(resource: &Resource<'_>, entry: &Node<'_>, spot: Spot<'_>) -> (Tree, bool) {
    for (name, value) in entry.entries().into_iter().filter(|(_, value)| *value.tree() != Tree::Null) {
        let is_known = spot.port.is_some() && is_field(name, "port");
        if let Some((_, why)) = UNKNOWABLE.iter().find(|(field, _)| is_field(name, field)).filter(|_| !is_known) {
            resource.warn(value.path(), format_args!("{}: not checked: {why}", value.tree().json()));
        }
    }
    let test = |name: &str| field(entry, name).map(|test| read_test(&test));
    let tests = |name: &str| {
        let keep = |(key, value): (&str, Node<'_>)| {
            let is_claim = key.starts_with('@');
            if is_claim {
                resource.warn(value.path(), "not checked: the rule also matches requests with other tokens: the plugin does not know their claims");
            }
            (!is_claim).then(|| (key.to_owned(), read_test(&value)))
        };
        let kept: Vec<_> = field(entry, name)?.entries().into_iter().filter_map(keep).collect();
        (!kept.is_empty()).then_some(Tree::Map(kept))
    };
    let regex = field(entry, "uri").and_then(|uri| uri.text_at("regex"));
    // A uri of no kind, or the prefix `/`, is every path.
    let uri = test("uri").filter(|uri| !uri.fields().is_empty() && uri.text_at(&["prefix"]) != Some("/"));
    let ignores_case = field(entry, "ignoreUriCase").and_then(|flag| flag.flag()).unwrap_or_default();
    let condition = Tree::map([
        ("uri", uri.clone()),
        ("ignoreUriCase", (ignores_case && uri.is_some()).then_some(true.into())),
        ("method", test("method")),
        ("scheme", test("scheme")),
        ("authority", test("authority")),
        ("headers", tests("headers")),
        ("withoutHeaders", tests("withoutHeaders")),
        ("queryParams", tests("queryParams")),
    ]);
    let has = |name: &str| field(entry, name).is_some_and(|tests| !tests.tree().fields().is_empty());
    let has_more = ["method", "scheme", "authority"].iter().any(|name| field(entry, name).is_some())
        || ["headers", "withoutHeaders", "queryParams"].iter().any(|name| has(name));
    (condition, (uri.is_none() || regex == Some(".*")) && !has_more)
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
