//! Which requests are never mirrored, whatever the rules say: copies, which carry the marker, upgrades and tunnels.

use crate::core::digest::Digest;
use crate::core::outcome::Ignored;

/// Finds out whether a request is one of those that are never mirrored. An upgrade or a tunnel is one even if it ends with
/// its headers: its copy would be a plain request, which it is not.
pub fn ignored(request: &Digest) -> Option<Ignored> {
    if request.is_marked() {
        return Some(Ignored::Marked);
    }
    if request.is_connect() {
        return Some(Ignored::Connect);
    }
    request.is_upgrade().then_some(Ignored::Upgrade)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HeaderName;
    use crate::core::header_map::HeaderMap;

    fn map(headers: &[(&str, &[u8])]) -> HeaderMap {
        HeaderMap::from_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), *value)))
    }

    #[test]
    fn copies_upgrades_and_tunnels_are_never_mirrored() {
        let marker = HeaderName::new("x-mark").unwrap();
        for (headers, expected) in [
            (&[("x-mark", "")][..], Some(Ignored::Marked)),
            (&[("x-mark", "true"), (":method", "CONNECT")], Some(Ignored::Marked)),
            (&[(":method", "CONNECT")], Some(Ignored::Connect)),
            (&[("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")], Some(Ignored::Upgrade)),
            (&[("upgrade", "h2c"), ("connection", "close")], None),
            (&[("connection", "upgrade")], None),
            (&[(":method", "POST")], None),
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            assert_eq!(ignored(&Digest::new(map(&headers), Some(&marker))), expected, "{headers:?}");
        }
        assert_eq!(ignored(&Digest::new(map(&[("x-mark", b"true")]), None)), None);
    }
}
