//! Mirrors requests without a body: reads all headers, makes one call, keeps nothing.
#![no_std]

use core::ptr::null;

static mut HEADERS: [u8; 1 << 16] = [0; 1 << 16];

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, end_of_stream: u32) -> u32 {
    if end_of_stream == 1 {
        let target = (&raw mut HEADERS).cast();
        // SAFETY: one thread, and the load's headers are smaller than the buffer.
        unsafe {
            let size = floor::headers(target);
            floor::call(target, size, null(), 0);
        }
    }
    floor::CONTINUE
}
