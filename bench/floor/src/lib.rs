//! What the floor modules need of the Proxy-Wasm ABI 0.2.1: host functions, and the two exports that the host requires of a
//! module. No allocator: each module says where the host may write next, and so nothing is copied twice.
#![no_std]

pub mod books;
#[cfg(target_arch = "wasm32")]
pub mod slots;

use core::ptr::null_mut;
use core::sync::atomic::{AtomicU32, Ordering};

/// The host's buffer of request body bytes.
pub const REQUEST_BODY: u32 = 0;
/// The host's map of request headers.
pub const REQUEST_HEADERS: u32 = 0;
/// The host's map of the headers of the response to a call.
pub const CALL_RESPONSE_HEADERS: u32 = 6;
/// What a callback returns to let the request go on.
pub const CONTINUE: u32 = 0;

/// The ABI's status for success.
const OK: u32 = 0;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    #[rustfmt::skip]
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_ms: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
    fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    fn proxy_record_metric(metric: u32, value: u64) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, now: *mut u64) -> u32;
}

/// Where the host may write the next buffer that it hands over. A module has one thread.
static mut TARGET: *mut u8 = null_mut();

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// The host asks for room before it hands over a buffer.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(_size: usize) -> *mut u8 {
    // SAFETY: one thread.
    unsafe { TARGET }
}

/// Writes all request headers to `target`, in the ABI's serialisation, and returns their size.
///
/// # Safety
/// `target` has room for them.
pub unsafe fn headers(target: *mut u8) -> usize {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: the out-pointers live through the call.
    unsafe {
        TARGET = target;
        proxy_get_header_map_pairs(REQUEST_HEADERS, &mut data, &mut size);
    }
    size
}

/// Writes the `size` body bytes of this callback to `target`.
///
/// # Safety
/// `target` has room for them.
pub unsafe fn body(target: *mut u8, size: usize) {
    let (mut data, mut got) = (null_mut(), 0);
    // SAFETY: the out-pointers live through the call.
    unsafe {
        TARGET = target;
        proxy_get_buffer_bytes(REQUEST_BODY, 0, size, &mut data, &mut got);
    }
}

/// Writes the value of a header to `target`, and returns its size; `None`: there is no such header.
///
/// # Safety
/// `target` has room for it.
pub unsafe fn header(map: u32, name: &str, target: *mut u8) -> Option<usize> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: the name and the out-pointers live through the call.
    let status = unsafe {
        TARGET = target;
        proxy_get_header_map_value(map, name.as_ptr(), name.len(), &mut data, &mut size)
    };
    (status == OK).then_some(size)
}

/// Writes a property to `target`, and returns its size; `None`: there is no such property. Zero bytes separate the parts of its path.
///
/// # Safety
/// `target` has room for it.
pub unsafe fn property(path: &[u8], target: *mut u8) -> Option<usize> {
    let (mut data, mut size) = (null_mut(), 0);
    // SAFETY: the path and the out-pointers live through the call.
    let status = unsafe {
        TARGET = target;
        proxy_get_property(path.as_ptr(), path.len(), &mut data, &mut size)
    };
    (status == OK).then_some(size)
}

/// What a metric is, by the ABI's numbers.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Kind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// A metric of the host. A module has one thread: the atomic number compiles to a plain one.
pub struct Metric(AtomicU32);

impl Metric {
    /// Makes a metric that the host does not know yet.
    pub const fn undefined() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Has the host define it.
    pub fn define(&self, kind: Kind, name: &str) {
        let mut metric = 0;
        // SAFETY: the name and the out-pointer live through the call.
        unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut metric) };
        self.0.store(metric, Ordering::Relaxed);
    }

    /// Adds to a counter or a gauge.
    pub fn add(&self, by: i64) {
        // SAFETY: no pointers.
        unsafe { proxy_increment_metric(self.0.load(Ordering::Relaxed), by) };
    }

    /// Records a value in a histogram.
    pub fn record(&self, value: u64) {
        // SAFETY: no pointers.
        unsafe { proxy_record_metric(self.0.load(Ordering::Relaxed), value) };
    }
}

/// Returns the monotonic time in nanoseconds.
pub fn now() -> u64 {
    const MONOTONIC: u32 = 1;
    let mut now = 0;
    // SAFETY: the out-pointer lives through the call.
    unsafe { clock_time_get(MONOTONIC, 0, &mut now) };
    now
}

/// Exports what the host calls when a context begins and when it ends, with nothing to do.
#[macro_export]
macro_rules! told_of_contexts {
    () => {
        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_context_create(_context: u32, _root: u32) {}

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_done(_context: u32) -> u32 {
            1
        }
    };
}

/// Sends the copy to the cluster `mirror`, and returns the number of the call; `None`: the host refused it. The headers go back as they came, byte for byte. That is legal because the
/// host has already dropped what belongs to one hop, and sets content-length itself.
///
/// # Safety
/// Both ranges are readable.
pub unsafe fn call(headers: *const u8, headers_size: usize, body: *const u8, body_size: usize) -> Option<u32> {
    const CLUSTER: &[u8] = b"mirror";
    const NO_TRAILERS: [u8; 4] = [0; 4];
    let mut token = 0;
    // SAFETY: as the caller promises; the rest lives through the call.
    #[rustfmt::skip]
    let status = unsafe {
        proxy_http_call(
            CLUSTER.as_ptr(), CLUSTER.len(), headers, headers_size, body, body_size,
            NO_TRAILERS.as_ptr(), NO_TRAILERS.len(), 5000, &mut token,
        )
    };
    (status == OK).then_some(token)
}

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
