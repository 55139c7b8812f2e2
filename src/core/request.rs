//! A request as rules see it. What it is asked for is fetched from the host then, and only then.
//!
//! Prices decide what is asked for (bench/NOTES.md): the whole map costs more than finding out by name that a header is
//! missing, and both cost more than one of them. So absence is asked for by name, unless the map is likely to be read
//! anyway, as it was for the last request; everything else is read from the map.

use crate::config::HeaderName;
use crate::core::header_map::HeaderMap;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};

/// After so many missing headers the whole map is the cheaper way to learn of the next.
const PROBES: usize = 8;

/// Where a request's properties come from.
pub trait Source {
    /// Reads all headers.
    fn headers(&self) -> HeaderMap;
    /// Tells whether a header is there; the name is in lower case.
    fn has_header(&self, name: &str) -> bool;
    /// Reads the address of the downstream peer, with its port.
    fn source_address(&self) -> Option<Vec<u8>>;
    /// Reads the name of Envoy's route.
    fn route_name(&self) -> Option<Vec<u8>>;
    /// Reads the name of the cluster that the route leads to.
    fn cluster_name(&self) -> Option<Vec<u8>>;
    /// Tells whether the route leads to a cluster.
    fn has_cluster(&self) -> bool {
        self.cluster_name().is_some_and(|name| !name.is_empty())
    }
}

/// One request, read lazily from its [`Source`] and from nothing twice.
pub struct Request<'a> {
    source: &'a dyn Source,
    map_first: bool,
    map_pays: Cell<bool>,
    absent: RefCell<SmallVec<[&'a str; PROBES]>>,
    headers: OnceCell<HeaderMap>,
    source_address: OnceCell<Option<Vec<u8>>>,
    route_name: OnceCell<Option<Vec<u8>>>,
    cluster_name: OnceCell<Option<Vec<u8>>>,
}

impl<'a> Request<'a> {
    /// Makes a view of which nothing is read yet. `map_first` says that its headers will likely be read as a whole.
    pub fn new(source: &'a dyn Source, map_first: bool) -> Self {
        Self {
            source,
            map_first,
            map_pays: Cell::new(false),
            absent: RefCell::default(),
            headers: OnceCell::new(),
            source_address: OnceCell::new(),
            route_name: OnceCell::new(),
            cluster_name: OnceCell::new(),
        }
    }

    /// Returns all headers.
    pub fn headers(&self) -> &HeaderMap {
        self.map_pays.set(true);
        self.headers.get_or_init(|| self.source.headers())
    }

    /// Hands the headers over to whoever outlives the request's first callback; none are to be asked for after that.
    pub fn take_headers(&mut self) -> HeaderMap {
        self.headers();
        self.headers.take().unwrap_or_default()
    }

    /// Returns the headers, if they were read as a whole.
    pub fn into_headers(self) -> HeaderMap {
        self.headers.into_inner().unwrap_or_default()
    }

    /// Tells whether the headers had to be read as a whole: asking by name would not have done.
    pub fn map_pays(&self) -> bool {
        self.map_pays.get()
    }

    /// Returns the values of a header, joined with `,`.
    pub fn header(&self, name: &'a HeaderName) -> Option<Cow<'_, [u8]>> {
        let value = self.map_for(name.as_str())?.joined(name.as_str().as_bytes())?;
        self.map_pays.set(true);
        Some(value)
    }

    /// Returns the path without query and fragment.
    pub fn path(&self) -> Option<&[u8]> {
        self.headers().first(b":path").map(|path| split_path(path).0)
    }

    /// Returns the whole `:authority`.
    pub fn authority(&self) -> Option<&[u8]> {
        self.headers().first(b":authority")
    }

    /// Returns the first value of a key in the query, as it stands there; empty for a key without `=`.
    pub fn query_param(&self, key: &str) -> Option<&[u8]> {
        let (_, rest) = split_path(self.headers().first(b":path")?);
        let query = rest.strip_prefix(b"?")?.split(|byte| *byte == b'#').next()?;
        let mut pairs = query.split(|byte| *byte == b'&').map(|pair| split_once(pair, b'='));
        pairs.find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value.unwrap_or_default())
    }

    /// Returns the first cookie of a name, as Envoy reads cookies (`Http::Utility::parseCookieValue`): spaces before a name do
    /// not count, nor does one pair of double quotes around a value; everything else does.
    pub fn cookie(&self, name: &str) -> Option<&[u8]> {
        let mut lines = self.map_for("cookie")?.iter().filter(|(header, _)| *header == b"cookie").peekable();
        if lines.peek().is_some() {
            self.map_pays.set(true);
        }
        let mut cookies = lines.flat_map(|(_, line)| line.split(|byte| *byte == b';')).filter_map(|pair| {
            let start = pair.iter().position(|byte| *byte != b' ')?;
            let (name, value) = split_once(pair.get(start..)?, b'=');
            Some((name, value?))
        });
        let (_, value) = cookies.find(|(found, _)| *found == name.as_bytes())?;
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    }

