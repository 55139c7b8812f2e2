//! The original without the mirrors that were carried over.

use super::context::Origin;
use crate::tree::{Tree, join};
use std::collections::HashSet;

/// Fields of an Istio route that belong to its one `mirror`, in all spellings.
const MIRROR_FIELDS: [&str; 5] = ["mirror", "mirrorPercent", "mirror_percent", "mirrorPercentage", "mirror_percentage"];

/// Takes the mirrors at some places out of a document; everything else stays as it is.
pub(super) fn without_mirrors(document: &Tree, number: usize, carried: &HashSet<Origin>) -> Tree {
    let is_carried = |path: &str| carried.contains(&(number, path.to_owned()));
    match document.text_at(&["kind"]) {
        Some("VirtualService") => edit(document, &["spec", "http"], "", &|route, path| {
            let has_mirror = is_carried(&join(path, "mirror"));
            let kept = without(route, |name, _| has_mirror && MIRROR_FIELDS.contains(&name));
            without_items(&kept, "mirrors", path, &is_carried)
        }),
        Some("HTTPRoute" | "GRPCRoute") => {
            edit(document, &["spec", "rules"], "", &|rule, path| without_items(rule, "filters", path, &is_carried))
        }
        _ => document.clone(),
    }
}

/// Takes items out of a list; a list of which nothing is left goes with them.
fn without_items(tree: &Tree, name: &str, path: &str, goes: &dyn Fn(&str) -> bool) -> Tree {
    let kept = edit(tree, &[name], path, &|item, path| if goes(path) { Tree::Null } else { item.clone() });
    let had_any = tree.get(name).is_some_and(|list| !list.items().is_empty());
    without(&kept, |own, value| had_any && own == name && *value == Tree::List(Vec::new()))
}

fn without(tree: &Tree, goes: impl Fn(&str, &Tree) -> bool) -> Tree {
    let Tree::Map(_) = tree else { return tree.clone() };
    Tree::Map(tree.fields().iter().filter(|(name, value)| !goes(name, value)).cloned().collect())
}

/// Edits the items of the list at the end of some fields, each with its path; one that becomes null goes. What is no such list
/// stays as it is.
fn edit(tree: &Tree, fields: &[&str], path: &str, change: &dyn Fn(&Tree, &str) -> Tree) -> Tree {
    let Some((first, rest)) = fields.split_first() else {
        let Tree::List(items) = tree else { return tree.clone() };
        let changed = items.iter().enumerate().map(|(index, item)| change(item, &format!("{path}[{index}]")));
        return Tree::List(changed.filter(|item| *item != Tree::Null).collect());
    };
    let Tree::Map(_) = tree else { return tree.clone() };
    let field = |(name, value): &(String, Tree)| {
        (name.clone(), if name == first { edit(value, rest, &join(path, name), change) } else { value.clone() })
    };
    Tree::Map(tree.fields().iter().map(field).collect())
}
