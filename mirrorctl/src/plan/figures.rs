//! The figures of the traffic that a plan is made for: as they are given, or as a running Envoy shows them.

use std::collections::{BTreeMap, BTreeSet};
use traffic_mirror::config::{Config, Moment, Rule};

/// Envoy's limit of what it buffers of a response, unless its runtime has another.
pub(crate) const RESPONSE_LIMIT: f64 = 33_554_432.0;

/// The traffic, and the fleet that it comes to. Times are in seconds, sizes in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    /// Requests a second of one proxy.
    pub(crate) requests: f64,
    /// Of each rule by its name, the share of the requests. All others have what is left, in equal parts.
    pub(crate) shares: BTreeMap<String, f64>,
    /// Headers of a request.
    pub(crate) headers: f64,
    /// The body of a request, on average.
    pub(crate) body: f64,
    /// The longest body of a request.
    pub(crate) longest_body: f64,
    /// A mirror's response, headers and body.
    pub(crate) response: f64,
    /// How long a mirror takes to respond.
    pub(crate) latency: f64,
    /// The same, of mirrors by their labels.
    pub(crate) latencies: BTreeMap<String, f64>,
    /// How long the primary takes.
    pub(crate) primary: f64,
    /// How long the body of a request takes to arrive.
    pub(crate) upload: f64,
    /// The share of the copies that `when` asks for.
    pub(crate) wanted: f64,
    /// Worker threads of a proxy.
    pub(crate) workers: f64,
    /// The share of the requests that the busiest worker gets; `None`: all are as busy.
    pub(crate) busiest: Option<f64>,
    /// Proxies.
    pub(crate) replicas: f64,
    /// Of the responses to copies, how much Envoy buffers at most.
    pub(crate) response_limit: f64,
    /// How many requests and connections the circuit breakers of the mirrors' clusters let through; those that are not among them have
    /// Envoy's default, or in Istio none.
    pub(crate) breakers: BTreeMap<String, f64>,
    /// The same of all clusters.
    pub(crate) breaker: Option<f64>,
    /// Copies to all clusters go by HTTP/2, and share a connection.
    pub(crate) is_http2: bool,
    /// Clusters to which they do so anyway.
    pub(crate) http2: BTreeSet<String>,
    /// Upper bounds of Envoy's histograms.
    pub(crate) buckets: f64,
    /// Prometheus asks for series that have counted something alone.
    pub(crate) used_only: bool,
    /// How many series there may be of all proxies.
    pub(crate) most_series: f64,
    /// When it is, for ramps and periods; `None`: when the most is mirrored.
    pub(crate) at: Option<Moment>,
}

impl Figures {
    /// Returns the share of the requests that a rule decides.
    pub(crate) fn share(&self, config: &Config, rule: &Rule) -> f64 {
        let known = |rule: &Rule| self.shares.get(rule.name.as_str());
        if let Some(share) = known(rule) {
            return *share;
        }
        let others = config.rules.iter().filter(|rule| known(rule).is_none()).fold(0.0, |count, _| count + 1.0);
        (1.0 - self.shares.values().sum::<f64>()).max(0.0) / others
    }

    /// Returns whether copies to a cluster go by HTTP/2.
    pub(crate) fn is_http2(&self, cluster: Option<&str>) -> bool {
        self.is_http2 || cluster.is_some_and(|cluster| self.http2.contains(cluster))
    }

    /// Returns how long a mirror takes.
    pub(crate) fn latency(&self, label: &str) -> f64 {
        self.latencies.get(label).copied().unwrap_or(self.latency)
    }

    /// Returns the share of the requests that the busiest worker gets.
    pub(crate) fn busiest(&self) -> f64 {
        self.busiest.unwrap_or(1.0 / self.workers)
    }

    /// Returns how many requests the breaker of a cluster lets through; `None`: all.
    pub(crate) fn breaker(&self, cluster: &str) -> Option<f64> {
        // Istio's clusters have breakers only where a DestinationRule says so.
        let default = (!cluster.starts_with("outbound|")).then_some(1024.0);
        self.breaker.or_else(|| self.breakers.get(cluster).copied()).or(default)
    }
}
