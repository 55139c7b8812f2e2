//! What stands in the documents of one Envoy: a bootstrap, files of resources, a dump of its admin endpoint.

use super::cluster::Cluster;
use super::field::{at, is_type, items, named, text};
use super::filter::Filter;
use crate::found::Found;
use crate::input::{Document, Place};
use crate::tree::{Tree, join};
use std::collections::BTreeSet;

const MANAGER: &str = ".HttpConnectionManager";
const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";
const ROUTES: &str = "envoy.config.route.v3.RouteConfiguration";
const DUMP: &str = "envoy.admin.v3.BootstrapConfigDump";
const EXTENSION: &str = "envoy.config.core.v3.TypedExtensionConfig";

/// A connection manager.
#[derive(Debug)]
pub(crate) struct Manager<'t> {
    pub(crate) place: &'t Place,
    pub(crate) path: String,
    pub(crate) tree: &'t Tree,
    pub(crate) filters: Vec<Filter<'t>>,
}

/// What comes by ECDS.
#[derive(Debug)]
pub(crate) struct Extension<'t> {
    pub(crate) place: &'t Place,
    pub(crate) path: String,
    pub(crate) name: &'t str,
    pub(crate) tree: &'t Tree,
}

/// What documents say of one Envoy.
#[derive(Debug, Default)]
pub(crate) struct Envoy<'t> {
    pub(crate) managers: Vec<Manager<'t>>,
    pub(crate) clusters: Vec<Cluster<'t>>,
    /// The names of clusters, also of those that nothing else is known of.
    pub(crate) names: BTreeSet<&'t str>,
    pub(crate) extensions: Vec<Extension<'t>>,
    /// Route configurations, wherever they stand.
    pub(crate) routes: Vec<&'t Tree>,
    /// Bootstraps, with their path.
    pub(crate) bootstraps: Vec<(&'t Place, String, &'t Tree)>,
    /// Clusters may come that stand in none of the documents.
    pub(crate) has_more_clusters: bool,
}

/// A filter of a connection manager.
pub(crate) type Position<'e, 't> = (&'e Manager<'t>, usize);

impl Manager<'_> {
    /// Returns what its metrics begin with.
    pub(crate) fn metrics(&self) -> String {
        format!("http.{}.", text(self.tree, &["stat_prefix"]).unwrap_or_default().replace(':', "_"))
    }
}

impl<'t> Envoy<'t> {
    /// Reads documents; those of Kubernetes say nothing of one Envoy.
    pub(crate) fn read(documents: &'t [Document]) -> Self {
        let mut envoy = Self::default();
        for document in documents.iter().filter(|document| document.tree.get("apiVersion").is_none()) {
            envoy.visit(&document.place, "", &document.tree);
        }
        let bootstraps = envoy.bootstraps.iter().map(|(_, _, tree)| *tree);
        let is_dump = documents.iter().any(|document| document.tree.get("configs").is_some());
        envoy.has_more_clusters = !is_dump
            && (envoy.bootstraps.is_empty()
                || bootstraps.into_iter().any(|tree| at(tree, &["dynamic_resources", "cds_config"]).is_some()));
        envoy
    }

