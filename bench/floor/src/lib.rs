//! What every floor module needs of the Proxy-Wasm ABI 0.2.1: three host functions, and the two exports that the host
//! requires of a module. No allocator: each module says where the host may write next, and so nothing is copied twice.
#![no_std]

use core::ptr::null_mut;

/// The host's buffer of request body bytes.
pub const REQUEST_BODY: u32 = 0;
/// The host's map of request headers.
pub const REQUEST_HEADERS: u32 = 0;
/// What a callback returns to let the request go on.
pub const CONTINUE: u32 = 0;

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

/// Sends the copy to the cluster `mirror`: the headers go back as they came, byte for byte. That is legal because the
/// host has already dropped what belongs to one hop, and sets content-length itself.
///
/// # Safety
/// Both ranges are readable.
pub unsafe fn call(headers: *const u8, headers_size: usize, body: *const u8, body_size: usize) {
    const CLUSTER: &[u8] = b"mirror";
    const NO_TRAILERS: [u8; 4] = [0; 4];
    let mut token = 0;
    // SAFETY: as the caller promises; the rest lives through the call.
    unsafe {
        #[rustfmt::skip]
        proxy_http_call(
            CLUSTER.as_ptr(), CLUSTER.len(), headers, headers_size, body, body_size,
            NO_TRAILERS.as_ptr(), NO_TRAILERS.len(), 5000, &mut token,
        );
    }
}

#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
