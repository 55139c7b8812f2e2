//! The bytes of a body as they come, chunk by chunk.

/// Chunks below this size are gathered into pieces: each alone would cost more to keep track of than it holds.
const SMALL: usize = 4 << 10;

/// The least room of a piece that small chunks are gathered in.
const PIECE: usize = 256;

/// A body in pieces: large chunks as they came, small ones gathered.
///
/// Of `n` bytes it allocates at most `n + n/8 + 1 KiB`, whatever the sizes of the chunks: only the last piece has room to
/// spare, a tenth of the body at most, and there are so few pieces that the list of them takes no more than the rest. While a piece
/// grows, it may be there twice, as the body is where pieces are joined.
#[derive(Debug, Default)]
pub struct Body {
    /// Mostly the only one: no list of pieces is needed then.
    first: Vec<u8>,
    more: Vec<Vec<u8>>,
    length: usize,
}

impl Body {
    /// Adds the next `size` bytes. `read` appends as many of them, from an offset on, as it is asked for: they are written where they
    /// stay. `announced` tells how long the body is said to be. `None` where `read` cannot, or memory does not suffice: then the body is
    /// of no use any more.
    pub fn push(
        &mut self,
        size: usize,
        announced: impl FnOnce() -> Option<u64>,
        mut read: impl FnMut(&mut Vec<u8>, usize, usize) -> bool,
    ) -> Option<()> {
        let length = self.length.saturating_add(size);
        let last = self.more.last_mut().unwrap_or(&mut self.first);
        let now = size.min(last.capacity().saturating_sub(last.len()));
        if now > 0 && !read(last, 0, now) {
            return None;
        }
        let rest = size.saturating_sub(now);
        if rest > 0 {
            let room = rest.saturating_add(self.to_spare(rest, length, announced));
            let piece = self.piece(room, size)?;
            if !read(piece, now, rest) {
                return None;
            }
        }
        self.length = length;
        Some(())
    }

    /// Returns how much room a piece has beside its first `rest` bytes, with which the body is so long.
    fn to_spare(&self, rest: usize, length: usize, announced: impl FnOnce() -> Option<u64>) -> usize {
        if rest >= SMALL {
            // What is still to come has its place, if that is little.
            let announced = announced().map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
            announced.saturating_sub(length).min(length / 10)
        } else if self.length == 0 {
            0
        } else {
            (length / 16).saturating_add(PIECE).saturating_sub(rest)
        }
    }

    /// Returns a piece with room for so many bytes, of a chunk of `size`; `None` where memory does not suffice for it.
    fn piece(&mut self, room: usize, size: usize) -> Option<&mut Vec<u8>> {
        // To move what there is costs less than to join it with the rest in the end.
        let is_moved = self.more.is_empty() && self.length <= size;
        if !is_moved {
            self.more.try_reserve(1).ok()?;
            self.more.push(Vec::new());
        }
        let piece = self.more.last_mut().unwrap_or(&mut self.first);
        piece.try_reserve_exact(room).ok()?;
        Some(piece)
    }

    /// Returns how many bytes it has.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Makes one piece of it; `None` where memory does not suffice for that.
    #[inline(always)]
    pub fn into_one_piece(self) -> Option<Vec<u8>> {
        let mut whole = self.first;
        whole.try_reserve_exact(self.length.saturating_sub(whole.len())).ok()?;
        for piece in self.more {
            whole.extend_from_slice(&piece);
        }
        Some(whole)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { length: bytes.len(), first: bytes, more: Vec::new() }
    }
}

/// Returns what [`Body::push`] reads a chunk with that is at hand.
pub fn at_hand(chunk: &[u8]) -> impl FnMut(&mut Vec<u8>, usize, usize) -> bool {
    |to, start, size| {
        let part = chunk
            .get(start..)
            .and_then(|rest| rest.get(..size))
            .filter(|part| to.try_reserve_exact(part.len()).is_ok());
        part.is_some_and(|part| {
            to.extend_from_slice(part);
            true
        })
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_that_no_memory_could_hold_in_one_piece_is_none() {
        let body = Body { first: vec![0], more: vec![vec![0]], length: usize::MAX };
        assert_eq!(body.into_one_piece(), None);
    }

    #[test]
    fn a_body_that_comes_nearly_at_once_as_announced_is_written_to_one_place() {
        for (chunks, announced, expected) in [
            (&[1_048_465, 111][..], Some(1 << 20), 1),
            (&[111, 1_048_465], None, 1),
            (&[500_000, 548_576], Some(1 << 20), 1),
            (&[100_000, 20_000, 5_000], Some(125_000), 2),
            (&[1_048_465, 111], None, 2),
            (&[900_000, 148_576], Some(1 << 20), 2),
        ] {
            let mut body = Body::default();
            for size in chunks {
                body.push(*size, || announced, at_hand(&vec![0; *size])).unwrap();
            }
            assert_eq!(1 + body.more.len(), expected, "{chunks:?}");
        }
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_make_the_same_body_in_hardly_more_memory(
            sizes in prop::collection::vec(prop_oneof![1usize..3, 1usize..40_000, 250usize..270, 4_000usize..4_200], 1..300),
            // Whatever is announced.
            announced in prop::option::of(prop_oneof![0u64..300_000, any::<u64>()]),
        ) {
            let mut body = Body::default();
            let mut whole = Vec::new();
            for (number, size) in sizes.into_iter().enumerate() {
                let chunk = vec![u8::try_from(number % 256).unwrap(); size];
                whole.extend_from_slice(&chunk);
                body.push(size, || announced, at_hand(&chunk)).unwrap();
                let more: usize = body.more.iter().map(Vec::capacity).sum();
                let allocated = body.first.capacity() + more + body.more.capacity() * size_of::<Vec<u8>>();
                prop_assert!(allocated <= whole.len() + whole.len() / 8 + 1024, "{} of {}", allocated, whole.len());
            }
            prop_assert_eq!(body.length, whole.len());
            prop_assert_eq!(body.into_one_piece().unwrap(), whole);
        }
    }
}
