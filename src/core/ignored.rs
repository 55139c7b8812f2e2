//! Which requests are never mirrored, whatever the samples say: copies, which carry the marker, upgrades and tunnels; and
//! those that no upstream gets, where the rule does not mirror them.

use crate::config::Unrouted;
use crate::core::digest::Digest;
use crate::core::outcome::Ignored;

/// Finds out whether a request that some mirror would get is one of those that are never mirrored. An upgrade or a tunnel is
/// one even if it ends with its headers: its copy would be a plain request, which it is not.
///
/// `is_routed` finds out whether Envoy has a cluster for the request. It is called last, for the host has to be asked.
pub fn ignored(request: &Digest, unrouted: Unrouted, is_routed: impl FnOnce() -> bool) -> Option<Ignored> {
    if request.is_marked() {
        return Some(Ignored::Marked);
    }
    if request.is_connect() {
        return Some(Ignored::Connect);
    }
    if request.is_upgrade() {
        return Some(Ignored::Upgrade);
    }
    (unrouted == Unrouted::Ignore && !is_routed()).then_some(Ignored::Unrouted)
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
            let digest = Digest::new(map(&headers), Some(&marker));
            assert_eq!(ignored(&digest, Unrouted::Ignore, || true), expected, "{headers:?}");
        }
        let unmarked = Digest::new(map(&[("x-mark", b"true")]), None);
        assert_eq!(ignored(&unmarked, Unrouted::Ignore, || true), None);
    }

    #[test]
    fn whether_there_is_a_cluster_is_asked_only_where_nothing_else_and_the_rule_depends_on_it() {
        for (method, unrouted, is_routed, expected, is_asked) in [
            ("GET", Unrouted::Ignore, false, Some(Ignored::Unrouted), true),
            ("GET", Unrouted::Ignore, true, None, true),
            ("GET", Unrouted::Mirror, false, None, false),
            ("CONNECT", Unrouted::Ignore, false, Some(Ignored::Connect), false),
        ] {
            let mut asked = false;
            let found = ignored(&Digest::new(map(&[(":method", method.as_bytes())]), None), unrouted, || {
                asked = true;
                is_routed
            });
            assert_eq!((found, asked), (expected, is_asked), "{method} {unrouted:?} {is_routed}");
        }
    }
}
