//! Mirrors requests without a body, and keeps the filter's counters: the least that a mirror which counts can do. It makes the
//! same host calls as the filter at 100 %, the question for the request's cluster included.
#![no_std]

use core::ptr::null;
use floor::books;

static mut HEADERS: [u8; 1 << 16] = [0; 1 << 16];

floor::counts!();

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, end_of_stream: u32) -> u32 {
    if end_of_stream == 1 {
        let target = (&raw mut HEADERS).cast();
        // SAFETY: one thread, and the load's headers are smaller than the buffer.
        let size = unsafe { floor::headers(target) };
        if books::begins() {
            // SAFETY: the headers were written above, and there is no body.
            unsafe { books::send(target, size, null(), 0) };
        }
    }
    floor::CONTINUE
}
