//! What the host calls: the exports of the finished module, under names that the SDK's do not have. `tools/finish` gives them
//! those of the ABI.
//!
//! The SDK's own would panic on the response to a call that they did not make, and drop one whose stream is gone.
#![allow(unsafe_code, reason = "the host finds functions by their names, which `no_mangle` keeps")]

use crate::envoy::abi::{CurrentResponse, memory};
use crate::envoy::callbacks;
use proxy_wasm::types::Action;

/// Serves the host's `proxy_on_memory_allocate`.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_memory_allocate(size: usize) -> *mut u8 {
    memory::allocate(size)
}

/// Serves the host's `proxy_on_context_create`.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_context_create(context: u32, root: u32) {
    // A root has none above it; it is taken up when it is configured.
    if root != 0 {
        callbacks::open(context, root);
    }
}

/// Serves the host's `proxy_on_configure`.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_configure(root: u32, _size: usize) -> bool {
    callbacks::configure(root)
}

/// Serves the host's `proxy_on_request_headers`.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_request_headers(stream: u32, _count: usize, ends: bool) -> u32 {
    callbacks::headers(stream, ends);
    CONTINUE
}

/// Serves the host's `proxy_on_request_body`.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_request_body(stream: u32, size: usize, ends: bool) -> u32 {
    callbacks::body(stream, size, ends);
    CONTINUE
}

/// Serves the host's `proxy_on_request_trailers`.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_request_trailers(stream: u32, _count: usize) -> u32 {
    callbacks::end(stream);
    CONTINUE
}

/// Serves the host's `proxy_on_http_call_response`; the host names the root that the call belongs to.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_http_call_response(
    root: u32,
    token: u32,
    headers: usize,
    body: usize,
    trailers: usize,
) {
    callbacks::answer(root, token, &CurrentResponse { headers, body, trailers });
}

/// What the host calls of the build that compares responses, and of no other: each costs every request.
#[cfg(feature = "compare")]
mod responses {
    use super::CONTINUE;
    use crate::envoy::comparison::responses;

    /// Serves the host's `proxy_on_response_headers`.
    #[unsafe(no_mangle)]
    extern "C" fn traffic_mirror_on_response_headers(stream: u32, _count: usize, ends: bool) -> u32 {
        responses::headers(stream, ends);
        CONTINUE
    }

    /// Serves the host's `proxy_on_response_body`.
    #[unsafe(no_mangle)]
    extern "C" fn traffic_mirror_on_response_body(stream: u32, size: usize, ends: bool) -> u32 {
        responses::body(stream, size, ends);
        CONTINUE
    }

    /// Serves the host's `proxy_on_response_trailers`.
    #[unsafe(no_mangle)]
    extern "C" fn traffic_mirror_on_response_trailers(stream: u32, _count: usize) -> u32 {
        responses::trailers(stream);
        CONTINUE
    }
}

/// Serves the host's `proxy_on_done`. There is no `proxy_on_delete`: the host deletes a context right after it is done, and
/// each callback that it need not make saves its price on every request.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_done(context: u32) -> bool {
    callbacks::done(context)
}

/// The one answer that the filter has: the request goes on.
const CONTINUE: u32 = Action::Continue as u32;
