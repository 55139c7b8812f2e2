//! What an array is whose order does not count: a number for each value in it, the same for values that are equal.

use super::NotCompared;
use super::document::{Document, Member};
use super::number::Decimal;
use crate::core::json::Characters;
use xxhash_rust::xxh64::xxh64;

/// 128 bits that stand for a value: two of another value agree by chance alone.
pub(super) type Digest = [u64; 2];

/// The digests of what is in one array, and room for the next.
#[derive(Debug, Default)]
pub(super) struct Digests {
    /// By the place of the value in the list, less that of the array.
    list: Vec<Digest>,
    members: Vec<Member>,
    text: Vec<u8>,
}

/// What is hashed.
#[derive(Clone, Copy)]
enum Kind {
    Word = 1,
    Text,
    Number,
    Written,
    Array,
    Object,
}

impl Digests {
    /// Returns what stands for an array whatever the order in it and in all arrays inside it, and for no other.
    pub(super) fn array(
        &mut self,
        document: &Document<'_>,
        array: u32,
        null_is_absent: bool,
    ) -> Result<Digest, NotCompared> {
        let end = document.after(array);
        let count = end.saturating_sub(array) as usize;
        self.list.clear();
        self.list.try_reserve_exact(count).map_err(|_| NotCompared)?;
        self.list.resize(count, [0; 2]);
        // What is inside a value stands behind it.
        for value in (array..end).rev() {
            let digest = match document.first(value) {
                b'{' => self.object(document, array, value, null_is_absent)?,
                b'[' => {
                    let items = document.inside(value).map(|item| self.of(array, item));
                    sum(Kind::Array, items)
                }
                first => self.scalar(first, document.written(value)),
            };
            if let Some(place) = self.list.get_mut(value.saturating_sub(array) as usize) {
                *place = digest;
            }
        }
        Ok(self.of(array, array))
    }

    fn of(&self, array: u32, value: u32) -> Digest {
        self.list.get(value.saturating_sub(array) as usize).copied().unwrap_or_default()
    }

    fn object(
        &mut self,
        document: &Document<'_>,
        array: u32,
        object: u32,
        null_is_absent: bool,
    ) -> Result<Digest, NotCompared> {
        let mut members = std::mem::take(&mut self.members);
        document.members(object, null_is_absent, &mut members)?;
        let digests = members.iter().map(|member| {
            let (name, value) = (document.name(member.value), self.of(array, member.value));
            let [first, second] = text(&mut self.text, name);
            // Whose value it is makes a difference.
            [mixed(first.wrapping_mul(3) ^ value[0]), mixed(second.wrapping_mul(3) ^ value[1])]
        });
        let digest = sum(Kind::Object, digests);
        self.members = members;
        Ok(digest)
    }

    fn scalar(&mut self, first: u8, written: &str) -> Digest {
        match first {
            b'"' => text(&mut self.text, written.get(1..written.len().saturating_sub(1)).unwrap_or_default()),
            b'-' | b'0'..=b'9' => self.number(written),
            _ => hash(Kind::Word, written.as_bytes()),
        }
    }

    fn number(&mut self, written: &str) -> Digest {
        let Some(Decimal { is_negative, digits, exponent }) = Decimal::read(written) else {
            return hash(Kind::Written, written.as_bytes());
        };
        let [first, last] = digits;
        let sign = u64::from(is_negative);
        if first.len().saturating_add(last.len()) <= 18 {
            let value = digits.into_iter().flatten();
            let value = value
                .fold(0u64, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit.wrapping_sub(b'0'))));
            let written = [value, exponent.cast_unsigned()];
            return two(Kind::Number, sign, written);
        }
        self.text.clear();
        self.text.extend_from_slice(&exponent.to_le_bytes());
        digits.iter().for_each(|digits| self.text.extend_from_slice(digits));
        let [first, second] = hash(Kind::Written, &self.text);
        two(Kind::Number, sign.wrapping_add(2), [first, second])
    }
}

/// Returns the digest of a string, of what is between its quotes. `room`: for what it means.
fn text(room: &mut Vec<u8>, written: &str) -> Digest {
    if !written.contains('\\') {
        return hash(Kind::Text, written.as_bytes());
    }
    room.clear();
    for character in Characters::new(written) {
        room.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    hash(Kind::Text, room)
}

fn hash(kind: Kind, bytes: &[u8]) -> Digest {
    if bytes.len() <= 16 {
        let mut words = [0u8; 16];
        words.iter_mut().zip(bytes).for_each(|(word, byte)| *word = *byte);
        let words = u128::from_le_bytes(words);
        return two(kind, bytes.len() as u64, [words as u64, (words >> 64) as u64]);
    }
    let seed = kind as u64;
    [xxh64(bytes, seed), xxh64(bytes, seed.wrapping_add(1 << 32))]
}

/// Returns the digest of two numbers of a kind, and what else tells them apart.
fn two(kind: Kind, other: u64, [first, second]: [u64; 2]) -> Digest {
    let seed = other.wrapping_mul(8).wrapping_add(kind as u64);
    let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [mixed(mixed(first ^ seed).wrapping_add(second)), mixed(mixed(second.wrapping_sub(seed)) ^ first)]
}

/// Returns the digest of some values without an order.
fn sum(kind: Kind, values: impl Iterator<Item = Digest>) -> Digest {
    let start = (0u64, [0u64; 2]);
    let (count, [first, second]) = values.fold(start, |(count, [first, second]), value| {
        (count.wrapping_add(1), [first.wrapping_add(value[0]), second.wrapping_add(value[1])])
    });
    let seed = count.wrapping_mul(8).wrapping_add(kind as u64);
    [mixed(first.wrapping_add(seed)), mixed(second ^ seed.rotate_left(32))]
}

/// Mixes the bits of a number so that each depends on all (the end of MurmurHash3).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let number = (number ^ (number >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    number ^ (number >> 33)
}
