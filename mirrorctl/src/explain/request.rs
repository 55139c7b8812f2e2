//! A request as it is given on the command line.

use clap::Args;
use std::net::IpAddr;
use traffic_mirror::config::Moment;
use traffic_mirror::core::header_map::HeaderMap;
use traffic_mirror::core::request::Source;

/// The authority of a request that names none.
pub(super) const LOCALHOST: &str = "localhost";

/// What describes a request.
#[derive(Args)]
pub(crate) struct Description {
    /// Method and path, or method and URL: `POST /x?y=1`, `GET http://reviews:9080/`, `CONNECT host:443`
    #[arg(long, value_name = "METHOD PATH")]
    request: String,
    /// A header, `host` included; may be given more than once
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// A file with the body; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<String>,
    /// The client's address as Envoy trusts it: of the peer, or from x-forwarded-for where Envoy is configured so
    #[arg(long, value_name = "IP")]
    source: Option<IpAddr>,
    /// The name of the Envoy route
    #[arg(long, value_name = "NAME")]
    route_name: Option<String>,
    /// The name of the Envoy cluster that the route leads to
    #[arg(long, value_name = "NAME")]
    cluster_name: Option<String>,
    /// Envoy has no cluster for the request: it has no route, or Envoy responds itself
    #[arg(long, conflicts_with = "cluster_name")]
    unrouted: bool,
    /// When the request comes, for `ramp`, `from` and `until`, such as 2026-12-01T09:00:00Z; absent: now
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) at: Option<Moment>,
}

/// Takes a moment, as RFC 3339 writes it.
pub(crate) fn moment(text: &str) -> Result<Moment, String> {
    Moment::parse(text).ok_or_else(|| "not a date, time and offset as in RFC 3339".to_owned())
}

/// A request that the core can be asked about.
pub(crate) struct Given {
    headers: HeaderMap,
    source: Option<IpAddr>,
    route_name: Option<String>,
    cluster_name: Option<String>,
    /// Whether nothing says which host it is for.
    pub(super) has_assumed_host: bool,
    /// Whether Envoy has a cluster for it, named or not.
    pub(super) is_routed: bool,
}

impl Given {
    /// Makes the request as Envoy would hand it over: pseudo headers first, names in lower case.
    ///
    /// # Errors
    /// What in the description is wrong.
    pub(crate) fn new(description: &Description, body: Option<&[u8]>) -> Result<Self, String> {
        let line = description.request.trim();
        let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
        let (scheme, authority, path) = match target.trim() {
            // A plain tunnel names where it leads, and has no path.
            target if method == "CONNECT" && !target.starts_with('/') && !target.contains("://") => {
                (None, Some(target), None)
            }
            target => split_url(target),
        };
        let mut given = Vec::new();
        for header in &description.headers {
            let (name, value) = header.split_once(':').ok_or_else(|| format!("-H {header:?}: not NAME: VALUE"))?;
            given.push((name.trim().to_ascii_lowercase(), value.trim()));
        }
        let host = given.iter().find(|(name, _)| name == "host").map(|(_, value)| *value);
        let named = authority.or(host);
        let mut headers = vec![(":authority", named.unwrap_or(LOCALHOST))];
        headers.extend(path.map(|path| (":path", path)));
        headers.extend([(":method", method), (":scheme", scheme.unwrap_or("http"))]);
        headers.extend(given.iter().map(|(name, value)| (name.as_str(), *value)).filter(|(name, _)| *name != "host"));
        let length = body.map(|body| body.len().to_string());
        let says_length = headers.iter().any(|(name, _)| ["content-length", "transfer-encoding"].contains(name));
        headers.extend(length.as_deref().filter(|_| !says_length).map(|length| ("content-length", length)));
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Ok(Self {
            headers: HeaderMap::from_pairs(headers),
            source: description.source,
            route_name: description.route_name.clone(),
            cluster_name: description.cluster_name.clone(),
            has_assumed_host: named.is_none(),
            is_routed: !description.unrouted,
        })
    }
}

/// Splits a URL into scheme, authority and path; a path alone has neither of the others.
fn split_url(target: &str) -> (Option<&str>, Option<&str>, Option<&str>) {
    let Some((scheme, rest)) = target.split_once("://").filter(|_| !target.starts_with('/')) else {
        return (None, None, Some(target));
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    (Some(scheme), Some(authority), Some(if path.is_empty() { "/" } else { path }))
}

impl Source for Given {
    fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    fn has_header(&self, name: &str) -> bool {
        self.headers.first(name.as_bytes()).is_some()
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        let address = match self.source? {
            IpAddr::V4(ip) => format!("{ip}:0"),
            IpAddr::V6(ip) => format!("[{ip}]:0"),
        };
        Some(address.into_bytes())
    }

    fn route_name(&self) -> Option<Vec<u8>> {
        self.route_name.clone().map(String::into_bytes)
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.cluster_name.clone().map(String::into_bytes)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Makes a request as the command line would, on the route `r`.
    pub(in crate::explain) fn given(request: &str, headers: &[&str], source: Option<&str>) -> Given {
        let description = Description {
            request: request.to_owned(),
            headers: headers.iter().map(|header| (*header).to_owned()).collect(),
            body: None,
            source: source.map(|source| source.parse().unwrap()),
            route_name: Some("r".to_owned()),
            cluster_name: Some("c".to_owned()),
            unrouted: false,
            at: None,
        };
        Given::new(&description, None).unwrap()
    }

    #[test]
    fn a_request_is_handed_over_as_envoy_would() {
        for (request, headers, expected) in [
            ("/x", &["X-A: 1"][..], ":authority=localhost :path=/x :method=GET :scheme=http x-a=1"),
            ("POST /x", &["Host: a:1", "b:c:d"], ":authority=a:1 :path=/x :method=POST :scheme=http b=c:d"),
            ("PUT https://u/x", &["host: a"], ":authority=u :path=/x :method=PUT :scheme=https"),
            ("CONNECT a:443", &["host: b"], ":authority=a:443 :method=CONNECT :scheme=http"),
            ("CONNECT https://u/x", &[], ":authority=u :path=/x :method=CONNECT :scheme=https"),
        ] {
            let given = given(request, headers, None);
            let pairs =
                given.headers.iter().map(|(name, value)| [name, value].map(|text| str::from_utf8(text).unwrap()));
            assert_eq!(pairs.map(|pair| pair.join("=")).collect::<Vec<_>>().join(" "), expected);
        }
    }

    #[test]
    fn a_url_names_scheme_and_authority() {
        for (target, expected) in [
            ("/x?u=http://a/b", (None, None, "/x?u=http://a/b")),
            ("*", (None, None, "*")),
            ("http://a:80/b?c", (Some("http"), Some("a:80"), "/b?c")),
            ("https://a", (Some("https"), Some("a"), "/")),
            ("https://a?b", (Some("https"), Some("a"), "?b")),
        ] {
            let (scheme, authority, path) = expected;
            assert_eq!(split_url(target), (scheme, authority, Some(path)), "{target}");
        }
    }
}
