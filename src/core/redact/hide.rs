//! What stands in place of a value: a mask, or a pseudonym.

use crate::config::With;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;

/// The environment variable of the VM that holds the key.
pub const KEY: &str = "TRAFFIC_MIRROR_KEY";

/// The fewest bytes of a key.
const LEAST: usize = 16;

/// The key of pseudonyms. Its bytes are nowhere to be read again.
///
/// Nobody can learn of it by the time that this takes: only mirrors see pseudonyms, and nothing is compared with the key.
pub struct Key(Hmac<Sha256>);

impl Key {
    /// Makes a key of a text, less one newline at its end; `None` where that is too short.
    pub fn new(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if text.len() < LEAST {
            return None;
        }
        Hmac::new_from_slice(text).ok().map(Self)
    }

    /// Returns the pseudonym of a value: `p_` and the first 16 hex digits of HMAC-SHA256.
    #[inline(never)]
    pub(super) fn pseudonym(&self, value: &[u8]) -> Token {
        let mac = self.0.clone().chain_update(value).finalize().into_bytes();
        let digit =
            |half: u8| if half < 10 { b'0'.wrapping_add(half) } else { b'a'.wrapping_add(half.wrapping_sub(10)) };
        let digits = mac.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        let mut token = Token { bytes: *b"p_................", length: 18 };
        token.bytes.iter_mut().skip(2).zip(digits).for_each(|(place, digit)| *place = digit);
        token
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// How values are hidden.
#[derive(Debug, Clone, Copy)]
pub enum Hide<'k> {
    /// By `***`.
    Mask,
    /// By pseudonyms, made with this key.
    Pseudonym(&'k Key),
}

impl<'k> Hide<'k> {
    /// Makes what a configuration asks for; `None`: that needs a key.
    pub fn new(with: With, key: Option<&'k Key>) -> Option<Self> {
        match with {
            With::Mask => Some(Self::Mask),
            With::Pseudonym => key.map(Self::Pseudonym),
        }
    }

    /// Returns how many bytes stand in place of a value.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Mask => 3,
            Self::Pseudonym(_) => 18,
        }
    }
}

/// What stands in place of a value.
#[derive(Debug)]
pub(super) struct Token {
    bytes: [u8; 18],
    length: usize,
}

impl Token {
    pub(super) const MASK: Self = Self { bytes: *b"***...............", length: 3 };

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_16_bytes_at_least_and_loses_one_newline() {
        for (text, expected) in [
            (&b""[..], false),
            (b"0123456789abcde", false),
            (b"0123456789abcde\n", false),
            (b"0123456789abcdef", true),
            (b"0123456789abcdef\n", true),
            (&[0xff; 16], true),
        ] {
            assert_eq!(Key::new(text).is_some(), expected, "{text:?}");
        }
        let pseudonym = |key: &[u8]| Key::new(key).unwrap().pseudonym(b"x").as_bytes().to_vec();
        assert_eq!(pseudonym(b"0123456789abcdef\n"), pseudonym(b"0123456789abcdef"));
        assert_ne!(pseudonym(b"0123456789abcdef\n\n"), pseudonym(b"0123456789abcdef"));
        assert_eq!(format!("{:?}", Key::new(b"0123456789abcdef")), "Some(Key)");
    }

    #[test]
    fn a_pseudonym_is_the_beginning_of_hmac_sha256() {
        // RFC 4231, test cases 1 and 6: a key of 20 bytes, and one that is longer than a block.
        let cases: [(&[u8], &[u8], &[u8]); 2] = [
            (&[0x0b; 20], b"Hi There", b"p_b0344c61d8db3853"),
            (&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First", b"p_60e431591ee0b67f"),
        ];
        for (key, value, expected) in cases {
            assert_eq!(Key::new(key).unwrap().pseudonym(value).as_bytes(), expected);
        }
    }
}
