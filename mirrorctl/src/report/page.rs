//! The report as one page of HTML that needs nothing else: words, figures, bars. It is light or dark as its reader is, and fits a
//! telephone.

use super::judge::Word;
use super::table::{between, share};
use super::text::{capital, heading};
use super::view::{self, Entry, FieldRow, Share, View, short};
use crate::metrics::histogram::{Bin, difference, total};
use crate::metrics::words::{fine, grouped};

const STYLE: &str = include_str!("page.css");

/// Writes the page.
pub(crate) fn render(view: &View<'_>) -> String {
    let (title, colour) = (escaped(&format!("Mirror report: {}", view.word())), colour(view.word()));
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1 class=\"{colour}\">{}</h1>\n<p class=\"quiet\">{}<br/>{}</p>\n",
        escaped(&capital(&view.answer())),
        escaped(&view.when),
        escaped(&view.source)
    );
    if !view.events.is_empty() {
        let events: String = view.events.iter().map(|event| format!("<li>{}</li>\n", escaped(event))).collect();
        page.push_str(&format!("<ul>\n{events}</ul>\n"));
    }
    for (index, entry) in view.entries.iter().enumerate() {
        page.push_str(&section(entry, index > 0 || entry.verdict.is_none()));
    }
    for (rule, requests) in &view.nowhere {
        page.push_str(&format!("<p>{}: mirrored nowhere: {} requests</p>\n", escaped(rule), grouped(*requests)));
    }
    page.push_str(&format!("<p class=\"quiet\">{}</p>\n</body>\n</html>\n", escaped(&view.demands)));
    page
}

fn section(entry: &Entry<'_>, has_sentence: bool) -> String {
    let colour = entry.verdict.as_ref().map_or("open", |verdict| colour(verdict.word));
    let mut text = format!("<section>\n<h2><span class=\"dot {colour}\"></span>{}</h2>\n", escaped(&heading(entry)));
    if has_sentence {
        text.push_str(&format!("<p>{}</p>\n", escaped(&capital(&entry.sentence))));
    }
    text.push_str(&fields(entry));
    text.push_str("<table>\n<tr><th></th><th>primary</th><th>mirror</th></tr>\n");
    for row in &entry.rows {
        // A line may end between a count and its share alone.
        let [primary, mirror] = [&row.primary, &row.mirror].map(|text| text.replace(" %", "\u{a0}%"));
        let name = &row.name;
        text.push_str(&format!("<tr><th>{name}</th><td>{primary}</td><td>{mirror}</td></tr>\n"));
    }
    text.push_str("</table>\n<dl>\n");
    for (name, value) in &entry.notes {
        text.push_str(&format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(value)));
    }
    text.push_str("</dl>\n");
    if entry.counts.compares() {
        let bins = difference(&entry.counts.slower, &entry.counts.faster);
        text.push_str(&bars("By how many milliseconds the mirror was slower", &bins));
    }
    text.push_str(&bars("How many milliseconds the mirror took", &entry.counts.response_time.bins()));
    text.push_str("</section>\n");
    text
}

/// Draws in which share of the pairs each field differs, beside the baseline's, those that differ more often first. Each group has a
/// scale of its own: what is wrong in few must not vanish beside what differs always.
fn fields(entry: &Entry<'_>) -> String {
    let (different, others): (Vec<_>, Vec<_>) = entry.fields.iter().partition(|field| field.is_different);
    let baseline = view::baseline(entry.baseline.unwrap_or_default());
    let judged = others.iter().any(|field| field.more.is_some());
    let more = format!("Fields that differ more often than in {baseline}");
    group(&more, &different, entry)
        + &group(
            if judged { "Fields that do not surely differ more often" } else { "Fields that differ" },
            &others,
            entry,
        )
}

