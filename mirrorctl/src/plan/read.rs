//! What a running Envoy, or documents of one, say of its traffic.

use crate::doctor::facts::{Plugins, Said};
use crate::doctor::read::ask;
use crate::facts::cluster::Cluster;
use crate::facts::envoy::Envoy;
use crate::facts::field::{at, items, text};
use crate::findings::bootstrap::BUFFER_LIMIT;
use crate::input::Document;
use crate::metrics::counters::Counters;
use crate::metrics::text::samples;
use crate::reply::Progress;
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known; nothing of what could not be seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Observed {
    pub(crate) requests: Option<f64>,
    pub(crate) shares: BTreeMap<String, f64>,
    pub(crate) latencies: BTreeMap<String, f64>,
    pub(crate) primary: Option<f64>,
    /// How long requests wait for an outcome, by the label of the mirror.
    pub(crate) waits: BTreeMap<String, f64>,
    /// Bytes of a copy and of its response, on the wire.
    pub(crate) sent: Option<f64>,
    pub(crate) received: Option<f64>,
    pub(crate) workers: Option<f64>,
    pub(crate) response_limit: Option<f64>,
    pub(crate) breakers: BTreeMap<String, f64>,
    /// Clusters that take requests by HTTP/2.
    pub(crate) http2: BTreeSet<String>,
}

/// Asks an Envoy, twice with a pause.
///
/// # Errors
/// What to tell the user where it does not respond.
pub(crate) fn observed(name: &str, wait: Duration) -> Result<(Said, Observed), String> {
    let progress = Progress::new();
    progress.show(&format!("Reading {name} for {}", humantime::format_duration(wait)));
    let said = ask(name, wait)?;
    drop(progress);
    let page = crate::admin::Admin::new(name)?.get("/stats/prometheus?filter=traffic_mirror")?.unwrap_or_default();
    let mut observed = of_documents(&said.documents);
    let counters = said.stats.each_ref().map(|stats| stats.counters().unwrap_or_default());
    traffic(&counters, wait.as_secs_f64(), &mut observed);
    times(&page, &mut observed)?;
    sizes(&said, &mut observed);
    let workers = text_or_number(&said.server, &["command_line_options", "concurrency"]);
    observed.workers = workers.filter(|workers| *workers >= 1.0);
    let entry = said.runtime.get("entries").and_then(|entries| entries.get(BUFFER_LIMIT));
    observed.response_limit =
        entry.and_then(|entry| text_or_number(entry, &["final_value"])).or(observed.response_limit);
    Ok((said, observed))
}

/// Reads what the documents around a configuration say.
pub(crate) fn of_documents(documents: &[Document]) -> Observed {
    let envoy = Envoy::read(documents);
    let is_http2 = |cluster: &&Cluster<'_>| {
        let explicit = cluster.option("explicit_http_config");
        let options = explicit.as_ref().map_or(cluster.tree, |(_, options)| options);
        at(options, &["http2_protocol_options"]).is_some()
    };
    let http2 = envoy.clusters.iter().filter(is_http2).map(|cluster| cluster.name.to_owned());
    let mut observed = Observed { http2: http2.collect(), ..Observed::default() };
    for cluster in &envoy.clusters {
        let thresholds = items(cluster.tree, &["circuit_breakers", "thresholds"]);
        let default =
            thresholds.iter().find(|one| text(one, &["priority"]).is_none_or(|priority| priority == "DEFAULT"));
        let limits = default
            .into_iter()
            .flat_map(|one| ["max_requests", "max_connections"].map(|name| text_or_number(one, &[name])));
        if let Some(least) = limits.flatten().reduce(f64::min) {
            observed.breakers.insert(cluster.name.to_owned(), least);
        }
    }
    let layers = envoy.bootstraps.iter().flat_map(|(_, _, tree)| items(tree, &["layered_runtime", "layers"]));
    let mut own = layers.filter_map(|layer| at(layer, &["static_layer"])?.get(BUFFER_LIMIT));
    observed.response_limit = own.next_back().and_then(number);
    observed
}

/// Takes what came between two readings.
fn traffic([first, last]: &[Counters; 2], seconds: f64, observed: &mut Observed) {
    let (gained, _) = last.gained(first);
    let seen = gained.seen().unwrap_or_else(|| gained.decided());
    if seen > 0.0 && seconds > 0.0 {
        observed.requests = Some(seen / seconds);
        let waits = gained.pairs().filter_map(|(rule, _, name, mirror)| {
            // Little's law, the other way round.
            let before = first.rules.get(rule)?.mirrors.get(name)?.waiting;
            let decided = mirror.decided.filter(|decided| *decided > 0.0)?;
            Some((name.to_owned(), (before + mirror.waiting) / 2.0 / (decided / seconds)))
        });
        observed.waits = waits.collect();
        observed.shares = gained.rules.iter().map(|(name, rule)| (name.clone(), rule.requests / seen)).collect();
    }
}

/// Takes the means of times since Envoy started.
fn times(page: &str, observed: &mut Observed) -> Result<(), String> {
    let (mut mirrors, mut primary) = (BTreeMap::<String, [f64; 2]>::new(), [0.0; 2]);
    for sample in samples(page)? {
        let sums = match sample.name {
            "response_time_ms_sum" | "response_time_ms_count" => {
                mirrors.entry(sample.labels.get("mirror").cloned().unwrap_or_default()).or_default()
            }
            "primary_response_time_ms_sum" | "primary_response_time_ms_count" => &mut primary,
            _ => continue,
        };
        let [sum, count] = sums;
        if sample.name.ends_with("_sum") { *sum += sample.value } else { *count += sample.value }
    }
    let mean = |[sum, count]: [f64; 2]| (count > 0.0).then(|| sum / count / 1000.0);
    observed.latencies = mirrors.into_iter().filter_map(|(mirror, sums)| Some((mirror, mean(sums)?))).collect();
    observed.primary = mean(primary);
    Ok(())
}

/// Takes the sizes of copies and responses, of all that went to the mirrors' clusters since Envoy started.
fn sizes(said: &Said, observed: &mut Observed) {
    let plugins = Plugins::of(&said.documents);
    let clusters: BTreeSet<_> = plugins.clusters();
    let [_, stats] = &said.stats;
    let sum = |what: &str| -> f64 {
        clusters.iter().map(|name| stats.get(&format!("cluster.{}.{what}", name.replace(':', "_")))).sum()
    };
    let requests = sum("upstream_rq_total");
    let mean = |what: &str| (requests > 0.0).then(|| sum(what) / requests);
    observed.sent = mean("upstream_cx_tx_bytes_total");
    observed.received = mean("upstream_cx_rx_bytes_total");
}

/// Reads a number, which Envoy also writes as text.
fn text_or_number(tree: &Tree, path: &[&str]) -> Option<f64> {
    number(at(tree, path)?)
}

fn number(tree: &Tree) -> Option<f64> {
    match tree {
        Tree::Number(number) => number.as_f64(),
        tree => tree.text()?.parse().ok(),
    }
}
