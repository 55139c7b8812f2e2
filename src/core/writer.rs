//! Writes the headers of a copy: those of its request, with what is replaced, inserted, left out and appended.
//!
//! The ABI wants all lengths before all text. Lengths are written as they come; of the text it is noted which pieces stand side by
//! side, as few as can be: what stays as it is, from one change to the next, is one.

use crate::core::header_map::{COUNT, HeaderMap, Mark, Place, SIZES};
use smallvec::SmallVec;

/// A value in up to three parts.
pub(super) type Parts<'a> = [&'a [u8]; 3];

/// What ends a name or a value.
const END: &[u8] = b"\0";

/// Headers that are being written.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    /// The headers of the request.
    map: &'a HeaderMap,
    /// The count, and the lengths of the headers so far.
    buffer: Vec<u8>,
    /// Their text.
    text: SmallVec<[&'a [u8]; 16]>,
    /// How many bytes that is.
    size: usize,
    /// Whether there was no memory to note a piece of it.
    is_lost: bool,
    /// What of the request is done: so many headers, and the text up to here.
    done: Mark,
}

impl<'a> Writer<'a> {
    /// Begins with no header, in `buffer`, whose content goes. `most`: how many headers there will be at most; `start`: where the
    /// first of the request begins. `None` where memory does not suffice.
    #[inline]
    pub(super) fn new(map: &'a HeaderMap, start: Mark, most: usize, mut buffer: Vec<u8>) -> Option<Self> {
        buffer.clear();
        buffer.try_reserve_exact(most.wrapping_mul(SIZES).wrapping_add(COUNT)).ok()?;
        buffer.extend_from_slice(&[0; COUNT]);
        Some(Self { map, buffer, text: SmallVec::new(), size: 0, is_lost: false, done: start })
    }

    /// Leaves out the header at a place, which comes after all places so far.
    pub(super) fn leave_out(&mut self, place: Place) {
        self.keep(place.start());
        self.done = place.end();
    }

    /// Gives the header at such a place another value.
    pub(super) fn replace(&mut self, place: Place, value: Parts<'a>) {
        let end = place.end();
        self.keep(Mark { number: end.number, at: place.value_at() });
        self.change_length(value.iter().map(|part| part.len()).fold(0, usize::wrapping_add));
        value.into_iter().for_each(|part| self.push(part));
        self.done.at = end.at.wrapping_sub(END.len());
    }

    /// Inserts `text` into the value of the header at such a place, `at` bytes from its start.
    pub(super) fn insert(&mut self, place: Place, at: usize, text: &'a [u8]) {
        self.keep(Mark { number: place.end().number, at: place.value_at().wrapping_add(at) });
        self.change_length(place.value_length().wrapping_add(text.len()));
        self.push(text);
    }

    /// Keeps what comes next of the request as it is, up to here.
    pub(super) fn keep(&mut self, end: Mark) {
        self.buffer.extend_from_slice(self.map.lengths(self.done.number, end.number));
        self.push(self.map.text(self.done.at, end.at));
        self.done = end;
    }

    /// Appends a header.
    pub(super) fn append(&mut self, name: &'a [u8], value: &'a [u8]) {
        self.append_length(name.len());
        self.append_length(value.len());
        [name, END, value, END].into_iter().for_each(|text| self.push(text));
    }

    /// Ends the headers with one whose value stands in `value` between the zero bytes that end the name and itself.
    pub(super) fn append_ended(&mut self, name: &'a [u8], value: &'a [u8]) {
        self.append_length(name.len());
        self.append_length(value.len().wrapping_sub(END.len().wrapping_mul(2)));
        self.push(name);
        self.push(value);
    }

    /// Returns the encoded headers; `None` where memory does not suffice for that.
    #[inline]
    pub(super) fn finish(&mut self) -> Option<HeaderMap> {
        let count = encoded(self.buffer.len().wrapping_sub(COUNT) / SIZES);
        if let Some(place) = self.buffer.first_chunk_mut() {
            *place = count;
        }
        if self.is_lost || self.buffer.try_reserve_exact(self.size).is_err() {
            return None;
        }
        self.text.iter().for_each(|text| self.buffer.extend_from_slice(text));
        Some(HeaderMap::from_abi(std::mem::take(&mut self.buffer)))
    }

    #[inline(never)]
    fn push(&mut self, text: &'a [u8]) {
        if text.is_empty() {
            return;
        }
        if self.text.try_reserve(1).is_err() {
            self.is_lost = true;
            return;
        }
        self.size = self.size.saturating_add(text.len());
        self.text.push(text);
    }

    fn append_length(&mut self, length: usize) {
        self.buffer.extend_from_slice(&encoded(length));
    }

    /// Changes the length of the last value.
    fn change_length(&mut self, length: usize) {
        if let Some(last) = self.buffer.last_chunk_mut() {
            *last = encoded(length);
        }
    }
}

/// Returns a number as the ABI has it.
fn encoded(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Header = (Vec<u8>, Vec<u8>);

    /// What becomes of a header.
    #[derive(Debug, Clone)]
    enum Change {
        No,
        Out,
        Value(Vec<u8>),
        Inserted(usize, Vec<u8>),
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            Just(Change::No),
            Just(Change::Out),
            any::<Vec<u8>>().prop_map(Change::Value),
            any::<(usize, Vec<u8>)>().prop_map(|(at, text)| Change::Inserted(at, text)),
        ]
    }

    fn encode(headers: &[Header]) -> HeaderMap {
        HeaderMap::from_pairs(headers.iter().map(|(name, value)| (&name[..], &value[..])))
    }

    proptest! {
        #[test]
        fn headers_are_kept_left_out_replaced_changed_and_appended_in_order(
            headers in prop::collection::vec((any::<Header>(), change()), 0..12),
            appended in prop::collection::vec(any::<Header>(), 0..3),
        ) {
            let map = encode(&headers.iter().map(|(header, _)| header.clone()).collect::<Vec<_>>());
            let most = headers.len() + appended.len() + 1;
            let mut writer = Writer::new(&map, map.places().mark(), most, b"what was there".to_vec()).unwrap();
            let (mut expected, mut end) = (Vec::new(), map.places().mark());
            for ((place, name, value), (_, change)) in map.places().zip(&headers) {
                end = place.end();
                let value = match change {
                    Change::No => Some(value.to_vec()),
                    Change::Out => {
                        writer.leave_out(place);
                        None
                    }
                    Change::Value(new) => {
                        let (first, rest) = new.split_at(new.len() / 2);
                        writer.replace(place, [first, b"", rest]);
                        Some(new.clone())
                    }
                    Change::Inserted(at, text) => {
                        let at = at % (value.len() + 1);
                        writer.insert(place, at, text);
                        Some([&value[..at], text, &value[at..]].concat())
                    }
                };
                expected.extend(value.map(|value| (name.to_vec(), value)));
            }
            writer.keep(end);
            for (name, value) in &appended {
                writer.append(name, value);
            }
            writer.append_ended(b"last", b"\0one\0");
            expected.extend(appended.iter().cloned());
            expected.push((b"last".to_vec(), b"one".to_vec()));
            let (written, expected) = (writer.finish().unwrap(), encode(&expected));
            prop_assert_eq!(written.as_abi(), expected.as_abi());
        }
    }
}
