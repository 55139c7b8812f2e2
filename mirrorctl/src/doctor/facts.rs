//! What is known of a running Envoy: values that were read once.

use crate::facts::envoy::{Envoy, Manager, clusters_of_route, each_route};
use crate::facts::field::{items, text};
use crate::findings::{Subject, clusters_of};
use crate::found::{Found, configurations};
use crate::input::Document;
use crate::metrics::counters::{Counters, Mirror as Count, Rule};
use crate::metrics::plain::Stats;
use crate::tree::Tree;
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use traffic_mirror::config::{Config, Mirror, Violations};

/// How long an Envoy may take to get its first configuration.
const STARTING: Duration = Duration::from_secs(60);

/// What was read, as it was said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// What the Envoy is called.
    pub(crate) name: String,
    /// Listeners, clusters, routes and what comes by ECDS, as they are at work.
    pub(crate) documents: Vec<Document>,
    /// Listeners that were rejected.
    pub(crate) rejected: Vec<Document>,
    /// The names of all clusters, where the documents do not have all.
    pub(crate) clusters: Vec<String>,
    pub(crate) server: Tree,
    pub(crate) runtime: Tree,
    /// The page `/clusters`; `Null` where nothing of it is needed.
    pub(crate) hosts: Tree,
    /// The first and the last reading.
    pub(crate) stats: [Stats; 2],
}

/// The plugin's configurations in documents.
pub(crate) struct Plugins {
    pub(crate) valid: Vec<(Found, Config)>,
    pub(crate) wrong: Vec<(Found, Violations)>,
}

impl Plugins {
    pub(crate) fn of(documents: &[Document]) -> Self {
        let (mut valid, mut wrong) = (Vec::new(), Vec::new());
        // Documents of Envoy's alone: what is no plugin there is something else.
        let found =
            documents.iter().flat_map(configurations).filter(|found| !found.is_foreign && !found.path.is_empty());
        for found in found {
            match found.read() {
                Ok(config) => valid.push((found, config)),
                Err(violations) => wrong.push((found, violations)),
            }
        }
        Self { valid, wrong }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.valid.is_empty() && self.wrong.is_empty()
    }

    /// Lists the clusters that are known to get copies.
    pub(crate) fn clusters(&self) -> BTreeSet<&str> {
        self.mirrors().flat_map(|(_, mirror)| clusters_of(mirror)).collect()
    }

    /// Lists all mirrors, with the names of their rules.
    pub(crate) fn mirrors(&self) -> impl Iterator<Item = (&str, &Mirror)> {
        let rules = self.valid.iter().flat_map(|(_, config)| &config.rules);
        rules.flat_map(|rule| rule.mirrors.iter().map(|mirror| (rule.name.as_str(), mirror)))
    }
}

/// What is known of a running Envoy.
pub(crate) struct Facts<'a> {
    pub(crate) said: &'a Said,
    pub(crate) plugins: &'a Plugins,
    /// Those of listeners that were rejected.
    pub(crate) rejected: Plugins,
    pub(crate) subject: Subject<'a>,
    /// What the filter counted, first and last; `None` where it counts nothing.
    pub(crate) counters: Option<[Counters; 2]>,
}

impl<'a> Facts<'a> {
    pub(crate) fn new(said: &'a Said, plugins: &'a Plugins) -> Self {
        let mut envoy = Envoy::read(&said.documents);
        envoy.names.extend(said.clusters.iter().map(String::as_str));
        let subject = Subject { documents: &said.documents, plugins: &plugins.valid, envoy, shows_literals: false };
        let [first, last] = said.stats.each_ref().map(Stats::counters);
        let counters = first.zip(last).map(|(first, last)| [first, last]);
        Self { said, plugins, rejected: Plugins::of(&said.rejected), subject, counters }
    }

    /// Returns the last reading.
    pub(crate) fn stats(&self) -> &Stats {
        let [_, last] = &self.said.stats;
        last
    }

