//! The bytes of a body as they come, chunk by chunk.

/// Chunks below this size are gathered into pieces: each alone would cost more to keep track of than it holds.
const SMALL: usize = 4 << 10;

/// The least room of a piece that small chunks are gathered in.
const PIECE: usize = 256;

/// A body in pieces: large chunks as they came, small ones gathered.
///
/// Of `n` bytes it allocates at most `n + n/8 + 1 KiB`, whatever the sizes of the chunks: only the last piece has room to
/// spare, a sixteenth of the body at most, and there are so few pieces that the list of them takes no more than another.
#[derive(Debug, Default)]
pub struct Body {
    pieces: Vec<Vec<u8>>,
    length: usize,
}

impl Body {
    /// Adds a chunk; `None` where memory does not suffice for that: then the body is of no use any more.
    pub fn push(&mut self, chunk: Vec<u8>) -> Option<()> {
        let length = self.length.saturating_add(chunk.len());
        match self.pieces.last_mut() {
            None => self.add(chunk)?,
            Some(last) => {
                let spare = last.capacity().saturating_sub(last.len());
                if spare == 0 && chunk.len() >= SMALL {
                    self.add(chunk)?;
                } else {
                    let (now, rest) = chunk.split_at_checked(spare).unwrap_or((&chunk, b""));
                    last.extend_from_slice(now);
                    if !rest.is_empty() {
                        let mut piece = Vec::new();
                        piece.try_reserve_exact((length / 16).saturating_add(PIECE).max(rest.len())).ok()?;
                        piece.extend_from_slice(rest);
                        self.add(piece)?;
                    }
                }
            }
        }
        self.length = length;
        Some(())
    }

    fn add(&mut self, piece: Vec<u8>) -> Option<()> {
        self.pieces.try_reserve(1).ok()?;
        self.pieces.push(piece);
        Some(())
    }

    /// Returns how many bytes it has.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Makes one piece of it; `None` where memory does not suffice for that.
    #[inline(always)]
    pub fn into_one_piece(mut self) -> Option<Vec<u8>> {
        if self.pieces.len() <= 1 {
            return Some(self.pieces.pop().unwrap_or_default());
        }
        let mut whole = Vec::new();
        whole.try_reserve_exact(self.length).ok()?;
        for piece in self.pieces {
            whole.extend_from_slice(&piece);
        }
        Some(whole)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { length: bytes.len(), pieces: vec![bytes] }
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_that_no_memory_could_hold_in_one_piece_is_none() {
        let body = Body { pieces: vec![vec![0], vec![0]], length: usize::MAX };
        assert_eq!(body.into_one_piece(), None);
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_make_the_same_body_in_hardly_more_memory(
            sizes in prop::collection::vec(prop_oneof![1usize..3, 1usize..40_000, 250usize..270, 4_000usize..4_200], 1..300),
        ) {
            let mut body = Body::default();
            let mut whole = Vec::new();
            for (number, size) in sizes.into_iter().enumerate() {
                let chunk = vec![u8::try_from(number % 256).unwrap(); size];
                whole.extend_from_slice(&chunk);
                body.push(chunk).unwrap();
                let pieces: usize = body.pieces.iter().map(Vec::capacity).sum();
                let allocated = pieces + body.pieces.capacity() * size_of::<Vec<u8>>();
                prop_assert!(allocated <= whole.len() + whole.len() / 8 + 1024, "{} of {}", allocated, whole.len());
            }
            prop_assert_eq!(body.length, whole.len());
            prop_assert_eq!(body.into_one_piece().unwrap(), whole);
        }
    }
}
