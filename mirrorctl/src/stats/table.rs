//! The counters as text.

use crate::metrics::counters::{Counters, Rule};
use crate::metrics::rows::{lost, rows};
use crate::metrics::words::{Since, counts, grouped, rate, row, wrapped};

/// Where values begin.
const INDENT: usize = 15;

/// Draws what all rules saw, then a table for each rule and mirror, that with the biggest loss first; with rates beside the totals,
/// if something is known of before.
pub(crate) fn render(counters: &Counters, since: Since<'_, Counters>) -> String {
    let before = |of: fn(&Counters) -> Option<f64>| since.and_then(|(counters, seconds)| Some(of(counters)? / seconds));
    let decided = rate(counters.decided(), before(|counters| Some(counters.decided())));
    let ignored = counts(&counters.ignored, since.map(|(counters, seconds)| (&counters.ignored, seconds)));
    let seen = match (counters.seen(), counters.unmatched) {
        (Some(seen), Some(unmatched)) => {
            let unmatched = rate(unmatched, before(|counters| counters.unmatched));
            let per_second = before(Counters::seen).map(|rate| format!(" ({rate:.1}/s)")).unwrap_or_default();
            let seen = grouped(seen);
            format!("Seen: {seen} requests{per_second}; decided: {decided}; ignored: {ignored}; unmatched: {unmatched}")
        }
        _ => format!("Decided: {decided} requests; ignored: {ignored}"),
    };
    let mut text = format!("{}\n", wrapped(&seen, 0, 2));
    for (plugin, _) in counters.invalid.0.iter().filter(|(_, invalid)| **invalid > 0.0) {
        text.push_str(&format!("The last configuration of {plugin} is wrong: an older one, or none, is at work\n"));
    }
    text.push_str(&format!("In flight: {} copies; buffered: {} bytes\n", counters.in_flight, counters.buffered_bytes));
    let mut pairs: Vec<_> = counters.pairs().collect();
    pairs.sort_by(|a, b| lost(b.3).total_cmp(&lost(a.3)));
    for (name, rule, target, mirror) in pairs {
        let before = since.and_then(|(counters, seconds)| Some((counters.rules.get(name)?, seconds)));
        text.push_str(&format!("\n{name} → {target}\n{}", requests(rule, before)));
        let before = before.and_then(|(rule, seconds)| Some((rule.mirrors.get(target)?, seconds)));
        for (name, value) in rows(rule, mirror, before) {
            text.push_str(&row(name, &wrapped(&value, INDENT, INDENT)));
        }
    }
    for (name, rule) in counters.rules.iter().filter(|(_, rule)| rule.mirrors.is_empty()) {
        let before = since.and_then(|(counters, seconds)| Some((counters.rules.get(name)?, seconds)));
        text.push_str(&format!("\n{name}: mirrored nowhere\n{}", requests(rule, before)));
    }
    text
}

fn requests(rule: &Rule, since: Since<'_, Rule>) -> String {
    row("requests", &rate(rule.requests, since.map(|(rule, seconds)| rule.requests / seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_that_the_filter_saw_is_counted_once() {
        let page = "traffic_mirror_requests_total{rule=\"a\"} 4\ntraffic_mirror_requests_total{rule=\"b\"} 3\n\
                    traffic_mirror_ignored_total{reason=\"marked\"} 2\n";
        let shown = |page: &str| render(&Counters::read(page).unwrap(), None);
        let text = shown(&format!(
            "{page}traffic_mirror_unmatched_total{{}} 5\ntraffic_mirror_invalid_configuration{{plugin=\"p\"}} 1\n"
        ));
        assert!(text.contains("Seen: 14 requests; decided: 7; ignored: 2 marked; unmatched: 5\n"), "{text}");
        assert!(text.contains("The last configuration of p is wrong: "), "{text}");
        // An older module does not count what no rule matched.
        let text = shown(&format!("{page}traffic_mirror_invalid_configuration{{plugin=\"p\"}} 0\n"));
        assert!(text.contains("Decided: 7 requests; ignored: 2 marked\n") && !text.contains("is wrong"), "{text}");
    }

    #[test]
    fn rates_stand_beside_totals() {
        let page = |count| format!("traffic_mirror_requests_total{{rule=\"r\"}} {count}\n");
        let (before, now) = (Counters::read(&page(10)).unwrap(), Counters::read(&page(25)).unwrap());
        let text = render(&now, Some((&now.since(&before).unwrap(), 5.0)));
        assert!(
            text.contains("  requests     25 (3.0/s)\n") && text.starts_with("Decided: 25 (3.0/s) requests"),
            "{text}"
        );
        let both = |count: u32| format!("{}traffic_mirror_unmatched_total{{}} {count}\n", page(count));
        let (before, after) = (Counters::read(&both(10)).unwrap(), Counters::read(&both(20)).unwrap());
        let text = render(&after, Some((&after.since(&before).unwrap(), 5.0)));
        assert!(
            text.starts_with(
                "Seen: 40 requests (4.0/s); decided: 20 (2.0/s); ignored: none; unmatched: 20\n  (2.0/s)\n"
            ),
            "{text}"
        );
        assert!(render(&now, None).contains("  requests     25\n"));
    }
}
