//! Methods that no client sends.

use super::{Finding, Subject};
use crate::tree::join;
use traffic_mirror::config::{Literal, Match};

/// Finds methods with lower-case letters: methods are case-sensitive, and those in use are upper case.
pub(super) fn lower_case_method(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        for (rule, index) in config.rules.iter().zip(0u32..) {
            for (entry, number) in rule.matches.iter().zip(0u32..) {
                if let Some(method) = lower_case(entry) {
                    let path = format!("rules[{index}].match[{number}].method");
                    let place = format!("{}: {}", found.place, join(&found.path, &path));
                    let what = format!("{method}: methods are case-sensitive, and clients send upper case");
                    let hint = format!("{}, or ignoreCase: true", method.to_ascii_uppercase());
                    findings.push(Finding::warning("lower-case-method", place, what, hint));
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
