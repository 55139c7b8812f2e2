//! What copies may take on one worker: bytes buffered, copies in flight, copies a second.

use crate::config::{Limits, Rate};
use crate::core::outcome::Outcome;
use std::cell::Cell;
use std::rc::Rc;

/// Parts of a copy that the token bucket counts in, so that a nanosecond at one copy a second is one part.
const PARTS: u64 = 1_000_000_000;

/// The most bytes that open requests may take beside their bodies: headers, and [`PER_REQUEST`] each. What is buffered of
/// bodies is bounded by the configuration; this bounds the rest, for which clients need not send a body at all.
const MAX_REQUESTS: usize = 64 << 20;

/// The bytes that an open request takes beside its headers and the bytes of its body, at most: its entry in the table of
/// streams, and the room that its body has to spare.
const PER_REQUEST: usize = 2 << 10;

/// The most bytes that all configurations of a VM may hold together. A VM has 1 GiB; the rest is for what is made of them (a
/// body in one piece, an eighth to spare in each) and for the configurations themselves.
const MAX_ROOM: usize = 768 << 20;

/// The memory that all configurations of one VM share.
#[derive(Debug, Default)]
pub struct Room(Cell<usize>);

impl Room {
    fn take(&self, bytes: usize) -> bool {
        let used = self.0.get().checked_add(bytes).filter(|used| *used <= MAX_ROOM);
        self.0.set(used.unwrap_or(self.0.get()));
        used.is_some()
    }

    fn give_back(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_sub(bytes));
    }
}

/// The limits of one configuration on one worker, and what of them is in use.
#[derive(Debug)]
pub struct Budget {
    room: Rc<Room>,
    max_buffered: usize,
    max_in_flight: usize,
    buffered: usize,
    requests: usize,
    bucket: Option<Bucket>,
}

impl Budget {
    /// Makes a budget of which nothing is in use.
    pub fn new(limits: &Limits, room: Rc<Room>) -> Self {
        Self {
            room,
            max_buffered: limits.max_buffered_bytes,
            max_in_flight: limits.max_in_flight,
            buffered: 0,
            requests: 0,
            bucket: limits.rate.map(Bucket::new),
        }
    }

    /// Takes room for `bytes` of a body; false, and nothing taken, where there is none.
    pub fn hold(&mut self, bytes: usize) -> bool {
        take(&mut self.buffered, bytes, self.max_buffered, &self.room)
    }

    /// Gives back room for a body's bytes.
    pub fn release(&mut self, bytes: usize) {
        self.buffered = self.buffered.saturating_sub(bytes);
        self.room.give_back(bytes);
    }

    /// Returns how many bytes of bodies are buffered.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Takes room for a request that has not ended, of whose headers `bytes` are kept; `None`, and nothing taken, where there
    /// is none, else what is to be given back.
    pub fn hold_request(&mut self, bytes: usize) -> Option<usize> {
        let bytes = bytes.saturating_add(PER_REQUEST);
        take(&mut self.requests, bytes, MAX_REQUESTS, &self.room).then_some(bytes)
    }

    /// Gives back a request's room.
    pub fn release_request(&mut self, bytes: usize) {
        self.requests = self.requests.saturating_sub(bytes);
        self.room.give_back(bytes);
    }

    /// Decides whether a copy may be sent at `now`, in nanoseconds from any fixed time, while so many are in flight.
    ///
    /// # Errors
    /// The limit that forbids it.
    pub fn admit(&mut self, now: u64, in_flight: usize) -> Result<(), Outcome> {
        if in_flight >= self.max_in_flight {
            return Err(Outcome::InFlightLimit);
        }
        let has_token = self.bucket.as_mut().is_none_or(|bucket| bucket.has_token(now));
        if has_token { Ok(()) } else { Err(Outcome::RateLimit) }
    }

