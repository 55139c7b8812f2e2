//! What stands in `deploy/` is what those who take it know: each resource is read into types, no other field is taken; each
//! plugin configuration goes through the plugin's own reader; and a real Envoy takes what is meant for Envoy.

mod delivery;
mod envoy;
mod resources;
mod types;

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Reads a file of the repository.
fn read(path: &str) -> String {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads all YAML documents of a file of the repository.
fn documents(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a folder of the repository, each with its path from the top.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap())).collect();
    names.sort();
    names
}
