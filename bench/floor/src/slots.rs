//! Requests under way, with their bodies: the host writes headers and chunks straight to where the copy is sent from.

use core::arch::wasm32::memory_grow;
use core::ptr::null_mut;

const PAGE: usize = 1 << 16;

/// One request under way. Its room is kept for the next one, and doubled as a body needs it.
pub struct Slot {
    context: u32,
    headers: [u8; 1 << 14],
    headers_size: usize,
    body: *mut u8,
    size: usize,
    room: usize,
}

const FREE: Slot = Slot { context: 0, headers: [0; 1 << 14], headers_size: 0, body: null_mut(), size: 0, room: 0 };
static mut SLOTS: [Slot; 64] = [FREE; 64];

/// Returns the slot of a context; of 0: a free one.
fn find(context: u32) -> Option<&'static mut Slot> {
    // SAFETY: one thread, and no reference outlives its callback.
    #[allow(static_mut_refs)]
    let slots = unsafe { &mut SLOTS };
    slots.iter_mut().find(|slot| slot.context == context)
}

/// Reads the headers of a request into a slot that is free.
pub fn read() -> Option<&'static mut Slot> {
    let slot = find(0)?;
    slot.size = 0;
    // SAFETY: the load's headers are smaller than the buffer.
    slot.headers_size = unsafe { crate::headers(slot.headers.as_mut_ptr()) };
    Some(slot)
}

/// Returns the slot of a request, with the next bytes of its body.
pub fn chunk(context: u32, size: usize) -> Option<&'static mut Slot> {
    let slot = find(context)?;
    if slot.size + size > slot.room {
        let room = (2 * slot.room).max(slot.size + size).next_multiple_of(PAGE);
        let body = (memory_grow::<0>(room / PAGE) * PAGE) as *mut u8;
        // SAFETY: the new pages are nobody else's; the old ones stay unused.
        unsafe { body.copy_from_nonoverlapping(slot.body, slot.size) };
        (slot.body, slot.room) = (body, room);
    }
    if size > 0 {
        // SAFETY: room was made above.
        unsafe { crate::body(slot.body.add(slot.size), size) };
        slot.size += size;
    }
    Some(slot)
}

impl Slot {
    /// Keeps it for a request whose body is still to come.
    pub fn keep(&mut self, context: u32) {
        self.context = context;
    }

    /// Frees it, and has what was read sent.
    ///
    /// # Safety
    /// `send` takes ranges that are readable until it returns.
    pub unsafe fn end<T>(&mut self, send: unsafe fn(*const u8, usize, *const u8, usize) -> T) -> T {
        self.context = 0;
        // SAFETY: both were written before, and nobody writes to them meanwhile.
        unsafe { send(self.headers.as_ptr(), self.headers_size, self.body, self.size) }
    }

    /// Returns how many bytes of the body have come.
    pub fn size(&self) -> usize {
        self.size
    }
}
