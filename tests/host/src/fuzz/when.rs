//! Whether a mirror wants a copy once the primary's response is over: an account of `when` that reads the configuration's
//! JSON by itself.

use serde_json::Value;

/// How a primary responded.
#[derive(Debug, Clone, Copy)]
pub struct Response {
    /// What the host says that the client got.
    pub code: Option<u16>,
    /// What the host says that the upstream took, in nanoseconds.
    pub latency: Option<i64>,
    /// The nanoseconds between the end of the request and that of the stream.
    pub elapsed: u64,
}

impl Response {
    /// Returns the final status.
    pub fn status(&self) -> Option<u16> {
        self.code.filter(|code| *code / 100 != 1)
    }

    /// Returns how long the primary took, in nanoseconds; `None` where no upstream responded.
    pub fn took(&self) -> Option<u64> {
        let latency = self.latency.filter(|latency| *latency >= 0)?;
        Some(self.elapsed.min(latency.unsigned_abs()))
    }

    /// Tells whether one of the entries of a `when` holds.
    pub fn is_wanted(&self, when: &Value) -> bool {
        when.as_array().unwrap().iter().any(|entry| {
            let is_slower = |least: &Value| self.took().is_some_and(|took| took > nanoseconds(least));
            let is_listed = |names: &Value| names.as_array().unwrap().iter().any(|name| self.is_named(name));
            entry.get("slowerThan").is_none_or(is_slower) && entry.get("status").is_none_or(is_listed)
        })
    }

    /// Tells whether the status is one that a name of `status` tells of: all have three digits, so that texts compare as numbers.
    fn is_named(&self, name: &Value) -> bool {
        let name = name.as_str().map_or_else(|| name.to_string(), str::to_owned);
        let Some(digits) = self.status().map(|status| status.to_string()) else { return name == "none" };
        match name.split_once('-') {
            Some((first, last)) => first <= &*digits && &*digits <= last,
            None => name.len() == 3 && name.chars().zip(digits.chars()).all(|(one, digit)| one == digit || one == 'x'),
        }
    }

    /// Returns the headers in which a copy tells of it.
    pub fn told(&self) -> Vec<(&'static str, String)> {
        let status = self.status().map_or("none".to_owned(), |status| status.to_string());
        let mut told = vec![("x-mirrored-primary-status", status)];
        told.extend(self.took().map(|took| ("x-mirrored-primary-ms", (took / 1_000_000).to_string())));
        told
    }
}

/// Reads a duration of one number and one unit.
fn nanoseconds(text: &Value) -> u64 {
    let text = text.as_str().unwrap();
    let unit = text.trim_start_matches(|letter: char| letter.is_ascii_digit());
    let factor =
        [("ms", 1_000_000), ("s", 1_000_000_000), ("h", 3_600_000_000_000)].into_iter().find(|(name, _)| *name == unit);
    text.strip_suffix(unit).unwrap().parse::<u64>().unwrap() * factor.unwrap().1
}
