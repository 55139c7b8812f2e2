//! Why copies were not sent, by the label `outcome`.

use super::facts::Facts;
use crate::facts::cluster::Cluster;
use crate::findings::Finding;
use crate::findings::clusters::nearest;
use crate::metrics::words::grouped;

/// Of this many, one is enough to be an error.
const FEW: f64 = 100.0;

/// Tells whether some copy has this outcome.
pub(super) fn has(facts: &Facts<'_>, outcome: &str) -> bool {
    facts.pairs().any(|(_, _, _, mirror)| mirror.outcomes.get(outcome) > 0.0)
}

pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (rule, _, target, mirror) in facts.pairs() {
        let place = format!("{}: rule {rule}, mirror {target}", facts.said.name);
        let selected = mirror.outcomes.sum() - mirror.outcomes.get("unsampled");
        for (outcome, count) in mirror.outcomes.0.iter().filter(|(_, count)| **count > 0.0) {
            let part = format!("{} of {} copies were not sent", grouped(*count), grouped(selected));
            if let Some(finding) = of_outcome(facts, rule, target, outcome, &place, &part) {
                findings.push(weighed(finding, *count, selected));
            }
        }
    }
    findings.extend(hosts(facts));
    findings
}

/// Makes a warning of what happens rarely.
pub(super) fn weighed(finding: Finding, count: f64, all: f64) -> Finding {
    if count * FEW >= all { finding } else { Finding { severity: crate::findings::Severity::Warning, ..finding } }
}

fn of_outcome(facts: &Facts<'_>, rule: &str, target: &str, outcome: &str, place: &str, part: &str) -> Option<Finding> {
    let place = place.to_owned();
    let what = |why: &str| format!("{part}: {why}");
    Some(match outcome {
        "no_cluster" => {
            let known = &facts.subject.envoy.names;
            let names = facts.clusters(rule, target);
            let unknown = names.iter().find(|name| !known.contains(*name));
            let like =
                unknown.and_then(|name| nearest(name, known.iter().copied())).map(|name| format!(": there is {name}"));
            let why = unknown.map_or_else(
                || "Envoy did not know the cluster, or could not take the copy's headers or path".to_owned(),
                |name| format!("there is no cluster {name}"),
            );
            let hint = format!("add the cluster, or correct the name{}", like.unwrap_or_default());
            Finding::error("unknown-cluster", place, what(&why), hint)
        }
        "no_upstream" => return no_upstream(facts, rule, target, place, part),
        "no_cluster_header" => Finding::error(
            "no-cluster-header",
            place,
            what("the request has no header that names a cluster"),
            "let the rule match only requests that have it",
        ),
        "cluster_not_allowed" => Finding::error(
            "cluster-not-allowed",
            place,
            what("the cluster that the request names is not in allowedClusters"),
            "add it, if it is meant to be reached",
        ),
        "in_flight_limit" => Finding::error(
            "in-flight-limit",
            place,
            what("as many copies as maxInFlight allows have no response yet"),
            "shorten the mirror's timeout, or raise maxInFlight; look at why the mirror is slow",
        ),
        "buffer_limit" => Finding::error(
            "buffer-limit",
            place,
            what("limits.maxBufferedBytes is used up"),
            "raise it, sample less, or set body: omit",
        ),
        "body_too_large" => Finding::error(
            "body-too-large",
            place,
            what("the body is above limits.maxBodyBytes"),
            "raise it, or set onOversizedBody: omit",
        ),
        "rate_limit" => Finding::error(
            "rate-limit",
            place,
            what("limits.maxRequestsPerSecond is used up"),
            "raise it, or burst if requests come in bursts",
        ),
        "redaction_failed" => Finding::error(
            "redaction-failed",
            place,
            what("a part of the request that `redact` names cannot be looked at"),
            "look at the content-type, content-encoding and form of the bodies; set body: omit, or exclude such requests",
        ),
        "incomplete" => Finding::error(
            "incomplete-requests",
            place,
            what("the request did not end as it should"),
            "look at why clients go away, or who responds before the body is read",
        ),
        _ => return None,
    })
}

/// Tells a breaker from a cluster without a host; of a cluster that has none for copies, the configuration tells.
fn no_upstream(facts: &Facts<'_>, rule: &str, target: &str, place: String, part: &str) -> Option<Finding> {
    const FULL: [&str; 4] = [
        "upstream_rq_pending_overflow",
        "upstream_cx_overflow",
        "upstream_rq_retry_overflow",
        "upstream_cx_pool_overflow",
    ];
    let clusters = facts.clusters(rule, target);
    let is_full = |cluster: &&str| {
        FULL.iter().any(|metric| facts.of_cluster(cluster, metric) > 0.0)
            || facts.stats().sum(&format!("cluster.{}.circuit_breakers.default.", cluster.replace(':', "_")), "_open")
                > 0.0
    };
    let is_empty = |cluster: &&str| facts.hosts(cluster).is_some_and(|(_, healthy)| healthy <= 0.0);
    let name = |cluster: Option<&&str>| cluster.map(|name| format!(" {name}")).unwrap_or_default();
    let full = clusters.iter().find(|cluster| is_full(cluster) && !is_empty(cluster));
    if full.is_some() {
        let what = format!("{part}: the circuit breaker of the cluster{} is open", name(full));
        let hint = "raise its circuit_breakers, or sample less; give the mirror a cluster of its own if it shares one";
        return Some(Finding::error("breaker-open", place, what, hint));
    }
    let has_none = |cluster: &Cluster<'_>| cluster.wants_metadata() || cluster.follows_the_connection();
    if facts.subject.envoy.clusters.iter().any(|cluster| clusters.contains(cluster.name) && has_none(cluster)) {
        return None;
    }
    let empty = clusters.iter().find(|cluster| is_empty(cluster)).or_else(|| clusters.first());
    let what = format!("{part}: the cluster{} had no host that takes a copy", name(empty));
    Some(Finding::error("no-healthy-host", place, what, NO_HOST))
}

const NO_HOST: &str = "look at its endpoints and health checks: Envoy's page /clusters";

/// Finds clusters of mirrors that have no healthy host now, whatever was counted.
fn hosts(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cluster in facts.plugins.clusters() {
        let is_known = facts.subject.envoy.names.contains(cluster);
        if let Some((total, _)) = facts.hosts(cluster).filter(|(_, healthy)| is_known && *healthy <= 0.0) {
            let what = format!("none of {total} hosts is healthy now");
            let place = format!("{}: cluster {cluster}", facts.said.name);
            findings.push(Finding::error("no-healthy-host", place, what, NO_HOST));
        }
    }
    findings
}
