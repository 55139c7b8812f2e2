//! Mirrors requests with their bodies: the host writes headers and chunks straight to where the copy is sent from.
#![no_std]

use floor::slots;

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: u32, end_of_stream: u32) -> u32 {
    let Some(slot) = slots::read() else { return floor::CONTINUE };
    if end_of_stream == 1 {
        // SAFETY: it reads both ranges before it returns.
        unsafe { slot.end(floor::call) };
    } else {
        slot.keep(context);
    }
    floor::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    if let Some(slot) = slots::chunk(context, size)
        && end_of_stream == 1
    {
        // SAFETY: it reads both ranges before it returns.
        unsafe { slot.end(floor::call) };
    }
    floor::CONTINUE
}
