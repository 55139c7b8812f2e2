//! Mirrors requests with their bodies, and keeps the filter's counters: the least that such a mirror which counts can do.
#![no_std]

use floor::{books, slots};

floor::counts!();

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: u32, end_of_stream: u32) -> u32 {
    let Some(slot) = slots::read() else { return floor::CONTINUE };
    if !books::begins() {
        return floor::CONTINUE;
    }
    if end_of_stream == 1 {
        // SAFETY: it reads both ranges before it returns.
        unsafe { slot.end(books::send) };
    } else {
        books::waits();
        slot.keep(context);
    }
    floor::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    let Some(slot) = slots::chunk(context, size) else { return floor::CONTINUE };
    if size > 0 {
        books::buffers(size);
    }
    if end_of_stream == 1 {
        books::waits_no_more(slot.size());
        // SAFETY: it reads both ranges before it returns.
        unsafe { slot.end(books::send) };
    }
    floor::CONTINUE
}
