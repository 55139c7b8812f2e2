//! What the filter remembers of streams and copies that are over: nothing. Otherwise it would grow until its VM has no
//! memory left, and no counter would tell.
#![allow(unsafe_code, reason = "an allocator is unsafe to write")]

use crate::ledger::Limits;
use crate::model::Run;
use crate::steps::{Step, limits, step};
use fake_host::books;
use fake_host::envoy::{Envoy, request};
use fake_host::host;
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
    // Rounds would take tokens from each other, and differ.
    let without_rate = |limits| Limits { burst: None, ..limits };
    let limits = limits().prop_map(without_rate);
    let step = step().prop_map(move |step| match step {
        Step::Replace { limits, is_reversed } => Step::Replace { limits: without_rate(limits), is_reversed },
        step => step,
    });
    let outcome = runner.run(&(limits, vec(step, 1..25), any::<bool>()), |(limits, steps, mirrors_first)| {
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

/// What an upload may take beside its headers and its body: what the filter books for it, and what tables have to spare.
const PER_UPLOAD: usize = 2 << 10;

#[test]
fn uploads_take_hardly_more_memory_than_is_booked_for_them_whatever_their_chunks() {
    let mut runner = TestRunner::new(Config { source_file: Some(file!()), ..Config::with_cases(60) });
    let size = prop_oneof![4 => 1..4usize, 2 => 1..700usize, 1 => 3_000..20_000usize];
    let outcome = runner.run(&vec(vec(size, 0..40), 1..60), |uploads| {
        let (envoy, root) = Envoy::with(r#"{"rules":[{"mirrors":[{"cluster":"a"}]}]}"#);
        let before = HELD.get();
        let begin = |chunks: Vec<usize>| (envoy.begin(root, request("/", &[]), false), chunks);
        let mut uploads: Vec<_> = uploads.into_iter().map(begin).collect();
        let streams = uploads.iter().map(|(stream, _)| *stream).collect::<Vec<_>>();
        let headers = HELD.get() - before;
        prop_assert!(headers <= streams.len() * (PER_UPLOAD + 200), "{} of {} uploads", headers, streams.len());
        // A chunk of each in turn, so that no buffer is the last that was allocated.
        while uploads.iter().any(|(_, chunks)| !chunks.is_empty()) {
            for (stream, chunks) in &mut uploads {
                if let Some(size) = chunks.pop() {
                    envoy.body(*stream, &vec![b'x'; size], false);
                }
            }
            let booked = Envoy::host(|host| usize::try_from(books::sum(host, "buffered_bytes", &[])).unwrap());
            let taken = HELD.get() - before - headers;
            let allowed = booked + booked / 8 + streams.len() * (1 << 10);
            prop_assert!(taken <= allowed, "{} bytes allocated, {} booked", taken, booked);
        }
        streams.into_iter().for_each(|stream| envoy.end(stream));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}\n{runner}"));
}

#[test]
fn a_request_that_waits_for_its_response_takes_no_more_memory_than_its_own_headers_need() {
    const WAITING: usize = 20;
    let (envoy, root) = Envoy::with(
        r#"{"rules":[{"match":[{"uri":{"prefix":"/waits"}}],"mirrors":[{"cluster":"a","when":[{"status":["5xx"]}]}]},
        {"match":[{"headers":{"x-large":{"exact":"no"}}}],"mirrors":[{"cluster":"a"}]}]}"#,
    );
    let large = "x".repeat(30_000);
    // What it leaves is kept for the headers of the next request.
    let leave_a_large_buffer = || envoy.end(envoy.begin(root, request("/", &[("x-large", &large)]), true));
    leave_a_large_buffer();
    let before = HELD.get();
    let streams: Vec<_> = (0..WAITING)
        .map(|_| {
            let stream = envoy.begin(root, request("/waits", &[]), true);
            leave_a_large_buffer();
            stream
        })
        .collect();
    let held = HELD.get() - before;
    assert!(held <= WAITING * (PER_UPLOAD + 200), "{held} bytes");
    streams.into_iter().for_each(|stream| envoy.end(stream));
}