    /// Notes that a copy was sent; one that the host refused is not.
    pub fn sent(&mut self) {
        if let Some(bucket) = &mut self.bucket {
            bucket.parts = bucket.parts.saturating_sub(PARTS);
        }
    }
}

/// Takes `bytes` of what has a limit of its own and of the room that is everybody's, or of neither.
fn take(used: &mut usize, bytes: usize, most: usize, room: &Room) -> bool {
    let Some(new) = used.checked_add(bytes).filter(|new| *new <= most) else { return false };
    let has_room = room.take(bytes);
    if has_room {
        *used = new;
    }
    has_room
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

    fn budget(limits: &Limits) -> Budget {
        Budget::new(limits, Rc::default())
    }

    fn send(budget: &mut Budget, now: u64) -> Result<(), Outcome> {
        budget.admit(now, 0).map(|()| budget.sent())
    }

    #[test]
    fn bodies_share_the_room_of_their_configuration() {
        let mut budget = budget(&limits(1, None));
        assert!(budget.hold(6));
        assert!(!budget.hold(5));
        assert!(budget.hold(4));
        budget.release(10);
        assert!(budget.hold(10));
        assert!(!budget.hold(usize::MAX));
    }

    #[test]
    fn requests_have_a_room_of_their_own() {
        let mut budget = budget(&limits(1, None));
        let held = budget.hold_request(MAX_REQUESTS - PER_REQUEST).unwrap();
        assert_eq!(budget.hold_request(0), None);
        assert!(budget.hold(10));
        budget.release_request(held);
        assert_eq!(budget.hold_request(1), Some(1 + PER_REQUEST));
        assert_eq!(budget.hold_request(usize::MAX), None);
    }

    #[test]
    fn all_configurations_of_a_vm_share_its_room() {
        let room = Rc::<Room>::default();
        let limits = Limits { max_buffered_bytes: 512 << 20, ..Limits::default() };
        let [mut one, mut other] = [(); 2].map(|()| Budget::new(&limits, Rc::clone(&room)));
        assert!(one.hold(512 << 20));
        assert!(other.hold(255 << 20));
        assert!(!other.hold((1 << 20) + 1));
        assert!(other.hold_request((1 << 20) - PER_REQUEST).is_some());
        assert_eq!(other.hold_request(0), None);
        one.release(512 << 20);
        assert!(other.hold(257 << 20));
        assert_eq!(room.0.get(), 513 << 20);
    }

    #[test]
    fn so_many_copies_are_in_flight_and_no_more() {
        let mut budget = budget(&limits(2, None));
        for (in_flight, expected) in
            [(0, Ok(())), (1, Ok(())), (2, Err(Outcome::InFlightLimit)), (3, Err(Outcome::InFlightLimit))]
        {
            assert_eq!(budget.admit(0, in_flight), expected);
        }
    }

    #[test]
    fn the_bucket_gives_its_burst_and_then_its_rate() {
        let mut budget = budget(&limits(usize::MAX, Some(Rate { per_second: 2, burst: 3 })));
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
        let mut budget = budget(&limits(1, Some(Rate { per_second: 1, burst: 1 })));
        assert_eq!(budget.admit(0, 0), Ok(()));
        assert_eq!(budget.admit(0, 0), Ok(()));
        budget.sent();
        assert_eq!(budget.admit(0, 0), Err(Outcome::RateLimit));
    }

    proptest! {
        #[test]
        fn no_span_sends_more_than_burst_and_rate(per_second in 1u32..1000, burst in 1u32..100, steps: Vec<u32>) {
            let mut budget = budget(&limits(usize::MAX, Some(Rate { per_second, burst })));
            let (mut now, mut copies) = (0u64, 0u64);
            for step in steps {
                now += u64::from(step);
                copies += u64::from(send(&mut budget, now).is_ok());
            }
            prop_assert!(copies * PARTS <= u64::from(burst) * PARTS + now * u64::from(per_second));
        }
    }
}
