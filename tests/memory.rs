//! Memory that cannot be had costs the copy and nothing else: here it is the first allocation that fails, then the
//! second, and so on. An allocation that Rust cannot do without would end this test, as it would end the VM.
#![allow(unsafe_code, clippy::unwrap_used, reason = "an allocator is unsafe to write, and a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::null_mut;
use std::rc::Rc;
use traffic_mirror::config::Config;
use traffic_mirror::core::body::at_hand;
use traffic_mirror::core::budget::Budget;
use traffic_mirror::core::matcher::Decision;
use traffic_mirror::core::outcome::Outcome;
use traffic_mirror::core::pending::{Pending, Plan};

/// The system's allocator, until it has none left.
struct Scarce;

thread_local! {
    /// How many allocations this thread still gets.
    static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
}

// SAFETY: all is the system allocator's, but for refusals, which an allocator may do at any time.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let left = LEFT.get();
        LEFT.set(left.saturating_sub(1));
        // SAFETY: the layout is the caller's.
        if left == 0 { null_mut() } else { unsafe { System.alloc(layout) } }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: what there is to give back came from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Scarce = Scarce;

/// Sizes of chunks: large ones, small ones that are gathered, and more than the list of them has room for at first.
const SIZES: [usize; 9] = [40_000, 10, 20_000, 10, 20_000, 10, 20_000, 10, 20_000];

/// Gathers a body of chunks when so many allocations are left; tells what became of the copy, and how long its body is.
fn gather(left: usize) -> (Plan, Option<usize>) {
    let config = Config::from_bytes(br#"{"rules":[{"mirrors":[{"cluster":"a"}]}]}"#).unwrap();
    let rule = config.rules.first().unwrap();
    let mut budget = Budget::new(&config.limits, Rc::default());
    let mut pending = Pending::new(Decision { rule: 0, matched_uri: None });
    pending.select(rule, |_| Ok(()));
    let chunks = SIZES.map(|size| vec![0; size]);

    LEFT.set(left);
    for chunk in chunks {
        pending.chunk(chunk.len(), rule, config.limits.max_body_bytes, &mut budget, at_hand(&chunk));
    }
    let body = pending.take_body(&mut budget);
    LEFT.set(usize::MAX);

    assert_eq!(budget.buffered(), 0, "{left} allocations");
    (*pending.plans.first().unwrap(), body.map(|body| body.len()))
}

#[test]
fn memory_that_cannot_be_had_costs_the_copy_alone() {
    let whole = (Plan::Copy { with_body: true }, Some(SIZES.iter().sum()));
    let failures = (0..).map(gather).take_while(|gathered| *gathered != whole).collect::<Vec<_>>();
    // The list of chunks twice, room for small ones, and the one piece in the end.
    assert!(failures.len() >= 4, "{failures:?}");
    let (last, failures) = failures.split_last().unwrap();
    assert_eq!(*last, (Plan::Copy { with_body: true }, None), "there is no room for the one piece");
    for failure in failures {
        assert_eq!(*failure, (Plan::Not(Outcome::BufferLimit), Some(0)));
    }
}
