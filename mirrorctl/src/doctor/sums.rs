//! Whether the counters add up, and gauges that do not move.

use super::facts::Facts;
use crate::findings::Finding;
use crate::metrics::sums::mismatches;

pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let Some([first, last]) = &facts.counters else { return Vec::new() };
    let mut findings = Vec::new();
    for what in mismatches(first, last) {
        let hint = "no copy is lost by it: /reset_counters, a hot restart, a trap or an older module; restart the proxy to begin anew";
        findings.push(Finding::warning("does-not-add-up", facts.said.name.clone(), what, hint));
    }
    // Without a manager, who knows what comes?
    if facts.managers().is_empty() {
        return findings;
    }
    let mut stuck = |what: String| {
        let hint = "a VM has trapped: search Envoy's log (component wasm), and restart the proxy";
        findings.push(Finding::error("waits-stuck", facts.said.name.clone(), what, hint));
    };
    if facts.of_managers("downstream_rq_active") == [0.0, 0.0] {
        for (rule, _, target, mirror) in last.pairs().filter(|(_, _, _, mirror)| mirror.waiting > 0.0) {
            let before = first.rules.get(rule).and_then(|rule| rule.mirrors.get(target)).map(|mirror| mirror.waiting);
            if before == Some(mirror.waiting) {
                stuck(format!("{} requests wait for {rule} → {target}, and no request is open", mirror.waiting));
            }
        }
        if last.buffered_bytes > 0.0 && first.buffered_bytes == last.buffered_bytes {
            stuck(format!("{} bytes are buffered, and no request is open", last.buffered_bytes));
        }
    }
    let names_clusters = facts.plugins.mirrors().all(|(_, mirror)| !crate::findings::clusters_of(mirror).is_empty());
    let active: f64 = facts
        .plugins
        .clusters()
        .iter()
        .map(|cluster| {
            facts.of_cluster(cluster, "upstream_rq_active") + facts.of_cluster(cluster, "upstream_rq_pending_active")
        })
        .sum();
    if last.in_flight > 0.0 && first.in_flight == last.in_flight && active <= 0.0 && names_clusters {
        stuck(format!("{} copies are in flight, and no mirror's cluster has one", last.in_flight));
    }
    findings
}
