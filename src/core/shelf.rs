//! Responses that are kept until they are compared. They take the room that requests leave: where that gets less, the oldest
//! bodies go, and are not compared.

use crate::config::Compare;
use crate::core::body::Body as Pieces;
use crate::core::budget::Room;
use crate::core::compare::{Body, Differences, Response, differences};
use crate::core::header_map::HeaderMap;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The most bytes that the headers of one configuration's responses may take, with [`PER_RESPONSE`] each. Bodies are bounded by
/// the configuration; this bounds the rest.
const MOST_HEADERS: usize = 16 << 20;

/// The bytes that a response takes beside its headers and its body, at most: its entries in tables, and the room that its body
/// has to spare.
const PER_RESPONSE: usize = 2 << 10;

/// The responses of one configuration that are kept.
#[derive(Debug)]
pub struct Shelf {
    room: Rc<Room>,
    /// Their bodies, of those that have any byte, the oldest first.
    bodies: RefCell<BTreeMap<u64, Pieces>>,
    /// The number of the next response.
    next: Cell<u64>,
    /// The bytes of bodies.
    bytes: Cell<usize>,
    /// How many there may be.
    most: Cell<usize>,
    /// The bytes of everything else.
    headers: Cell<usize>,
}

impl Shelf {
    /// Makes a shelf on which there is nothing yet, with room for so many bytes of bodies.
    pub fn new(room: Rc<Room>, most: usize) -> Rc<Self> {
        let (bodies, headers, next, bytes) = <(RefCell<_>, Cell<_>, Cell<_>, Cell<_>)>::default();
        let shelf = Rc::new(Self { room, bodies, next, bytes, most: Cell::new(most), headers });
        shelf.room.add(&shelf);
        shelf
    }

    /// Returns the room of the VM, of which this takes a part.
    pub fn room(&self) -> &Rc<Room> {
        &self.room
    }

    /// Keeps what is compared of a response whose headers came; `None` where there is no room for that.
    pub fn keep(self: &Rc<Self>, compare: &Compare, headers: &HeaderMap) -> Option<Kept> {
        let find = |name: &str| headers.joined(name.as_bytes()).map(|value| Box::<[u8]>::from(&*value));
        let values: Vec<_> = compare.headers.iter().map(|name| find(name.as_str())).collect();
        let encoding = if compare.body.is_some() { find("content-encoding") } else { None };
        let all = values.iter().flatten().chain(&encoding);
        let size = all.fold(PER_RESPONSE, |size, value| size.saturating_add(value.len()));

        let headers = self.headers.get().checked_add(size).filter(|headers| *headers <= MOST_HEADERS)?;
        if !self.room.take_free(size) {
            return None;
        }
        self.headers.set(headers);
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let response = RefCell::new(Response { headers: values, encoding, body: Body::NotKept });
        let (length, is_lost, is_complete) = <(Cell<_>, Cell<_>, Cell<_>)>::default();
        Some(Kept { shelf: Rc::clone(self), number, size, response, length, is_lost, is_complete })
    }

    /// Lets bodies take so many bytes from now on; those beyond that go.
    pub fn shrink_to(&self, most: usize) {
        self.most.set(most);
        while self.bytes.get() > most && self.drop_oldest() {}
    }

    /// Drops the oldest body; false: there is none.
    pub fn drop_oldest(&self) -> bool {
        let oldest = self.bodies.borrow_mut().pop_first();
        oldest.inspect(|(_, body)| self.release(body.length())).is_some()
    }

    fn hold(&self, bytes: usize) -> bool {
        let held = self.bytes.get().checked_add(bytes).filter(|held| *held <= self.most.get());
        let Some(held) = held.filter(|_| self.room.take_free(bytes)) else { return false };
        self.bytes.set(held);
        self.room.kept_more(bytes);
        true
    }

    fn release(&self, bytes: usize) {
        self.bytes.set(self.bytes.get().saturating_sub(bytes));
        self.room.kept_less(bytes);
        self.room.give_back(bytes);
    }

    fn drop_body(&self, number: u64) {
        let body = self.bodies.borrow_mut().remove(&number);
        if let Some(body) = body {
            self.release(body.length());
        }
    }
}

