//! The filter's books, read from the host's metrics as an operator would.

use crate::host::{Host, Status};
use crate::metrics::{Metric, Value};
use std::collections::BTreeMap;

/// Sums the counters or gauges of a name that have these tags.
pub fn sum(host: &Host, what: &str, wanted: &[(&str, &str)]) -> i64 {
    let has = |metric: &&Metric| {
        metric.what == what && wanted.iter().all(|(tag, value)| metric.tags.get(*tag).is_some_and(|tag| tag == value))
    };
    host.metrics.iter().filter(has).map(count).sum()
}

/// Returns the counters of a name that are not 0, by the value of one of their tags.
pub fn by<'h>(host: &'h Host, what: &str, tag: &str) -> BTreeMap<&'h str, i64> {
    let mut found = BTreeMap::new();
    for metric in host.metrics.iter().filter(|metric| metric.what == what && count(metric) != 0) {
        *found.entry(metric.tags[tag].as_str()).or_default() += count(metric);
    }
    found
}

/// Returns what the histograms of a name have recorded.
pub fn recorded(host: &Host, what: &str) -> Vec<u64> {
    let histograms = host.metrics.iter().filter(|metric| metric.what == what);
    let values = histograms.flat_map(|metric| match &metric.value {
        Value::Histogram(values) => values.clone(),
        _ => Vec::new(),
    });
    values.collect()
}

/// Checks what holds after every callback: the books balance, the gauges tell the truth, nothing was misused.
pub fn balance(host: &Host) {
    assert_eq!(host.misuses, [""; 0], "no mirror may");
    /// What the books say of one mirror of a rule.
    #[derive(Default)]
    struct Account {
        decided: i64,
        waiting: i64,
        copies: i64,
        sent: i64,
        answers: i64,
        /// Of a rule that compares.
        pairs: Option<i64>,
    }
    let requests = by(host, "requests_total", "rule");
    let mut accounts = BTreeMap::<_, Account>::new();
    for metric in host.metrics.iter() {
        let (Some(rule), Some(mirror)) = (metric.tags.get("rule"), metric.tags.get("mirror")) else { continue };
        let account = accounts.entry((rule.as_str(), mirror)).or_default();
        match metric.what.as_str() {
            "decided_total" => account.decided += count(metric),
            "waiting" => account.waiting += count(metric),
            "copies_total" => {
                account.copies += count(metric);
                if metric.tags["outcome"] == "sent" {
                    account.sent += count(metric);
                }
            }
            "responses_total" => account.answers += count(metric),
            "compared_total" => *account.pairs.get_or_insert_default() += count(metric),
            _ => {}
        }
    }
    let is_over = host.streams.is_empty() && host.in_flight.is_empty();
    for ((rule, mirror), Account { decided, waiting, copies, sent, answers, pairs }) in &accounts {
        let requests = requests.get(rule).copied().unwrap_or_default();
        assert_eq!(copies + waiting, *decided, "outcomes, waiting and decided of rule {rule}, mirror {mirror}");
        assert!(*decided <= requests, "{decided} decided of {requests} requests, of rule {rule}, mirror {mirror}");
        assert!(!host.streams.is_empty() || *waiting == 0, "{waiting} wait, of rule {rule}, mirror {mirror}");
        let is_open = if host.in_flight.is_empty() { answers == sent } else { answers <= sent };
        assert!(is_open, "{sent} copies sent and {answers} answers, of rule {rule}, mirror {mirror}");
        let is_settled = pairs.is_none_or(|pairs| if is_over { pairs == *sent } else { pairs <= *answers });
        assert!(is_settled, "{sent} copies sent, and of them {pairs:?} in pairs, of rule {rule}, mirror {mirror}");
    }
    let in_flight = i64::try_from(host.in_flight.len()).unwrap();
    assert_eq!(sum(host, "in_flight", &[]), in_flight, "copies in flight");
    let total = |what: fn(&Account) -> i64| accounts.values().map(what).sum::<i64>();
    assert_eq!(total(|account| account.sent) - total(|account| account.answers), in_flight, "copies not answered");
    assert_eq!(total(|account| account.sent), i64::try_from(host.sent.len()).unwrap(), "copies sent");
    let outcomes = by(host, "copies_total", "outcome");
    let outcome = |name| usize::try_from(outcomes.get(name).copied().unwrap_or_default()).unwrap();
    let refused = |status| host.refused.iter().filter(|(_, refusal)| *refusal == status).count();
    assert_eq!(outcome("no_upstream"), refused(Status::InternalFailure));
    assert_eq!(outcome("no_cluster"), refused(Status::BadArgument));
}

fn count(metric: &Metric) -> i64 {
    match metric.value {
        Value::Counter(value) | Value::Gauge(value) => value,
        Value::Histogram(_) => 0,
    }
}
