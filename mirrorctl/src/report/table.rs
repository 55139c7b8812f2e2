//! The fields that differ, as a table for a terminal and for Markdown.

use super::text::escaped;
use super::view::{self, Entry, FieldRow, Share};
use crate::metrics::words::fine;

/// More fields than these are not listed: JSON and the page have all.
const LISTED: usize = 12;
/// How long a name is at most that stands in one line with its figures.
const NAME: usize = 32;

pub(crate) fn text(entry: &Entry<'_>) -> String {
    let has_baseline = entry.baseline.is_some();
    let row = |name: &str, mirror: &str, baseline: &str, more: &str| {
        let name = if name.chars().count() > NAME { format!("{name}\n{:NAME$}", "") } else { format!("{name:<NAME$}") };
        if has_baseline {
            format!("{name}{mirror:>11}{baseline:>12}{more:>23}").trim_end().to_owned() + "\n"
        } else {
            format!("{name}{mirror:>11}{more:>23}").trim_end().to_owned() + "\n"
        }
    };
    if entry.fields.is_empty() {
        return String::new();
    }
    let title = if has_baseline { "more often, by" } else { "95 % confidence" };
    let mut text = row("  fields that differ", "mirror", "baseline", title);
    for field in entry.fields.iter().take(LISTED) {
        let mark = if field.is_different { ">" } else { " " };
        text.push_str(&row(&format!("{mark} {}", field.name), &share(&field.mirror), &others(field), &bounds(field)));
    }
    text.push_str(&rest(entry).map(|rest| format!("  {rest}\n")).unwrap_or_default());
    if entry.fields.iter().any(|field| field.is_different) {
        let name = view::baseline(entry.baseline.unwrap_or_default());
        text.push_str(&format!("> differs more often than in {name}\n"));
    }
    text.push('\n');
    text
}

pub(crate) fn markdown(entry: &Entry<'_>) -> String {
    if entry.fields.is_empty() {
        return String::new();
    }
    let mut text = if entry.baseline.is_some() {
        "| fields that differ | mirror | baseline | more often, by |\n|---|---:|---:|---:|\n".to_owned()
    } else {
        "| fields that differ | mirror | 95 % confidence |\n|---|---:|---:|\n".to_owned()
    };
    for field in entry.fields.iter().take(LISTED) {
        let name = escaped(&field.name);
        let name = if field.is_different { format!("**{name}**") } else { name };
        let others = entry.baseline.map(|_| format!(" {} |", others(field))).unwrap_or_default();
        text.push_str(&format!("| {name} | {} |{others} {} |\n", share(&field.mirror), bounds(field)));
    }
    text.push('\n');
    text.push_str(&rest(entry).map(|rest| format!("{rest}\n\n")).unwrap_or_default());
    text
}

/// Writes a share, which may be of nothing.
pub(crate) fn share(share: &Share) -> String {
    if share.pairs > 0.0 { fine(share.share) } else { "none".into() }
}

/// Writes a share's bounds.
pub(crate) fn between((low, high): (f64, f64)) -> String {
    format!("{} to {}", fine(low), fine(high))
}

fn others(field: &FieldRow) -> String {
    field.baseline.as_ref().map(share).unwrap_or_default()
}

fn bounds(field: &FieldRow) -> String {
    match (&field.more, &field.baseline) {
        (Some(more), _) => between(*more),
        (None, Some(_)) => "not judged".into(),
        (None, None) => between((field.mirror.low, field.mirror.high)),
    }
}

fn rest(entry: &Entry<'_>) -> Option<String> {
    let rest = entry.fields.len().saturating_sub(LISTED);
    (rest > 0).then(|| format!("and {rest} more: --json and --html have all"))
}
