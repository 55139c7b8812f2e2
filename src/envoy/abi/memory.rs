//! Where the host puts what it hands over: at the place that it is for, or in memory of its own.
//!
//! Before the host writes bytes it asks the module for memory (`proxy_on_memory_allocate`), as many times as it hands bytes over in a
//! call: once. So whoever calls says first where there is room for them, and short values, the headers of complete requests and bodies
//! cost neither an allocation nor a copy.

use super::OK;
use crate::core::outcome::{SHORT, Short};
use std::alloc::{Layout, alloc};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::slice;

/// Memory that the host may write to, of so many bytes.
#[derive(Clone, Copy)]
struct Place {
    start: *mut u8,
    room: usize,
}

/// What suffices for most names: those of clusters in a mesh have some 50 bytes.
const MOSTLY: usize = 64;

/// Where nothing can be put.
const NOWHERE: Place = Place { start: null_mut(), room: 0 };

/// The largest buffer of headers that is kept for others. Envoy takes headers of 60 KiB by default.
pub const MOST_KEPT: usize = 64 << 10;

thread_local! {
    /// Where the host puts what it hands over, if there is room for it.
    static PLACE: Cell<Place> = const { Cell::new(NOWHERE) };
    /// What is kept for the headers of a request that are needed only in one callback.
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns the buffer that is kept, or an empty one.
pub fn kept() -> Vec<u8> {
    KEPT.take()
}

/// Keeps the larger one of a buffer and what is kept, unless it is much larger than most.
pub fn keep(buffer: Vec<u8>) {
    let kept = KEPT.take();
    KEPT.set(if (kept.capacity()..=MOST_KEPT).contains(&buffer.capacity()) { buffer } else { kept });
}

/// Returns where the host may write so many bytes; null where memory does not suffice, and then the host's function fails.
#[inline(always)]
pub fn allocate(size: usize) -> *mut u8 {
    let place = PLACE.replace(NOWHERE);
    if size <= place.room {
        return place.start;
    }
    // SAFETY: the size is not 0.
    Layout::array::<u8>(size).map_or(null_mut(), |layout| unsafe { alloc(layout) })
}

/// What the host handed over.
enum Given {
    /// So many bytes, at the place.
    There(usize),
    /// More than there was room for.
    Elsewhere(Vec<u8>),
}

/// What a host function said of what it handed over.
struct Said {
    status: u32,
    data: *mut u8,
    size: usize,
}

/// Calls a host function that hands bytes over, for which there is a place.
///
/// # Safety
/// The place is valid for writes.
#[inline(always)]
unsafe fn call_for(place: Place, call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Said {
    let (mut data, mut size) = (null_mut(), 0);
    PLACE.set(place);
    let status = call(&mut data, &mut size);
    PLACE.set(NOWHERE);
    Said { status, data, size }
}

/// Takes over what the host handed over, for which there was a place; `None` where the host has none.
fn take(place: Place, Said { status, data, size }: Said) -> Option<Given> {
    if status != OK {
        None
    } else if data.is_null() {
        Some(Given::There(0))
    } else if data == place.start && size <= place.room {
        Some(Given::There(size))
    } else {
        // SAFETY: the host got the buffer from `allocate`, which makes one of just this size where there is no place for it, filled it,
        // and keeps no pointer to it.
        Some(Given::Elsewhere(unsafe { Vec::from_raw_parts(data, size, size) }))
    }
}

/// Calls a host function that hands bytes over; `None` where the host has none.
pub fn fetch(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    fetch_into(Vec::new(), call)
}

/// Does so with a buffer, whose content goes, for the bytes: if there is room for them.
pub fn fetch_into(mut buffer: Vec<u8>, call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    buffer.clear();
    let spare = buffer.spare_capacity_mut();
    let place = Place { start: spare.as_mut_ptr().cast(), room: spare.len() };
    // SAFETY: what is spare is valid for writes.
    match take(place, unsafe { call_for(place, call) })? {
        Given::Elsewhere(bytes) => Some(bytes),
        Given::There(size) => {
            // SAFETY: the host has just written so many, for which there is room.
            unsafe { buffer.set_len(size) };
            Some(buffer)
        }
    }
}

/// Calls a host function that hands over a value which is mostly short; `None` where the host has none.
pub fn fetch_short(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Short> {
    let mut array = [const { MaybeUninit::<u8>::uninit() }; SHORT];
    let place = Place { start: array.as_mut_ptr().cast(), room: SHORT };
    // SAFETY: the array is valid for its length, and lives through the call.
    let said = unsafe { call_for(place, call) };
    match take(place, said)? {
        // SAFETY: the host has written so many.
        Given::There(size) => Some(Short::from_slice(unsafe { slice::from_raw_parts(place.start, size) })),
        Given::Elsewhere(bytes) => Some(bytes.into()),
    }
}

/// Calls a host function that hands bytes over; returns whether it has any.
pub fn has_some(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> bool {
    let mut array = [const { MaybeUninit::<u8>::uninit() }; MOSTLY];
    let place = Place { start: array.as_mut_ptr().cast(), room: MOSTLY };
    // SAFETY: as above.
    let said = unsafe { call_for(place, call) };
    take(place, said).is_some_and(|given| !matches!(given, Given::There(0)))
}

/// Calls a host function that hands over so many bytes, and appends them; false, and nothing appended, where the host hands over another
/// number of them, or memory does not suffice.
pub fn append(to: &mut Vec<u8>, size: usize, call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> bool {
    if to.try_reserve_exact(size).is_err() {
        return false;
    }
    let length = to.len();
    let spare = to.spare_capacity_mut();
    let place = Place { start: spare.as_mut_ptr().cast(), room: spare.len() };
    // SAFETY: what is spare is valid for writes.
    match take(place, unsafe { call_for(place, call) }) {
        Some(Given::There(given)) if given == size => {
            // SAFETY: there is room for as many, and the host has just written them.
            unsafe { to.set_len(length.saturating_add(size)) };
            true
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;

    /// Does what a host function does that hands these bytes over.
    fn host(given: &[u8]) -> impl FnOnce(*mut *mut u8, *mut usize) -> u32 {
        |data, size| {
            let start = allocate(given.len());
            assert!(!start.is_null());
            // SAFETY: there is room for as many bytes, and both pointers are valid.
            unsafe {
                start.copy_from_nonoverlapping(given.as_ptr(), given.len());
                (*data, *size) = (start, given.len());
            }
            OK
        }
    }

    fn refusing(_: *mut *mut u8, _: *mut usize) -> u32 {
        1
    }

    #[test]
    fn what_the_host_hands_over_is_the_same_wherever_it_fits() {
        for length in [1, SHORT - 1, SHORT, SHORT + 1, 1000] {
            let given: Vec<u8> = (0..length).map(|at| at as u8).collect();
            for buffer in [Vec::new(), vec![0; 8], vec![0; 2000]] {
                assert_eq!(fetch_into(buffer, host(&given)), Some(given.clone()));
            }
            let short = fetch_short(host(&given)).unwrap();
            assert_eq!((&*short, short.spilled()), (&*given, length > SHORT));
            let mut body = b"before".to_vec();
            assert!(append(&mut body, length, host(&given)));
            assert_eq!(body, [b"before", &*given].concat());
        }
        assert_eq!(fetch(host(b"bytes")), Some(b"bytes".to_vec()));
        let nothing = |_, _| OK;
        assert_eq!([fetch(nothing), fetch_into(b"before".to_vec(), nothing)], [Some(Vec::new()), Some(Vec::new())]);
        assert_eq!(fetch_short(nothing), Some(Short::new()));
    }

    #[test]
    fn a_host_that_hands_over_another_number_of_bytes_appends_none() {
        for given in [&b"ab"[..], b"abcd"] {
            let mut body = b"before".to_vec();
            assert!(!append(&mut body, 3, host(given)));
            assert_eq!(body, b"before");
        }
        assert!(!append(&mut Vec::new(), 3, refusing));
        assert!(!append(&mut Vec::new(), usize::MAX, |_, _| panic!("there is no room")));
    }

    #[test]
    fn a_buffer_is_kept_unless_it_is_much_larger_than_most() {
        for (given, expected) in [(10, 10), (MOST_KEPT, MOST_KEPT), (MOST_KEPT + 1, 9)] {
            [9, given, 0, 8].into_iter().for_each(|size| keep(Vec::with_capacity(size)));
            assert_eq!([kept().capacity(), kept().capacity()], [expected, 0]);
        }
    }

    #[test]
    fn a_place_is_for_one_call() {
        let mut body = Vec::with_capacity(10);
        assert!(!append(&mut body, 10, refusing));
        let other = allocate(1);
        assert_ne!(other, body.as_mut_ptr());
        // SAFETY: it was made so.
        drop(unsafe { Vec::from_raw_parts(other, 0, 1) });
        assert!(allocate(usize::MAX).is_null());
    }
}
