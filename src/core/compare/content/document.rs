//! A JSON document as a list of its values, in the order in which they begin: what is compared, without what is ignored.

use super::NotCompared;
use crate::config::Pointers;
use crate::core::json::{Bad, Characters, Visitor, walk};
use xxhash_rust::xxh64::xxh64;

/// How many steps of pointers may be tried for each byte of a text.
const TRIES: usize = 2;

/// A value: where it stands in the text, and where in the list what is inside it ends.
#[derive(Debug, Clone, Copy, Default)]
struct Value {
    start: u32,
    end: u32,
    name_start: u32,
    name_end: u32,
    after: u32,
}

/// A JSON document.
#[derive(Debug)]
pub(super) struct Document<'t> {
    text: &'t str,
    values: Vec<Value>,
    /// Those that have begun and not ended, while it is read.
    open: Vec<usize>,
}

/// A member of an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// The hash of its name.
    pub(super) hash: u64,
    /// Its value.
    pub(super) value: u32,
}

impl<'t> Document<'t> {
    /// Reads a document, but for what is at some places.
    pub(super) fn read(text: &'t [u8], ignore: &Pointers) -> Result<Self, NotCompared> {
        let text = std::str::from_utf8(text).map_err(|_| NotCompared)?;
        let mut document = Self { text, values: Vec::new(), open: Vec::new() };
        let tries = text.len().saturating_mul(TRIES).saturating_add(4096);
        walk(text, ignore, tries, &mut document)?;
        Ok(document)
    }

    /// Returns the document's value; `None`: it is ignored.
    pub(super) fn root(&self) -> Option<u32> {
        (!self.values.is_empty()).then_some(0)
    }

    fn value(&self, at: u32) -> Value {
        self.values.get(at as usize).copied().unwrap_or_default()
    }

    /// Returns a value as it is written.
    pub(super) fn written(&self, at: u32) -> &'t str {
        let Value { start, end, .. } = self.value(at);
        self.text.get(start as usize..end as usize).unwrap_or_default()
    }

    /// Returns how the name of a member is written, without its quotes.
    pub(super) fn name(&self, at: u32) -> &'t str {
        let Value { name_start, name_end, .. } = self.value(at);
        self.text.get(name_start as usize..name_end as usize).unwrap_or_default()
    }

    /// Returns the byte that a value begins with, which tells its type.
    pub(super) fn first(&self, at: u32) -> u8 {
        self.text.as_bytes().get(self.value(at).start as usize).copied().unwrap_or_default()
    }

    /// Returns where in the list what is inside a value ends.
    pub(super) fn after(&self, at: u32) -> u32 {
        self.value(at).after.max(at.saturating_add(1))
    }

    /// Lists the items of an array, or the members of an object with each of those that have one name.
    pub(super) fn inside(&self, at: u32) -> impl Iterator<Item = u32> {
        let end = self.after(at);
        let first = Some(at.saturating_add(1)).filter(|next| *next < end);
        std::iter::successors(first, move |at| Some(self.after(*at)).filter(|next| *next < end))
    }

    /// Writes the members of an object into a list, by the hashes of their names: of those with one name the last, and none that is
    /// null where those count as absent.
    ///
    /// # Errors
    /// Two names have one hash.
    pub(super) fn members(&self, at: u32, null_is_absent: bool, list: &mut Vec<Member>) -> Result<(), NotCompared> {
        let mut room = String::new();
        list.clear();
        list.extend(self.inside(at).map(|value| Member { hash: hash_of_name(self.name(value), &mut room), value }));
        list.sort_unstable_by_key(|member| (member.hash, member.value));
        let mut is_unclear = false;
        list.dedup_by(|later, kept| {
            let is_same = later.hash == kept.hash;
            if is_same {
                is_unclear |= !means_the_same(self.name(later.value), self.name(kept.value));
                *kept = *later;
            }
            is_same
        });
        if null_is_absent {
            list.retain(|member| self.first(member.value) != b'n');
        }
        if is_unclear { Err(NotCompared) } else { Ok(()) }
    }
}

impl Visitor for Document<'_> {
    type Failed = NotCompared;

    /// Leaves out what is ignored.
    fn found(&mut self, _start: usize, _end: usize) -> Result<(), NotCompared> {
        Ok(())
    }

    fn begins(&mut self, start: usize, (name_start, name_end): (usize, usize)) -> Result<(), NotCompared> {
        self.values.try_reserve(1).map_err(|_| NotCompared)?;
        let [start, name_start, name_end] = [start, name_start, name_end].map(short);
        self.open.push(self.values.len());
        self.values.push(Value { start, end: start, name_start, name_end, after: 0 });
        Ok(())
    }

    fn ends(&mut self, end: usize) {
        let after = short(self.values.len());
        if let Some(value) = self.open.pop().and_then(|at| self.values.get_mut(at)) {
            (value.end, value.after) = (short(end), after);
        }
    }
}

impl From<Bad> for NotCompared {
    fn from(_: Bad) -> Self {
        Self
    }
}

/// Texts are a MiB long at most.
fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Returns the hash of what a name means. `room`: for that.
fn hash_of_name(written: &str, room: &mut String) -> u64 {
    if !written.contains('\\') {
        return xxh64(written.as_bytes(), 0);
    }
    room.clear();
    room.extend(Characters::new(written));
    xxh64(room.as_bytes(), 0)
}

/// Returns whether two strings mean the same, of what is between their quotes.
pub(super) fn means_the_same(one: &str, other: &str) -> bool {
    one == other || ((one.contains('\\') || other.contains('\\')) && Characters::new(one).eq(Characters::new(other)))
}
