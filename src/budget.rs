//! What copies may take on one worker: bytes held, copies in flight, copies a second.

use crate::config::{Limits, Rate};
use crate::stats::Outcome;

/// Parts of a copy that the token bucket counts in, so that a nanosecond at one copy a second is one part.
const PARTS: u64 = 1_000_000_000;

/// The most bytes of headers that are held of requests whose bodies are still to come. What is held of a body is bounded by
/// the configuration; this bounds the rest, for which clients need not send a body at all.
const MAX_HEADERS: usize = 64 << 20;

/// The limits of one worker and what of them is in use.
#[derive(Debug)]
pub struct Budget {
    max_buffered: usize,
    max_in_flight: usize,
    buffered: usize,
    headers: usize,
    in_flight: usize,
    bucket: Option<Bucket>,
}

impl Budget {
    /// Makes a budget of which nothing is in use.
    pub fn new(limits: &Limits) -> Self {
        Self {
            max_buffered: limits.max_buffered_bytes,
            max_in_flight: limits.max_in_flight,
            buffered: 0,
            headers: 0,
            in_flight: 0,
            bucket: limits.rate.map(Bucket::new),
        }
    }

    /// Takes room for `bytes` of a body; false, and nothing taken, where there is none.
    pub fn hold(&mut self, bytes: usize) -> bool {
        let room = self.buffered.checked_add(bytes).filter(|held| *held <= self.max_buffered);
        self.buffered = room.unwrap_or(self.buffered);
        room.is_some()
    }

    /// Gives back room for a body's bytes.
    pub fn release(&mut self, bytes: usize) {
        self.buffered = self.buffered.saturating_sub(bytes);
    }

    /// Returns how many bytes of bodies are held.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Takes room for the headers of a request that has not ended; false, and nothing taken, where there is none.
    pub fn hold_headers(&mut self, bytes: usize) -> bool {
        let room = self.headers.checked_add(bytes).filter(|held| *held <= MAX_HEADERS);
        self.headers = room.unwrap_or(self.headers);
        room.is_some()
    }

    /// Gives back room for headers.
    pub fn release_headers(&mut self, bytes: usize) {
        self.headers = self.headers.saturating_sub(bytes);
    }

    /// Tells whether a copy may be sent at `now`, in nanoseconds from any fixed time.
    ///
    /// # Errors
    /// The limit that forbids it.
    pub fn admit(&mut self, now: u64) -> Result<(), Outcome> {
        if self.in_flight >= self.max_in_flight {
            return Err(Outcome::InFlightLimit);
        }
        let has_token = self.bucket.as_mut().is_none_or(|bucket| bucket.has_token(now));
        if has_token { Ok(()) } else { Err(Outcome::RateLimit) }
    }

    /// Notes that a copy was sent; one that the host refused is not.
    pub fn sent(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
        if let Some(bucket) = &mut self.bucket {
            bucket.parts = bucket.parts.saturating_sub(PARTS);
        }
    }

    /// Notes that a copy was answered, or never will be.
    pub fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

/// A token bucket, full at first.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    parts: u64,
    filled_at: Option<u64>,
}

impl Bucket {
    fn new(rate: Rate) -> Self {
        Self { rate, parts: full(rate), filled_at: None }
    }

    fn has_token(&mut self, now: u64) -> bool {
        let elapsed = now.saturating_sub(self.filled_at.unwrap_or(now));
        self.filled_at = Some(now);
        let gained = elapsed.saturating_mul(u64::from(self.rate.per_second));
        self.parts = self.parts.saturating_add(gained).min(full(self.rate));
        self.parts >= PARTS
    }
}

fn full(rate: Rate) -> u64 {
    u64::from(rate.burst).saturating_mul(PARTS)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    fn limits(max_in_flight: usize, rate: Option<Rate>) -> Limits {
        Limits { max_buffered_bytes: 10, max_in_flight, rate, ..Limits::default() }
    }

    fn send(budget: &mut Budget, now: u64) -> Result<(), Outcome> {
        budget.admit(now).map(|()| budget.sent())
    }

    #[test]
    fn bodies_share_one_room() {
        let mut budget = Budget::new(&limits(1, None));
        assert!(budget.hold(6));
        assert!(!budget.hold(5));
        assert!(budget.hold(4));
        budget.release(10);
        assert!(budget.hold(10));
        assert!(!budget.hold(usize::MAX));
    }

    #[test]
    fn headers_have_a_room_of_their_own() {
        let mut budget = Budget::new(&limits(1, None));
        assert!(budget.hold_headers(MAX_HEADERS));
        assert!(!budget.hold_headers(1));
        assert!(budget.hold(10));
        budget.release_headers(1);
        assert!(budget.hold_headers(1));
        assert!(!budget.hold_headers(usize::MAX));
    }

    #[test]
    fn copies_in_flight_are_counted_until_they_are_answered() {
        let mut budget = Budget::new(&limits(2, None));
        assert_eq!(send(&mut budget, 0), Ok(()));
        assert_eq!(send(&mut budget, 0), Ok(()));
        assert_eq!(send(&mut budget, 0), Err(Outcome::InFlightLimit));
        budget.answered();
        assert_eq!(send(&mut budget, 0), Ok(()));
    }

    #[test]
    fn the_bucket_gives_its_burst_and_then_its_rate() {
        let mut budget = Budget::new(&limits(usize::MAX, Some(Rate { per_second: 2, burst: 3 })));
        for (now, expected) in [
            (SECOND, Ok(())),
            (SECOND, Ok(())),
            (SECOND, Ok(())),
            (SECOND, Err(Outcome::RateLimit)),
            (SECOND + SECOND / 2 - 1, Err(Outcome::RateLimit)),
            (SECOND + SECOND / 2, Ok(())),
            (SECOND + SECOND / 2, Err(Outcome::RateLimit)),
            // Time that stands still or runs back gives nothing and takes nothing.
            (0, Err(Outcome::RateLimit)),
            (100 * SECOND, Ok(())),
        ] {
            assert_eq!(send(&mut budget, now), expected, "at {now}");
        }
    }

    #[test]
    fn a_copy_that_the_host_refused_takes_no_token() {
        let mut budget = Budget::new(&limits(1, Some(Rate { per_second: 1, burst: 1 })));
        assert_eq!(budget.admit(0), Ok(()));
        assert_eq!(budget.admit(0), Ok(()));
        budget.sent();
        budget.answered();
        assert_eq!(budget.admit(0), Err(Outcome::RateLimit));
    }

    proptest! {
        #[test]
        fn no_span_sends_more_than_burst_and_rate(per_second in 1u32..1000, burst in 1u32..100, steps: Vec<u32>) {
            let mut budget = Budget::new(&limits(usize::MAX, Some(Rate { per_second, burst })));
            let (mut now, mut copies) = (0u64, 0u64);
            for step in steps {
                now += u64::from(step);
                copies += u64::from(send(&mut budget, now).is_ok());
            }
            prop_assert!(copies * PARTS <= u64::from(burst) * PARTS + now * u64::from(per_second));
        }
    }
}