fn group(title: &str, fields: &[&FieldRow], entry: &Entry<'_>) -> String {
    let shares = |field: &&FieldRow| [Some(field.mirror), field.baseline];
    let widest = fields.iter().flat_map(shares).flatten().map(|share| share.high).fold(0.0, f64::max);
    if widest <= 0.0 {
        return String::new();
    }
    let mut rows = String::new();
    for field in fields {
        let more = field.more.map(|more| format!(": more often by {}", between(more))).unwrap_or_default();
        rows.push_str(&format!("<tr><th colspan=\"3\"><b>{}</b>{more}</th></tr>\n", escaped(&field.name)));
        let colour = if field.is_different { "bad" } else { "plain" };
        rows.push_str(&interval(short(entry.name), colour, &field.mirror, widest));
        if let (Some(share), Some(name)) = (&field.baseline, entry.baseline) {
            rows.push_str(&interval(short(name), "open", share, widest));
        }
    }
    format!(
        "<h3>{}</h3>\n<p class=\"quiet\">Shares of the pairs, with their 95 % intervals; a full bar is {}.</p>\n\
         <table class=\"fields\">\n<colgroup><col/><col/><col/></colgroup>\n{}</table>\n",
        escaped(title),
        fine(widest).replace(" %", "\u{a0}%"),
        rows.replace(" %", "\u{a0}%")
    )
}

/// Draws a share, and over it a line from bound to bound.
fn interval(name: &str, colour: &str, one: &Share, widest: f64) -> String {
    let part = |share: f64| 100.0 * share / widest;
    let (width, left, wide) = (part(one.share), part(one.low), part(one.high - one.low));
    format!(
        "<tr><td>{}</td><td><div class=\"track\"><div class=\"bar {colour}\" style=\"width:{width:.2}%\"></div>\
         <div class=\"interval\" style=\"left:{left:.2}%;width:{wide:.2}%\"></div></div></td><td>{}<br/><small>{}</small></td></tr>\n",
        escaped(name),
        share(one),
        between((one.low, one.high))
    )
}

/// Draws which share of the values is in each bin; a row of dots stands for those that are empty.
fn bars(title: &str, bins: &[Bin]) -> String {
    let is_filled = |bin: &Bin| bin.count > 0.0;
    let all = total(bins);
    let is_difference = bins.iter().any(|bin| bin.low < 0.0);
    let highest = bins.iter().map(|bin| bin.count).fold(0.0, f64::max);
    let (mut rows, mut has_gap) = (String::new(), false);
    let bar = |bin: &Bin| {
        let colour = match is_difference {
            true if bin.low < 0.0 => "faster",
            true if bin.low > 0.0 => "slower",
            // What is too close to be told apart.
            _ => "plain",
        };
        let width = 100.0 * bin.count.max(0.0) / highest;
        format!(
            "<tr><th>{}</th><td><div class=\"{colour}\" style=\"width:{width:.1}%\"></div></td><td>{}</td></tr>\n",
            label(bin),
            fine(bin.count / all)
        )
    };
    for bin in bins {
        if !is_filled(bin) {
            has_gap = !rows.is_empty();
            continue;
        }
        if std::mem::take(&mut has_gap) {
            rows.push_str("<tr><th>\u{22ef}</th><td></td><td></td></tr>\n");
        }
        rows.push_str(&bar(bin));
    }
    if rows.is_empty() { rows } else { format!("<h3>{title}</h3>\n<table class=\"bars\">\n{rows}</table>\n") }
}

fn label(bin: &Bin) -> String {
    let number = |number: f64| format!("{}", number + 0.0).replace('-', "\u{2212}");
    match (bin.low.is_finite(), bin.high.is_finite()) {
        (true, true) => format!("{} to {}", number(bin.low), number(bin.high)),
        (true, false) => format!("over {}", number(bin.low)),
        _ => format!("under {}", number(bin.high)),
    }
}

fn colour(word: Word) -> &'static str {
    match word {
        Word::Better | Word::AsGood => "good",
        Word::Worse | Word::Unreachable | Word::Different => "bad",
        Word::NotComparable | Word::Undecided | Word::TooFew | Word::NothingCompared => "open",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bar_for_each_bin_that_is_not_empty_and_dots_for_those_between() {
        let bin = |low, high, count| Bin { low, high, count };
        let bins = [bin(-5.0, -1.0, 0.0), bin(-1.0, 0.0, 3.0), bin(0.0, 1.0, 0.0), bin(1.0, f64::INFINITY, 1.0)];
        let text = bars("By how much", &bins);
        for part in
            ["By how much", "\u{2212}1 to 0", "\u{22ef}", "over 1", "75 %", "25 %", "faster", "slower", "width:33.3%"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(
            !text.contains("\u{2212}5") && !text.contains("0 to 1<") && text.matches("\u{22ef}").count() == 1,
            "{text}"
        );
        assert_eq!(bars("Of nothing", &[]), "");
    }
}
