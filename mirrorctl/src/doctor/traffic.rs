//! Whether requests reach the plugin, and whether it does something with them. Told from totals since the start; what goes on
//! now, from two readings.

use super::facts::Facts;
use crate::findings::{Finding, Severity};
use crate::metrics::counters::Counters;
use crate::metrics::words::counts;

/// Filters that let some requests through, and respond to others.
const RESPONDING: [&str; 8] =
    ["health_check", "ext_authz", "jwt_authn", "rbac", "ratelimit", "local_ratelimit", "cors", "oauth2"];
/// Of this many requests, at least one is seen.
const FEW: f64 = 100.0;

pub(super) fn find(facts: &Facts<'_>) -> Vec<Finding> {
    let Some([first, last]) = facts.counters.as_ref().filter(|_| !facts.plugins.is_empty()) else { return Vec::new() };
    let place = facts.said.name.clone();
    let [before, requests] = facts.of_managers("downstream_rq_total");
    let seen = last.seen().unwrap_or_else(|| last.decided() + last.ignored.sum());
    if facts.managers().is_empty() {
        return handled(facts, last, seen);
    }
    if requests <= 0.0 && seen <= 0.0 {
        let what = "the listener with the plugin has had no request".to_owned();
        let hint = "send one there; in Istio, look at where the traffic goes: another port, another proxy, or past it";
        return vec![Finding::error("no-traffic", place, what, hint)];
    }
    // Of a plugin that came later, the Envoy has counted requests that it cannot have seen.
    if seen <= 0.0 || (seen * FEW < requests && facts.is_as_old_as_envoy()) {
        let what = format!("{requests} requests came since the Envoy started, and the plugin has seen {seen}");
        return vec![Finding::error("not-reached", place, what, not_reached(facts))];
    }
    let is_silent = last.seen() == first.seen() && requests > before;
    let mut findings = handled(facts, last, seen);
    if is_silent {
        let what = format!("{} requests came while it was watched, and the plugin has seen none", requests - before);
        let has_others = facts.managers().iter().any(|(manager, index)| {
            manager.filters.iter().take(*index).any(|filter| RESPONDING.contains(&filter.kind))
        });
        let finding = Finding::error("not-reached", place, what, not_reached(facts));
        findings.push(if has_others { Finding { severity: Severity::Warning, ..finding } } else { finding });
    }
    findings
}

/// Names what stands before the plugin.
fn not_reached(facts: &Facts<'_>) -> String {
    let managers = facts.managers();
    let before = managers.iter().flat_map(|(manager, index)| manager.filters.iter().take(*index));
    let mut names: Vec<_> =
        before.map(|filter| if filter.kind.is_empty() { filter.name } else { filter.kind }).collect();
    names.dedup();
    if names.is_empty() {
        "search Envoy's log for a trap of the module (component wasm); restart the proxy".to_owned()
    } else {
        format!(
            "look at the filters before it, which may respond: {}; and search Envoy's log for a trap (component wasm)",
            names.join(", ")
        )
    }
}

/// Tells whether the plugin has seen a request.
pub(super) fn is_seen(facts: &Facts<'_>) -> bool {
    facts
        .counters
        .as_ref()
        .is_some_and(|[_, last]| last.decided() + last.ignored.sum() + last.unmatched.unwrap_or_default() > 0.0)
}

/// Finds why nothing is copied of what the plugin sees.
fn handled(facts: &Facts<'_>, last: &Counters, seen: f64) -> Vec<Finding> {
    let place = facts.said.name.clone();
    let count = |outcome: &str| last.pairs().map(|(_, _, _, mirror)| mirror.outcomes.get(outcome)).sum::<f64>();
    let outcomes: f64 = last.pairs().map(|(_, _, _, mirror)| mirror.outcomes.sum()).sum();
    let waiting: f64 = last.pairs().map(|(_, _, _, mirror)| mirror.waiting).sum();
    let ignored = last.ignored.sum();
    if seen <= 0.0 || (outcomes <= 0.0 && waiting > 0.0) {
        return Vec::new();
    }
    if outcomes <= 0.0 && ignored > 0.0 {
        let what = format!("all requests that a rule matched are ignored: {}", counts(&last.ignored, None));
        return vec![Finding::error("all-ignored", place, what, ignored_hint(last))];
    }
    if outcomes <= 0.0 {
        let without = last.rules.iter().filter(|(_, rule)| rule.mirrors.is_empty() && rule.requests > 0.0);
        let without: Vec<_> =
            without.map(|(name, rule)| format!("; rule {name}, without mirrors, decided {}", rule.requests)).collect();
        let what = format!("no rule with a mirror has matched one of {seen} requests{}", without.concat());
        let hint = "`mirrorctl explain FILE --request 'GET http://host/path'` names the condition that fails";
        return vec![Finding::error("nothing-matches", place, what, hint)];
    }
    let [unsampled, unscheduled, unwanted] = ["unsampled", "unscheduled", "not_wanted"].map(count);
    if unsampled + unscheduled + unwanted < outcomes {
        return Vec::new();
    }
    vec![if unwanted >= unsampled.max(unscheduled) {
        let what = format!("the responses to {unwanted} requests are none that `when` asks for");
        Finding::error("none-wanted", place, what, "look at the statuses and times of the primary, and at `when`")
    } else if unscheduled >= unsampled {
        let what = format!("{unscheduled} requests came before `from` or after `until` of their mirrors");
        Finding::error("all-unscheduled", place, what, "look at the times, and at the clock of the proxy")
    } else {
        let what = format!("none of {outcomes} requests was selected by its mirror's share");
        let hint =
            "raise percentage or fraction, or wait: few requests, or few keys of consistentHash, may all fall outside";
        Finding::error("all-unsampled", place, what, hint)
    }]
}

fn ignored_hint(last: &Counters) -> &'static str {
    let most = last.ignored.0.iter().max_by(|(_, one), (_, other)| one.total_cmp(other)).map(|(reason, _)| &**reason);
    match most {
        Some("marked") => {
            "a client or another mirror sends the marker header, or a filter before the plugin adds it, whatever its value: remove it there"
        }
        Some("unrouted") => "put the plugin after the filter that chooses the route, or set unrouted: mirror",
        _ => "upgrades and tunnels cannot be copied",
    }
}
