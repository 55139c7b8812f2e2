//! Why nothing is mirrored in some files: what was read, and what became of the mirrors in it.

use super::context::KINDS;
use crate::input::Document;
use crate::tree::{Tree, join};
use std::collections::{BTreeMap, HashSet};

/// Where mirrors stand, in the resources of meshes and in Envoy's own configuration.
const MIRRORS: [&str; 5] = ["mirror", "mirrors", "requestMirror", "request_mirror_policies", "requestMirrorPolicies"];

/// The most mirrors that are named.
const MOST: usize = 5;

/// What warnings say of mirrors that nothing comes of.
const REASONS: [&str; 4] = ["not converted", "not mirrored", "nothing of it is converted", "no request comes here"];

/// Says it in lines: first what was read, then each mirror that nothing came of, but for those of which a warning has said why.
pub(super) fn lines(documents: &[Document], warnings: &[String]) -> Vec<String> {
    let reasons = warnings.iter().filter(|warning| REASONS.iter().any(|reason| warning.contains(reason)));
    let told: HashSet<_> = reasons.filter_map(|warning| warning.split_once("): ")).map(|(place, _)| place).collect();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut mirrors = Vec::new();
    for document in documents {
        let kind = document.tree.text_at(&["kind"]);
        let count = kinds.entry(kind.unwrap_or(WITHOUT)).or_default();
        *count = count.saturating_add(1);
        let place = document.place.to_string();
        let is_told = place.strip_suffix(')').is_some_and(|place| told.contains(place));
        if let Some(path) = mirror("", &document.tree).filter(|_| !is_told) {
            let why = match kind {
                Some(kind) if KINDS.iter().any(|(own, _)| *own == kind) => {
                    "nothing is sent there: no request reaches the route, or it redirects or responds itself".to_owned()
                }
                Some(kind) => format!("not converted: {kind} is no kind that is read"),
                None => "not converted: the document has no kind: begin it with `apiVersion` and `kind`".to_owned(),
            };
            mirrors.push(format!("{place}: {path}: {why}"));
        }
    }
    // Those without a kind last.
    let counted = |(kind, count): (&str, usize)| format!("{count} {kind}");
    let without = kinds.remove_entry(WITHOUT);
    let read: Vec<_> = kinds.into_iter().chain(without).map(counted).collect();
    let read = if read.is_empty() { "no documents".to_owned() } else { read.join(", ") };
    let mut lines = vec![format!("nothing is mirrored in these files: read: {read}")];
    let more = mirrors.len().saturating_sub(MOST);
    lines.extend(mirrors.into_iter().take(MOST));
    if more > 0 {
        lines.push(format!("and {more} other documents with mirrors that are not converted"));
    }
    lines
}

/// Stands for the kind of a document that has none.
const WITHOUT: &str = "without a kind";

/// Finds the first mirror of a document.
fn mirror(path: &str, tree: &Tree) -> Option<String> {
    tree.children().into_iter().find_map(|(name, child)| {
        let path = join(path, &name);
        let is_filled = !child.fields().is_empty() || !child.items().is_empty();
        if MIRRORS.contains(&&*name) && is_filled { Some(path) } else { mirror(&path, child) }
    })
}
