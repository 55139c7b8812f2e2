//! The metrics again and again: on a terminal in its place, else one after the other.

use super::table;
use super::{ADD_UP, in_lines};
use crate::metrics::counters::Counters;
use crate::metrics::source::Source;
use crate::reply::screen;
use std::io::{Write, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Moves to the corner; clears the rest of a line, and all below.
const HOME: &str = "\x1b[H";
const REST_OF_LINE: &str = "\x1b[K";
const BELOW: &str = "\x1b[J";

/// Shows the metrics until nobody reads them any more.
///
/// # Errors
/// What to tell the user where they cannot be read at first.
pub(super) fn watch(name: &str, source: &Source, pause: Duration) -> Result<(), String> {
    if !source.is_live() {
        return Err("a file cannot be watched".into());
    }
    let mut last: Option<(Counters, Instant)> = None;
    loop {
        let text = match source.read_added_up() {
            Ok((counters, mismatches)) => {
                let now = Instant::now();
                // After a restart there is nothing to compare with.
                let since = last
                    .and_then(|(last, at)| Some((counters.since(&last).ok()?, now.duration_since(at).as_secs_f64())));
                let since = since.as_ref().map(|(since, seconds)| (since, *seconds));
                let state = if mismatches.is_empty() { ADD_UP.to_owned() } else { in_lines(&mismatches) };
                let text = format!("{}\n{state}", table::render(&counters, since));
                last = Some((counters, now));
                text
            }
            // An Envoy that was there may come back.
            Err(error) if last.is_some() => error,
            Err(error) => return Err(error),
        };
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        let text = format!("{time}: {name}, every {}\n{text}", humantime::format_duration(pause));
        let shown = match screen(&stdout()) {
            Some(size) => write!(stdout(), "{}", frame(&text, size)),
            None => writeln!(stdout(), "{text}\n"),
        };
        if shown.and_then(|()| stdout().flush()).is_err() {
            return Ok(());
        }
        sleep(pause);
    }
}

/// Puts as much on the screen, which has so many columns and rows, as there is room for.
fn frame(text: &str, (width, height): (usize, usize)) -> String {
    let rows = |line: &str| line.chars().count().div_ceil(width.max(1)).max(1);
    // The last row is for the cursor.
    let mut room = height.saturating_sub(1).max(1);
    let mut frame = HOME.to_owned();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let left = room.checked_sub(rows(line)).filter(|left| is_last || *left > 0);
        let Some(left) = left else {
            frame.push_str(&format!("… {} more lines{REST_OF_LINE}\n", lines.count().saturating_add(1)));
            break;
        };
        frame.push_str(&format!("{line}{REST_OF_LINE}\n"));
        room = left;
    }
    frame + BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_fits_the_screen_and_says_what_is_left_out() {
        let plain = |text: &str, size| frame(text, size).replace(REST_OF_LINE, "");
        assert_eq!(plain("a\nb\n", (80, 24)), format!("{HOME}a\nb\n{BELOW}"));
        assert_eq!(plain("a\nb\nc\nd\n", (80, 5)), format!("{HOME}a\nb\nc\nd\n{BELOW}"));
        assert_eq!(plain("a\nb\nc\nd\n", (80, 4)), format!("{HOME}a\nb\n… 2 more lines\n{BELOW}"));
        // A line that is broken by the terminal takes two rows.
        assert_eq!(plain("abcde\nb\nc\n", (4, 4)), format!("{HOME}abcde\n… 2 more lines\n{BELOW}"));
    }
}
