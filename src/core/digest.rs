//! A request's headers after one walk over them: where those stand that the filter knows by name, and which never travel.
//!
//! The loop guard, the body's limit, the copies and what is gRPC all read it; nothing of that looks for a name again.

use crate::config::{HeaderName, never_copied};
use crate::core::header_map::{HeaderMap, Mark, Place};
use crate::core::outcome::is_grpc;
use smallvec::SmallVec;

/// Why a header of the request is on no copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Never {
    /// It belongs to one hop or to the first router.
    OfHop,
    /// `connection` lists it.
    Listed,
    /// It is the marker, which the copy gets anew.
    Marker,
}

/// What a copy may have in another form than the request, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// `:authority`.
    Authority,
    /// `:path`.
    Path,
    /// `content-length: 0`, which is on a copy if the request has no body: to a mirror of HTTP/2 the host adds none, and servers
    /// respond with 411.
    EmptyLength,
    /// A header that is on no copy.
    Never(Never),
}

/// The content-type, as far as it decides something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum ContentType {
    #[default]
    Absent,
    At(Place),
    /// In several lines.
    Several,
}

/// The headers of a request, and what is known of them.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    map: HeaderMap,
    /// In the order of the headers. A request has its authority, its path, and few that never travel.
    cuts: SmallVec<[(Place, Cut); 4]>,
    /// Where the first header begins, and where the last one ends.
    start: Mark,
    end: Mark,
    path: Option<Place>,
    content_length: Option<Place>,
    has_body: bool,
    content_type: ContentType,
    is_marked: bool,
    is_connect: bool,
    is_upgrade: bool,
}

impl Digest {
    /// Walks over the headers of a request.
    pub fn new(map: HeaderMap, marker: Option<&HeaderName>) -> Self {
        let mut digest = Self::default();
        digest.read(map, marker);
        digest
    }

    /// Walks over the headers of a request, of which nothing is known yet: where it is to stay, for it is too large to be moved about.
    /// `marker` is the header that marks copies.
    pub fn read(&mut self, map: HeaderMap, marker: Option<&HeaderName>) {
        let marker = marker.map(|name| name.as_str().as_bytes());
        self.map = map;
        let (mut has_connection, mut has_upgrade) = (false, false);
        let mut places = self.map.places();
        self.start = places.mark();
        for (place, name, value) in places.by_ref() {
            // The length tells most names apart.
            let cut = match name.len() {
                10 if name == b":authority" => Cut::Authority,
                5 if name == b":path" => {
                    self.path.get_or_insert(place);
                    Cut::Path
                }
                7 if name == b":method" => {
                    self.is_connect |= value == b"CONNECT";
                    continue;
                }
                12 if name == b"content-type" => {
                    self.content_type = match self.content_type {
                        ContentType::Absent => ContentType::At(place),
                        _ => ContentType::Several,
                    };
                    continue;
                }
                _ if Some(name) == marker => {
                    self.is_marked = true;
                    Cut::Never(Never::Marker)
                }
                _ if !never_copied(name) => continue,
                2 if value.eq_ignore_ascii_case(b"trailers") => continue,
                length => {
                    match length {
                        14 if name == b"content-length" => {
                            let is_first = self.content_length.is_none();
                            self.content_length.get_or_insert(place);
                            if is_first && value == b"0" {
                                self.cuts.push((place, Cut::EmptyLength));
                                continue;
                            }
                        }
                        10 if name == b"connection" => has_connection = true,
                        7 if name == b"upgrade" => has_upgrade = true,
                        _ => {}
                    }
                    Cut::Never(Never::OfHop)
                }
            };
            self.cuts.push((place, cut));
        }
        self.end = places.mark();
        if has_connection {
            self.is_upgrade = has_upgrade && self.map.connection().any(|name| name.eq_ignore_ascii_case(b"upgrade"));
            self.cut_what_connection_lists();
        }
    }

