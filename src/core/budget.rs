//! What copies may take on one worker: bytes buffered, copies in flight. Copies a second are everybody's, see
//! [`rate`](crate::core::rate).

use crate::config::Limits;
use crate::core::outcome::Outcome;
use std::cell::Cell;
use std::rc::Rc;
#[cfg(feature = "compare")]
use {crate::core::shelf::Shelf, std::cell::RefCell, std::rc::Weak};

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
pub struct Room {
    used: Cell<usize>,
    /// What yields where there is none left.
    #[cfg(feature = "compare")]
    yielding: Yielding,
}

impl Room {
    fn take(&self, bytes: usize) -> bool {
        #[cfg(feature = "compare")]
        self.make_room(bytes);
        self.take_free(bytes)
    }

    /// Takes what nothing has to yield for; false, and nothing taken, where there is not as much.
    pub(super) fn take_free(&self, bytes: usize) -> bool {
        let used = self.used.get().checked_add(bytes).filter(|used| *used <= MAX_ROOM);
        self.used.set(used.unwrap_or(self.used.get()));
        used.is_some()
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.set(self.used.get().saturating_sub(bytes));
    }
}

/// The responses under comparison of all configurations of one VM.
#[cfg(feature = "compare")]
#[derive(Debug, Default)]
struct Yielding {
    shelves: RefCell<Vec<Weak<Shelf>>>,
    /// The bytes of their bodies.
    bytes: Cell<usize>,
    /// As many of them as [`Room::kept_since_last`] has told of.
    told: Cell<usize>,
}

#[cfg(feature = "compare")]
impl Room {
    /// Takes in one more shelf, of which bodies may go where there is no room.
    pub(super) fn add(&self, shelf: &Rc<Shelf>) {
        let mut shelves = self.yielding.shelves.borrow_mut();
        shelves.retain(|shelf| shelf.strong_count() > 0);
        shelves.push(Rc::downgrade(shelf));
    }

    fn make_room(&self, bytes: usize) {
        let has_room = || self.used.get().saturating_add(bytes) <= MAX_ROOM;
        if has_room() {
            return;
        }
        for shelf in self.yielding.shelves.borrow().iter().filter_map(Weak::upgrade) {
            while !has_room() && shelf.drop_oldest() {}
        }
    }

    pub(super) fn kept_more(&self, bytes: usize) {
        self.yielding.bytes.set(self.yielding.bytes.get().saturating_add(bytes));
    }

    pub(super) fn kept_less(&self, bytes: usize) {
        self.yielding.bytes.set(self.yielding.bytes.get().saturating_sub(bytes));
    }

    /// Returns how many more bytes of bodies are kept since this was asked last.
    pub fn kept_since_last(&self) -> i64 {
        let now = self.yielding.bytes.get();
        let last = self.yielding.told.replace(now);
        i64::try_from(now).unwrap_or_default().saturating_sub(i64::try_from(last).unwrap_or_default())
    }
}

/// The limits of one configuration on one worker, and what of them is in use.
#[derive(Debug)]
pub struct Budget {
    room: Rc<Room>,
    max_buffered: usize,
    max_in_flight: usize,
    buffered: usize,
    /// Of what is buffered: of requests that are complete, and whose responses are waited for.
    waiting: usize,
    requests: usize,
    /// The responses under comparison, which get what is left.
    #[cfg(feature = "compare")]
    shelf: Rc<Shelf>,
}

impl Budget {
    /// Makes a budget of which nothing is in use.
    pub fn new(limits: &Limits, room: Rc<Room>) -> Self {
        Self {
            #[cfg(feature = "compare")]
            shelf: Shelf::new(Rc::clone(&room), limits.max_buffered_bytes),
            room,
            max_buffered: limits.max_buffered_bytes,
            max_in_flight: limits.max_in_flight,
            buffered: 0,
            waiting: 0,
            requests: 0,
        }
    }

    /// Takes room for `bytes` of a body; false, and nothing taken, where there is none.
    pub fn hold(&mut self, bytes: usize) -> bool {
        let has_room = take(&mut self.buffered, bytes, self.max_buffered, &self.room);
        self.leave();
        has_room
    }

    /// Leaves to responses under comparison what bodies of requests do not take.
    #[cfg(feature = "compare")]
    fn leave(&self) {
        self.shelf.shrink_to(self.max_buffered.saturating_sub(self.buffered));
    }

    #[cfg(not(feature = "compare"))]
    fn leave(&self) {}

    /// Returns the responses under comparison.
    #[cfg(feature = "compare")]
    pub fn shelf(&self) -> &Rc<Shelf> {
        &self.shelf
    }

    /// Gives back room for a body's bytes.
    pub fn release(&mut self, bytes: usize) {
        self.buffered = self.buffered.saturating_sub(bytes);
        self.room.give_back(bytes);
        self.leave();
    }

    /// Takes room for a body that waits for a response; false, and nothing taken, where there is none, or so many wait that they would take
    /// more than half of it.
    pub fn hold_waiting(&mut self, bytes: usize) -> bool {
        let waiting = self.waiting.saturating_add(bytes);
        let has_room = waiting <= self.max_buffered / 2 && self.hold(bytes);
        if has_room {
            self.waiting = waiting;
        }
        has_room
    }

    /// Takes in that a body does not wait any more, whose room is given back by itself.
    pub fn end_wait(&mut self, bytes: usize) {
        self.waiting = self.waiting.saturating_sub(bytes);
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

    /// Decides whether a copy may be sent while so many are in flight.
    ///
    /// # Errors
    /// The outcome of a copy that may not.
    pub fn admit(&self, in_flight: usize) -> Result<(), Outcome> {
        if in_flight < self.max_in_flight { Ok(()) } else { Err(Outcome::InFlightLimit) }
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

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;

    fn budget(max_in_flight: usize) -> Budget {
        Budget::new(&Limits { max_buffered_bytes: 10, max_in_flight, ..Limits::default() }, Rc::default())
    }

    #[test]
    fn bodies_share_the_room_of_their_configuration() {
        let mut budget = budget(1);
        assert!(budget.hold(6));
        assert!(!budget.hold(5));
        assert!(budget.hold(4));
        budget.release(10);
        assert!(budget.hold(10));
        assert!(!budget.hold(usize::MAX));
    }

    #[test]
    fn bodies_that_wait_for_responses_take_half_of_the_room() {
        let mut budget = budget(1);
        assert!(budget.hold_waiting(3));
        assert!(!budget.hold_waiting(3));
        assert!(budget.hold_waiting(2));
        budget.end_wait(3);
        budget.release(3);
        assert!(budget.hold_waiting(3));
        assert!(budget.hold_waiting(0));
    }

    #[test]
    fn requests_have_a_room_of_their_own() {
        let mut budget = budget(1);
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
        assert_eq!(room.used.get(), 513 << 20);
    }

    #[test]
    fn so_many_copies_are_in_flight_and_no_more() {
        let budget = budget(2);
        for (in_flight, expected) in
            [(0, Ok(())), (1, Ok(())), (2, Err(Outcome::InFlightLimit)), (3, Err(Outcome::InFlightLimit))]
        {
            assert_eq!(budget.admit(in_flight), expected);
        }
    }
}
