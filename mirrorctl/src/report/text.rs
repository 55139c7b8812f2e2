//! The report for a terminal of 80 columns, and as Markdown.

use super::table;
use super::view::{Entry, View};
use crate::metrics::words::{grouped, wrapped};

/// Where the values of notes begin.
const INDENT: usize = 14;

pub(crate) fn text(view: &View<'_>) -> String {
    let mut text = format!("{}\n\n", wrapped(&capital(&view.answer()), 0, 0));
    text.push_str(&format!("{}\n{}\n", wrapped(&view.when, 0, 0), wrapped(&view.source, 0, 0)));
    for event in view.events {
        text.push_str(&format!("  {}\n", wrapped(event, 2, 4)));
    }
    for (index, entry) in view.entries.iter().enumerate() {
        text.push_str(&format!("\n{}\n", heading(entry)));
        // The first is the answer.
        if index > 0 || entry.verdict.is_none() {
            text.push_str(&format!("  {}\n", wrapped(&capital(&entry.sentence), 2, 2)));
        }
        text.push_str(&table::text(entry));
        let row = |name: &str, primary: &str, mirror: &str| format!("  {name:<12}{primary:>22}{mirror:>22}\n");
        text.push_str(&row("", "primary", "mirror"));
        entry.rows.iter().for_each(|one| text.push_str(&row(&one.name, &one.primary, &one.mirror)));
        for (name, value) in &entry.notes {
            text.push_str(&format!("  {name:<12}{}\n", wrapped(value, INDENT, INDENT)));
        }
    }
    for (rule, requests) in &view.nowhere {
        text.push_str(&format!("\n{rule}: mirrored nowhere: {} requests\n", grouped(*requests)));
    }
    text.push_str(&format!("\n{}\n", wrapped(&view.demands, 0, 0)));
    text
}

pub(crate) fn markdown(view: &View<'_>) -> String {
    let mut text = format!("**{}**\n\n{}  \n{}\n", escaped(&capital(&view.answer())), view.when, escaped(&view.source));
    if !view.events.is_empty() {
        text.push('\n');
    }
    view.events.iter().for_each(|event| text.push_str(&format!("- {}\n", escaped(event))));
    for (index, entry) in view.entries.iter().enumerate() {
        text.push_str(&format!("\n### {}\n\n", escaped(&heading(entry))));
        if index > 0 || entry.verdict.is_none() {
            text.push_str(&format!("{}\n\n", escaped(&capital(&entry.sentence))));
        }
        text.push_str(&table::markdown(entry));
        text.push_str("| | primary | mirror |\n|---|---:|---:|\n");
        entry
            .rows
            .iter()
            .for_each(|row| text.push_str(&format!("| {} | {} | {} |\n", row.name, row.primary, row.mirror)));
        text.push('\n');
        entry.notes.iter().for_each(|(name, value)| text.push_str(&format!("- {name}: {}\n", escaped(value))));
    }
    for (rule, requests) in &view.nowhere {
        text.push_str(&format!("\n{}: mirrored nowhere: {} requests\n", escaped(rule), grouped(*requests)));
    }
    text.push_str(&format!("\n<sub>{}</sub>\n", view.demands));
    text
}

/// Names an entry, and its word.
pub(crate) fn heading(entry: &Entry<'_>) -> String {
    let word = match &entry.verdict {
        Some(verdict) => format!(": {}", verdict.word),
        None if entry.is_baseline => ": the baseline".into(),
        None => String::new(),
    };
    format!("{} → {}{word}", entry.rule, entry.name)
}

/// Begins a sentence, unless it begins with a name.
pub(crate) fn capital(sentence: &str) -> String {
    let mut characters = sentence.chars();
    let begins = ["of ", "no ", "its ", "the "].iter().any(|word| sentence.starts_with(word));
    match characters.next().filter(|_| begins) {
        Some(first) => format!("{}{}", first.to_uppercase(), characters.as_str()),
        None => sentence.to_owned(),
    }
}

/// Keeps what Markdown would take for its own.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('|', "\\|")
        .replace('<', "&lt;")
        .replace('*', "\\*")
        .replace('_', "\\_")
        .replace('`', "\\`")
}
