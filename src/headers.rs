//! A header map as the host hands it over: one buffer, in which names and values are found where they stand.

use std::borrow::Cow;

/// Bytes of a pair's two lengths in the ABI's encoding.
const SIZES: usize = 8;

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
    pub fn from_pairs<'p>(pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])> + Clone) -> Self {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let count = u32::try_from(pairs.clone().into_iter().count()).unwrap_or(u32::MAX);
        let mut buffer = count.to_le_bytes().to_vec();
        for (name, value) in pairs.clone() {
            buffer.extend(length(name).into_iter().chain(length(value)));
        }
        for (name, value) in pairs {
            buffer.extend([name, b"\0", value, b"\0"].concat());
        }
        Self { buffer }
    }

    /// Walks over names and values, in order.
    pub fn iter(&self) -> Iter<'_> {
        let Some((count, rest)) = self.buffer.split_first_chunk() else { return Iter::default() };
        let count = usize::try_from(u32::from_le_bytes(*count)).unwrap_or(usize::MAX);
        let (sizes, text) = rest.split_at_checked(count.saturating_mul(SIZES)).unwrap_or_default();
        Iter { sizes, text }
    }

    /// Returns the first value of a header.
    pub fn first(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
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

/// The names and values of a [`HeaderMap`].
#[derive(Debug, Clone, Default)]
pub struct Iter<'a> {
    sizes: &'a [u8],
    text: &'a [u8],
}

impl<'a> Iter<'a> {
    fn take(&mut self, length: [u8; 4]) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
        let (taken, rest) = self.text.split_at_checked(length)?;
        self.text = rest.get(1..)?;
        Some(taken)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, sizes) = self.sizes.split_first_chunk()?;
        let (value, sizes) = sizes.split_first_chunk()?;
        self.sizes = sizes;
        Some((self.take(*name)?, self.take(*value)?))
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
        fn any_bytes_are_walked_to_an_end(buffer: Vec<u8>, count in 0u32..9) {
            let _ = HeaderMap::from_abi(buffer.clone()).iter().count();
            let counted = [&count.to_le_bytes()[..], &buffer].concat();
            prop_assert!(HeaderMap::from_abi(counted).iter().count() <= 9);
        }
    }
}
