//! Clusters that are not there, that serve others too, or that send copies on.

use super::balancing::of_mirrors;
use super::{Finding, Subject, clusters_of, place};
use crate::facts::envoy::{clusters_of_route, each_route};
use crate::facts::field::{at, text};
use crate::tree::Tree;

/// How alike two names are at least, of which one may be meant by the other.
const ALIKE: f64 = 0.7;

/// Finds mirrors whose cluster stands nowhere, where all clusters are known.
pub(super) fn unknown_cluster(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !subject.envoy.knows_all_clusters() {
        return findings;
    }
    let known = &subject.envoy.names;
    for aim in subject.aims() {
        for name in clusters_of(aim.mirror) {
            if !known.contains(name) {
                let hint = nearest(name, known.iter().copied()).map_or_else(
                    || "add the cluster, or correct the name".to_owned(),
                    |nearest| format!("add the cluster, or correct the name: there is {nearest}"),
                );
                let what = format!("there is no cluster {name}: copies are counted as no_cluster");
                findings.push(Finding::warning("unknown-cluster", place(aim.found, &aim.path), what, hint));
            }
        }
    }
    findings
}

/// Returns the name that is most like another one.
pub(crate) fn nearest<'n>(name: &str, all: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let measured =
        all.map(|other| (strsim::jaro_winkler(name, other), other)).filter(|(likeness, _)| *likeness > ALIKE);
    measured.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, name)| name)
}

/// Finds mirrors' clusters to which routes lead, too.
pub(super) fn shared_cluster(subject: &Subject<'_>) -> Vec<Finding> {
    let mut routed = Vec::new();
    for routes in &subject.envoy.routes {
        each_route(routes, &mut |route| routed.extend(clusters_of_route(route)));
    }
    let mut findings: Vec<Finding> = Vec::new();
    for aim in subject.aims() {
        for name in clusters_of(aim.mirror).into_iter().filter(|name| routed.contains(name)) {
            let what = format!(
                "a route leads to the cluster {name}, too: copies take its connections, circuit breakers and outlier detection"
            );
            let hint = "give the mirror a cluster of its own with the same endpoints";
            findings.push(Finding::warning("shared-cluster", place(aim.found, &aim.path), what, hint));
        }
    }
    findings
}

/// Finds mirrors' clusters that send copies again, or copies of copies: since Envoy 1.37 a cluster may say so by itself, and
/// then for what the plugin sends as well. Routes do not count, for copies have none.
pub(super) fn retries_copies(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cluster in of_mirrors(subject) {
        let mut warn = |path: &str, what: &str| {
            let field = path.rsplit('.').next().unwrap_or(path);
            let (place, name) = (format!("{}: {path}", cluster.place), cluster.name);
            let hint = format!("give the mirror a cluster without {field}");
            findings.push(Finding::warning("retries-copies", place, format!("the cluster {name} {what}"), hint));
        };
        if let Some((path, _)) = cluster.option("retry_policy").filter(|(_, policy)| retries(policy)) {
            warn(&path, "retries the copies that it gets: one may be sent several times, and is counted once");
        }
        let policies = cluster.option("request_mirror_policies");
        if let Some((path, _)) = policies.filter(|(_, policies)| !policies.items().is_empty()) {
            warn(&path, "mirrors the copies that it gets: copies of copies, which nothing counts");
        }
    }
    findings
}

/// Tells whether a retry policy retries anything.
fn retries(policy: &Tree) -> bool {
    let is_never = at(policy, &["num_retries"]).is_some_and(|number| *number == 0u64.into());
    text(policy, &["retry_on"]).is_some_and(|conditions| !conditions.is_empty()) && !is_never
}
