//! Rules that do something else than was probably meant.

use super::protocol::wants_grpc;
use super::{Finding, Subject, mirrors, place};
use crate::explain::now;
use crate::facts::field::text;
use traffic_mirror::config::PathRewrite;

/// Finds configurations that copy nothing: there are mirrors, and the share of each is 0; and mirrors that are over.
pub(super) fn never(subject: &Subject<'_>) -> Vec<Finding> {
    let now = now();
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        if config.rules.iter().all(|rule| rule.is_off()) && config.rules.iter().any(|rule| !rule.mirrors.is_empty()) {
            let what = "nothing is ever copied: the share of every mirror is 0".to_owned();
            let hint = "set a percentage or fraction above 0";
            findings.push(Finding::warning("never", place(found, "rules"), what, hint));
        }
        for (path, mirror) in mirrors(config) {
            if mirror.period.is_some_and(|period| period.is_over(now)) {
                let what = "nothing is copied any more: until is in the past".to_owned();
                let place = place(found, &format!("{path}.until"));
                findings.push(Finding::warning("never", place, what, "remove the mirror, or set a later moment"));
            }
        }
    }
    findings
}

/// Finds mirrors that wait for a status of gRPC calls, which is 200 whatever becomes of them.
pub(super) fn when_on_grpc(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        for (rule, index) in config.rules.iter().zip(0u32..) {
            if !wants_grpc(rule) {
                continue;
            }
            for (mirror, number) in rule.mirrors.iter().zip(0u32..) {
                if mirror.when.iter().any(|when| when.status.is_some()) {
                    let place = place(found, &format!("rules[{index}].mirrors[{number}].when"));
                    let what = "the status of a gRPC call is 200 whatever its grpc-status says".to_owned();
                    findings.push(Finding::warning("when-on-grpc", place, what, "use slowerThan, or mirror all calls"));
                }
            }
        }
    }
    findings
}

/// Finds rewrites of a prefix that make paths with two slashes, or without the one that was there.
pub(super) fn odd_rewrite(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        let Ok((tree, _)) = &found.configuration else { continue };
        let rules = tree.get("rules").map(|rules| rules.items()).unwrap_or_default();
        for ((rule, written), index) in config.rules.iter().zip(rules).zip(0u32..) {
            let entries = written.get("match").map(|entries| entries.items()).unwrap_or_default();
            for (mirror, number) in rule.mirrors.iter().zip(0u32..) {
                let PathRewrite::Matched(to) = &mirror.path else { continue };
                // The rest of the path follows the prefix: with the slash that the prefix does not have.
                let odd = entries.iter().filter_map(|entry| text(entry, &["uri", "prefix"])).find_map(|prefix| {
                    let (was, is) = (prefix.ends_with('/'), to.ends_with('/'));
                    (was != is).then(|| (prefix, if is { format!("{to}/…") } else { format!("{to}…") }))
                });
                if let Some((prefix, joined)) = odd {
                    let [prefix, to, joined] = [prefix, to, &joined].map(|text| subject.literal(text));
                    let what = format!("{prefix} becomes {to}: paths below it become {joined}");
                    let hint = "let both end with a slash, or none";
                    let path = format!("rules[{index}].mirrors[{number}].rewrite.uri");
                    findings.push(Finding::warning("odd-rewrite", place(found, &path), what, hint));
                }
            }
        }
    }
    findings
}
