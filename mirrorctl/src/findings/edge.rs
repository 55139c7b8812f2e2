//! What clients can do at the edge of a mesh.

use super::{Finding, Subject, place};
use crate::facts::envoy::Manager;
use crate::facts::field::{at, is_set, items};
use crate::tree::Tree;
use traffic_mirror::config::Config;

/// Finds managers at the edge that let clients escape the mirror, or an exclusion from it.
pub(super) fn notes(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        for (manager, index) in subject.envoy.positions(found) {
            let at_manager = || format!("{}: {}", manager.place, manager.path);
            let marker = config.marker.as_ref().map(|marker| marker.as_str());
            if let Some(marker) = marker.filter(|marker| lets_in(subject, manager, index, marker)) {
                let what = format!("a client that sends {marker} is not mirrored");
                let hint = "list it in the route configuration's internal_only_headers";
                findings.push(Finding::note("marker-edge", at_manager(), what, hint));
            }
            let is_plain = !(is_set(manager.tree, &["normalize_path"]) && is_set(manager.tree, &["merge_slashes"]));
            if let Some(index) = exclusion(config).filter(|_| is_plain) {
                let what = "an exclusion by path holds for the path as it came: //a and /%61 pass it".to_owned();
                let hint = "set normalize_path and merge_slashes in the connection manager";
                let path = format!("rules[{index}].match");
                findings.push(Finding::note("path-exclusion", place(found, &path), what, hint));
            }
        }
    }
    findings
}

/// Tells whether a manager takes requests from outside, with the marker that they have.
fn lets_in<'t>(subject: &Subject<'t>, manager: &Manager<'t>, index: usize, marker: &str) -> bool {
    let names = |tree: &Tree| tree.json().to_ascii_lowercase().contains(&format!("\"{marker}\""));
    let routes = subject.envoy.routes_of(manager).unwrap_or_default();
    let is_internal = routes.iter().any(|routes| {
        let headers = items(routes, &["internal_only_headers"]);
        headers.iter().filter_map(Tree::text).any(|header| header.eq_ignore_ascii_case(marker))
    });
    // Whoever names it before the plugin removes it.
    let early = at(manager.tree, &["early_header_mutation_extensions"]);
    let is_handled = early.is_some_and(names) || manager.filters.iter().take(index).any(|filter| names(filter.config));
    is_set(manager.tree, &["use_remote_address"]) && !is_internal && !is_handled
}

/// Returns the first rule that keeps paths from the mirrors of a later one.
fn exclusion(config: &Config) -> Option<usize> {
    let mirrors = |index: usize| config.rules.iter().skip(index).any(|rule| !rule.is_off());
    let excludes = |index: &usize| {
        config
            .rules
            .get(*index)
            .is_some_and(|rule| rule.is_off() && rule.matches.iter().any(|entry| entry.uri.is_some()))
    };
    (0..config.rules.len()).find(|index| excludes(index) && mirrors(*index))
}
