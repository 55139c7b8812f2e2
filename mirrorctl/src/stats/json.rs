//! The counters as JSON.

use crate::metrics::books::{Books, Counts, Mirror, Rule};
use crate::metrics::histogram::{Histogram, quantile};
use crate::metrics::words::QUANTILES;
use serde_json::{Map, Value, json};

pub(crate) fn render(books: &Books, imbalances: &[String]) -> Value {
    let rule = |(name, rule): (&String, &Rule)| {
        let mirrors: Vec<_> = rule.mirrors.iter().map(|(target, one)| mirror(target, one, rule.requests)).collect();
        json!({ "rule": name, "requests": count(rule.requests), "mirrors": mirrors })
    };
    json!({
        "rules": books.rules.iter().map(rule).collect::<Vec<_>>(),
        "ignored": counts(&books.ignored),
        "inFlight": count(books.in_flight),
        "bufferedBytes": count(books.buffered_bytes),
        "balanced": imbalances.is_empty(),
        "imbalances": imbalances,
    })
}

fn mirror(target: &str, mirror: &Mirror, requests: f64) -> Value {
    let mut value = json!({
        "mirror": target,
        "share": (requests > 0.0).then(|| mirror.sent() / requests),
        "copies": counts(&mirror.outcomes),
        "answers": counts(&mirror.classes),
        "responseTimeMs": times(&mirror.response_time),
    });
    if let (true, Some(fields)) = (mirror.compares(), value.as_object_mut()) {
        fields.insert("compared".into(), counts(&mirror.results));
        fields.insert("slowerMs".into(), times(&mirror.slower));
        fields.insert("fasterMs".into(), times(&mirror.faster));
    }
    value
}

fn counts(counts: &Counts) -> Value {
    counts.0.iter().map(|(label, number)| (label.clone(), count(*number))).collect::<Map<_, _>>().into()
}

fn times(histogram: &Histogram) -> Value {
    let bins = histogram.bins();
    let mut times: Map<_, _> =
        QUANTILES.iter().map(|(name, q)| ((*name).to_owned(), json!(quantile(&bins, *q)))).collect();
    times.insert("count".into(), count(histogram.count()));
    times.into()
}

/// A count is a whole number, and a gauge may be below 0 for a moment.
fn count(number: f64) -> Value {
    json!(number as i64)
}
