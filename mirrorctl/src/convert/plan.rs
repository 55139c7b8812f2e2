//! Which configurations there are to be: one for each workload that routes are for.

use super::context::{Manifest, Notes};
use super::export::Export;
use super::gateways::{Gateways, Proxy};
use super::{http_route, virtual_service};
use crate::tree::Tree;
use std::collections::{HashMap, HashSet};

/// Proxies that cannot be told apart: the gateways that select one workload, or a single one.
pub(super) struct Workload<'a> {
    pub(super) proxies: Vec<Proxy>,
    /// The routes for it, the oldest first.
    pub(super) routes: Vec<&'a Manifest<'a>>,
}

impl Workload<'_> {
    /// Finds the only namespace that sees its routes, if it is one.
    pub(super) fn only_namespace(&self) -> Option<String> {
        let mut exports = self.routes.iter().map(|manifest| Export::of(manifest));
        let first = exports.next()?;
        let only = first.only()?.to_owned();
        exports.all(|other| other == first).then_some(only)
    }
}

/// All of them.
#[derive(Default)]
pub(super) struct Plan<'a> {
    pub(super) workloads: Vec<Workload<'a>>,
    /// The numbers of documents that are also for others than these, so that their mirrors are needed there.
    pub(super) needed: HashSet<usize>,
    /// All that routes are for, chosen or not.
    pub(super) named: HashSet<Proxy>,
}

/// What makes two proxies one workload.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Selector(String),
    Proxy(Proxy),
}

impl<'a> Plan<'a> {
    /// Finds the workloads that routes are for, or the chosen ones of them.
    pub(super) fn new(manifests: &'a [Manifest<'a>], gateways: &Gateways, chosen: &Chosen<'_>, notes: &Notes) -> Self {
        let mut routes: Vec<_> = manifests.iter().filter(|manifest| manifest.is_route()).collect();
        routes.sort_by_key(|manifest| manifest.age());
        let mut plan = Self::default();
        let mut places: HashMap<Key, usize> = HashMap::new();
        for manifest in routes {
            let (proxies, unknown) = match manifest.kind {
                "VirtualService" => (virtual_service::proxies(manifest), Vec::new()),
                _ => http_route::proxies(manifest),
            };
            for (path, kind) in &unknown {
                let what =
                    format_args!("{kind}: not converted for it: only Gateways and Services are known as parents");
                notes.note(&notes.warnings, manifest.place, path, what);
            }
            if !unknown.is_empty() || !proxies.iter().all(|proxy| chosen.has(proxy)) {
                plan.needed.insert(manifest.number);
            }
            plan.named.extend(proxies.iter().cloned());
            for proxy in proxies.into_iter().filter(|proxy| chosen.has(proxy)) {
                let place = *places.entry(key(&proxy, gateways)).or_insert(plan.workloads.len());
                if place == plan.workloads.len() {
                    plan.workloads.push(Workload { proxies: Vec::new(), routes: Vec::new() });
                }
                let Some(workload) = plan.workloads.get_mut(place) else { continue };
                if !workload.proxies.contains(&proxy) {
                    workload.proxies.push(proxy);
                }
                if workload.routes.last().is_none_or(|last| last.number != manifest.number) {
                    workload.routes.push(manifest);
                }
            }
        }
        plan.workloads.iter_mut().for_each(|workload| workload.proxies.sort());
        plan.workloads.sort_by(|one, other| one.proxies.cmp(&other.proxies));
        plan
    }
}

fn key(proxy: &Proxy, gateways: &Gateways) -> Key {
    match gateways.get(proxy).and_then(|gateway| gateway.selector.as_ref()) {
        Some(Tree::Map(labels)) => {
            let mut labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.json())).collect();
            labels.sort();
            Key::Selector(format!("{labels:?}"))
        }
        _ => Key::Proxy(proxy.clone()),
    }
}

/// What the user wants of several.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    pub(super) gateways: &'a [String],
    pub(super) mesh: bool,
}

impl Chosen<'_> {
    fn has(&self, proxy: &Proxy) -> bool {
        let is_named = |name: &String| matches!(proxy, Proxy::Gateway(_, own) if own == name);
        self.takes_all() || self.mesh && *proxy == Proxy::Mesh || self.gateways.iter().any(is_named)
    }

    pub(super) fn takes_all(&self) -> bool {
        self.gateways.is_empty() && !self.mesh
    }

    /// Finds what was asked for and is nowhere in the files.
    pub(super) fn missing(&self, named: &HashSet<Proxy>) -> Option<String> {
        let has = |name: &String| named.iter().any(|proxy| matches!(proxy, Proxy::Gateway(_, own) if own == name));
        if self.mesh && !named.contains(&Proxy::Mesh) {
            return Some("--mesh: no route in these files is for the mesh".to_owned());
        }
        let missing = self.gateways.iter().find(|name| !has(name))?;
        let mut known: Vec<_> = named.iter().map(Proxy::to_string).collect();
        known.sort();
        Some(format!("--gateway {missing}: no route in these files is for it; they are for {}", known.join(", ")))
    }
}
