//! A bootstrap, moved: without its policies, with the filter where it mirrored, and with what the plugin wants of it.

use super::source::{Manager, is_manager, routes_of, snake_name};
use crate::findings::bootstrap::{BUFFER_LIMIT, missing_labels};
use crate::tree::Tree;

/// The longest response to a copy that is read, in bytes.
const LONGEST_RESPONSE: u64 = 65_536;

/// Takes the policies out of Envoy's configuration; everything else stays as it is.
pub(in crate::convert) fn without_policies(tree: &Tree) -> Tree {
    match tree {
        Tree::List(items) => Tree::List(items.iter().map(without_policies).collect()),
        Tree::Map(fields) => {
            let kept = fields.iter().filter(|(name, _)| snake_name(name) != "request_mirror_policies");
            Tree::Map(kept.map(|(name, value)| (name.clone(), without_policies(value))).collect())
        }
        other => other.clone(),
    }
}

/// Moves a bootstrap. `filters`: the filter of each connection manager that mirrors.
pub(super) fn bootstrap(tree: &Tree, managers: &[Manager], filters: &[Option<Tree>]) -> Tree {
    with_limit(&with_labels(&with_filters(tree, managers, filters)))
}

fn with_filters(tree: &Tree, managers: &[Manager], filters: &[Option<Tree>]) -> Tree {
    match tree {
        Tree::List(items) => Tree::List(items.iter().map(|item| with_filters(item, managers, filters)).collect()),
        Tree::Map(fields) => {
            let filter = is_manager(tree).then(|| routes_of(managers, tree)).flatten();
            let filter = filter.and_then(|(index, _)| filters.get(index)?.clone());
            let change = |(name, value): &(String, Tree)| {
                let own = snake_name(name);
                let value = match (&filter, value) {
                    (Some(filter), Tree::List(items)) if own == "http_filters" => {
                        let mut items = items.clone();
                        // The router is the last.
                        items.insert(items.len().saturating_sub(1), filter.clone());
                        Tree::List(items)
                    }
                    _ => with_filters(value, managers, filters),
                };
                (own != "request_mirror_policies").then(|| (name.clone(), value))
            };
            Tree::Map(fields.iter().filter_map(change).collect())
        }
        other => other.clone(),
    }
}

/// Adds the tags that a bootstrap lacks.
fn with_labels(tree: &Tree) -> Tree {
    let tag = |label: &&str| {
        Tree::map([
            ("tag_name", Some((*label).into())),
            ("regex", Some(format!(r"^wasmcustom\.traffic_mirror\..*?({label}=\.=(.*?);\.;)").into())),
        ])
    };
    let missing: Vec<_> = missing_labels(tree).iter().map(tag).collect();
    if missing.is_empty() {
        return tree.clone();
    }
    at(tree, &["stats_config", "stats_tags"], &|list| match list {
        Some(Tree::List(items)) => Tree::List([items, &missing[..]].concat()),
        _ => missing.clone().into(),
    })
}

/// Adds the limit of responses to copies, where no layer has it.
fn with_limit(tree: &Tree) -> Tree {
    if tree.json().contains(BUFFER_LIMIT) {
        return tree.clone();
    }
    let layer = Tree::map([
        ("name", Some("traffic-mirror".into())),
        ("static_layer", Some(Tree::field(BUFFER_LIMIT, LONGEST_RESPONSE))),
    ]);
    at(tree, &["layered_runtime", "layers"], &|list| match list {
        Some(Tree::List(items)) => Tree::List([std::slice::from_ref(&layer), items].concat()),
        // Without layers of its own, Envoy has one that the admin endpoint changes.
        _ => vec![
            layer.clone(),
            Tree::map([("name", Some("admin".into())), ("admin_layer", Some(Tree::Map(Vec::new())))]),
        ]
        .into(),
    })
}

/// Changes what stands at the end of a path of fields, which are made where they are missing.
fn at(tree: &Tree, path: &[&str], change: &dyn Fn(Option<&Tree>) -> Tree) -> Tree {
    let Some((first, rest)) = path.split_first() else { return change(Some(tree)) };
    let mut fields = tree.fields().to_vec();
    match fields.iter_mut().find(|(name, value)| snake_name(name) == *first && *value != Tree::Null) {
        Some((_, value)) => *value = at(value, rest, change),
        None if rest.is_empty() => fields.push(((*first).to_owned(), change(None))),
        None => fields.push(((*first).to_owned(), at(&Tree::Map(Vec::new()), rest, change))),
    }
    Tree::Map(fields)
}
