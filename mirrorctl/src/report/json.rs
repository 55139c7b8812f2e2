//! The report as JSON. Fields may come with a new mirrorctl; `version` changes where one goes, or means something else.

use super::judge::{Kind, Quantity};
use super::period::{Period, time};
use super::view::{Entry, FieldRow, Share, View};
use crate::metrics::counters::{Counters, Counts};
use crate::metrics::histogram::{Bin, difference, quantile};
use crate::metrics::words::QUANTILES;
use serde_json::{Map, Value, json};

pub(crate) const VERSION: u32 = 1;

pub(crate) fn render(view: &View<'_>, period: &Period, total: &Counters) -> Value {
    json!({
        "version": VERSION,
        "verdict": view.word().name(),
        "answer": view.answer(),
        "from": time(period.from),
        "to": time(period.to),
        "source": period.source,
        "proxies": period.proxies,
        "envoyVersions": period.versions,
        "events": period.events,
        "mirrors": view.entries.iter().map(|entry| mirror(entry, total)).collect::<Vec<_>>(),
        "mirroredNowhere": view.nowhere.iter().map(|(rule, requests)| json!({ "rule": rule, "requests": whole(*requests) })).collect::<Vec<_>>(),
    })
}

fn mirror(entry: &Entry<'_>, total: &Counters) -> Value {
    let counts = entry.counts;
    let mut value = json!({
        "rule": entry.rule,
        "mirror": entry.name,
        "verdict": entry.verdict.as_ref().map(|verdict| verdict.word.name()),
        "sentence": entry.sentence,
        "requests": whole(entry.requests),
        "copies": counted(&counts.outcomes),
        "responses": counted(&counts.classes),
        "responseTimeMs": times(&counts.response_time.bins()),
    });
    let Some(fields) = value.as_object_mut().filter(|_| counts.compares()) else { return value };
    fields.insert("isBaseline".into(), entry.is_baseline.into());
    fields.insert("baseline".into(), entry.baseline.filter(|_| !entry.is_baseline).into());
    fields.insert("compared".into(), counted(&counts.results));
    fields.insert("differenceMs".into(), times(&difference(&counts.slower, &counts.faster)));
    if let Some(rule) = total.rules.get(entry.rule) {
        let primary =
            json!({ "responses": counted(&rule.primary), "responseTimeMs": times(&rule.primary_time.bins()) });
        fields.insert("primary".into(), primary);
    }
    let Some(verdict) = &entry.verdict else { return value };
    fields.insert("fields".into(), entry.fields.iter().map(field).collect());
    let unjudged = verdict.fields.baseline.as_ref().and_then(|beside| beside.unjudged);
    fields.insert("fieldsNotJudged".into(), unjudged.into());
    for (name, kind) in [("errors", Kind::Errors), ("times", Kind::Times), ("differences", Kind::Differences)] {
        fields.insert(name.into(), verdict.quantity(kind).map_or(Value::Null, quantity));
    }
    value
}

/// `mirror` and `primary`: in how many pairs this one alone failed, or was slower; `low` and `high` bound their difference.
fn quantity(one: &Quantity) -> Value {
    let total = one.blocks.total();
    json!({
        "pairs": whole(total.of),
        "mirror": whole(total.for_it),
        "primary": whole(total.against),
        "difference": one.blocks.share(),
        "low": one.low(),
        "high": one.high(),
        "margin": one.margin,
        "worseAbove": one.bad_above,
        "blocks": one.blocks.count(),
    })
}

/// `isDifferent`: whether it surely differs more often than in the baseline; `low` and `high` bound by how much, where that is judged.
fn field(row: &FieldRow) -> Value {
    let share =
        |one: &Share| json!({ "pairs": whole(one.pairs), "share": one.share, "low": one.low, "high": one.high });
    json!({
        "field": row.name,
        "isDifferent": row.more.map(|_| row.is_different),
        "mirror": share(&row.mirror),
        "baseline": row.baseline.as_ref().map(share),
        "low": row.more.map(|(low, _)| low),
        "high": row.more.map(|(_, high)| high),
    })
}

fn counted(counts: &Counts) -> Value {
    counts.0.iter().map(|(label, count)| (label.clone(), json!(whole(*count)))).collect::<Map<_, _>>().into()
}

fn times(bins: &[Bin]) -> Value {
    QUANTILES.iter().map(|(name, q)| ((*name).to_owned(), json!(quantile(bins, *q)))).collect::<Map<_, _>>().into()
}

/// A count is a whole number; one that was estimated is rounded.
fn whole(count: f64) -> i64 {
    count.round() as i64
}