/// A response that is kept.
#[derive(Debug)]
pub struct Kept {
    shelf: Rc<Shelf>,
    number: u64,
    /// The bytes that it takes beside its body.
    size: usize,
    /// All of it but the body.
    response: RefCell<Response>,
    /// How many bytes of the body were kept so far.
    length: Cell<usize>,
    /// Whether there was one that was not.
    is_lost: Cell<bool>,
    is_complete: Cell<bool>,
}

impl Kept {
    /// Takes in the next `size` bytes of the body, which `read` appends, see [`Pieces::push`], if they are compared and within the limits; a
    /// body of more than `most` bytes is not kept.
    pub fn push(&self, size: usize, most: usize, read: impl FnMut(&mut Vec<u8>, usize, usize) -> bool) {
        if size == 0 || self.is_lost() {
            return;
        }
        let length = self.length.get().saturating_add(size);
        if length > most || !self.shelf.hold(size) {
            return self.lose();
        }
        let is_kept =
            self.shelf.bodies.borrow_mut().entry(self.number).or_default().push(size, || None, read).is_some();
        if is_kept {
            self.length.set(length);
        } else {
            self.shelf.release(size);
            self.lose();
        }
    }

    /// Returns whether a part of the body was not kept, or all of it had to go.
    fn is_lost(&self) -> bool {
        self.is_lost.get() || (self.length.get() > 0 && !self.shelf.bodies.borrow().contains_key(&self.number))
    }

    fn lose(&self) {
        self.is_lost.set(true);
        self.shelf.drop_body(self.number);
    }

    /// Takes in that all of it has come.
    pub fn complete(&self) {
        self.is_complete.set(true);
        let taken = self.take_body();
        self.put_back(taken);
    }

    /// Compares it, the primary's, with a mirror's.
    pub fn differences(&self, compare: &Compare, mirror: &Self) -> Differences {
        self.with(|primary| mirror.with(|mirror| differences(compare, primary, mirror)))
    }

    /// Lends all of it; without the body, where that is not complete or not kept.
    fn with<T>(&self, act: impl FnOnce(&Response) -> T) -> T {
        let mut response = self.response.borrow_mut();
        if self.is_complete.get() && !self.is_lost() {
            response.body = self.take_body().map_or(Body::NotKept, Body::Complete);
        }
        let done = act(&response);
        if let Body::Complete(body) = std::mem::replace(&mut response.body, Body::NotKept) {
            self.put_back(Some(body));
        }
        done
    }

    /// Takes the body in one piece, whose room stays taken; `None` where memory does not suffice for that.
    fn take_body(&self) -> Option<Vec<u8>> {
        let Some(body) = self.shelf.bodies.borrow_mut().remove(&self.number) else { return Some(Vec::new()) };
        let length = body.length();
        let taken = body.into_one_piece();
        if taken.is_none() {
            self.shelf.release(length);
        }
        taken
    }