    /// Returns the managers in which the plugin is, each once, with its first position.
    pub(crate) fn managers(&self) -> Vec<(&Manager<'a>, usize)> {
        let valid = self.plugins.valid.iter().map(|(found, _)| found);
        let all = valid.chain(self.plugins.wrong.iter().map(|(found, _)| found));
        let mut managers: Vec<(&Manager<'_>, usize)> = Vec::new();
        for (manager, index) in all.flat_map(|found| self.subject.envoy.positions(found)) {
            if !managers.iter().any(|(known, _)| std::ptr::eq(*known, manager)) {
                managers.push((manager, index));
            }
        }
        managers
    }

    /// Returns when a configuration came, as the dump has it.
    pub(crate) fn since(&self, found: &Found) -> Option<&str> {
        let document = self.said.documents.iter().find(|one| one.place.to_string() == found.place.to_string())?;
        let resource = resource(document, &found.path)?;
        text(resource, &["last_updated"]).or_else(|| text(resource, &["active_state", "last_updated"]))
    }

    /// Tells whether the plugin is there since the Envoy started, so that both have counted the same requests.
    pub(crate) fn is_as_old_as_envoy(&self) -> bool {
        let dumps = self.said.documents.iter().flat_map(|document| items(&document.tree, &["configs"]));
        let started =
            dumps.filter(|dump| dump.get("bootstrap").is_some()).find_map(|dump| text(dump, &["last_updated"]));
        let is_old = |came: Option<&str>| {
            let came_and_started = came.and_then(time).zip(started.and_then(time));
            came_and_started.is_some_and(|(came, started)| {
                came.duration_since(started).is_ok_and(|late| late < STARTING) || came < started
            })
        };
        self.plugins.valid.iter().all(|(found, _)| is_old(self.since(found)))
    }

    /// Adds up a metric of the managers in which the plugin is, first and last.
    pub(crate) fn of_managers(&self, metric: &str) -> [f64; 2] {
        let names: BTreeSet<_> = self.managers().iter().map(|(manager, _)| manager.metrics() + metric).collect();
        self.said.stats.each_ref().map(|stats| names.iter().map(|name| stats.get(name)).sum())
    }

    /// Returns the clusters of a rule's mirror, by the names that its counters have.
    pub(crate) fn clusters(&self, rule: &str, mirror: &str) -> BTreeSet<&str> {
        let is_meant = |name: &str, one: &Mirror| name == rule && one.label.as_str() == mirror;
        let meant = self.plugins.mirrors().filter(|(name, one)| is_meant(name, one));
        meant.flat_map(|(_, mirror)| clusters_of(mirror)).collect()
    }

    /// Adds up a metric of a cluster.
    pub(crate) fn of_cluster(&self, cluster: &str, metric: &str) -> f64 {
        self.stats().get(&metric_of(cluster, metric))
    }

    /// Returns what is counted of each rule's mirrors.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &Rule, &str, &Count)> {
        self.counters.iter().flat_map(|[_, last]| last.pairs())
    }

    /// Tells whether routes lead to a cluster, too, so that its metrics are not the copies' alone.
    pub(crate) fn is_shared(&self, cluster: &str) -> bool {
        let mut is_routed = false;
        for routes in &self.subject.envoy.routes {
            each_route(routes, &mut |route| {
                is_routed |= clusters_of_route(route).contains(&cluster);
            });
        }
        is_routed
    }

    /// Returns how many hosts a cluster has, and how many of them get requests; `None` where that is not known.
    pub(crate) fn hosts(&self, cluster: &str) -> Option<(f64, f64)> {
        let known = |metric: &str| self.stats().known(&metric_of(cluster, metric));
        let of_stats = known("membership_total").zip(known("membership_healthy"));
        of_stats.or_else(|| {
            let all = self.said.hosts.get("cluster_statuses")?.items();
            let hosts = all.iter().find(|one| one.text_at(&["name"]) == Some(cluster))?.get("host_statuses");
            let hosts = hosts.map(Tree::items).unwrap_or_default();
            let is_healthy = |host: &&Tree| {
                let health = host.get("health_status");
                let status = health.and_then(|health| health.text_at(&["eds_health_status"]));
                let failures = health.map(|health| health.fields().len()).unwrap_or_default();
                matches!(status, None | Some("HEALTHY" | "UNKNOWN")) && failures <= 1
            };
            #[allow(clippy::cast_precision_loss, reason = "a number of hosts")]
            Some((hosts.len() as f64, hosts.iter().filter(is_healthy).count() as f64))
        })
    }
}

/// Returns the resource of a dump in which a path stands.
fn resource<'d>(document: &'d Document, path: &str) -> Option<&'d Tree> {
    let mut names = path.split('.');
    let of_list = |name: &str| {
        let (list, index) = name.strip_suffix(']')?.split_once('[')?;
        Some((list.to_owned(), index.parse::<usize>().ok()?))
    };
    let (list, index) = of_list(names.next()?)?;
    let first = document.tree.get(&list)?.items().get(index)?;
    // In a complete dump, a resource stands one level deeper than where it was asked for alone.
    let deeper = names.next().and_then(of_list).and_then(|(list, index)| first.get(&list)?.items().get(index));
    deeper.or(Some(first))
}

fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

/// Names a metric of a cluster.
fn metric_of(cluster: &str, metric: &str) -> String {
    format!("cluster.{}.{metric}", cluster.replace(':', "_"))
}
