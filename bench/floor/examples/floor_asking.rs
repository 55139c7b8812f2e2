//! Is told of each stream, asks for one header by name, and counts the request: what no filter that matches by headers can go
//! below where nothing matches.
#![no_std]

use floor::{Kind, Metric};

static MATCHED: Metric = Metric::undefined();
static UNMATCHED: Metric = Metric::undefined();
static mut VALUE: [u8; 1 << 16] = [0; 1 << 16];

floor::told_of_contexts!();

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_root: u32, _size: usize) -> u32 {
    MATCHED.define(Kind::Counter, "asking.matched");
    UNMATCHED.define(Kind::Counter, "asking.unmatched");
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, _end_of_stream: u32) -> u32 {
    // SAFETY: one thread, and a header's value is smaller than the buffer.
    let value = unsafe { floor::header(floor::REQUEST_HEADERS, "x-mirror", (&raw mut VALUE).cast()) };
    if value.is_some() { &MATCHED } else { &UNMATCHED }.add(1);
    floor::CONTINUE
}
