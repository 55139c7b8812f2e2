//! What the filter remembers of streams and copies that are over: nothing. Otherwise it would grow until its VM has no
//! memory left, and no counter would tell.
#![allow(unsafe_code, reason = "an allocator is unsafe to write")]

use crate::host;
use crate::ledger::Limits;
use crate::model::Run;
use crate::steps::{limits, step};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts what the filter has of it.
struct Counting;

thread_local! {
    /// The bytes that this thread's filter has, as far as it took them in callbacks.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all is the system allocator's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if host::is_filters_turn() {
            HELD.set(HELD.get().wrapping_add(layout.size()));
        }
        // SAFETY: the layout is the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        if host::is_filters_turn() {
            HELD.set(HELD.get().wrapping_sub(layout.size()));
        }
        // SAFETY: what there is to give back came from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often the same steps are taken. A table takes memory for a dozen entries at once.
const ROUNDS: usize = 15;

#[test]
fn what_is_over_leaves_nothing_in_memory() {
    let mut runner = TestRunner::new(Config { source_file: Some(file!()), ..Config::with_cases(60) });
    // Tokens would come back with time, and the rounds would differ.
    let limits = limits().prop_map(|limits| Limits { burst: None, ..limits });
    let outcome = runner.run(&(limits, vec(step(), 1..25), any::<bool>()), |(limits, steps, mirrors_first)| {
        let mut run = Run::start(limits);
        // Tables that were used once keep room for their next entries.
        run.round(&steps, mirrors_first);
        run.round(&steps, mirrors_first);
        let held = HELD.get();
        (0..ROUNDS).for_each(|_| run.round(&steps, mirrors_first));
        prop_assert_eq!(HELD.get(), held, "bytes held");
        run.finish(mirrors_first);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}\n{runner}"));
}
