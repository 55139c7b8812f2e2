//! What bodies cost the worker that copies them.

use super::{Finding, Subject};
use crate::tree::join;
use traffic_mirror::config::{BodyMode, Mirror, Rule};

/// Bytes that are copied in one callback within some 12 ms, in which the worker serves nobody else.
const LARGEST: usize = 8 << 20;

/// What that means.
const STALL: &str = "and the worker serves nothing else meanwhile, some 1.5 ms a MiB";

/// Finds bodies that stall a worker: a large one, or one that goes to many mirrors.
pub(super) fn large_bodies(subject: &Subject<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (found, config) in subject.plugins {
        let mut warn = |path: &str, what: String, hint: &str| {
            let place = format!("{}: {}", found.place, join(&found.path, path));
            findings.push(Finding::note("large-bodies", place, what, hint));
        };
        let body = config.limits.max_body_bytes;
        let largest = config.rules.iter().map(|rule| mirrors_with_body(rule)).max().unwrap_or_default();
        if body > LARGEST && largest > 0 {
            let what = format!("a body of up to {} is copied at once, {STALL}", mib(body));
            warn("limits.maxBodyBytes", what, "at most 8 MiB");
            continue;
        }
        for (index, rule) in config.rules.iter().enumerate() {
            let mirrors = mirrors_with_body(rule);
            let all = body.saturating_mul(mirrors);
            if all > LARGEST {
                let what = format!(
                    "a body of up to {} is copied to {mirrors} mirrors at once, {} together, {STALL}",
                    mib(body),
                    mib(all)
                );
                let hint = "at most 8 MiB together: fewer mirrors, `body: omit`, or a smaller limits.maxBodyBytes";
                warn(&format!("rules[{index}].mirrors"), what, hint);
            }
        }
    }
    findings
}

/// Counts the mirrors that may get a body.
fn mirrors_with_body(rule: &Rule) -> usize {
    let gets = |mirror: &&Mirror| mirror.body == BodyMode::Include && !mirror.sample.ratio.is_never();
    rule.mirrors.iter().filter(gets).count()
}

/// Writes a size in MiB, with a decimal where it is not a whole number of them.
fn mib(bytes: usize) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    match tenths % 10 {
        0 => format!("{} MiB", tenths / 10),
        part => format!("{}.{part} MiB", tenths / 10),
    }
}
