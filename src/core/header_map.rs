//! A header map as the host hands it over: one buffer, in which names and values are found where they stand.

use std::borrow::Cow;

/// Bytes of the count in the ABI's encoding.
pub(super) const COUNT: usize = 4;

/// Bytes of a pair's two lengths in the ABI's encoding.
pub(super) const SIZES: usize = 8;

/// The headers of a request, in order, duplicates included, values as raw bytes, names in lower case.
///
/// Holds the buffer of the ABI as it came: a count, then the lengths of each name and value, then each name and
/// value ended by a zero byte. Nothing is copied out of it, so that a map costs one allocation.
#[derive(Debug, Clone, Default)]
pub struct HeaderMap {
    buffer: Vec<u8>,
}

impl HeaderMap {
    /// Takes a buffer in the ABI's encoding. What is cut off or malformed in it is not there.
    pub fn from_abi(buffer: Vec<u8>) -> Self {
        Self { buffer }
    }

    /// Encodes pairs as the ABI does.
    pub fn from_pairs<'p>(pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>) -> Self {
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
        let (mut count, mut lengths, mut text) = (0_usize, Vec::new(), Vec::new());
        for (name, value) in pairs {
            count = count.saturating_add(1);
            lengths.extend_from_slice([number(name.len()), number(value.len())].as_flattened());
            text.extend_from_slice(&[name, b"\0", value, b"\0"].concat());
        }
        Self { buffer: [&number(count)[..], &lengths, &text].concat() }
    }

    /// Returns the headers in the ABI's encoding.
    pub fn as_abi(&self) -> &[u8] {
        &self.buffer
    }

    /// Returns the buffer of the headers in the ABI's encoding.
    pub fn into_abi(self) -> Vec<u8> {
        self.buffer
    }

    /// Gives back the memory that they do not need.
    pub fn shrink(&mut self) {
        self.buffer.shrink_to_fit();
    }

    /// Returns how many bytes the encoded headers take.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Returns how many headers there are.
    pub fn len(&self) -> usize {
        self.iter().sizes.len() / SIZES
    }

    /// Tells whether there is no header.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Walks over names and values, in order.
    pub fn iter(&self) -> Iter<'_> {
        let Some((count, rest)) = self.buffer.split_first_chunk() else { return Iter::default() };
        let count = usize::try_from(u32::from_le_bytes(*count)).unwrap_or(usize::MAX);
        let (sizes, text) = rest.split_at_checked(count.saturating_mul(SIZES)).unwrap_or_default();
        Iter { sizes, text }
    }

    /// Returns the lengths of headers, as they are encoded: of those before which so many stand, up to that many.
    pub(super) fn lengths(&self, from: usize, to: usize) -> &[u8] {
        let at = |number: usize| number.saturating_mul(SIZES).saturating_add(COUNT);
        self.buffer.get(at(from)..at(to)).unwrap_or_default()
    }

    /// Returns the bytes from one place in the buffer to another.
    pub(super) fn text(&self, from: usize, to: usize) -> &[u8] {
        self.buffer.get(from..to).unwrap_or_default()
    }

    /// Walks over places, names and values, in order.
    pub fn places(&self) -> Places<'_> {
        Places { rest: self.iter(), count: self.len(), end: self.buffer.len() }
    }

    /// Returns the name at a place.
    pub fn name(&self, place: Place) -> &[u8] {
        self.text(place.start.at, place.start.at.saturating_add(place.name))
    }

    /// Returns the value at a place.
    pub fn value(&self, place: Place) -> &[u8] {
        self.text(place.value_at(), place.value_at().saturating_add(place.value))
    }

    /// Returns the first value of a header.
    pub fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// Walks over the names that `connection` lists.
    pub fn connection(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.iter().filter(|(name, _)| *name == b"connection");
        lines.flat_map(|(_, line)| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    /// Returns all values of a header, joined with `,`.
    pub fn joined(&self, name: &[u8]) -> Option<Cow<'_, [u8]>> {
        let mut values = self.iter().filter(|(found, _)| *found == name).map(|(_, value)| value);
        let first = values.next()?;
        let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
        let mut joined = [first, second].join(&b',');
        for value in values {
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(Cow::Owned(joined))
    }
}

/// Where a header begins, or the last one ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// How many headers stand before it.
    pub(super) number: usize,
    /// Its place in the buffer.
    pub(super) at: usize,
}

