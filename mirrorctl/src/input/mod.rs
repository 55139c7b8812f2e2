//! From files to documents that know where they stand.

mod files;
mod parse;
mod text;

pub(crate) use files::files;

use crate::node::{Mismatches, Node};
use crate::tree::Tree;
use std::io::Read;
use std::{fmt, fs, io};

/// The name of standard input.
const STDIN: &str = "-";

/// A document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) place: Place,
    pub(crate) tree: Tree,
    /// Its own text, where that was asked for; a resource of a list has none.
    pub(crate) text: Option<String>,
}

impl Document {
    /// Makes one that has no text of its own.
    pub(crate) fn new(place: Place, tree: Tree) -> Self {
        Self { place, tree, text: None }
    }
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
    read(file, false)
}

/// Reads a file's documents with their texts.
///
/// # Errors
/// As [`documents`].
pub(crate) fn documents_with_text(file: &str) -> Result<Vec<Result<Document, String>>, String> {
    read(file, true)
}

fn read(file: &str, keeps_text: bool) -> Result<Vec<Result<Document, String>>, String> {
    let shown = if file == STDIN { "stdin" } else { file };
    let text = text::text(bytes(file)?).map_err(|error| format!("{shown}: {error}"))?;
    let mut documents = Vec::new();
    for (index, parsed) in parse::parse(&text).into_iter().enumerate() {
        let place = |resource| Place { file: shown.to_owned(), number: Some(index.saturating_add(1)), resource };
        let (tree, text) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                documents.push(Err(format!("{}: {error}", place(None))));
                continue;
            }
        };
        let name = resource(&tree);
        match resources(tree) {
            Ok(Resources::One(tree)) => {
                let text = text.filter(|_| keeps_text).map(str::to_owned);
                documents.push(Ok(Document { place: place(name), tree, text }));
            }
            Ok(Resources::Many(trees)) => {
                let document = |tree: Tree| Ok(Document::new(place(resource(&tree)), tree));
                documents.extend(trees.into_iter().map(document));
            }
            Err(mismatch) => documents.push(Err(format!("{}: {mismatch}", place(name)))),
        }
    }
    Ok(documents)
}

/// What a document is.
enum Resources {
    One(Tree),
    Many(Vec<Tree>),
}

/// Takes apart the list in which kubectl hands out resources, and a list of JSON's or YAML's.
fn resources(tree: Tree) -> Result<Resources, String> {
    match tree {
        Tree::List(items) if items.iter().any(|item| item.get("kind").is_some()) => Ok(Resources::Many(items)),
        Tree::Map(fields) if is_list(&fields) => {
            match fields.into_iter().find(|(name, value)| name == "items" && *value != Tree::Null) {
                Some((_, Tree::List(items))) => Ok(Resources::Many(items)),
                other => {
                    let mismatches = Mismatches::default();
                    let items = Tree::Map(other.into_iter().collect());
                    Node::root(&items, &mismatches).items_at("items");
                    Err(mismatches.take().iter().map(ToString::to_string).collect())
                }
            }
        }
        tree => Ok(Resources::One(tree)),
    }
}

/// Tells whether a resource is a list of others.
fn is_list(fields: &[(String, Tree)]) -> bool {
    let field = |name: &str| fields.iter().find(|(own, value)| own == name && *value != Tree::Null);
    let kind = field("kind").and_then(|(_, kind)| kind.text());
    kind.is_some_and(|kind| kind.ends_with("List")) && field("items").is_some()
}

/// Reads YAML documents; one that cannot be read is a line of text that says why.
pub(crate) fn yaml(text: &str) -> Vec<Result<Tree, String>> {
    parse::yaml(text).into_iter().map(|parsed| parsed.map(|(tree, _)| tree)).collect()
}

/// Names a Kubernetes resource: `WasmPlugin test/traffic-mirror`.
fn resource(tree: &Tree) -> Option<String> {
    let kind = tree.text_at(&["kind"])?;
    let name = tree.text_at(&["metadata", "name"]).unwrap_or_default();
    let namespace = tree.text_at(&["metadata", "namespace"]);
    let name = namespace.map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"));
    Some(format!("{kind} {name}").trim_end().to_owned())
}
