//! Where metrics are read: an Envoy's admin endpoint, or what was saved of one.

use super::counters::Counters;
use super::sums::mismatches;
use crate::admin;
use crate::input;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use ureq::Agent;

/// Of all that Envoy counts, what is the filter's, and for how long it has counted: `traffic_mirror|server.uptime`.
const PAGE: &str = "/stats/prometheus?filter=traffic_mirror%7Cserver.uptime";
/// How often, and how long apart, counters are read again that do not add up.
const READINGS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Where metrics are read.
pub(crate) enum Source {
    /// A page, again and again.
    Page { url: String, agent: Agent },
    /// A file, once.
    File(String),
}

impl Source {
    /// Takes what the user calls it: `HOST:PORT`, a URL, a file, or `-`.
    ///
    /// # Errors
    /// What to tell the user where it is none of these.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        if name.starts_with("https:") {
            return Err(format!("{name}: http alone: Envoy's admin endpoint has no TLS"));
        }
        let bare = name.strip_prefix("http://");
        if bare.is_none() && (name == "-" || Path::new(name).exists()) {
            return Ok(Self::File(name.to_owned()));
        }
        let bare = bare.unwrap_or(name);
        let (authority, path) = bare.split_once('/').unwrap_or((bare, ""));
        if bare == name && !authority.contains(':') {
            return Err(format!("{name}: neither a file nor HOST:PORT"));
        }
        let url = if path.is_empty() { format!("http://{authority}{PAGE}") } else { format!("http://{bare}") };
        Ok(Self::Page { url, agent: admin::agent() })
    }

    /// Tells whether it can be read again.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Page { .. })
    }

    /// Reads the counters.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn read(&self) -> Result<Counters, String> {
        let (name, text) = match self {
            Self::File(name) => (name, String::from_utf8_lossy(&input::bytes(name)?).into_owned()),
            Self::Page { url, agent } => (url, admin::page(agent, url).map_err(|error| format!("{url}: {error}"))?),
        };
        Counters::read(&text).map_err(|error| format!("{name}: {error}"))
    }

    /// Reads the counters, and again if they do not add up; returns the last reading, and what does not add up in any.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn read_added_up(&self) -> Result<(Counters, Vec<String>), String> {
        let first = self.read()?;
        let mut found = mismatches(&first, &first);
        let mut last = first.clone();
        for _ in 1..READINGS {
            if found.is_empty() || !self.is_live() {
                break;
            }
            sleep(PAUSE);
            last = self.read()?;
            found = mismatches(&first, &last);
        }
        Ok((last, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(name: &str) -> String {
        match Source::new(name).unwrap() {
            Source::Page { url, .. } => url,
            Source::File(file) => panic!("{file}"),
        }
    }

    #[test]
    fn an_endpoint_has_many_names() {
        let page = "http://127.0.0.1:9901/stats/prometheus?filter=traffic_mirror%7Cserver.uptime";
        for name in ["127.0.0.1:9901", "127.0.0.1:9901/", "http://127.0.0.1:9901", "http://127.0.0.1:9901/"] {
            assert_eq!(url(name), page);
        }
        assert_eq!(url("localhost:15000/stats/prometheus"), "http://localhost:15000/stats/prometheus");
        assert_eq!(url("http://envoy/x?y"), "http://envoy/x?y");
        assert!(!Source::new("-").unwrap().is_live() && !Source::new("Cargo.toml").unwrap().is_live());
        assert!(Source::new("https://envoy:9901").is_err_and(|error| error.contains("no TLS")));
        assert!(Source::new("nothing").is_err_and(|error| error.contains("neither a file nor HOST:PORT")));
    }
}
