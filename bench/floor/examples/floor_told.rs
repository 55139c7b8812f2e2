//! Is told of each stream and counts it, as the filter does where all mirrors are at 0 %: three counters.
#![no_std]

use floor::{Kind, Metric};

static REQUESTS: Metric = Metric::undefined();
static DECIDED: Metric = Metric::undefined();
static UNSAMPLED: Metric = Metric::undefined();

floor::told_of_contexts!();

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_root: u32, _size: usize) -> u32 {
    REQUESTS.define(Kind::Counter, "told.requests");
    DECIDED.define(Kind::Counter, "told.decided");
    UNSAMPLED.define(Kind::Counter, "told.unsampled");
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, _end_of_stream: u32) -> u32 {
    REQUESTS.add(1);
    DECIDED.add(1);
    UNSAMPLED.add(1);
    floor::CONTINUE
}
