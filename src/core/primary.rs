//! What is known of the primary's response once its stream is over, for the mirrors that wait for it.

use crate::config::Mirror;
use std::time::Duration;

/// The name of the header in which a copy tells its primary's status.
const STATUS: &str = "x-mirrored-primary-status";

/// The name of the header in which a copy tells how many milliseconds its primary took.
const MILLISECONDS: &str = "x-mirrored-primary-ms";

/// A header in which a copy tells of the primary's response.
pub type Told = (&'static str, String);

/// The primary's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Primary {
    /// The status that the client got; `None`: it got no response.
    pub status: Option<u16>,
    /// How long the upstream took; `None`: no upstream responded.
    pub took: Option<Duration>,
}

impl Primary {
    /// Returns whether a mirror wants a copy of the request that was responded to so.
    pub fn is_wanted(&self, mirror: &Mirror) -> bool {
        mirror.when.iter().any(|when| when.holds(self.status, self.took))
    }

    /// Returns the headers in which a copy tells of it.
    pub fn told(&self) -> Vec<Told> {
        let status = self.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let milliseconds = self.took.and_then(|took| u64::try_from(took.as_millis()).ok());
        let took = milliseconds.map(|took| (MILLISECONDS, took.to_string()));
        [(STATUS, status)].into_iter().chain(took).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_tells_what_is_known() {
        for (status, took, expected) in [
            (Some(503), Some(Duration::from_micros(1999)), &[(STATUS, "503"), (MILLISECONDS, "1")][..]),
            (Some(504), None, &[(STATUS, "504")]),
            (None, None, &[(STATUS, "none")]),
        ] {
            let told = Primary { status, took }.told();
            assert_eq!(told.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), expected);
        }
    }
}