    fn visit(&mut self, place: &'t Place, path: &str, tree: &'t Tree) {
        if let Some(bootstrap) = tree.get("bootstrap").filter(|_| is_type(tree, DUMP)) {
            // What is static stands in the dump a second time.
            return self.bootstraps.push((place, join(path, "bootstrap"), bootstrap));
        }
        if named(tree, "static_resources").is_some() {
            self.bootstraps.push((place, path.to_owned(), tree));
        }
        if is_type(tree, MANAGER) {
            let (field, filters) = named(tree, "http_filters").unwrap_or((String::new(), &Tree::Null));
            let filter = |(index, filter): (String, &'t Tree)| Filter::new(join(&join(path, &field), &index), filter);
            let filters = filters.children().into_iter().map(filter).collect();
            self.managers.push(Manager { place, path: path.to_owned(), tree, filters });
        }
        if is_type(tree, ROUTES) {
            self.routes.push(tree);
        }
        let name = tree.text_at(&["name"]).unwrap_or_default();
        if is_type(tree, EXTENSION) {
            self.extensions.push(Extension { place, path: path.to_owned(), name, tree });
        }
        // In a bootstrap, the type follows from where it stands.
        let is_static = path.rsplit_once('[').is_some_and(|(list, _)| is_field(list, "static_resources.clusters"));
        let is_like_one = named(tree, "typed_extension_protocol_options").is_some();
        if (is_type(tree, CLUSTER) || is_static || is_like_one) && !name.is_empty() {
            self.names.insert(name);
            self.clusters.push(Cluster { place, path: path.to_owned(), name, tree });
        }
        if let Some((_, routes)) = named(tree, "route_config").filter(|(_, routes)| !is_type(routes, ROUTES)) {
            self.routes.push(routes);
        }
        for (child, value) in tree.children() {
            self.visit(place, &join(path, &child), value);
        }
    }

    /// Returns where a configuration is at work: in managers of this place, or by ECDS in those that ask for it by name.
    pub(crate) fn positions(&self, found: &Found) -> Vec<Position<'_, 't>> {
        let own = found.place.to_string();
        let here = |place: &Place, path: &str| is_in(&found.path, path) && place.to_string() == own;
        let by_name: Vec<_> = self.extensions.iter().filter(|one| here(one.place, &one.path)).collect();
        let is_at = |manager: &Manager<'_>, filter: &Filter<'_>| {
            here(manager.place, &filter.path)
                || filter.discovered.is_some() && by_name.iter().any(|extension| extension.name == filter.name)
        };
        let all =
            self.managers.iter().flat_map(|manager| (0..manager.filters.len()).map(move |index| (manager, index)));
        all.filter(|(manager, index)| manager.filters.get(*index).is_some_and(|filter| is_at(manager, filter)))
            .collect()
    }

    /// Returns the route configurations of a manager; `None` where they come from elsewhere.
    pub(crate) fn routes_of(&self, manager: &Manager<'t>) -> Option<Vec<&'t Tree>> {
        if let Some(own) = at(manager.tree, &["route_config"]) {
            return Some(vec![own]);
        }
        let name = text(manager.tree, &["rds", "route_config_name"])?;
        let of_name = self.routes.iter().filter(|routes| routes.text_at(&["name"]) == Some(name));
        let found: Vec<_> = of_name.copied().collect();
        (!found.is_empty()).then_some(found)
    }

    /// Returns whether all clusters are known.
    pub(crate) fn knows_all_clusters(&self) -> bool {
        !self.has_more_clusters && !self.names.is_empty()
    }
}

/// Calls for all routes of a route configuration.
pub(crate) fn each_route<'t>(config: &'t Tree, call: &mut impl FnMut(&'t Tree)) {
    for host in items(config, &["virtual_hosts"]) {
        items(host, &["routes"]).iter().for_each(&mut *call);
    }
}

/// Lists the clusters that a route leads to, by name.
pub(crate) fn clusters_of_route(route: &Tree) -> Vec<&str> {
    let one = text(route, &["route", "cluster"]);
    let weighted = items(route, &["route", "weighted_clusters", "clusters"]);
    one.into_iter().chain(weighted.iter().filter_map(|cluster| cluster.text_at(&["name"]))).collect()
}

/// Tells whether something in a route configuration overrides what a filter does, so that it does it here.
pub(crate) fn overrides(tree: &Tree, filter: &str) -> bool {
    let own = named(tree, "typed_per_filter_config").is_some_and(|(_, all)| all.get(filter).is_some());
    own || tree.children().iter().any(|(_, child)| overrides(child, filter))
}

/// Tells whether a path stands in what another leads to.
pub(crate) fn is_in(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| outer.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Tells whether a path ends with these fields, by either of their names.
fn is_field(path: &str, fields: &str) -> bool {
    let path = path.replace("staticResources", "static_resources");
    path.strip_suffix(fields).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
