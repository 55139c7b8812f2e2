//! The books as text.

use crate::metrics::books::{Books, Counts, Mirror, Rule};
use crate::metrics::histogram::{Bin, difference, quantile};

/// Which quantiles are shown.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)];

/// What has come since the last reading, and in how many seconds.
type Since<'a, T> = Option<(&'a T, f64)>;

/// Draws a table for each rule and mirror; with rates beside the totals, if something is known of before.
pub(crate) fn render(books: &Books, since: Since<'_, Books>) -> String {
    let mut text = String::new();
    for (name, rule) in &books.rules {
        let since = since.and_then(|(books, seconds)| Some((books.rules.get(name)?, seconds)));
        let requests = rate(rule.requests, since.map(|(rule, seconds)| rule.requests / seconds));
        if rule.mirrors.is_empty() {
            text.push_str(&format!("{name}: mirrored nowhere\n{}\n", row("requests", &requests)));
        }
        for (target, mirror) in &rule.mirrors {
            let since = since.and_then(|(rule, seconds)| Some((rule.mirrors.get(target)?, seconds)));
            text.push_str(&format!("{name} → {target}\n{}", row("requests", &requests)));
            rows(rule, mirror, since).for_each(|(name, value)| text.push_str(&row(name, &value)));
            text.push('\n');
        }
    }
    if books.ignored.sum() > 0.0 {
        text.push_str(&format!("Never mirrored: {}\n", counts(&books.ignored, None)));
    }
    text.push_str(&format!("In flight: {} copies; held: {} bytes\n", books.in_flight, books.buffered_bytes));
    text
}

fn row(name: &str, value: &str) -> String {
    format!("  {name:<10} {value}\n")
}

fn rows(rule: &Rule, mirror: &Mirror, since: Since<'_, Mirror>) -> impl Iterator<Item = (&'static str, String)> {
    let counted = |of: fn(&Mirror) -> &Counts| counts(of(mirror), since.map(|(mirror, seconds)| (of(mirror), seconds)));
    let both = mirror.results.get("same") + mirror.results.get("different");
    let compared = mirror.compares().then(|| {
        let alike = share(mirror.results.get("same"), both);
        let (slower, faster) = (mirror.slower.count(), mirror.faster.count());
        let by = quantiles(&difference(&mirror.slower, &mirror.faster));
        [
            ("compared", format!("{}; same status: {alike}", counted(|mirror| &mirror.results))),
            ("slower by", format!("{by}; {slower} slower, {faster} faster")),
        ]
    });
    [
        ("share", share(mirror.sent(), rule.requests)),
        ("copies", counted(|mirror| &mirror.outcomes)),
        ("answers", counted(|mirror| &mirror.classes)),
        ("latency", quantiles(&mirror.response_time.bins())),
    ]
    .into_iter()
    .chain(compared.into_iter().flatten())
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

fn rate(count: f64, per_second: Option<f64>) -> String {
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

    #[test]
    fn rates_stand_beside_totals() {
        let page = |count| format!("traffic_mirror_requests_total{{rule=\"r\"}} {count}\n");
        let (before, now) = (Books::read(&page(10)).unwrap(), Books::read(&page(25)).unwrap());
        let text = render(&now, Some((&now.since(&before).unwrap(), 5.0)));
        assert!(text.contains("  requests   25 (3.0/s)\n"), "{text}");
        assert!(render(&now, None).contains("  requests   25\n"));
    }
}
