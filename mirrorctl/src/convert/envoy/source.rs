//! Where an Envoy's routes stand: bootstraps, files of resources, dumps of the admin endpoint, and that endpoint itself.

use crate::admin::Admin;
use crate::tree::Tree;

/// What a dump is asked for.
const RESOURCES: [&str; 6] = [
    "static_listeners",
    "dynamic_listeners",
    "static_route_configs",
    "dynamic_route_configs",
    "static_clusters",
    "dynamic_active_clusters",
];

/// What is not at work.
const NOT_AT_WORK: [&str; 4] = ["warming_state", "draining_state", "error_state", "dynamic_warming_clusters"];

/// Fields that only Envoy's own configuration has at its top.
const FIELDS: [&str; 7] = [
    "static_resources",
    "dynamic_resources",
    "virtual_hosts",
    "filter_chains",
    "configs",
    "typed_extension_protocol_options",
    "resources",
];

/// A connection manager, or a route configuration that none of those that were found refers to.
#[derive(Debug)]
pub(super) struct Manager {
    /// The listeners with such a connection manager.
    pub(super) listeners: Vec<String>,
    /// The route configuration, its fields by their names in snake case.
    pub(super) routes: Tree,
}

impl Manager {
    /// Returns the name of its route configuration.
    pub(super) fn name(&self) -> &str {
        self.routes.text_at(&["name"]).unwrap_or_default()
    }
}

/// What was found of an Envoy.
#[derive(Debug, Default)]
pub(super) struct Sources {
    pub(super) managers: Vec<Manager>,
    /// Clusters that mirror what is sent to them, with their policies.
    pub(super) clusters: Vec<(String, Vec<Tree>)>,
    /// What connection managers refer to and was not found.
    pub(super) missing: Vec<String>,
}

/// What is found first: who refers to whom is clear at the end.
#[derive(Default)]
struct Found {
    managers: Vec<(String, Reference)>,
    tables: Vec<Tree>,
    clusters: Vec<(String, Vec<Tree>)>,
}

enum Reference {
    Inline(Tree),
    Named(String),
    Scoped,
}

impl Sources {
    /// Collects what documents have.
    pub(super) fn of<'t>(documents: impl Iterator<Item = &'t Tree>) -> Self {
        let mut found = Found::default();
        documents.for_each(|document| found.walk(&snake(document), ""));
        found.joined()
    }
}

impl Found {
    fn walk(&mut self, tree: &Tree, listener: &str) {
        let name = tree.text_at(&["name"]).unwrap_or_default();
        let is_listener =
            ["filter_chains", "default_filter_chain", "api_listener"].iter().any(|field| tree.get(field).is_some());
        let listener = if is_listener { name } else { listener };
        if is_manager(tree) {
            if let Some(reference) = reference(tree) {
                self.managers.push((listener.to_owned(), reference));
            }
            return;
        }
        if tree.get("virtual_hosts").is_some() {
            self.tables.push(without_type(tree));
            return;
        }
        if let Some(Tree::Map(options)) = tree.get("typed_extension_protocol_options") {
            let policies = options.iter().flat_map(|(_, options)| policies(options)).cloned().collect::<Vec<_>>();
            let is_known = self.clusters.iter().any(|(known, _)| known == name);
            if !policies.is_empty() && !is_known {
                self.clusters.push((name.to_owned(), policies));
            }
        }
        for (field, child) in tree.children() {
            if !NOT_AT_WORK.contains(&&*field) {
                self.walk(child, listener);
            }
        }
    }

    fn joined(self) -> Sources {
        let mut sources = Sources { clusters: self.clusters, ..Sources::default() };
        let mut add = |listener: &str, routes: Tree| {
            let known = sources.managers.iter_mut().find(|manager| manager.routes == routes);
            let listeners: Vec<_> =
                Some(listener).filter(|name| !name.is_empty()).map(str::to_owned).into_iter().collect();
            match known {
                Some(known) if listeners.iter().all(|name| known.listeners.contains(name)) => {}
                Some(known) => known.listeners.extend(listeners),
                None => sources.managers.push(Manager { listeners, routes }),
            }
        };
        let mut missing = Vec::new();
        for (listener, reference) in self.managers {
            match reference {
                Reference::Inline(routes) => add(&listener, routes),
                Reference::Named(name) => {
                    let named = self.tables.iter().find(|table| table.text_at(&["name"]) == Some(&name));
                    match named {
                        Some(routes) => add(&listener, routes.clone()),
                        None => missing.push(format!("listener {listener}: the route configuration {name}")),
                    }
                }
                Reference::Scoped => missing.push(format!("listener {listener}: which of its scoped routes are used")),
            }
        }
        self.tables.into_iter().for_each(|table| add("", table));
        missing.dedup();
        sources.missing = missing;
        sources
    }
}

