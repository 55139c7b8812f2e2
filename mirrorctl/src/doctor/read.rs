//! Reads what an Envoy says of itself: from its admin endpoint, page by page, or from files of it. Only what is needed: an
//! Envoy may have thousands of clusters.

use super::facts::{Plugins, Said};
use crate::admin::Admin;
use crate::facts::envoy::Envoy;
use crate::facts::field::text;
use crate::input::{self, Document, Place};
use crate::metrics::plain::Stats;
use crate::tree::Tree;
use std::collections::BTreeSet;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// What of a dumped listener is not at work.
const IDLE: [&str; 3] = ["error_state", "warming_state", "draining_state"];

/// Asks an admin endpoint.
///
/// # Errors
/// What to tell the user where it does not respond.
pub(crate) fn ask(name: &str, wait: Duration) -> Result<Said, String> {
    let admin = Admin::new(name)?;
    let page = |path: &str| -> Result<Tree, String> {
        let text = admin.get(path)?.unwrap_or_else(|| "null".to_owned());
        serde_json::from_str(&text).map_err(|error| format!("{name}{path}: {error}"))
    };
    let mut said = Said { name: name.to_owned(), server: page("/server_info")?, ..Said::default() };
    let add = |said: &mut Said, resource: &str, query: &str| -> Result<(), String> {
        let tree = page(&format!("/config_dump?{query}"))?;
        take(said, resource, tree);
        Ok(())
    };
    add(&mut said, "bootstrap", "mask=bootstrap.stats_config,bootstrap.layered_runtime,last_updated")?;
    for resource in ["static_listeners", "dynamic_listeners", "ecds_filters"] {
        add(&mut said, resource, &format!("resource={resource}"))?;
    }
    let plugins = Plugins::of(&said.documents);
    let clusters: BTreeSet<_> = plugins.clusters().into_iter().map(str::to_owned).collect();
    let envoy = Envoy::read(&said.documents);
    let managers = envoy.managers.iter().filter_map(|manager| text(manager.tree, &["rds", "route_config_name"]));
    let routes: BTreeSet<_> = managers.map(str::to_owned).collect();
    if !plugins.is_empty() {
        if !routes.is_empty() {
            add(&mut said, "routes", &format!("resource=dynamic_route_configs&{}", named(&routes)))?;
        }
        for resource in ["static_clusters", "dynamic_active_clusters"] {
            let names = page(&format!("/config_dump?resource={resource}&mask=cluster.name"))?;
            let names = names.get("configs").map(Tree::items).unwrap_or_default();
            let names = names.iter().filter_map(|one| one.text_at(&["cluster", "name"]));
            said.clusters.extend(names.map(str::to_owned));
            if !clusters.is_empty() {
                add(&mut said, resource, &format!("resource={resource}&{}", named(&clusters)))?;
            }
        }
    }
    said.runtime = page("/runtime")?;
    let query = format!("/stats?filter={}", percent(&filter(&clusters)));
    let stats = || Ok::<_, String>(Stats::read(&admin.get(&query)?.unwrap_or_default()));
    let first = stats()?;
    sleep(wait);
    said.stats = [first, stats()?];
    Ok(said)
}

/// Reads a folder of files, each with what a page said; only that of `/config_dump` has to be there.
///
/// # Errors
/// What to tell the user where a file cannot be read.
pub(crate) fn files(folder: &Path) -> Result<Said, String> {
    let path = |name: &str| folder.join(name);
    let bytes = |name: &str| input::bytes(&path(name).to_string_lossy());
    let json = |name: &str, bytes: &[u8]| -> Result<Tree, String> {
        serde_json::from_slice(bytes).map_err(|error| format!("{}: {error}", path(name).display()))
    };
    let optional = |name: &str| if path(name).exists() { json(name, &bytes(name)?) } else { Ok(Tree::Null) };
    let mut said = Said {
        name: folder.display().to_string(),
        server: optional("server_info.json")?,
        runtime: optional("runtime.json")?,
        hosts: optional("clusters.json")?,
        ..Said::default()
    };
    take(&mut said, "config_dump.json", json("config_dump.json", &bytes("config_dump.json")?)?);
    if path("stats.txt").exists() {
        let stats = Stats::read(&String::from_utf8_lossy(&bytes("stats.txt")?));
        said.stats = [stats.clone(), stats];
    }
    Ok(said)
}

/// Takes a dump, without what is not at work.
fn take(said: &mut Said, resource: &str, mut dump: Tree) {
    let place = Place::named(format!("{}: {resource}", said.name));
    let mut rejected = Vec::new();
    strip(&mut dump, &mut rejected);
    let rejected = rejected.into_iter().map(|tree| Document::new(place.clone(), tree));
    said.rejected.extend(rejected);
    if dump != Tree::Null {
        said.documents.push(Document::new(place, dump));
    }
}

/// Takes out what is not at work, and keeps listeners that were rejected.
fn strip(tree: &mut Tree, rejected: &mut Vec<Tree>) {
    let is_bootstrap = tree.text_at(&["@type"]).is_some_and(|url| url.ends_with("BootstrapConfigDump"));
    match tree {
        Tree::Map(fields) => {
            for (name, value) in fields.iter_mut() {
                if name == "error_state" {
                    let failed = value.get("failed_configuration").cloned();
                    rejected.extend(failed.map(|failed| Tree::field("failed_configuration", failed)));
                }
                match value {
                    // What is static stands in the dump a second time.
                    Tree::Map(own) if is_bootstrap && name == "bootstrap" => {
                        own.retain(|(name, _)| name != "static_resources");
                    }
                    value => strip(value, rejected),
                }
            }
            fields.retain(|(name, _)| !IDLE.contains(&&**name));
        }
        Tree::List(items) => items.iter_mut().for_each(|item| strip(item, rejected)),
        _ => {}
    }
}

/// Asks for what has one of these names.
fn named(names: &BTreeSet<String>) -> String {
    format!("name_regex={}", percent(&format!("^({})$", any(names))))
}

/// Writes an expression that matches these names.
fn any<'n>(names: impl IntoIterator<Item = &'n String>) -> String {
    names.into_iter().map(|name| regex_syntax::escape(name)).collect::<Vec<_>>().join("|")
}

/// Writes an expression that matches the metrics that are looked at.
fn filter(clusters: &BTreeSet<String>) -> String {
    let clusters: Vec<_> = clusters.iter().map(|name| name.replace(':', "_")).collect();
    let ours =
        r"wasmcustom\.traffic_mirror|^wasm\.|^extension_config_discovery\.|^http\..*\.downstream_rq_(total|active)$";
    if clusters.is_empty() { ours.to_owned() } else { format!(r"{ours}|^cluster\.({})\.", any(&clusters)) }
}

/// Writes text as a part of a query.
fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}
