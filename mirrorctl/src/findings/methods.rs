//! Methods: those that no client sends, and those that change something.

use super::{Finding, Subject, place};
use traffic_mirror::config::{Literal, Match, Rule};

/// Methods that ask a server to change something.
const UNSAFE: [&str; 4] = ["POST", "PUT", "PATCH", "DELETE"];

/// Finds methods with lower-case letters: methods are case-sensitive, and those in use are upper case.
pub(super) fn lower_case_method(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        for (rule, index) in config.rules.iter().zip(0u32..) {
            for (entry, number) in rule.matches.iter().zip(0u32..) {
                if let Some(method) = lower_case(entry) {
                    let path = format!("rules[{index}].match[{number}].method");
                    let shown = subject.literal(&method);
                    let what = format!("{shown}: methods are case-sensitive, and clients send upper case");
                    let upper = method.to_ascii_uppercase();
                    let upper = if subject.shows_literals { &*upper } else { "upper case" };
                    let hint = format!("{upper}, or ignoreCase: true");
                    findings.push(Finding::warning("lower-case-method", place(found, &path), what, hint));
                }
            }
        }
    }
    findings
}

fn lower_case(entry: &Match) -> Option<String> {
    match entry.method.as_ref()?.literal()? {
        Literal::Exact(method) if method.iter().any(u8::is_ascii_lowercase) => {
            Some(String::from_utf8_lossy(method).into_owned())
        }
        _ => None,
    }
}

/// Finds configurations that copy requests which change something: the mirror does it, too.
pub(super) fn unsafe_methods(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        let mut open = UNSAFE.to_vec();
        let mut copied = Vec::new();
        for rule in &config.rules {
            let taken: Vec<_> = open.iter().copied().filter(|method| may_match(rule, method)).collect();
            if !rule.is_off() {
                copied.extend(taken);
            }
            // What a rule always takes does not reach the next one.
            open.retain(|method| !always_matches(rule, method));
        }
        let methods: Vec<_> = UNSAFE.into_iter().filter(|method| copied.contains(method)).collect();
        if !methods.is_empty() {
            let what = format!("{} are copied: the mirror changes what the primary changes", methods.join(", "));
            let hint = "let the mirror have its own data, or match the methods that are to be copied";
            findings.push(Finding::note("unsafe-methods", place(found, "rules"), what, hint));
        }
    }
    findings
}

fn holds(entry: &Match, method: &str) -> bool {
    entry.method.as_ref().is_none_or(|own| own.holds(method.as_bytes()))
}

fn may_match(rule: &Rule, method: &str) -> bool {
    rule.matches.is_empty() || rule.matches.iter().any(|entry| holds(entry, method))
}

fn always_matches(rule: &Rule, method: &str) -> bool {
    rule.matches.is_empty() || rule.matches.iter().any(|entry| asks_no_more(entry) && holds(entry, method))
}

/// Tells whether nothing but the method is asked.
fn asks_no_more(entry: &Match) -> bool {
    let Match { uri, method: _, scheme, authority, route_name, cluster_name, .. } = entry;
    let Match { headers, without_headers, query_params, cookies, source_cidrs, .. } = entry;
    let texts = [uri, scheme, authority, route_name, cluster_name];
    texts.iter().all(|text| text.is_none())
        && (headers.is_empty() && without_headers.is_empty())
        && (query_params.is_empty() && cookies.is_empty() && source_cidrs.is_empty())
}
