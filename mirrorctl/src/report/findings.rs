//! What a period showed of each rule and mirror, as rows of words and figures; written as text or Markdown.

use super::judge::{Demands, Verdict, judge};
use crate::metrics::counters::{Counters, Mirror};
use crate::metrics::rows::rows;
use crate::metrics::words::row;

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
pub(crate) fn findings<'a>(period: &'a Counters, demands: &Demands) -> Vec<Finding<'a>> {
    let nowhere = period.rules.iter().filter(|(_, rule)| rule.mirrors.is_empty()).map(|(name, rule)| Finding {
        heading: format!("{name}: mirrored nowhere"),
        verdict: None,
        rows: vec![("requests", rule.requests.to_string())],
        mirror: None,
    });
    let pairs = period.pairs().map(|(name, rule, target, mirror)| Finding {
        heading: format!("{name} → {target}"),
        verdict: mirror.compares().then(|| judge(mirror, demands)),
        rows: [vec![("requests", rule.requests.to_string())], rows(rule, mirror, None)].concat(),
        mirror: Some(mirror),
    });
    pairs.chain(nowhere).collect()
}

/// Tells what the demands are.
pub(crate) fn demands(demands: &Demands) -> String {
    format!(
        "Good is what is no worse by status in {} % and is not more often slower than faster by more than {} ms. Compared is \
         when each response was complete: the primary's is when its client has read it, and a copy begins when its request is \
         complete.",
        demands.agreement, demands.tolerance
    )
}

pub(crate) fn text(title: &str, findings: &[Finding<'_>]) -> String {
    let mut text = format!("{title}\n");
    for finding in findings {
        text.push_str(&format!("\n{}\n", finding.heading));
        if let Some(Verdict { word, reason }) = &finding.verdict {
            text.push_str(&row("verdict", &format!("{word}: {reason}")));
        }
        finding.rows.iter().for_each(|(name, value)| text.push_str(&row(name, value)));
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
