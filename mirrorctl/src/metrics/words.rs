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

/// Writes the counts that are not 0, each with its label, the largest first.
pub(crate) fn counts(counts: &Counts, since: Since<'_, Counts>) -> String {
    let mut filled: Vec<_> = counts.0.iter().filter(|(_, count)| **count > 0.0).collect();
    filled.sort_by(|a, b| b.1.total_cmp(a.1));
    let one = |(label, count): (&String, &f64)| {
        format!("{} {label}", rate(*count, since.map(|(since, seconds)| since.get(label) / seconds)))
    };
    let filled: Vec<_> = filled.into_iter().map(one).collect();
    if filled.is_empty() { "none".into() } else { filled.join(", ") }
}

/// Writes a count, and how much of it came in a second.
pub(crate) fn rate(count: f64, per_second: Option<f64>) -> String {
    let count = grouped(count);
    match per_second {
        Some(rate) => format!("{count} ({rate:.1}/s)"),
        None => count,
    }
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

/// Writes a share of which small ones matter, too: with two figures that count.
pub(crate) fn fine(share: f64) -> String {
    let percent = share.abs() * 100.0;
    if percent < 0.000_05 {
        return "0 %".into();
    }
    let digits = if percent < 100.0 { (1.0 - percent.log10().floor()).clamp(0.0, 4.0) } else { 0.0 };
    let scale = 10.0_f64.powf(digits);
    // One that is not the whole never looks like it.
    let shown = ((percent * scale).round() / scale).min(if percent < 100.0 { 99.9 } else { percent });
    format!("{}{shown} %", if share < 0.0 { "-" } else { "" })
}

/// Writes a count: `20,000`. An estimated one is rounded.
pub(crate) fn grouped(count: f64) -> String {
    let digits = format!("{:.0}", count.max(0.0));
    let parts: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    parts.join(",")
}

/// Breaks text at spaces, so that no line is longer than a terminal's; lines after the first begin with as many spaces.
pub(crate) fn wrapped(text: &str, first: usize, indent: usize) -> String {
    const WIDTH: usize = 80;
    let (mut lines, mut line, mut room) = (Vec::new(), String::new(), WIDTH.saturating_sub(first));
    for word in text.split(' ') {
        let length = line.chars().count().saturating_add(word.chars().count()).saturating_add(1);
        if !line.is_empty() && length > room {
            lines.push(std::mem::take(&mut line));
            room = WIDTH.saturating_sub(indent);
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join(&format!("\n{}", " ".repeat(indent)))
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
        assert_eq!(
            [-1e-9, 0.000_512, -0.0123, 0.195, 0.99999, 1.0].map(fine),
            ["0 %", "0.051 %", "-1.2 %", "20 %", "99.9 %", "100 %"]
        );
        assert_eq!([0.0, 999.0, 1000.4, 1_234_567.0].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn lines_are_no_longer_than_a_terminals() {
        let text = wrapped(&"word ".repeat(40), 10, 2);
        assert!(text.lines().all(|line| line.len() <= 80) && text.lines().count() == 3, "{text}");
        assert_eq!(wrapped(&"x".repeat(90), 0, 2), "x".repeat(90));
    }
}
