//! `mirrorctl stats`: what the filter has counted, by rule and mirror.

mod json;
pub(crate) mod table;
mod watch;

use crate::metrics::source::Source;
use crate::reply::Reply;
use clap::Args;
use std::time::Duration;

/// What is read, and how it is shown.
#[derive(Args)]
pub(crate) struct Reading {
    /// Envoy's admin endpoint: HOST:PORT or an http URL; or a file with what it printed; `-` is standard input
    url: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Repeat it, with what came since; every 2 seconds, or as many as given
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
          conflicts_with = "json", value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
}

/// Shows the metrics.
///
/// # Errors
/// What to tell the user where there are none.
pub(crate) fn run(reading: &Reading) -> Result<Reply, String> {
    let source = Source::new(&reading.url)?;
    if let Some(seconds) = reading.watch {
        return watch::watch(&reading.url, &source, Duration::from_secs(seconds)).map(|()| Reply::default());
    }
    let (counters, mismatches) = source.read_added_up()?;
    let mut reply = Reply::default();
    if reading.json {
        reply.line(json::render(&counters, &mismatches));
    } else {
        reply.text(&table::render(&counters, None));
        if mismatches.is_empty() {
            reply.line(format_args!("\n{ADD_UP}"));
        }
    }
    if !mismatches.is_empty() {
        reply.finding(in_lines(&mismatches));
    }
    Ok(reply)
}

const ADD_UP: &str = "The counters add up.";

/// Says which counters do not add up, and what else may be the reason.
fn in_lines(mismatches: &[String]) -> String {
    let lines: String = mismatches.iter().map(|mismatch| format!("The counters do not add up: {mismatch}\n")).collect();
    format!(
        "{lines}Causes: /reset_counters with copies in flight, a hot restart whose parent ended before its copies, a trap of the VM, \
         an older module that counted in this Envoy before, a page that was saved while copies were made."
    )
}
