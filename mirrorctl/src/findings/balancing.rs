//! Clusters whose load balancers need what a copy does not have.

use super::{Finding, Subject};
use crate::facts::cluster::Cluster;
use crate::tree::join;

/// Calls for each cluster that gets copies.
pub(super) fn of_mirrors<'a>(subject: &'a Subject<'_>) -> impl Iterator<Item = &'a Cluster<'a>> {
    subject.envoy.clusters.iter().filter(|cluster| subject.aims_at(cluster.name).next().is_some())
}

/// Says where a field of a cluster stands.
pub(super) fn place(cluster: &Cluster<'_>, field: &str) -> String {
    format!("{}: {}", cluster.place, join(&cluster.path, field))
}

/// Finds clusters that choose a host by a hash: of copies, Envoy hashes the host name alone.
pub(super) fn hash_lb(subject: &Subject<'_>) -> Vec<Finding> {
    let hashing = of_mirrors(subject).filter(|cluster| cluster.hashes_blindly());
    let finding = |cluster: &Cluster<'_>| {
        let what = format!("the cluster {} sends all copies of one host name to one endpoint", cluster.name);
        let hint = "another policy, or a load_balancing_policy with a hash_policy of its own";
        Finding::warning("hash-lb", place(cluster, "lb_policy"), what, hint)
    };
    hashing.map(finding).collect()
}

/// Finds clusters with subsets that have no host for a copy, which carries no metadata.
pub(super) fn subset_lb(subject: &Subject<'_>) -> Vec<Finding> {
    let strict = of_mirrors(subject).filter(|cluster| cluster.wants_metadata());
    let finding = |cluster: &Cluster<'_>| {
        let what = format!("the cluster {} has no host for copies, which carry no metadata", cluster.name);
        let hint = "give the mirror a cluster without subsets, or the fallback policy ANY_ENDPOINT or DEFAULT_SUBSET";
        Finding::warning("subset-lb", place(cluster, "lb_subset_config"), what, hint)
    };
    strict.map(finding).collect()
}

/// Finds clusters that send to where the client connected to.
pub(super) fn original_dst(subject: &Subject<'_>) -> Vec<Finding> {
    let following = of_mirrors(subject).filter(|cluster| cluster.follows_the_connection());
    let finding = |cluster: &Cluster<'_>| {
        let what = format!("the cluster {} has no host for copies, which have no client's connection", cluster.name);
        Finding::warning(
            "original-dst",
            place(cluster, "type"),
            what,
            "give the mirror a cluster with hosts of its own",
        )
    };
    following.map(finding).collect()
}
