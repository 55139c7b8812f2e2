//! The body of a response without its content-encoding.

use super::NotCompared;
use flate2::bufread::GzDecoder;
use std::borrow::Cow;
use std::io::Read;

/// The most pieces that a compressed body may be made of: each needs a decoder.
const MOST_PIECES: usize = 8;

/// Decodes a body that is compressed with gzip.
///
/// # Errors
/// It has another content-encoding, it is malformed, or it becomes longer than `most`.
pub(super) fn decoded<'b>(encoding: Option<&[u8]>, body: &'b [u8], most: usize) -> Result<Cow<'b, [u8]>, NotCompared> {
    let encoding = encoding.unwrap_or_default();
    let is = |known: [&[u8]; 2]| known.iter().any(|name| encoding.eq_ignore_ascii_case(name));
    if is([b"", b"identity"]) {
        return Ok(Cow::Borrowed(body));
    }
    if !is([b"gzip", b"x-gzip"]) {
        return Err(NotCompared);
    }
    let mut decoded = Vec::new();
    let mut rest = body;
    for _ in 0..MOST_PIECES {
        // Where a response has no body, as to HEAD, it may have the header all the same.
        if rest.is_empty() {
            break;
        }
        let mut decoder = GzDecoder::new(rest);
        let room = most.saturating_sub(decoded.len()).saturating_add(1);
        decoder.by_ref().take(room as u64).read_to_end(&mut decoded).map_err(|_| NotCompared)?;
        if decoded.len() > most {
            return Err(NotCompared);
        }
        rest = decoder.into_inner();
    }
    if rest.is_empty() { Ok(Cow::Owned(decoded)) } else { Err(NotCompared) }
}
