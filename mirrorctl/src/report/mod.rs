//! `mirrorctl report`: watches for a while, and tells whether each mirror is as good as its primary.

mod charts;
mod findings;
mod judge;
mod page;

use crate::metrics::counters::Counters;
use crate::metrics::source::Source;
use crate::reply::Reply;
use clap::Args;
use judge::{Demands, Word};
use std::fs;
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is watched, how long, and what is asked of it.
#[derive(Args)]
pub(crate) struct Watch {
    /// Envoy's admin endpoint: HOST:PORT or an http URL
    url: String,
    /// How long to watch
    #[arg(long = "for", default_value = "60s")]
    period: humantime::Duration,
    /// How long to wait between two readings
    #[arg(long, default_value = "1s")]
    interval: humantime::Duration,
    /// The share of the pairs that is to have the same status, in percent
    #[arg(long, default_value_t = 99.0, value_name = "PERCENT")]
    agreement: f64,
    /// By how much a response may be slower and still be as fast, in milliseconds
    #[arg(long, default_value_t = 5.0, value_name = "MS")]
    tolerance: f64,
    /// Write Markdown
    #[arg(long)]
    markdown: bool,
    /// Write a page of HTML with charts into a file instead
    #[arg(long, value_name = "FILE", conflicts_with = "markdown")]
    html: Option<PathBuf>,
}

/// Watches, and judges.
///
/// # Errors
/// What to tell the user where nothing can be watched.
pub(crate) fn run(watch: &Watch) -> Result<Reply, String> {
    let source = Source::new(&watch.url)?;
    if !source.is_live() {
        return Err(format!("{}: a file cannot be watched", watch.url));
    }
    // Times are compared by the millisecond.
    if !(0.0..100.0).contains(&watch.agreement) || !(1.0..).contains(&watch.tolerance) || watch.interval.is_zero() {
        return Err("--agreement: at least 0 and below 100; --tolerance: at least 1; --interval: above 0".into());
    }
    let demands = Demands { agreement: watch.agreement, tolerance: watch.tolerance };
    let period = period(&source, watch)?;
    let findings = findings::findings(&period, &demands);
    let title = format!("What {} mirrored in {}", watch.url, watch.period);
    let mut reply = Reply::default();
    let demands = findings::demands(&demands);
    if let Some(file) = &watch.html {
        let page = page::render(&title, &findings, &demands)?;
        fs::write(file, page).map_err(|error| format!("{}: {error}", file.display()))?;
    } else {
        let write = if watch.markdown { findings::markdown } else { findings::text };
        reply.text(&format!("{}\n{demands}\n", write(&title, &findings)));
    }
    for finding in &findings {
        match finding.verdict.as_ref().map(|verdict| verdict.word) {
            Some(Word::Worse) => reply.finding(format_args!("Worse: {}", finding.heading)),
            // Whoever waits for a good word did not get one.
            Some(Word::TooFew) => reply.finding(format_args!("Too few to say: {}", finding.heading)),
            Some(Word::Better | Word::AsGood) | None => {}
        }
    }
    if findings.iter().all(|finding| finding.verdict.is_none()) {
        reply.note("No rule has `compare`: nothing is said of which is better.");
    }
    Ok(reply)
}

/// Reads now and then, and returns what has come in the whole period.
fn period(source: &Source, watch: &Watch) -> Result<Counters, String> {
    let start = Instant::now();
    let end: Duration = *watch.period;
    let first = source.read()?;
    let mut last = first.clone();
    while let Some(left) = end.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        sleep(left.min(*watch.interval));
        match source.read() {
            Ok(counters) => {
                // Each after the one before: of an Envoy that was started anew, the first might be below this one.
                counters.since(&last)?;
                last = counters;
                progress(&last.since(&first)?, start.elapsed(), watch);
            }
            // One in between may fail; the last must not.
            Err(_) if start.elapsed() < end => {}
            Err(error) => return Err(error),
        }
    }
    if stderr().is_terminal() {
        let _ = writeln!(stderr());
    }
    last.since(&first)
}

/// Tells who waits for the end how far it is.
fn progress(period: &Counters, elapsed: Duration, watch: &Watch) {
    if stderr().is_terminal() {
        let requests: f64 = period.rules.values().map(|rule| rule.requests).sum();
        let sent: f64 = period.pairs().map(|(_, _, _, mirror)| mirror.sent()).sum();
        let elapsed = elapsed.as_secs();
        // Whoever closed the other end does not want to know.
        let _ = write!(stderr(), "\r{elapsed} s of {}: {requests} requests, {sent} copies", watch.period);
    }
}