    /// Returns the address of the downstream peer as text, without the port; `None` where it is no IP address: a pipe, an
    /// internal listener. Many peers may share such an address.
    pub fn source_ip_text(&self) -> Option<&[u8]> {
        self.source_ip()?;
        let address = self.source_address.get_or_init(|| self.source.source_address()).as_deref()?;
        let colon = address.iter().rposition(|byte| *byte == b':')?;
        let host = address.get(..colon)?;
        Some(host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host))
    }

    /// Returns the address of the downstream peer; an IPv4 address that is mapped into IPv6 as IPv4.
    pub fn source_ip(&self) -> Option<IpAddr> {
        let address = self.source_address.get_or_init(|| self.source.source_address()).as_deref()?;
        let address: SocketAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
        Some(address.ip().to_canonical())
    }

    /// Returns the name of Envoy's route; a route without a name has none.
    pub fn route_name(&self) -> Option<&[u8]> {
        let name = self.route_name.get_or_init(|| self.source.route_name()).as_deref()?;
        (!name.is_empty()).then_some(name)
    }

    /// Returns the name of the cluster that the route leads to; `None` where no upstream gets the request.
    pub fn cluster_name(&self) -> Option<&[u8]> {
        let name = self.cluster_name.get_or_init(|| self.source.cluster_name()).as_deref()?;
        (!name.is_empty()).then_some(name)
    }

    /// Tells whether the route leads to a cluster: where there is none, no upstream gets the request.
    pub fn is_routed(&self) -> bool {
        self.cluster_name.get().map_or_else(|| self.source.has_cluster(), |_| self.cluster_name().is_some())
    }

    /// Returns the map to look for a header in; `None` where asking by name, if that is the cheaper way, says that it is
    /// missing.
    fn map_for(&self, name: &'a str) -> Option<&HeaderMap> {
        let by_name = !name.starts_with(':') && !self.map_first && self.headers.get().is_none();
        if by_name && self.is_absent(name) {
            return None;
        }
        Some(self.headers.get_or_init(|| self.source.headers()))
    }

    /// Asks the host by name whether a header is missing. False: it is there, or enough was asked.
    fn is_absent(&self, name: &'a str) -> bool {
        let mut absent = self.absent.borrow_mut();
        if absent.contains(&name) {
            return true;
        }
        if absent.len() == PROBES || self.source.has_header(name) {
            return false;
        }
        absent.push(name);
        true
    }
}

/// Splits `:path` where the query or the fragment begins; the mark belongs to the second part.
pub fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#')).unwrap_or(path.len());
    path.split_at_checked(end).unwrap_or((path, b""))
}

fn split_once(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == separator);
    (parts.next().unwrap_or_default(), parts.next())
}

/// A source with fixed answers that counts what it is asked for.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) headers: HeaderMap,
    pub(crate) source_address: Option<Vec<u8>>,
    pub(crate) route_name: Option<Vec<u8>>,
    pub(crate) cluster_name: Option<Vec<u8>>,
    pub(crate) asked: std::cell::RefCell<Vec<String>>,
}

#[cfg(test)]
impl Fixed {
    pub(crate) fn new(headers: &[(&str, &[u8])]) -> Self {
        let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), *value));
        Self { headers: HeaderMap::from_pairs(pairs), ..Self::default() }
    }

    fn note(&self, what: &str) {
        self.asked.borrow_mut().push(what.to_owned());
    }
}

#[cfg(test)]
impl Source for Fixed {
    fn headers(&self) -> HeaderMap {
        self.note("all headers");
        self.headers.clone()
    }

    fn has_header(&self, name: &str) -> bool {
        self.note(name);
        self.headers.first(name.as_bytes()).is_some()
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        self.note("source address");
        self.source_address.clone()
    }

    fn route_name(&self) -> Option<Vec<u8>> {
        self.note("route name");
        self.route_name.clone()
    }