/// Tells whether a document is Envoy's own configuration, and not a resource of Kubernetes.
pub(in crate::convert) fn is_envoys(tree: &Tree) -> bool {
    let tree_has = |field: &&str| [(*field).to_owned(), camel(field)].iter().any(|name| tree.get(name).is_some());
    let is_typed = tree.text_at(&["@type"]).is_some_and(|kind| kind.contains("/envoy."));
    tree.get("kind").is_none() && (is_typed || FIELDS.iter().any(tree_has))
}

/// Reads a running Envoy as one dump; `None`: the name is no address.
///
/// # Errors
/// What to tell the user.
pub(in crate::convert) fn running(name: &str) -> Option<Result<Tree, String>> {
    let is_address = name.starts_with("http://")
        || name.rsplit_once(':').is_some_and(|(host, port)| !host.contains('/') && port.parse::<u16>().is_ok());
    if !is_address || std::path::Path::new(name).exists() {
        return None;
    }
    Some(Admin::new(name).and_then(|admin| {
        let mut configs = Vec::new();
        for resource in RESOURCES {
            let path = format!("/config_dump?resource={resource}");
            let Some(text) = admin.get(&path)? else { continue };
            let dump: Tree = serde_json::from_str(&text).map_err(|error| format!("{name}{path}: {error}"))?;
            configs.extend_from_slice(dump.get("configs").map(Tree::items).unwrap_or_default());
        }
        Ok(Tree::field("configs", configs))
    }))
}

/// Tells whether a message is a connection manager.
pub(super) fn is_manager(tree: &Tree) -> bool {
    tree.text_at(&["@type"]).is_some_and(|kind| kind.ends_with(".HttpConnectionManager"))
}

/// Returns the route configuration that stands in a connection manager, or what names it.
fn reference(manager: &Tree) -> Option<Reference> {
    if let Some(routes) = inline(manager) {
        return Some(Reference::Inline(routes));
    }
    match manager.text_at(&["rds", "route_config_name"]) {
        Some(name) => Some(Reference::Named(name.to_owned())),
        None => manager.get("scoped_routes").map(|_| Reference::Scoped),
    }
}

fn inline(manager: &Tree) -> Option<Tree> {
    manager.get("route_config").map(without_type)
}

/// Returns the route configuration of a connection manager of a bootstrap, as [`Sources`] has it.
pub(super) fn routes_of<'m>(managers: &'m [Manager], manager: &Tree) -> Option<(usize, &'m Manager)> {
    let manager = snake(manager);
    let reference = reference(&manager)?;
    managers.iter().enumerate().find(|(_, known)| match &reference {
        Reference::Inline(routes) => known.routes == *routes,
        Reference::Named(name) => known.name() == name,
        Reference::Scoped => false,
    })
}

/// Returns the policies of a cluster's options.
fn policies(options: &Tree) -> &[Tree] {
    options.get("request_mirror_policies").map(Tree::items).unwrap_or_default()
}

fn without_type(tree: &Tree) -> Tree {
    Tree::Map(tree.fields().iter().filter(|(name, _)| name != "@type").cloned().collect())
}

/// Writes the names of fields as Envoy's documents do, whichever of their two names was used; names of the user's stay.
fn snake(tree: &Tree) -> Tree {
    match tree {
        Tree::List(items) => Tree::List(items.iter().map(snake).collect()),
        Tree::Map(fields) => {
            let given = fields.iter().filter(|(_, value)| *value != Tree::Null);
            Tree::Map(given.map(|(name, value)| (snake_name(name), snake(value))).collect())
        }
        other => other.clone(),
    }
}

/// Writes one name in snake case.
pub(super) fn snake_name(name: &str) -> String {
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return name.to_owned();
    }
    let mut written = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !written.is_empty() {
            written.push('_');
        }
        written.push(character.to_ascii_lowercase());
    }
    written
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |written, word| {
        let (head, tail) = word.split_at_checked(1).unwrap_or_default();
        written + &head.to_ascii_uppercase() + tail
    })
}
