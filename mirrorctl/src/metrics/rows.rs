//! The figures of a rule and one of its mirrors, row by row.

use super::agreement::agreement;
use super::counters::{Counts, Mirror, Rule};
use super::histogram::difference;
use super::words::{Since, counts, fine, grouped, quantiles, rate, share};

/// Outcomes of copies that nobody wanted: no loss.
const UNWANTED: [&str; 3] = ["unsampled", "unscheduled", "not_wanted"];

/// How many fields are named.
const FIELDS: usize = 8;

/// What a copy was lost by, or had no good response by; mirrorctl doctor's code for it, and where to look.
const LOSSES: [(&str, &str, &str); 13] = [
    ("no_cluster", "unknown-cluster", "Envoy does not know the cluster"),
    ("no_upstream", "no-healthy-host", "no host takes copies, or the breaker is open"),
    ("in_flight_limit", "in-flight-limit", "the mirror is slow, or maxInFlight too low"),
    ("buffer_limit", "buffer-limit", "maxBufferedBytes is used up"),
    ("body_too_large", "body-too-large", "bodies are above maxBodyBytes"),
    ("rate_limit", "rate-limit", "maxRequestsPerSecond is used up"),
    ("incomplete", "incomplete-requests", "clients went away before the end"),
    ("no_cluster_header", "no-cluster-header", "requests name no cluster"),
    ("cluster_not_allowed", "cluster-not-allowed", "not in allowedClusters"),
    ("redaction_failed", "redaction-failed", "a part to be hidden could not be looked at"),
    ("failed", "connect-fails", "no response: the log says why"),
    ("timeout", "times-out", "no complete response within timeout"),
    ("5xx", "mirror-errors", "the mirror's own errors: see its log"),
];

/// What there is to say of a mirror of a rule; with rates beside the totals, if something is known of before.
pub(crate) fn rows(rule: &Rule, mirror: &Mirror, since: Since<'_, Mirror>) -> Vec<(&'static str, String)> {
    let counted = |of: fn(&Mirror) -> &Counts| counts(of(mirror), since.map(|(mirror, seconds)| (of(mirror), seconds)));
    let decided = mirror.decided.unwrap_or(rule.requests);
    let wanted = mirror.outcomes.sum() - mirror.outcomes.some(&UNWANTED);
    let mut rows = vec![
        ("decided", format!("{}, {} of them waiting for an outcome", grouped(decided), grouped(mirror.waiting))),
        ("share", share(mirror.sent(), decided)),
        ("copies", copies(mirror, since)),
    ];
    rows.extend(hints(&mirror.outcomes, wanted));
    rows.push(("responses", counted(|mirror| &mirror.classes)));
    rows.extend(hints(&mirror.classes, mirror.classes.sum()));
    rows.push(("latency", quantiles(&mirror.response_time.bins())));
    if mirror.compares() {
        let by = quantiles(&difference(&mirror.slower, &mirror.faster));
        rows.push(("primary", counts(&rule.primary, None)));
        rows.push(("its latency", quantiles(&rule.primary_time.bins())));
        rows.push(("compared", counted(|mirror| &mirror.results)));
        let (status, trials) = agreement(mirror);
        rows.push(("same status", if trials > 0.0 { status.to_string() } else { "-".into() }));
        if mirror.fields.sum() > 0.0 {
            rows.push(("fields", fields(mirror)));
        }
        rows.push(("slower by", format!("{by} (negative: faster)")));
    }
    rows
}

/// Writes the fields that differ most.
fn fields(mirror: &Mirror) -> String {
    let mut fields: Vec<_> = mirror.fields.0.iter().filter(|(_, count)| **count > 0.0).collect();
    fields.sort_by(|a, b| b.1.total_cmp(a.1));
    let rest = fields.len().saturating_sub(FIELDS);
    let rest = if rest > 0 { format!(", and {rest} more") } else { String::new() };
    let one = |(field, count): &(&String, &f64)| format!("{} {field}", grouped(**count));
    fields.iter().take(FIELDS).map(one).collect::<Vec<_>>().join(", ") + &rest
}

