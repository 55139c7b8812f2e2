//! What clusters speak to a mirror.

use super::balancing::{of_mirrors, place};
use super::{Finding, Subject};
use crate::facts::envoy::each_route;
use crate::facts::field::at;
use traffic_mirror::config::{Authority, Config, Literal, Rule};

/// Filters that are for gRPC alone.
const FILTERS: [&str; 4] = ["grpc_web", "grpc_stats", "grpc_json_transcoder", "grpc_http1_bridge"];

/// Finds clusters whose TLS takes its name from the host, where that ends with `-shadow`.
pub(super) fn auto_sni_suffix(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cluster in of_mirrors(subject) {
        let is_suffixed = subject.aims_at(cluster.name).any(|aim| matches!(aim.mirror.authority, Authority::Shadow));
        if let Some(path) = cluster.names_itself_by_host().filter(|_| is_suffixed) {
            let what =
                format!("the cluster {} takes the name for TLS from the copy's host, which has -shadow", cluster.name);
            let hint = "set disableShadowHostSuffixAppend: true or rewrite.authority in the mirror";
            findings.push(Finding::warning("auto-sni-suffix", format!("{}: {path}", cluster.place), what, hint));
        }
    }
    findings
}

/// Finds clusters that speak as the client does, which a copy has not.
pub(super) fn downstream_protocol(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for cluster in of_mirrors(subject) {
        if let Some((path, _)) = cluster.option("use_downstream_protocol_config") {
            let what = format!("the cluster {} sends copies by HTTP/1.1, whatever the client speaks", cluster.name);
            let hint = "give the mirror a cluster with explicit_http_config";
            findings.push(Finding::warning("downstream-protocol", format!("{}: {path}", cluster.place), what, hint));
        }
    }
    findings
}

/// Finds clusters that speak HTTP/1.1 to mirrors of gRPC calls.
pub(super) fn http1_for_grpc(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        let is_grpc = subject.envoy.positions(found).iter().any(|(manager, _)| {
            let mut has_route = false;
            for routes in subject.envoy.routes_of(manager).unwrap_or_default() {
                each_route(routes, &mut |route| has_route |= at(route, &["match", "grpc"]).is_some());
            }
            has_route || manager.filters.iter().any(|filter| FILTERS.contains(&filter.kind))
        });
        for cluster in of_mirrors(subject).filter(|cluster| cluster.is_http1()) {
            if rules_of(config, cluster.name).any(|rule| is_grpc || wants_grpc(rule)) {
                let what = format!("the cluster {} sends copies of gRPC calls by HTTP/1.1", cluster.name);
                let hint = "set http2_protocol_options in its explicit_http_config";
                let finding = Finding::warning("http1-for-grpc", place(cluster, "name"), what, hint);
                if !findings.contains(&finding) {
                    findings.push(finding);
                }
            }
        }
    }
    findings
}

/// Returns the rules that send copies to a cluster.
fn rules_of<'a>(config: &'a Config, cluster: &'a str) -> impl Iterator<Item = &'a Rule> {
    let sends = move |rule: &&Rule| rule.mirrors.iter().any(|mirror| super::clusters_of(mirror).contains(&cluster));
    config.rules.iter().map(|rule| &**rule).filter(sends)
}

/// Tells whether a rule asks for gRPC's content type.
pub(super) fn wants_grpc(rule: &Rule) -> bool {
    let headers = rule.matches.iter().flat_map(|entry| &entry.headers);
    let mut types =
        headers.filter(|(name, _)| name.as_str() == "content-type").filter_map(|(_, value)| value.literal());
    types.any(|literal| match literal {
        Literal::Exact(text) | Literal::Prefix(text) => text.starts_with(b"application/grpc"),
        Literal::Contains(_) | Literal::Within(_) => false,
    })
}
