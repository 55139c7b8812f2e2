//! The report as one page of HTML that needs nothing else: words, figures, charts.

use super::charts::draw;
use super::findings::Finding;
use super::judge::Word;
use crate::metrics::histogram::difference;

const STYLE: &str = "body{font:15px/1.5 sans-serif;max-width:800px;margin:2em auto;padding:0 1em;color:#222}\
    h1{font-size:1.4em}h2{font-size:1.1em;margin-top:2em;overflow-wrap:anywhere}\
    th{text-align:left;font-weight:normal;color:#666;padding-right:1.5em;vertical-align:top;white-space:nowrap}\
    b{color:#fff;border-radius:4px;padding:.1em .5em}svg{max-width:100%;height:auto}";

/// Writes the page.
///
/// # Errors
/// What the drawing library says.
pub(crate) fn render(title: &str, findings: &[Finding<'_>], demands: &str) -> Result<String, String> {
    let title = escaped(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for finding in findings {
        page.push_str(&format!("<h2>{}</h2>\n", escaped(&finding.heading)));
        if let Some(verdict) = &finding.verdict {
            let colour = match verdict.word {
                Word::Better | Word::AsGood => "#2e7d32",
                Word::Worse => "#c62828",
                Word::TooFew => "#757575",
            };
            let (word, reason) = (verdict.word, escaped(&verdict.reason));
            page.push_str(&format!("<p><b style=\"background:{colour}\">{word}</b> {reason}</p>\n"));
        }
        page.push_str("<table>\n");
        for (name, value) in &finding.rows {
            page.push_str(&format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(value)));
        }
        page.push_str("</table>\n");
        if let Some(mirror) = finding.mirror {
            if mirror.compares() {
                let bins = difference(&mirror.slower, &mirror.faster);
                page.push_str(&draw("By how much the mirror was slower (negative: faster)", &bins)?);
            }
            page.push_str(&draw("How long the mirror took", &mirror.response_time.bins())?);
        }
    }
    page.push_str(&format!("<p>{}</p>\n</body>\n</html>\n", escaped(demands)));
    Ok(page)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