    /// Envoy takes `connection` out of a request itself, so that this walk is rare.
    fn cut_what_connection_lists(&mut self) {
        let is_listed = |name: &[u8]| self.map.connection().any(|listed| listed.eq_ignore_ascii_case(name));
        let mut known = self.cuts.iter().copied().peekable();
        let mut cuts = SmallVec::new();
        for (place, name, _) in self.map.places() {
            if let Some((place, cut)) = known.next_if(|(known, _)| *known == place) {
                let is_gone = cut == Cut::EmptyLength && is_listed(name);
                cuts.push((place, if is_gone { Cut::Never(Never::Listed) } else { cut }));
            } else if name.first() != Some(&b':') && is_listed(name) {
                cuts.push((place, Cut::Never(Never::Listed)));
                if name == b"content-type" {
                    self.content_type = ContentType::Absent;
                }
            }
        }
        self.cuts = cuts;
    }

    /// Takes the headers, once nothing is asked of them any more.
    pub fn take_map(&mut self) -> HeaderMap {
        std::mem::take(&mut self.map)
    }

    /// Gives back the memory that the headers do not need.
    pub fn shrink(&mut self) {
        self.map.shrink();
    }

    /// Returns the headers.
    pub fn map(&self) -> &HeaderMap {
        &self.map
    }

    /// Returns how many bytes it takes beside itself.
    pub fn size(&self) -> usize {
        let spilled = if self.cuts.spilled() { self.cuts.capacity() } else { 0 };
        self.map.size().saturating_add(spilled.saturating_mul(size_of::<(Place, Cut)>()))
    }

    /// Returns what a copy may have in another form or not at all, in the order of the headers.
    pub fn cuts(&self) -> &[(Place, Cut)] {
        &self.cuts
    }

    /// Returns where the first header begins.
    pub fn start(&self) -> Mark {
        self.start
    }

    /// Returns where the last header ends.
    pub fn end(&self) -> Mark {
        self.end
    }

    /// Returns the value of the first `:path`.
    pub fn path(&self) -> Option<&[u8]> {
        self.path.map(|place| self.map.value(place))
    }

    /// Takes in that the request has a body.
    pub fn body_came(&mut self) {
        self.has_body = true;
    }

    /// Returns whether the request has a body, as far as it has come.
    pub fn has_body(&self) -> bool {
        self.has_body
    }

    /// Returns whether the request carries the marker.
    pub fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// Returns whether the request asks for a tunnel.
    pub fn is_connect(&self) -> bool {
        self.is_connect
    }

    /// Returns whether the request asks for another protocol, such as WebSocket.
    pub fn is_upgrade(&self) -> bool {
        self.is_upgrade
    }

    /// Returns whether a copy that has all that travels is a gRPC request to Envoy, which joins the lines of a header.
    pub fn is_grpc(&self) -> bool {
        match self.content_type {
            ContentType::Absent => false,
            ContentType::At(place) => is_grpc(self.map.value(place)),
            ContentType::Several => self.map.joined(b"content-type").is_some_and(|lines| is_grpc(&lines)),
        }
    }

    /// Returns whether the announced length of the body is above a limit.
    pub fn announces_more_than(&self, limit: usize) -> bool {
        self.announced_length().is_some_and(|length| u64::try_from(limit).is_ok_and(|limit| length > limit))
    }

    /// Returns the announced length of the body, in bytes, if any. In the VM a `usize` has 32 bits, and a length may have more; what has
    /// more than 64 is the most.
    #[inline]
    pub fn announced_length(&self) -> Option<u64> {
        self.content_length.and_then(|place| self.length_at(place))
    }

