//! The figures of a rule and one of its mirrors in words, row by row.

use super::agreement::agreement;
use super::books::{Counts, Mirror, Rule};
use super::histogram::{Bin, difference, quantile};

/// Which quantiles are shown.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// What has come since the last reading, and in how many seconds.
pub(crate) type Since<'a, T> = Option<(&'a T, f64)>;

/// What there is to say of a mirror of a rule; with rates beside the totals, if something is known of before.
pub(crate) fn rows(rule: &Rule, mirror: &Mirror, since: Since<'_, Mirror>) -> Vec<(&'static str, String)> {
    let counted = |of: fn(&Mirror) -> &Counts| counts(of(mirror), since.map(|(mirror, seconds)| (of(mirror), seconds)));
    let failures = mirror.classes.get("failed") + mirror.classes.get("5xx");
    let mut rows = vec![
        ("share", share(mirror.sent(), rule.requests)),
        ("copies", counted(|mirror| &mirror.outcomes)),
        ("answers", counted(|mirror| &mirror.classes)),
        ("failures", format!("{failures} (5xx or failed), {}", share(failures, mirror.classes.sum()))),
        ("latency", quantiles(&mirror.response_time.bins())),
    ];
    if mirror.compares() {
        let by = quantiles(&difference(&mirror.slower, &mirror.faster));
        rows.push(("compared", counted(|mirror| &mirror.results)));
        rows.push(("same status", agreement(mirror).0.to_string()));
        rows.push(("slower by", format!("{by} (negative: faster)")));
    }
    rows
}

/// Writes the counts that are not 0, each with its label.
pub(crate) fn counts(counts: &Counts, since: Since<'_, Counts>) -> String {
    let filled = counts.0.iter().filter(|(_, count)| **count > 0.0);
    let one = |(label, count): (&String, &f64)| {
        format!("{} {label}", rate(*count, since.map(|(since, seconds)| since.get(label) / seconds)))
    };
    let filled: Vec<_> = filled.map(one).collect();
    if filled.is_empty() { "none".into() } else { filled.join(", ") }
}

/// Writes a count, and how much of it came in a second.
pub(crate) fn rate(count: f64, per_second: Option<f64>) -> String {
    per_second.map_or_else(|| count.to_string(), |rate| format!("{count} ({rate:.1}/s)"))
}

/// Writes a part of a whole.
pub(crate) fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 { percent(part / whole) } else { "-".into() }
}

/// Writes a share; one that is not the whole never looks like it.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let shown = if percent < 100.0 { percent.min(99.9) } else { percent };
    format!("{} %", (shown * 10.0).round() / 10.0)
}

/// Writes the quantiles of times in milliseconds.
pub(crate) fn quantiles(bins: &[Bin]) -> String {
    let one = |(name, q)| Some(format!("{name} {}", milliseconds(quantile(bins, q)?)));
    let all: Vec<_> = QUANTILES.into_iter().filter_map(one).collect();
    if all.is_empty() { "-".into() } else { all.join(", ") }
}

/// Writes a time, no finer than a histogram tells it.
pub(crate) fn milliseconds(milliseconds: f64) -> String {
    let scale = if milliseconds.abs() < 10.0 { 10.0 } else { 1.0 };
    format!("{} ms", (milliseconds * scale).round() / scale + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_no_finer_than_they_are_known() {
        assert_eq!([0.0, 0.04, -3.12, 12.7, -185.2].map(milliseconds), ["0 ms", "0 ms", "-3.1 ms", "13 ms", "-185 ms"]);
        assert_eq!([0.5, 0.99999, 1.0, 0.0].map(percent), ["50 %", "99.9 %", "100 %", "0 %"]);
        assert_eq!(share(1.0, 0.0), "-");
    }
}