/// Returns the copies that were wanted and have no good response, as a share.
pub(crate) fn lost(mirror: &Mirror) -> f64 {
    let wanted = mirror.outcomes.sum() - mirror.outcomes.some(&UNWANTED);
    (wanted - mirror.sent() + mirror.failures()) / wanted.max(1.0)
}

/// Writes what was sent, what was lost, the most first, and what nobody wanted.
fn copies(mirror: &Mirror, since: Since<'_, Mirror>) -> String {
    let order = |label: &str| (label != "sent", UNWANTED.contains(&label));
    let mut all: Vec<_> = mirror.outcomes.0.iter().filter(|(_, count)| **count > 0.0).collect();
    all.sort_by(|a, b| order(a.0).cmp(&order(b.0)).then(b.1.total_cmp(a.1)));
    let one = |(label, count): (&String, &f64)| {
        format!("{} {label}", rate(*count, since.map(|(since, seconds)| since.outcomes.get(label) / seconds)))
    };
    let all: Vec<_> = all.into_iter().map(one).collect();
    if all.is_empty() { "none".into() } else { all.join(", ") }
}

/// Writes a line of what to do for each loss, the biggest first.
fn hints(counts: &Counts, all: f64) -> Vec<(&'static str, String)> {
    let mut found: Vec<_> =
        LOSSES.iter().map(|loss| (counts.get(loss.0), loss)).filter(|(count, _)| *count > 0.0).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let one = |(count, (label, code, why)): (f64, &(&str, &str, &str))| {
        ("", format!("{} {label}: {why} [{code}]", fine(count / all)))
    };
    found.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_biggest_loss_comes_first_with_a_line_of_what_to_do() {
        let mut mirror = Mirror::default();
        for (outcome, count) in
            [("unsampled", 500.0), ("sent", 60.0), ("body_too_large", 10.0), ("in_flight_limit", 30.0)]
        {
            mirror.outcomes.0.insert(outcome.into(), count);
        }
        for (class, count) in [("2xx", 30.0), ("5xx", 10.0), ("failed", 20.0)] {
            mirror.classes.0.insert(class.into(), count);
        }
        let rows = rows(&Rule::default(), &mirror, None);
        let at = rows.iter().position(|(name, _)| *name == "copies").unwrap();
        let text = |index: usize| &*rows[at..][index].1;
        assert_eq!(text(0), "60 sent, 30 in_flight_limit, 10 body_too_large, 500 unsampled");
        assert_eq!(text(1), "30 % in_flight_limit: the mirror is slow, or maxInFlight too low [in-flight-limit]");
        assert_eq!(text(2), "10 % body_too_large: bodies are above maxBodyBytes [body-too-large]");
        assert_eq!(text(3), "30 2xx, 20 failed, 10 5xx");
        assert_eq!(text(4), "33 % failed: no response: the log says why [connect-fails]");
        assert_eq!(text(5), "17 % 5xx: the mirror's own errors: see its log [mirror-errors]");
        assert!((lost(&mirror) - 0.7).abs() < 1e-9);
    }

    #[test]
    fn the_fields_that_differ_most_are_named() {
        let mut mirror = Mirror::default();
        mirror.results.0.insert("different_body".into(), 1_200.0);
        let shown = |mirror: &Mirror| {
            let rows = rows(&Rule::default(), mirror, None);
            rows.into_iter().find(|(name, _)| *name == "fields").map(|(_, text)| text)
        };
        assert_eq!(shown(&mirror), None);
        mirror.fields.0 = (1..=9).map(|index| (format!("body/{index}"), f64::from(index))).collect();
        mirror.fields.0.insert("body/id".into(), 1_200.0);
        mirror.fields.0.insert("status".into(), 0.0);
        let text = shown(&mirror).unwrap();
        assert!(text.starts_with("1,200 body/id, 9 body/9, 8 body/8, "), "{text}");
        assert!(text.ends_with(", 3 body/3, and 2 more") && !text.contains("status"), "{text}");
    }

    #[test]
    fn every_code_is_a_heading_of_the_document() {
        let page = include_str!("../../../docs/troubleshooting.md");
        for (_, code, _) in LOSSES {
            assert!(page.contains(&format!("\n### `{code}`\n")), "{code}");
        }
    }
}
