//! The figures of a rule and one of its mirrors, row by row.

use super::agreement::agreement;
use super::counters::{Counts, Mirror, Rule};
use super::histogram::difference;
use super::words::{Since, counts, quantiles, share};

/// What there is to say of a mirror of a rule; with rates beside the totals, if something is known of before.
pub(crate) fn rows(rule: &Rule, mirror: &Mirror, since: Since<'_, Mirror>) -> Vec<(&'static str, String)> {
    let counted = |of: fn(&Mirror) -> &Counts| counts(of(mirror), since.map(|(mirror, seconds)| (of(mirror), seconds)));
    let failures = mirror.failures();
    let decided = mirror.decided.unwrap_or(rule.requests);
    let mut rows = vec![
        ("decided", format!("{decided}, {} of them waiting for an outcome", mirror.waiting)),
        ("share", share(mirror.sent(), decided)),
        ("copies", counted(|mirror| &mirror.outcomes)),
        ("responses", counted(|mirror| &mirror.classes)),
        ("failures", format!("{failures} (5xx, failed or timeout), {}", share(failures, mirror.classes.sum()))),
        ("latency", quantiles(&mirror.response_time.bins())),
    ];
    if mirror.compares() {
        let by = quantiles(&difference(&mirror.slower, &mirror.faster));
        rows.push(("primary", counts(&rule.primary, None)));
        rows.push(("its latency", quantiles(&rule.primary_time.bins())));
        rows.push(("compared", counted(|mirror| &mirror.results)));
        let (status, trials) = agreement(mirror);
        rows.push(("same status", if trials > 0.0 { status.to_string() } else { "-".into() }));
        rows.push(("slower by", format!("{by} (negative: faster)")));
    }
    rows
}
