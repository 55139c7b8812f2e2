//! The other filters of a connection manager: what they do before the plugin, and after it.

use super::{Finding, Subject};
use crate::facts::envoy::{Envoy, Manager, overrides};
use crate::facts::field::{at, is_set, named, text};
use crate::facts::filter::Filter;
use crate::tree::Tree;
use traffic_mirror::config::Unrouted;

/// Filters that may respond by themselves.
const REFUSING: [&str; 14] = [
    "ext_authz",
    "jwt_authn",
    "rbac",
    "ratelimit",
    "local_ratelimit",
    "rate_limit_quota",
    "cors",
    "csrf",
    "fault",
    "oauth2",
    "basic_auth",
    "api_key_auth",
    "admission_control",
    "health_check",
];

/// Filters that may choose the route anew.
const CHOOSING: [&str; 5] = ["lua", "ext_proc", "on_demand", "golang", "dynamic_modules"];

/// Tells whether a filter does nothing but for routes that say so.
fn is_idle(filter: &Filter<'_>) -> bool {
    match filter.kind {
        "cors" => true,
        "fault" => at(filter.config, &["abort"]).is_none(),
        "rbac" => ["rules", "matcher"].iter().all(|field| at(filter.config, &[field]).is_none()),
        _ => false,
    }
}

/// Tells whether a filter may respond to a request by itself.
fn may_refuse<'t>(envoy: &Envoy<'t>, manager: &Manager<'t>, filter: &Filter<'_>) -> bool {
    if filter.config == &Tree::Null && filter.discovered.is_some() {
        return false;
    }
    let is_asked = || match envoy.routes_of(manager) {
        Some(routes) => routes.iter().any(|routes| overrides(routes, filter.name)),
        // Routes that are not known may say so.
        None => true,
    };
    REFUSING.contains(&filter.kind) && (!is_idle(filter) || is_asked())
}

/// Finds filters after the plugin that may refuse a request whose copy is sent.
pub(super) fn before_refusal(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, _) in subject.plugins.iter().filter(|(_, config)| config.rules.iter().any(|rule| !rule.is_off())) {
        for (manager, index) in subject.envoy.positions(found) {
            let later = manager.filters.iter().skip(index.saturating_add(1));
            let refusing: Vec<_> = later.filter(|filter| may_refuse(&subject.envoy, manager, filter)).collect();
            if let Some(first) = refusing.first() {
                let names: Vec<_> = refusing.iter().map(|filter| filter.kind).collect();
                let what = format!("{} may refuse requests after their copy was sent", names.join(", "));
                let place = format!("{}: {}", manager.place, first.path);
                findings.push(Finding::warning("before-refusal", place, what, "put the plugin after it"));
            }
        }
    }
    findings
}

/// Finds filters after the plugin that may choose the route, where requests without one are ignored.
pub(super) fn route_chosen_later(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        let ignores = config.rules.iter().any(|rule| !rule.is_off() && rule.unrouted == Unrouted::Ignore);
        for (manager, index) in subject.envoy.positions(found).into_iter().filter(|_| ignores) {
            let mut later = manager.filters.iter().skip(index.saturating_add(1));
            if let Some(filter) = later.find(|filter| chooses(filter)) {
                let what = format!(
                    "{} may choose the route after the plugin, which ignores requests that have none yet",
                    filter.kind
                );
                let place = format!("{}: {}", manager.place, filter.path);
                let hint = "put the plugin after it, or set unrouted: mirror in the rules";
                findings.push(Finding::warning("route-chosen-later", place, what, hint));
            }
        }
    }
    findings
}

/// Tells whether a filter may choose the route anew.
fn chooses(filter: &Filter<'_>) -> bool {
    let keeps = match filter.kind {
        "lua" => at(filter.config, &["clear_route_cache"]) == Some(&Tree::Flag(false)),
        "ext_proc" => {
            text(filter.config, &["route_cache_action"]) == Some("RETAIN")
                || is_set(filter.config, &["disable_clear_route_cache"])
        }
        _ => false,
    };
    (CHOOSING.contains(&filter.kind) && !keeps) || clears(filter.config)
}

/// Tells whether a filter is told somewhere to clear the route.
fn clears(tree: &Tree) -> bool {
    let own = named(tree, "clear_route_cache").is_some_and(|(_, value)| *value == Tree::Flag(true));
    own || tree.children().iter().any(|(_, child)| clears(child))
}

/// Finds filters before the plugin that respond to every request.
pub(super) fn after_answer(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, _) in subject.plugins {
        for (manager, index) in subject.envoy.positions(found) {
            if let Some(filter) = manager.filters.iter().take(index).find(|filter| always_responds(filter)) {
                let what = format!("{} responds to every request: none reaches the plugin", filter.kind);
                let place = format!("{}: {}", manager.place, filter.path);
                findings.push(Finding::warning("after-answer", place, what, "put the plugin before it"));
            }
        }
    }
    findings
}

/// Tells whether no request gets past a filter.
fn always_responds(filter: &Filter<'_>) -> bool {
    let config = filter.config;
    match filter.kind {
        "fault" => {
            let is_for_some = at(config, &["headers"]).is_some() || at(config, &["upstream_cluster"]).is_some();
            at(config, &["abort", "percentage"]).is_some_and(is_all) && !is_for_some
        }
        "health_check" => {
            let is_for_some = at(config, &["headers"]).is_some_and(|headers| !headers.items().is_empty());
            at(config, &["pass_through_mode"]) == Some(&Tree::Flag(false)) && !is_for_some
        }
        // What is not allowed is denied.
        "rbac" => at(config, &["rules"]).is_some_and(|rules| {
            let allows = matches!(text(rules, &["action"]), None | Some("ALLOW"));
            allows && at(rules, &["policies"]).is_none_or(|policies| policies.fields().is_empty())
        }),
        _ => false,
    }
}

/// Tells whether a percentage is 100.
fn is_all(percentage: &Tree) -> bool {
    let parts = match text(percentage, &["denominator"]) {
        Some("TEN_THOUSAND") => 10_000u64,
        Some("MILLION") => 1_000_000,
        _ => 100,
    };
    at(percentage, &["numerator"]) == Some(&parts.into())
}
