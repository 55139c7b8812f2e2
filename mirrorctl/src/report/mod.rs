//! `mirrorctl report`: watches for a while, or asks a Prometheus, and tells whether each mirror is as good as its primary.

mod baseline;
mod bounds;
mod fields;
mod holm;
mod json;
mod judge;
#[cfg(test)]
mod noise;
mod page;
mod period;
mod sentence;
#[cfg(test)]
mod simulation;
mod table;
mod text;
mod view;

use crate::metrics::counters::Counters;
use crate::reply::Reply;
use clap::Args;
use judge::Demands;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use view::View;

/// How long one Envoy is watched, and what of a Prometheus is asked, unless it is said.
const WATCHED: Duration = Duration::from_secs(60);
const ASKED: Duration = Duration::from_secs(24 * 60 * 60);

/// What is watched, how long, and what is asked of it.
#[derive(Args)]
pub(crate) struct Watch {
    /// Envoys' admin endpoints: HOST:PORT or http URLs
    #[arg(required_unless_present = "prometheus", conflicts_with = "prometheus")]
    urls: Vec<String>,
    /// Ask a Prometheus about a time up to now, instead of watching
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
    /// Which of its series: `{namespace="shop"}`
    #[arg(long, value_name = "LABELS", requires = "prometheus")]
    selector: Option<String>,
    /// How long to watch (default: 60s), or which time up to now to ask for (default: 1d)
    #[arg(long = "for", value_name = "PERIOD")]
    period: Option<humantime::Duration>,
    /// How long to wait between two readings (default: 1s); of a Prometheus, the shortest step (default: 60s)
    #[arg(long)]
    interval: Option<humantime::Duration>,
    /// By what share of the pairs a mirror may fail more often than its primary, or a field differ more often than in the baseline
    #[arg(long, default_value = "0.1%", value_name = "PERCENT", value_parser = percent)]
    margin: f64,
    /// The share of the pairs that is to have the same response, failures and what the baseline has apart
    #[arg(long, default_value = "99%", value_name = "PERCENT", value_parser = percent)]
    agreement: f64,
    /// The mirror that runs the primary's version: what it has of differences is chance, and not counted against the others
    #[arg(long, value_name = "MIRROR")]
    baseline: Option<String>,
    /// By how much a response may be slower and still be as fast, in milliseconds: a boundary of Envoy's histograms
    #[arg(long, default_value_t = 5.0, value_name = "MS")]
    tolerance: f64,
    /// How many reports decide together: whoever asks until the word is good
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    looks: u32,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["markdown", "html"])]
    json: bool,
    /// Write Markdown
    #[arg(long)]
    markdown: bool,
    /// Write a page of HTML into a file instead
    #[arg(long, value_name = "FILE", conflicts_with = "markdown")]
    html: Option<PathBuf>,
}

/// Watches or asks, and judges.
///
/// # Errors
/// What to tell the user where nothing can be known.
pub(crate) fn run(watch: &Watch) -> Result<Reply, String> {
    let demands = Demands {
        margin: watch.margin / 100.0,
        differing: 1.0 - watch.agreement / 100.0,
        tolerance: watch.tolerance,
        looks: f64::from(watch.looks),
    };
    // Times are compared by the millisecond.
    let is_valid = watch.margin > 0.0 && watch.agreement < 100.0 && watch.tolerance >= 1.0;
    if !is_valid || watch.interval.is_some_and(|interval| interval.is_zero()) {
        return Err("--margin, --interval: above 0; --agreement: below 100; --tolerance: at least 1".into());
    }
    let interval = watch.interval.map(Into::into);
    let is_known =
        |counters: &Counters| watch.baseline.as_deref().map_or(Ok(()), |name| baseline::known(counters, name));
    let period = match &watch.prometheus {
        Some(url) => {
            let length = watch.period.map_or(ASKED, Into::into);
            period::asked(url, watch.selector.as_deref(), length, interval)?
        }
        None => {
            let length = watch.period.map_or(WATCHED, Into::into);
            period::watched(&watch.urls, length, interval.unwrap_or(Duration::from_secs(1)), is_known)?
        }
    };
    let total = period.total();
    is_known(&total)?;
    boundary(&total, watch.tolerance)?;
    let view = View::new(&period, &total, &demands, watch.baseline.as_deref());
    let mut reply = Reply::default();
    if let Some(file) = &watch.html {
        fs::write(file, page::render(&view)).map_err(|error| format!("{}: {error}", file.display()))?;
    } else if watch.json {
        reply.line(json::render(&view, &period, &total));
    } else if watch.markdown {
        reply.text(&text::markdown(&view));
    } else {
        reply.text(&text::text(&view));
    }
    // Whoever waits for a good word did not get one.
    if !view.word().is_good() {
        reply.fail();
        // What is written for others does not say it here.
        if watch.html.is_some() || watch.json {
            reply.note(format_args!("{}: {}", view.word(), view.answer()));
        }
    }
    Ok(reply)
}

/// Takes a percentage, with or without its sign.
fn percent(text: &str) -> Result<f64, String> {
    let number: Result<f64, _> = text.trim_end_matches('%').trim().parse();
    number.ok().filter(|number| (0.0..=100.0).contains(number)).ok_or_else(|| "not a percentage from 0 to 100".into())
}

/// Histograms tell only how many values are within their boundaries.
fn boundary(total: &Counters, tolerance: f64) -> Result<(), String> {
    let mut bounds: Vec<f64> = total.pairs().flat_map(|(.., mirror)| mirror.slower.bounds()).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    if bounds.is_empty() || bounds.contains(&tolerance) {
        return Ok(());
    }
    let bounds: Vec<_> = bounds.iter().filter(|bound| **bound >= 1.0).map(ToString::to_string).collect();
    Err(format!("--tolerance {tolerance}: not a boundary of Envoy's histograms: {}", bounds.join(", ")))
}