    fn length_at(&self, place: Place) -> Option<u64> {
        let length = self.map.value(place);
        if length.is_empty() || !length.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(length).ok().map(|length| length.parse().unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    fn marker() -> HeaderName {
        HeaderName::new("x-mark").unwrap()
    }

    fn map(pairs: &[(String, Vec<u8>)]) -> HeaderMap {
        HeaderMap::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), &value[..])))
    }

    #[test]
    fn a_content_type_that_stands_twice_is_not_grpc() {
        let grpc = || ("content-type".to_owned(), b"application/grpc".to_vec());
        assert!(Digest::new(map(&[grpc()]), None).is_grpc());
        assert!(!Digest::new(map(&[grpc(), grpc()]), None).is_grpc());
        assert!(!Digest::new(map(&[]), None).is_grpc());
    }

    #[test]
    fn an_announced_length_is_read_in_64_bits_and_what_has_more_is_too_large() {
        for (length, expected) in [
            ("10", false),
            ("11", true),
            ("4294967296", true),
            ("4294967301", true),
            ("18446744073709551615", true),
            ("18446744073709551616", true),
            ("99999999999999999999999999", true),
            ("", false),
            ("-11", false),
            ("+11", false),
            ("11, 11", false),
            ("0x100", false),
        ] {
            let digest = Digest::new(map(&[("content-length".to_owned(), length.into())]), None);
            assert_eq!(digest.announces_more_than(10), expected, "{length}");
        }
    }

    fn some_pairs() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        let known = select(vec![
            ":authority",
            ":path",
            ":method",
            ":scheme",
            "connection",
            "upgrade",
            "te",
            "content-length",
            "content-type",
            "x-mark",
            "host",
            "x-envoy-max-retries",
            "x-envoy-original-path",
            "accept",
            "trailer",
            "x-hop",
        ]);
        let name = prop_oneof![6 => known.prop_map(str::to_owned), 1 => "[a-z:-]{0,18}"];
        let value = prop_oneof![
            3 => select(vec!["", "CONNECT", "trailers", "Upgrade, x-hop", "accept, Content-Type", "application/grpc+x", "7", "0", "content-length"]).prop_map(Vec::from),
            1 => any::<Vec<u8>>(),
        ];
        prop::collection::vec((name, value), 0..14)
    }

    proptest! {
        /// One walk finds what a look-up for each name finds.
        #[test]
        fn the_walk_finds_what_look_ups_find(pairs in some_pairs()) {
            let map = map(&pairs);
            let digest = Digest::new(map.clone(), Some(&marker()));
            let first = |name: &str| map.first(name.as_bytes());
            let listed: Vec<_> = map.connection().map(<[u8]>::to_ascii_lowercase).collect();
            prop_assert_eq!(digest.path(), first(":path"));
            prop_assert_eq!(digest.is_marked(), first("x-mark").is_some());
            prop_assert_eq!(digest.is_connect(), map.iter().any(|(name, value)| name == b":method" && value == b"CONNECT"));
            prop_assert_eq!(digest.is_upgrade(), first("upgrade").is_some() && listed.contains(&b"upgrade".to_vec()));
            let is_listed = listed.contains(&b"content-type".to_vec());
            prop_assert_eq!(digest.is_grpc(), !is_listed && map.joined(b"content-type").is_some_and(|value| is_grpc(&value)));
            prop_assert_eq!(digest.end().number, pairs.len());
            let cut = |name: &[u8], value: &[u8]| {
                let is_zero = name == b"content-length" && value == b"0";
                let is_first = || map.first(b"content-length").is_some_and(|first| std::ptr::eq(first, value));
                let is_listed = || listed.contains(&name.to_ascii_lowercase());
                if is_zero && is_first() {
                    return Some(if is_listed() { Cut::Never(Never::Listed) } else { Cut::EmptyLength });
                }
                let of_hop = never_copied(name) && !(name == b"te" && value.eq_ignore_ascii_case(b"trailers"));
                match name {
                    b":authority" => Some(Cut::Authority),
                    b":path" => Some(Cut::Path),
                    b"x-mark" => Some(Cut::Never(Never::Marker)),
                    _ if of_hop => Some(Cut::Never(Never::OfHop)),
                    [b':', ..] => None,
                    _ => is_listed().then_some(Cut::Never(Never::Listed)),
                }
            };
            let expected: Vec<_> =
                map.iter().filter_map(|(name, value)| Some((name.to_vec(), value.to_vec(), cut(name, value)?))).collect();
            let found: Vec<_> = digest.cuts().iter().map(|(place, cut)| (map.name(*place).to_vec(), map.value(*place).to_vec(), *cut)).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_are_digested(buffer: Vec<u8>, count in 0u32..9) {
            let counted = [&count.to_le_bytes()[..], &buffer].concat();
            let digest = Digest::new(HeaderMap::from_abi(counted), Some(&marker()));
            prop_assert!(digest.cuts().len() <= 9);
        }
    }
}
