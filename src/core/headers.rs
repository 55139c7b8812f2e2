//! A header map as the host hands it over: one buffer, in which names and values are found where they stand.

use std::borrow::Cow;

/// Bytes of the count in the ABI's encoding.
const COUNT: usize = 4;

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
    pub fn from_pairs<'p>(pairs: impl IntoIterator<Item = (&'p [u8], &'p [u8])>) -> Self {
        let pairs: Vec<_> = pairs.into_iter().collect();
        let mut writer = Writer::new(pairs.len(), 0);
        pairs.into_iter().for_each(|(name, value)| writer.push(name, value));
        Self { buffer: writer.finish() }
    }

    /// Returns the headers in the ABI's encoding.
    pub fn as_abi(&self) -> &[u8] {
        &self.buffer
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

/// Encodes headers as the ABI does, in one buffer; what stays as it is in a [`HeaderMap`] is copied run by run.
#[derive(Debug)]
pub struct Writer {
    /// A count, room for the lengths of at most `room` headers, then their text.
    buffer: Vec<u8>,
    room: usize,
    count: usize,
}

impl Writer {
    /// Makes room for at most `room` headers, and for `text` bytes of names and values before it has to grow.
    pub fn new(room: usize, text: usize) -> Self {
        let head = COUNT.saturating_add(room.saturating_mul(SIZES));
        let mut buffer = Vec::with_capacity(head.saturating_add(text));
        buffer.resize(head, 0);
        Self { buffer, room, count: 0 }
    }

    /// Appends a header.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let (name_length, value_length) = (length(name), length(value));
        if self.push_sizes([name_length, value_length].as_flattened()) {
            for part in [name, b"\0", value, b"\0"] {
                self.buffer.extend_from_slice(part);
            }
        }
    }

    /// Appends the headers between two positions of the same walk, as they are.
    pub fn copy(&mut self, from: &Iter<'_>, to: &Iter<'_>) {
        let run = |from: &'_ [u8], to: &[u8]| from.len().saturating_sub(to.len());
        let (sizes, text) = (from.sizes.get(..run(from.sizes, to.sizes)), from.text.get(..run(from.text, to.text)));
        if let (Some(sizes @ [_, ..]), Some(text)) = (sizes, text)
            && self.push_sizes(sizes)
        {
            self.buffer.extend_from_slice(text);
        }
    }

    /// Returns the encoded headers.
    pub fn finish(mut self) -> Vec<u8> {
        let used = COUNT.saturating_add(self.count.saturating_mul(SIZES));
        if self.count < self.room {
            let head = COUNT.saturating_add(self.room.saturating_mul(SIZES));
            self.buffer.drain(used..head);
        }
        let count = u32::try_from(self.count).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = self.buffer.first_chunk_mut() {
            *place = count;
        }
        self.buffer
    }

    /// Puts lengths where they belong; false: there is no room for them.
    fn push_sizes(&mut self, sizes: &[u8]) -> bool {
        let start = COUNT.saturating_add(self.count.saturating_mul(SIZES));
        let count = self.count.saturating_add(sizes.len() / SIZES);
        let place = self.buffer.get_mut(start..start.saturating_add(sizes.len())).filter(|_| count <= self.room);
        if let Some(place) = place {
            place.copy_from_slice(sizes);
            self.count = count;
            return true;
        }
        false
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
        fn runs_are_copied_as_they_are(pairs in prop::collection::vec(any::<(Vec<u8>, Vec<u8>)>(), 0..9), kept: u16) {
            let map = HeaderMap::from_pairs(pairs.iter().map(|(name, value)| (&name[..], &value[..])));
            let is_kept = |index: usize| kept >> index & 1 == 1;
            let mut writer = Writer::new(map.len(), 0);
            let mut walk = map.iter();
            let mut run = walk.clone();
            for index in 0..pairs.len() {
                let before = walk.clone();
                walk.next();
                if !is_kept(index) {
                    writer.copy(&run, &before);
                    run = walk.clone();
                }
            }
            writer.copy(&run, &walk);
            let copied = HeaderMap::from_abi(writer.finish());
            let copied: Vec<_> = copied.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            let expected: Vec<_> =
                pairs.iter().enumerate().filter(|(index, _)| is_kept(*index)).map(|(_, pair)| pair.clone()).collect();
            prop_assert_eq!(copied, expected);
        }

        #[test]
        fn any_bytes_are_walked_to_an_end(buffer: Vec<u8>, count in 0u32..9) {
            let _ = HeaderMap::from_abi(buffer.clone()).iter().count();
            let counted = [&count.to_le_bytes()[..], &buffer].concat();
            prop_assert!(HeaderMap::from_abi(counted).iter().count() <= 9);
        }
    }
}