/// Where a header stands in its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    start: Mark,
    name: usize,
    value: usize,
}

impl Place {
    /// Returns where the header begins.
    pub fn start(self) -> Mark {
        self.start
    }

    /// Returns where its value begins in the buffer.
    pub(super) fn value_at(self) -> usize {
        self.start.at.wrapping_add(self.name).wrapping_add(1)
    }

    /// Returns how many bytes its value has.
    pub(super) fn value_length(self) -> usize {
        self.value
    }

    /// Returns where it ends, which is where the next one begins.
    pub fn end(self) -> Mark {
        // A zero byte ends the name, and another the value. What stands in one buffer adds up to less than a `usize` takes.
        let text = self.name.wrapping_add(self.value).wrapping_add(2);
        Mark { number: self.start.number.wrapping_add(1), at: self.start.at.wrapping_add(text) }
    }
}

/// The names and values of a [`HeaderMap`].
#[derive(Debug, Clone, Default)]
pub struct Iter<'a> {
    sizes: &'a [u8],
    text: &'a [u8],
}

/// Splits off a piece of a given length, and the zero byte behind it.
fn split_text(text: &[u8], length: [u8; 4]) -> Option<(&[u8], &[u8])> {
    let (piece, rest) = text.split_at_checked(usize::try_from(u32::from_le_bytes(length)).ok()?)?;
    Some((piece, rest.get(1..)?))
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, sizes) = self.sizes.split_first_chunk()?;
        let (value, sizes) = sizes.split_first_chunk()?;
        let (name, text) = split_text(self.text, *name)?;
        let (value, text) = split_text(text, *value)?;
        *self = Self { sizes, text };
        Some((name, value))
    }
}

/// The names and values of a [`HeaderMap`], and where they stand.
#[derive(Debug)]
pub struct Places<'a> {
    rest: Iter<'a>,
    /// How many headers there are in all.
    count: usize,
    /// Where the buffer ends.
    end: usize,
}

impl Places<'_> {
    /// Returns where the next header begins, or the last one has ended.
    pub fn mark(&self) -> Mark {
        let rest = self.rest.sizes.len() / SIZES;
        // The rest is part of what there is in all.
        Mark { number: self.count.wrapping_sub(rest), at: self.end.wrapping_sub(self.rest.text.len()) }
    }
}

impl<'a> Iterator for Places<'a> {
    type Item = (Place, &'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.mark();
        let (name, value) = self.rest.next()?;
        Some((Place { start, name: name.len(), value: value.len() }, name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn several_values_of_a_name_are_joined_in_order() {
        let map = HeaderMap::from_pairs([(&b"a"[..], &b"1"[..]), (b"b", b""), (b"a", b"2"), (b"a", b"\xff")]);
        assert_eq!(map.first(b"a"), Some(&b"1"[..]));
        assert_eq!(map.joined(b"a").as_deref(), Some(&b"1,2,\xff"[..]));
        assert_eq!(map.joined(b"b").as_deref(), Some(&b""[..]));
        assert_eq!(map.joined(b"c"), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(pairs: Vec<(Vec<u8>, Vec<u8>)>) {
            let map = HeaderMap::from_pairs(pairs.iter().map(|(name, value)| (&name[..], &value[..])));
            let read: Vec<_> = map.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            prop_assert_eq!(read, pairs);
        }

        #[test]
        fn a_place_tells_where_a_header_stands(pairs in prop::collection::vec(any::<(Vec<u8>, Vec<u8>)>(), 0..9)) {
            let map = HeaderMap::from_pairs(pairs.iter().map(|(name, value)| (&name[..], &value[..])));
            let mut next = map.places().mark();
            for (place, name, value) in map.places() {
                prop_assert_eq!((map.name(place), map.value(place), place.start()), (name, value, next));
                next = place.end();
            }
            let text = map.text(map.places().mark().at, next.at);
            prop_assert_eq!([&map.buffer[..COUNT], map.lengths(0, next.number), text].concat(), map.as_abi());
        }

        #[test]
        fn any_bytes_are_walked_to_an_end(buffer: Vec<u8>, count in 0u32..9) {
            let _ = HeaderMap::from_abi(buffer.clone()).iter().count();
            let counted = [&count.to_le_bytes()[..], &buffer].concat();
            prop_assert!(HeaderMap::from_abi(counted).iter().count() <= 9);
        }
    }
}
