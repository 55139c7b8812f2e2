//! `mirrorctl stats`: what the filter has counted, by rule and mirror.

mod json;
pub(crate) mod table;

use crate::metrics::books::Books;
use crate::metrics::source::Source;
use crate::report::Report;
use clap::Args;
use std::io::{Write, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Clears the terminal, its cursor in the corner.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What is read, and how it is shown.
#[derive(Args)]
pub(crate) struct Reading {
    /// Envoy's admin endpoint: HOST:PORT or an http URL; or a file with what it said; `-` is standard input
    url: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show it again and again, with what came meanwhile; every 2 seconds, or so many
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", conflicts_with = "json",
          value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
}

/// Shows the metrics.
///
/// # Errors
/// What to tell the user where there are none.
pub(crate) fn run(reading: &Reading) -> Result<Report, String> {
    let source = Source::new(&reading.url)?;
    if let Some(seconds) = reading.watch {
        return watch(&source, Duration::from_secs(seconds)).map(|()| Report::default());
    }
    let (books, imbalances) = source.read_balanced()?;
    let mut report = Report::default();
    if reading.json {
        report.line(json::render(&books, &imbalances));
    } else {
        report.text(&table::render(&books, None));
        if imbalances.is_empty() {
            report.line("The books balance.");
        }
    }
    for imbalance in imbalances {
        report.finding(format_args!("The books do not balance: {imbalance}"));
    }
    Ok(report)
}

/// Shows the metrics until nobody reads them any more.
fn watch(source: &Source, pause: Duration) -> Result<(), String> {
    if !source.is_live() {
        return Err("a file cannot be watched".into());
    }
    let mut last: Option<(Books, Instant)> = None;
    loop {
        let (books, imbalances) = source.read_balanced()?;
        let now = Instant::now();
        // After a restart there is nothing to compare with.
        let since = last.and_then(|(last, at)| Some((books.since(&last).ok()?, now.duration_since(at).as_secs_f64())));
        let since = since.as_ref().map(|(since, seconds)| (since, *seconds));
        let state = if imbalances.is_empty() { "balance" } else { "do not balance" };
        let text = format!("{CLEAR}{}The books {state}.\n", table::render(&books, since));
        if stdout().write_all(text.as_bytes()).and_then(|()| stdout().flush()).is_err() {
            return Ok(());
        }
        last = Some((books, now));
        sleep(pause);
    }
}