    fn cluster_name(&self) -> Option<Vec<u8>> {
        self.note("cluster name");
        self.cluster_name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_path(path: &str) -> Fixed {
        Fixed::new(&[(":path", path.as_bytes())])
    }

    #[test]
    fn the_path_ends_at_query_or_fragment() {
        for (path, expected) in [("/a?b", "/a"), ("/a#b?c", "/a"), ("/a", "/a"), ("", ""), ("?", "")] {
            assert_eq!(Request::new(&with_path(path), false).path(), Some(expected.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_query_parameter_is_the_first_value_of_its_key_undecoded() {
        for (path, expected) in [
            ("/a?v=1&v=2", Some("1")),
            ("/a?w=1&v=%20", Some("%20")),
            ("/a?v", Some("")),
            ("/a?v=", Some("")),
            ("/a?v=b=c", Some("b=c")),
            ("/a?v=1#v=2", Some("1")),
            ("/a?w=1#v=2", None),
            ("/a#x?v=1", None),
            ("/a?V=1", None),
            ("/a", None),
        ] {
            let source = with_path(path);
            assert_eq!(Request::new(&source, false).query_param("v"), expected.map(str::as_bytes), "{path}");
        }
    }

    #[test]
    fn cookies_are_found_in_every_line_as_envoy_finds_them() {
        let lines: [&[u8]; 4] = [b"a=1; b=\"two\";c", b"  d =4 ;a=5;e= 6", b"\tf=7; g=\"; h=\"\";i=\"8", b"; ;j=k=l"];
        let source = Fixed::new(&lines.map(|line| ("cookie", line)));
        let request = Request::new(&source, false);
        for (name, expected) in [
            ("a", Some("1")),
            ("b", Some("two")),
            ("c", None),
            // Only spaces before a name do not count.
            ("d", None),
            ("d ", Some("4 ")),
            ("e", Some(" 6")),
            ("f", None),
            ("\tf", Some("7")),
            ("g", Some("\"")),
            ("h", Some("")),
            ("i", Some("\"8")),
            ("j", Some("k=l")),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(request.cookie(name), expected.map(str::as_bytes), "{name}");
        }
    }

    #[test]
    fn the_source_address_loses_its_port() {
        for (address, text, ip) in [
            ("10.0.0.1:80", Some("10.0.0.1"), Some("10.0.0.1")),
            ("[::1]:80", Some("::1"), Some("::1")),
            ("[::ffff:10.0.0.1]:80", Some("::ffff:10.0.0.1"), Some("10.0.0.1")),
            ("[fe80::1%2]:80", Some("fe80::1%2"), Some("fe80::1")),
            ("/run/socket", None, None),
            ("@abstract:80", None, None),
            ("envoy://internal_client_address/", None, None),
            ("envoy://inner/7:80", None, None),
            ("", None, None),
        ] {
            let source = Fixed { source_address: Some(address.into()), ..Fixed::default() };
            let request = Request::new(&source, false);
            assert_eq!(request.source_ip_text(), text.map(str::as_bytes), "{address}");
            assert_eq!(request.source_ip(), ip.map(|ip| ip.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn absence_is_asked_for_by_name_and_everything_is_asked_for_once() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "here"];
        let names: Vec<_> = names.iter().filter_map(|name| HeaderName::new(name)).collect();
        let source = Fixed::new(&[("here", b"1")]);
        let request = Request::new(&source, false);
        for name in names.iter().chain(&names) {
            assert_eq!(request.header(name).is_some(), name.as_str() == "here");
        }
        assert_eq!((request.source_ip(), request.source_ip_text()), (None, None));
        assert_eq!([request.cluster_name(), request.cluster_name()], [None; 2]);
        let asked = ["a", "b", "c", "d", "e", "f", "g", "h", "all headers", "source address", "cluster name"];
        assert_eq!(*source.asked.borrow(), asked);
    }

    #[test]
    fn the_map_is_read_at_once_where_it_is_likely_to_be_read_anyway() {
        let names = ["missing", "here"].map(|name| HeaderName::new(name).unwrap());
        let source = Fixed::new(&[("here", b"1")]);
        let first = Request::new(&source, true);
        assert!(first.header(&names[0]).is_none());
        assert!(!first.map_pays());
        assert!(first.header(&names[1]).is_some());
        assert!(first.map_pays());
        assert_eq!(*source.asked.borrow(), ["all headers"]);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_odd_to_be_read(path: Vec<u8>, cookie: Vec<u8>, address: Vec<u8>, name in "[a-z=;]{0,2}") {
            let source = Fixed {
                source_address: Some(address),
                ..Fixed::new(&[(":path", &path), ("cookie", &cookie)])
            };
            let request = Request::new(&source, false);
            let _ = (request.query_param(&name), request.cookie(&name), request.source_ip(), request.source_ip_text());
            let (before, after) = split_path(&path);
            prop_assert_eq!([before, after].concat(), path.clone());
        }
    }
}
