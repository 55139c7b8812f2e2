//! Figures as they are written for people.

use super::counters::Counts;
use super::histogram::{Bin, quantile};

/// Which quantiles are shown.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// What has come since the last reading, and in how many seconds.
pub(crate) type Since<'a, T> = Option<(&'a T, f64)>;

/// Writes a name and what there is to say of it, as a line of a table.
pub(crate) fn row(name: &str, value: &str) -> String {
    format!("  {name:<12} {value}\n")
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