    fn put_back(&self, body: Option<Vec<u8>>) {
        if let Some(body) = body.filter(|body| !body.is_empty()) {
            self.shelf.bodies.borrow_mut().insert(self.number, body.into());
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.shelf.drop_body(self.number);
        self.shelf.headers.set(self.shelf.headers.get().saturating_sub(self.size));
        self.shelf.room.give_back(self.size);
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use crate::config::{Config, Limits};
    use crate::core::body::at_hand;
    use crate::core::budget::Budget;

    const MOST: usize = 8;

    fn compare() -> Rc<Compare> {
        let text = format!(
            r#"{{"rules":[{{"mirrors":[],"compare":{{"headers":["x-a","x-b"],"body":{{"exact":true,"maxBytes":{MOST}}}}}}}]}}"#
        );
        Config::from_bytes(text.as_bytes()).unwrap().rules[0].compare.clone().unwrap()
    }

    fn budget(most: usize) -> Budget {
        Budget::new(&Limits { max_buffered_bytes: most, ..Limits::default() }, Rc::default())
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        HeaderMap::from_pairs(pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    /// Keeps a response with this body, which came in these chunks.
    fn kept(shelf: &Rc<Shelf>, compare: &Compare, chunks: &[&str]) -> Kept {
        let kept = shelf.keep(compare, &headers(&[])).unwrap();
        chunks.iter().for_each(|chunk| kept.push(chunk.len(), MOST, at_hand(chunk.as_bytes())));
        kept.complete();
        kept
    }

    #[test]
    fn what_was_kept_is_compared() {
        let (compare, budget) = (compare(), budget(100));
        let shelf = budget.shelf();
        let twice = headers(&[("x-a", "1"), ("x-a", "2")]);
        let once = headers(&[("x-a", "1,2"), ("x-b", "")]);
        let (twice, once) = (shelf.keep(&compare, &twice).unwrap(), shelf.keep(&compare, &once).unwrap());
        for (kept, chunks) in [(&twice, &["ab", "cd"][..]), (&once, &["a", "", "bcd"])] {
            chunks.iter().for_each(|chunk| kept.push(chunk.len(), MOST, at_hand(chunk.as_bytes())));
            kept.complete();
        }
        // Twice: nothing is used up.
        for _ in 0..2 {
            let found = twice.differences(&compare, &once);
            assert_eq!((found.headers, found.body, found.not_compared), (true, false, false));
            assert_eq!(found.places, [Box::from("headers/x-b")]);
        }
        assert!(twice.differences(&compare, &kept(shelf, &compare, &["abce"])).body);
    }

    #[test]
    fn a_body_that_is_too_long_or_not_complete_or_not_there_is_not_compared() {
        let (compare, budget) = (compare(), budget(100));
        let shelf = budget.shelf();
        let right = kept(shelf, &compare, &["12345678"]);
        assert_eq!(right.differences(&compare, &kept(shelf, &compare, &["1234", "5678"])), Differences::default());

        let long = kept(shelf, &compare, &["1234", "56789"]);
        long.push(1, MOST, |_, _, _| panic!("a body that is not kept is read"));
        let open = shelf.keep(&compare, &headers(&[])).unwrap();
        open.push(8, MOST, at_hand(b"12345678"));
        let unread = shelf.keep(&compare, &headers(&[])).unwrap();
        unread.push(8, MOST, |_, _, _| false);
        unread.complete();
        for (what, other) in [("too long", long), ("open", open), ("not read", unread)] {
            assert!(right.differences(&compare, &other).not_compared, "{what}");
        }
    }

    #[test]
    fn bodies_yield_to_those_of_requests_the_oldest_first() {
        let (compare, mut budget) = (compare(), budget(20));
        let shelf = Rc::clone(budget.shelf());
        let first = kept(&shelf, &compare, &["12345678"]);
        let second = kept(&shelf, &compare, &["12345678"]);
        let none = kept(&shelf, &compare, &["12345678"]);
        assert!(none.differences(&compare, &second).not_compared, "no room was left");
        assert_eq!(shelf.room().kept_since_last(), 16);

        assert!(!budget.hold(21));
        assert_eq!(first.differences(&compare, &second), Differences::default());
        assert!(budget.hold(5));
        assert!(first.differences(&compare, &second).not_compared);
        assert!(second.differences(&compare, &kept(&shelf, &compare, &["1234"])).body);
        assert!(budget.hold(15));
        assert_eq!(shelf.room().kept_since_last(), -16);
        assert!(!budget.hold(1));
        budget.release(20);
        drop((first, second, none));
        assert_eq!(
            kept(&shelf, &compare, &["1"]).differences(&compare, &kept(&shelf, &compare, &["1"])),
            Differences::default()
        );
        assert_eq!((shelf.bytes.get(), shelf.headers.get()), (0, 0));
    }

    #[test]
    fn headers_take_room_too() {
        let (compare, budget) = (compare(), budget(1));
        let long = "x".repeat(1 << 20);
        let map = headers(&[("x-a", &long)]);
        let kept: Vec<_> = std::iter::from_fn(|| budget.shelf().keep(&compare, &map)).take(100).collect();
        assert_eq!(kept.len(), 15);
        drop(kept);
        assert!(budget.shelf().keep(&compare, &map).is_some());
    }
}
