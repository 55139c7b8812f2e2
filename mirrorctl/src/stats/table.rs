//! The counters as text.

use crate::metrics::books::Books;
use crate::metrics::rows::rows;
use crate::metrics::words::{Since, counts, rate, row};

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
            rows(rule, mirror, since).iter().for_each(|(name, value)| text.push_str(&row(name, value)));
            text.push('\n');
        }
    }
    if books.ignored.sum() > 0.0 {
        text.push_str(&format!("Never mirrored: {}\n", counts(&books.ignored, None)));
    }
    text.push_str(&format!("In flight: {} copies; buffered: {} bytes\n", books.in_flight, books.buffered_bytes));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_stand_beside_totals() {
        let page = |count| format!("traffic_mirror_requests_total{{rule=\"r\"}} {count}\n");
        let (before, now) = (Books::read(&page(10)).unwrap(), Books::read(&page(25)).unwrap());
        let text = render(&now, Some((&now.since(&before).unwrap(), 5.0)));
        assert!(text.contains("  requests     25 (3.0/s)\n"), "{text}");
        assert!(render(&now, None).contains("  requests     25\n"));
    }
}
