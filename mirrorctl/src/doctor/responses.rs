//! Why copies that were sent are not answered, by the label `class`, and by what Envoy counts of the mirror's cluster.

use super::facts::Facts;
use super::outcomes::weighed;
use crate::findings::Finding;
use crate::metrics::counters::Mirror;
use crate::metrics::words::grouped;
use std::collections::BTreeSet;

/// What Envoy counts of TLS that failed.
const TLS: [&str; 5] = [
    "ssl.connection_error",
    "ssl.fail_verify_san",
    "ssl.fail_verify_error",
    "ssl.fail_verify_no_cert",
    "ssl.fail_verify_cert_hash",
];

pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (rule, _, target, mirror) in facts.pairs() {
        let place = format!("{}: rule {rule}, mirror {target}", facts.said.name);
        let clusters = facts.clusters(rule, target);
        let sent = mirror.sent();
        if let Some(finding) = failed(facts, &clusters, mirror, &place) {
            findings.push(weighed(finding, mirror.classes.get("failed"), sent));
        }
        if let Some((finding, count)) = late(facts, &clusters, mirror, &place) {
            findings.push(weighed(finding, count, sent));
        }
        findings.extend(errors(mirror, &place));
    }
    findings
}

fn sum(facts: &Facts<'_>, clusters: &BTreeSet<&str>, metrics: &[&str]) -> f64 {
    clusters.iter().flat_map(|cluster| metrics.iter().map(|metric| facts.of_cluster(cluster, metric))).sum()
}

/// Tells whether TLS to some mirror fails.
pub(super) fn fails_by_tls(facts: &Facts<'_>) -> bool {
    sum(facts, &facts.plugins.clusters(), &TLS) > 0.0
}

/// Finds why the mirror did not respond.
fn failed(facts: &Facts<'_>, clusters: &BTreeSet<&str>, mirror: &Mirror, place: &str) -> Option<Finding> {
    let count = mirror.classes.get("failed");
    if count <= 0.0 {
        return None;
    }
    let (place, part) =
        (place.to_owned(), format!("{} of {} copies got no response", grouped(count), grouped(mirror.sent())));
    let count_of = |metrics: &[&str]| sum(facts, clusters, metrics);
    if count_of(&TLS) > 0.0 {
        let names = count_of(&["ssl.fail_verify_san"]) > 0.0;
        let why = if names { "the certificate has another name" } else { "the handshake failed" };
        let hint = "set disableShadowHostSuffixAppend: true or rewrite.authority if the host is the TLS name; does the mirror speak TLS?";
        return Some(Finding::error("tls-fails", place, format!("{part}: TLS fails: {why}"), hint));
    }
    if count_of(&["upstream_cx_connect_fail", "upstream_cx_connect_timeout"]) > 0.0 {
        let what = format!("{part}: connections to it are refused, or take too long");
        let hint = "look at whether the mirror listens on the endpoints that Envoy's page /clusters shows";
        return Some(Finding::error("connect-fails", place, what, hint));
    }
    if streamed(facts, clusters) >= count {
        let what = format!("{part} that was complete: it broke off, or is above http.async_response_buffer_limit");
        let hint = "raise the limit, or exclude requests with large responses";
        return Some(Finding::error("response-too-large", place, what, hint));
    }
    let what =
        format!("{part}: the mirror closed the connection, reset the request, or does not speak HTTP as Envoy does");
    let hint = "compare the protocols (HTTP/1.1, HTTP/2, TLS); set the cluster's idle_timeout below the mirror's";
    Some(Finding::error("mirror-resets", place, what, hint))
}

/// Returns how many responses began and were never complete, as far as the clusters serve copies alone.
fn streamed(facts: &Facts<'_>, clusters: &BTreeSet<&str>) -> f64 {
    if clusters.iter().any(|cluster| facts.is_shared(cluster)) {
        return 0.0;
    }
    let classes = ["2xx", "3xx", "4xx"];
    let begun: f64 = clusters
        .iter()
        .flat_map(|cluster| classes.map(|class| facts.of_cluster(cluster, &format!("upstream_rq_{class}"))))
        .sum();
    let mut complete = 0.0;
    for (rule, _, target, mirror) in facts.pairs() {
        if facts.clusters(rule, target).iter().any(|cluster| clusters.contains(cluster)) {
            // A gRPC call that fails is one of these with a status of 200.
            complete += ["2xx", "3xx", "4xx", "5xx"].iter().map(|class| mirror.classes.get(class)).sum::<f64>();
        }
    }
    begun - complete
}

/// Finds responses that take too long, and tells those that never end from those that never begin.
fn late(facts: &Facts<'_>, clusters: &BTreeSet<&str>, mirror: &Mirror, place: &str) -> Option<(Finding, f64)> {
    let late = mirror.classes.get("timeout");
    let open = mirror.sent() - mirror.classes.sum();
    let begun = streamed(facts, clusters) - mirror.classes.get("failed");
    let place = place.to_owned();
    if begun > 0.0 && (late > 0.0 || (open > 0.0 && is_idle(facts))) {
        let what =
            format!("{begun} responses began and did not end: each keeps a copy in flight until the mirror's timeout");
        let hint = "exclude paths that stream (SSE, long poll) by a rule with mirrors: [], or shorten the timeout";
        return Some((Finding::error("streams-held", place, what, hint), begun));
    }
    let what = format!("{} of {} copies got no response in time", grouped(late), grouped(mirror.sent()));
    let hint = "look at why the mirror is slow, or raise its timeout";
    (late > 0.0).then(|| (Finding::error("times-out", place, what, hint), late))
}

/// Tells whether no response came between the readings, while copies are in flight.
fn is_idle(facts: &Facts<'_>) -> bool {
    facts.counters.iter().all(|[first, last]| {
        let responses = |counters: &crate::metrics::counters::Counters| {
            counters.pairs().map(|(_, _, _, mirror)| mirror.classes.sum()).sum::<f64>()
        };
        last.in_flight > 0.0 && responses(first) >= responses(last)
    })
}

/// Finds mirrors that respond with errors.
fn errors(mirror: &Mirror, place: &str) -> Option<Finding> {
    let [good, refused, broken] = [&["1xx", "2xx", "3xx"][..], &["4xx"], &["5xx"]]
        .map(|classes| classes.iter().map(|class| mirror.classes.get(class)).sum::<f64>());
    let errors = refused + broken;
    if errors <= 0.0 {
        return None;
    }
    let what = format!(
        "{} of {} responses are errors: {} 4xx, {} 5xx",
        grouped(errors),
        grouped(good + errors),
        grouped(refused),
        grouped(broken)
    );
    let hint = if refused > broken {
        "look at the host (-shadow, rewrite.authority) and at credentials that the copy does not have"
    } else {
        "look at the mirror's own log"
    };
    let finding = Finding::error("mirror-errors", place.to_owned(), what, hint);
    Some(if good > 0.0 { Finding { severity: crate::findings::Severity::Warning, ..finding } } else { finding })
}
