//! The files as they were read, but for the mirrors that were carried over and for what a cluster has written into them.

use super::cut::cut;
use super::output;
use crate::input::Document;
use crate::tree::Tree;

/// What the cluster writes into the metadata of a resource: a file that is applied has none of it.
const WRITTEN: [&str; 6] = ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"];

/// The annotation in which kubectl keeps what was applied last, mirrors included.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Writes documents as YAML, each as it was written where cutting does it, behind others or not; a comment names each file if
/// there are several.
/// `strip` takes the mirrors out of the document of a number.
pub(super) fn write(
    documents: &[Document],
    strip: impl Fn(&Tree, usize) -> Tree,
    is_behind: bool,
) -> Result<String, String> {
    let mut text = String::new();
    let has_several = documents.windows(2).any(|pair| matches!(pair, [one, next] if one.place.file != next.place.file));
    let mut file = None;
    for (number, document) in documents.iter().enumerate() {
        let after = cleaned(strip(&document.tree, number));
        let own = document.text.as_deref().and_then(|text| cut(text, &document.tree, &after));
        let own = own.map_or_else(|| output::yaml(&after), Ok)?;
        let is_first = text.is_empty() && !is_behind;
        if !is_first && !own.lines().any(|line| line.starts_with("---")) {
            text.push_str("---\n");
        }
        if has_several && file != Some(&document.place.file) {
            text.push_str(&format!("# {}\n", document.place.file));
            file = Some(&document.place.file);
        }
        text.push_str(own.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// Takes out of a resource what only a cluster can say.
fn cleaned(tree: Tree) -> Tree {
    let Tree::Map(mut fields) = tree else { return tree };
    if !["kind", "metadata"].iter().all(|name| fields.iter().any(|(own, _)| own == name)) {
        return Tree::Map(fields);
    }
    fields.retain(|(name, _)| name != "status");
    for (_, metadata) in fields.iter_mut().filter(|(name, _)| name == "metadata") {
        let Tree::Map(metadata) = metadata else { continue };
        for (_, annotations) in metadata.iter_mut().filter(|(name, _)| name == "annotations") {
            if let Tree::Map(annotations) = annotations {
                annotations.retain(|(name, _)| name != LAST_APPLIED);
            }
        }
        let is_empty = |name: &str, value: &Tree| name == "annotations" && *value == Tree::Map(Vec::new());
        metadata.retain(|(name, value)| !WRITTEN.contains(&&**name) && !is_empty(name, value));
    }
    Tree::Map(fields)
}
