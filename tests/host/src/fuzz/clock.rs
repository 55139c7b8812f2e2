//! What the time makes of a mirror: an account of `ramp`, `from`, `until` and shares that reads the configuration's JSON by
//! itself.

use crate::fuzz::choice::MOMENTS;
use serde_json::Value;
use traffic_mirror::core::outcome::Outcome;

/// Whether a mirror gets a request, as far as that can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    Always,
    /// By a draw, or by a key.
    Perhaps,
    Never(Outcome),
}

/// Works out whether a mirror gets a request that comes so many nanoseconds after 1970 began.
pub fn selection(mirror: &Value, now: u64) -> Selection {
    if mirror.get("from").is_some_and(|from| now < moment(from))
        || mirror.get("until").is_some_and(|until| moment(until) <= now)
    {
        return Selection::Never(Outcome::Unscheduled);
    }
    let fraction =
        |fraction: &Value| fraction["numerator"].as_f64().unwrap() / fraction["denominator"].as_f64().unwrap();
    let percentage = if let Some(steps) = mirror.get("ramp") {
        let steps = steps.as_array().unwrap().iter().map(|step| (moment(&step["at"]), &step["percentage"]));
        let last = steps.filter(|(at, _)| *at <= now).max_by_key(|(at, _)| *at);
        last.map_or(0.0, |(_, percentage)| percentage.as_f64().unwrap())
    } else if let Some(percentage) = mirror.get("percentage") {
        percentage.as_f64().unwrap()
    } else {
        mirror.get("fraction").map_or(100.0, |share| 100.0 * fraction(share))
    };
    match percentage {
        0.0 => Selection::Never(Outcome::Unsampled),
        100.0 => Selection::Always,
        _ => Selection::Perhaps,
    }
}

/// Finds a moment in the table of those that there are.
fn moment(text: &Value) -> u64 {
    MOMENTS.iter().find(|(known, _)| text == known).unwrap().1
}
