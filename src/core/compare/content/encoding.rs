//! The body of a response without its content-encoding.

use super::NotCompared;
use miniz_oxide::inflate::TINFLStatus::{BlockBoundary, Done};
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use std::borrow::Cow;

/// The most pieces that a compressed body may be made of.
const MOST_PIECES: usize = 8;

/// The most blocks of all pieces. Each has tables of its own, which take some microseconds, and nothing has to be in it.
const MOST_BLOCKS: usize = 256;

/// Decodes a body that is compressed with gzip.
///
/// # Errors
/// It has another content-encoding, it is malformed, it has too many blocks, or it becomes longer than `most`.
pub(super) fn decoded<'b>(encoding: Option<&[u8]>, body: &'b [u8], most: usize) -> Result<Cow<'b, [u8]>, NotCompared> {
    let encoding = encoding.unwrap_or_default();
    let is = |known: [&[u8]; 2]| known.iter().any(|name| encoding.eq_ignore_ascii_case(name));
    // Where a response has no body, as to HEAD, it may have the header all the same.
    if body.is_empty() || is([b"", b"identity"]) {
        return Ok(Cow::Borrowed(body));
    }
    if !is([b"gzip", b"x-gzip"]) {
        return Err(NotCompared);
    }
    gunzip(body, most).map(Cow::Owned).ok_or(NotCompared)
}

/// Decodes gzip (RFC 1952). Its checksums are not looked at: what differs is found out anyway.
fn gunzip(body: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    decoded.try_reserve_exact(most).ok()?;
    decoded.resize(most, 0);
    let (mut rest, mut length, mut blocks) = (body, 0, 0usize);
    for _ in 0..MOST_PIECES {
        rest = without_header(rest)?;
        let before = length;
        let mut inflate = DecompressorOxide::new();
        loop {
            let flags = TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF | TINFL_FLAG_STOP_ON_BLOCK_BOUNDARY;
            let (status, read, written) = decompress(&mut inflate, rest, &mut decoded, length, flags);
            rest = rest.get(read..)?;
            length = length.checked_add(written)?;
            blocks = blocks.saturating_add(1);
            match status {
                Done => break,
                BlockBoundary if blocks < MOST_BLOCKS => {}
                _ => return None,
            }
        }
        let [_, _, _, _, size @ ..] = *rest.first_chunk::<8>()?;
        rest = rest.get(8..)?;
        if u32::from_le_bytes(size) as usize != length.saturating_sub(before) {
            return None;
        }
        if rest.is_empty() {
            decoded.truncate(length);
            return Some(decoded);
        }
    }
    None
}

/// Returns what comes after the header of a piece.
fn without_header(piece: &[u8]) -> Option<&[u8]> {
    let [0x1f, 0x8b, 8, flags @ ..=0x1f, _, _, _, _, _, _, rest @ ..] = piece else { return None };
    let mut rest = rest;
    if flags & 4 != 0 {
        let (length, after) = rest.split_first_chunk()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    // A name, and a comment.
    for text in [8, 16] {
        if flags & text != 0 {
            let end = memchr::memchr(0, rest)?;
            rest = rest.get(end..)?.get(1..)?;
        }
    }
    if flags & 2 != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder};
    use std::io::Write;

    /// Writes bits, the least first.
    #[derive(Default)]
    struct Bits(Vec<bool>);

    impl Bits {
        fn put(&mut self, value: u32, count: u32) {
            self.0.extend((0..count).map(|bit| value >> bit & 1 == 1));
        }

        /// Writes a block with tables of its own and nothing in it.
        fn empty_block(&mut self, is_last: bool) {
            let lengths = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1];
            let lengths = lengths.map(|length| (u32::from(matches!(length, 18 | 1)), 3));
            let begin = [(u32::from(is_last), 1), (2, 2), (0, 10), (14, 4)];
            let codes = [(1, 1), (127, 7), (1, 1), (107, 7), (0, 3)];
            for (value, count) in begin.into_iter().chain(lengths).chain(codes) {
                self.put(value, count);
            }
        }

        fn into_piece(self) -> Vec<u8> {
            let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
            let deflated = self.0.chunks(8).map(byte);
            [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff].into_iter().chain(deflated).chain([0; 8]).collect()
        }
    }

    #[test]
    fn a_piece_may_have_all_that_its_header_can_have() {
        let builder = GzBuilder::new().extra(*b"extra").filename("name").comment("comment").mtime(7);
        let mut encoder = builder.write(Vec::new(), Compression::best());
        encoder.write_all(b"text").unwrap();
        let piece = encoder.finish().unwrap();
        assert_eq!(gunzip(&piece, 4).unwrap(), b"text");
        assert_eq!(gunzip(&piece, 3), None);
        for end in 0..piece.len() {
            assert_eq!(gunzip(&piece[..end], 4), None, "{end} bytes");
        }
        let with_checksum = [&piece[..3], &[2], &piece[4..10], &[0, 0], &piece[piece.len() - 14..]].concat();
        assert_eq!(gunzip(&with_checksum, 4).unwrap(), b"text");
        let reserved = [&piece[..3], &[0x20], &piece[4..]].concat();
        assert_eq!(gunzip(&reserved, 4), None);
    }

    #[test]
    fn blocks_with_nothing_in_them_are_decoded_up_to_a_limit() {
        for (blocks, is_decoded) in [(1, true), (255, true), (256, true), (257, false), (5000, false)] {
            let mut bits = Bits::default();
            (1..blocks).for_each(|_| bits.empty_block(false));
            bits.empty_block(true);
            assert_eq!(gunzip(&bits.into_piece(), 1 << 16).is_some(), is_decoded, "{blocks}");
        }
    }
}
