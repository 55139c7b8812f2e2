//! What a period showed of each rule and mirror, as rows of words and figures; written as text or Markdown.

use super::judge::{Demands, Verdict, agreement, judge};
use crate::metrics::books::{Books, Mirror, Rule};
use crate::metrics::histogram::difference;
use crate::stats::table::{counts, percent, quantiles, share};

/// What is to be said of a rule and one of its mirrors.
pub(crate) struct Finding<'a> {
    pub(crate) heading: String,
    /// Where the rule compares.
    pub(crate) verdict: Option<Verdict>,
    pub(crate) rows: Vec<(&'static str, String)>,
    /// What the charts show.
    pub(crate) mirror: Option<&'a Mirror>,
}

/// Judges what has come in a period.
pub(crate) fn findings<'a>(period: &'a Books, demands: &Demands) -> Vec<Finding<'a>> {
    let nowhere = period.rules.iter().filter(|(_, rule)| rule.mirrors.is_empty()).map(|(name, rule)| Finding {
        heading: format!("{name}: mirrored nowhere"),
        verdict: None,
        rows: vec![("requests", rule.requests.to_string())],
        mirror: None,
    });
    let pairs = period.pairs().map(|(name, rule, target, mirror)| Finding {
        heading: format!("{name} → {target}"),
        verdict: mirror.compares().then(|| judge(mirror, demands)),
        rows: rows(rule, mirror),
        mirror: Some(mirror),
    });
    pairs.chain(nowhere).collect()
}

fn rows(rule: &Rule, mirror: &Mirror) -> Vec<(&'static str, String)> {
    let failures = mirror.classes.get("failed") + mirror.classes.get("5xx");
    let mut rows = vec![
        ("requests", rule.requests.to_string()),
        ("share", share(mirror.sent(), rule.requests)),
        ("copies", counts(&mirror.outcomes, None)),
        ("answers", counts(&mirror.classes, None)),
        ("failures", format!("{failures} (5xx or failed), {}", share(failures, mirror.classes.sum()))),
        ("latency", quantiles(&mirror.response_time.bins())),
    ];
    if mirror.compares() {
        let (status, _) = agreement(mirror);
        let bins = difference(&mirror.slower, &mirror.faster);
        rows.push(("compared", counts(&mirror.results, None)));
        rows.push(("same status", status.to_string()));
        rows.push(("slower by", format!("{} (negative: faster)", quantiles(&bins))));
    }
    rows
}

/// Tells what the demands are.
pub(crate) fn demands(demands: &Demands) -> String {
    format!(
        "Good is what has the primary's status in {} and is not more often slower than faster by more than {} ms.",
        percent(demands.agreement),
        demands.tolerance
    )
}

pub(crate) fn text(title: &str, findings: &[Finding<'_>]) -> String {
    let mut text = format!("{title}\n");
    for finding in findings {
        text.push_str(&format!("\n{}\n", finding.heading));
        if let Some(Verdict { word, reason }) = &finding.verdict {
            text.push_str(&format!("  {:<12} {word}: {reason}\n", "verdict"));
        }
        finding.rows.iter().for_each(|(name, value)| text.push_str(&format!("  {name:<12} {value}\n")));
    }
    text
}

pub(crate) fn markdown(title: &str, findings: &[Finding<'_>]) -> String {
    let mut text = format!("# {title}\n");
    for finding in findings {
        text.push_str(&format!("\n## {}\n\n", finding.heading.replace('|', "\\|")));
        if let Some(Verdict { word, reason }) = &finding.verdict {
            text.push_str(&format!("**{word}**: {reason}\n\n"));
        }
        text.push_str("| | |\n|---|---|\n");
        finding.rows.iter().for_each(|(name, value)| text.push_str(&format!("| {name} | {value} |\n")));
    }
    text
}
