//! One number for all that the primary is to get: method, path, authority, headers, body.

use hyper::Request;
use xxhash_rust::xxh64::Xxh64;

/// Headers that Envoy or the protocol put there, or that frame the body: they differ without being a change.
const OTHERS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "expect",
    "te",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
];

/// A request that is being read.
pub struct Digest(Xxh64);

impl Digest {
    /// The digest of a request's head. Fields count in the order of their names: Envoy may move `host` about.
    pub fn new<'a>(
        method: &str,
        path: &str,
        authority: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let mut hash = Xxh64::new(0);
        hash.update(format!("{method} {path} {authority}").as_bytes());
        let own = |name: &str| !OTHERS.contains(&name) && !name.starts_with("x-envoy-");
        let mut fields: Vec<_> = fields.into_iter().filter(|(name, _)| own(name)).collect();
        fields.sort_by_key(|(name, _)| *name);
        for (name, value) in fields {
            for part in [b"\n", name.as_bytes(), b": ", value] {
                hash.update(part);
            }
        }
        hash.update(b"\n\n");
        Self(hash)
    }

    /// The digest of the head that a server got.
    pub fn of<B>(request: &Request<B>) -> Self {
        let host = request.headers().get("host").map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
        let authority = request.uri().authority().map(ToString::to_string).or(host).unwrap_or_default();
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let fields = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Self::new(request.method().as_str(), path, &authority, fields)
    }

    /// The next bytes of the body.
    pub fn body(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(&self) -> String {
        format!("{:016x}", self.0.digest())
    }
}
