//! Envoy's admin endpoint, asked page by page.

use std::time::Duration;
use ureq::{Agent, Error};

/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest page that is read: that of a large mesh has some tens of MiB.
const LIMIT: u64 = 256 << 20;

/// An admin endpoint.
pub(crate) struct Admin {
    base: String,
    agent: Agent,
}

impl Admin {
    /// Takes what the user calls it: `HOST:PORT`, or a URL of its root.
    ///
    /// # Errors
    /// What to tell the user where it is neither.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        if name.starts_with("https:") {
            return Err(format!("{name}: http alone: Envoy's admin endpoint has no TLS"));
        }
        let authority = name.strip_prefix("http://").unwrap_or(name).trim_end_matches('/');
        if authority.contains('/') || !authority.contains(':') {
            return Err(format!("{name}: not HOST:PORT"));
        }
        Ok(Self { base: format!("http://{authority}"), agent: agent() })
    }

    /// Reads a page, such as `/server_info`; `None` where there is nothing by that name.
    ///
    /// # Errors
    /// What to tell the user.
    pub(crate) fn get(&self, path: &str) -> Result<Option<String>, String> {
        let url = format!("{}{path}", self.base);
        match page(&self.agent, &url) {
            Ok(text) => Ok(Some(text)),
            Err(Error::StatusCode(400 | 404)) => Ok(None),
            Err(error) => Err(format!("{url}: {error}")),
        }
    }
}

/// Makes what asks.
pub(crate) fn agent() -> Agent {
    Agent::new_with_config(Agent::config_builder().timeout_global(Some(PATIENCE)).build())
}

/// Reads a page.
pub(crate) fn page(agent: &Agent, url: &str) -> Result<String, Error> {
    agent.get(url).call().and_then(|mut response| response.body_mut().with_config().limit(LIMIT).read_to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_with_a_port() {
        for name in ["127.0.0.1:9901", "http://127.0.0.1:9901", "http://127.0.0.1:9901/"] {
            assert_eq!(Admin::new(name).map(|admin| admin.base).unwrap(), "http://127.0.0.1:9901");
        }
        for name in ["https://a:1", "a", "http://a:1/stats", ""] {
            assert!(Admin::new(name).is_err(), "{name}");
        }
    }
}
