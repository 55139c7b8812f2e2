//! From files to documents that know where they stand.

use crate::node::{Mismatches, Node};
use crate::tree::Tree;
use serde::de::IgnoredAny;
use std::io::Read;
use std::{fmt, fs, io};
use traffic_mirror::config::Violation;

/// The name of standard input.
const STDIN: &str = "-";

/// A document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) place: Place,
    pub(crate) tree: Tree,
}

/// Where a document stands, and what it is; prints as `file.yaml: document 2 (WasmPlugin test/traffic-mirror)`.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) file: String,
    /// Which document of a file it is; `None` of what is no file.
    number: Option<usize>,
    resource: Option<String>,
}

impl Place {
    /// Names what is no file of documents.
    pub(crate) fn named(name: String) -> Self {
        Self { file: name, number: None, resource: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        self.number.map_or(Ok(()), |number| write!(f, ": document {number}"))?;
        self.resource.as_ref().map_or(Ok(()), |resource| write!(f, " ({resource})"))
    }
}

/// Reads a file's bytes, or those of standard input.
///
/// # Errors
/// What to tell the user.
pub(crate) fn bytes(file: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = if file == STDIN { io::stdin().read_to_end(&mut bytes).map(|_| bytes) } else { fs::read(file) };
    read.map_err(|error| format!("{file}: {error}"))
}

/// Reads a file's documents, YAML or JSON. One that cannot be read is a line of text that says where and why.
///
/// # Errors
/// What to tell the user where the file itself cannot be read.
pub(crate) fn documents(file: &str) -> Result<Vec<Result<Document, String>>, String> {
    let bytes = bytes(file)?;
    let shown = if file == STDIN { "stdin" } else { file };
    // As JSON first: the tree keeps keys that stand twice, which the plugin has an error for, and YAML a worse one.
    let trees = match serde_json::from_slice::<IgnoredAny>(&bytes) {
        Ok(_) => vec![serde_json::from_slice(&bytes).map_err(|error| error.to_string())],
        Err(_) => yaml(&bytes),
    };
    let mut documents = Vec::new();
    for (index, tree) in trees.into_iter().enumerate() {
        let place = |resource| Place { file: shown.to_owned(), number: Some(index.saturating_add(1)), resource };
        match tree {
            Ok(tree) => match resources(&tree) {
                Ok(resources) => {
                    let document = |tree: Tree| Ok(Document { place: place(resource(&tree)), tree });
                    documents.extend(resources.into_iter().map(document));
                }
                Err(mismatch) => documents.push(Err(format!("{}: {mismatch}", place(resource(&tree))))),
            },
            Err(error) => documents.push(Err(format!("{}: {error}", place(None)))),
        }
    }
    Ok(documents)
}

/// Takes apart the list in which kubectl hands out resources.
fn resources(tree: &Tree) -> Result<Vec<Tree>, Violation> {
    let is_list = tree.text_at(&["kind"]).is_some_and(|kind| kind.ends_with("List"));
    let mismatches = Mismatches::default();
    match Node::root(tree, &mismatches).field("items").filter(|_| is_list) {
        Some(list) => {
            let items = list.items().iter().map(|item| item.tree().clone()).collect();
            mismatches.take().pop().map_or(Ok(items), Err)
        }
        None => Ok(vec![tree.clone()]),
    }
}

/// Reads YAML documents; one that cannot be read is a line of text that says why.
pub(crate) fn yaml(mut bytes: &[u8]) -> Vec<Result<Tree, String>> {
    let options = serde_saphyr::options! { with_snippet: false };
    let one_line = |error: serde_saphyr::Error| {
        error.render_with_formatter(&serde_saphyr::UserMessageFormatter).replace('\n', " ")
    };
    serde_saphyr::read_with_options(&mut bytes, options).map(|tree| tree.map_err(one_line)).collect()
}

/// Names a Kubernetes resource: `WasmPlugin test/traffic-mirror`.
fn resource(tree: &Tree) -> Option<String> {
    let kind = tree.text_at(&["kind"])?;
    let name = tree.text_at(&["metadata", "name"]).unwrap_or_default();
    let namespace = tree.text_at(&["metadata", "namespace"]);
    let name = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    Some(format!("{kind} {name}").trim_end().to_owned())
}
