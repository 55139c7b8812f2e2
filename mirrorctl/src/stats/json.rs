//! The counters as JSON.

use crate::metrics::counters::{Counters, Counts, Mirror, Rule};
use crate::metrics::histogram::{Histogram, quantile};
use crate::metrics::words::QUANTILES;
use serde_json::{Map, Value, json};

pub(crate) fn render(counters: &Counters, mismatches: &[String]) -> Value {
    let rule = |(name, rule): (&String, &Rule)| {
        let mirrors: Vec<_> = rule.mirrors.iter().map(|(target, one)| mirror(target, one, rule.requests)).collect();
        let mut value = json!({ "rule": name, "requests": count(rule.requests), "mirrors": mirrors });
        if let (false, Some(fields)) = (rule.primary.0.is_empty(), value.as_object_mut()) {
            let primary = json!({ "answers": counts(&rule.primary), "responseTimeMs": times(&rule.primary_time) });
            fields.insert("primary".into(), primary);
        }
        value
    };
    json!({
        "rules": counters.rules.iter().map(rule).collect::<Vec<_>>(),
        "seen": counters.seen().map(count),
        "decided": count(counters.decided()),
        "ignored": counts(&counters.ignored),
        "unmatched": counters.unmatched.map(count),
        "invalidConfiguration": counts(&counters.invalid),
        "inFlight": count(counters.in_flight),
        "bufferedBytes": count(counters.buffered_bytes),
        "balanced": mismatches.is_empty(),
        "imbalances": mismatches,
    })
}

fn mirror(target: &str, mirror: &Mirror, requests: f64) -> Value {
    let decided = mirror.decided.unwrap_or(requests);
    let mut value = json!({
        "mirror": target,
        "decided": mirror.decided.map(count),
        "waiting": count(mirror.waiting),
        "share": (decided > 0.0).then(|| mirror.sent() / decided),
        "copies": counts(&mirror.outcomes),
        "answers": counts(&mirror.classes),
        "responseTimeMs": times(&mirror.response_time),
    });
    if let (true, Some(fields)) = (mirror.compares(), value.as_object_mut()) {
        fields.insert("compared".into(), counts(&mirror.results));
        fields.insert("differences".into(), counts(&mirror.fields));
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
