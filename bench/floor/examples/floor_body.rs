//! Mirrors requests with their bodies: the host writes headers and chunks straight to where the copy is sent from.
#![no_std]

use core::arch::wasm32::memory_grow;
use core::ptr::null_mut;

const PAGE: usize = 1 << 16;

/// One request under way. Its room is kept for the next one, and doubled as a body needs it.
struct Slot {
    context: u32,
    headers: [u8; 1 << 14],
    headers_size: usize,
    body: *mut u8,
    size: usize,
    room: usize,
}

const FREE: Slot = Slot { context: 0, headers: [0; 1 << 14], headers_size: 0, body: null_mut(), size: 0, room: 0 };
static mut SLOTS: [Slot; 64] = [FREE; 64];

fn slot(context: u32) -> Option<&'static mut Slot> {
    // SAFETY: one thread, and no reference outlives its callback.
    #[allow(static_mut_refs)]
    let slots = unsafe { &mut SLOTS };
    slots.iter_mut().find(|slot| slot.context == context)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _count: u32, end_of_stream: u32) -> u32 {
    let Some(slot) = slot(0) else { return floor::CONTINUE };
    let target = slot.headers.as_mut_ptr();
    // SAFETY: the load's headers are smaller than the buffer.
    slot.headers_size = unsafe { floor::headers(target) };
    if end_of_stream == 1 {
        // SAFETY: as above.
        unsafe { floor::call(target, slot.headers_size, slot.body, 0) };
    } else {
        (slot.context, slot.size) = (context, 0);
    }
    floor::CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, size: usize, end_of_stream: u32) -> u32 {
    let Some(slot) = slot(context) else { return floor::CONTINUE };
    if slot.size + size > slot.room {
        let room = (2 * slot.room).max(slot.size + size).next_multiple_of(PAGE);
        let body = (memory_grow::<0>(room / PAGE) * PAGE) as *mut u8;
        // SAFETY: the new pages are nobody else's; the old ones stay unused.
        unsafe { body.copy_from_nonoverlapping(slot.body, slot.size) };
        (slot.body, slot.room) = (body, room);
    }
    if size > 0 {
        // SAFETY: room was made above.
        unsafe { floor::body(slot.body.add(slot.size), size) };
        slot.size += size;
    }
    if end_of_stream == 1 {
        // SAFETY: both were written above.
        unsafe { floor::call(slot.headers.as_ptr(), slot.headers_size, slot.body, slot.size) };
        slot.context = 0;
    }
    floor::CONTINUE
}
