//! The border between the filter and the host: the imports that the SDK declares, defined here over [`host`], and the
//! exports that it offers: those of the finished module, with the functions that serve them there.
//!
//! Policy is in [`host`]; here pointers become slices and back.
#![allow(
    unsafe_code,
    reason = "the ABI passes pointers, and symbols are exported by their names; this file alone does it"
)]

use crate::host::{self, Headers, Host, Status};
use std::slice;
// Not a name of it is used here, yet its exports are.
use traffic_mirror as _;

unsafe extern "C" {
    pub safe fn _initialize();
    /// What a module that is not finished exports under these names.
    pub safe fn proxy_on_context_create(context: u32, root: u32);
    pub safe fn proxy_on_configure(root: u32, size: usize) -> bool;
    /// What the finished module exports, under the ABI's names.
    pub safe fn traffic_mirror_on_context_create(context: u32, root: u32);
    pub safe fn traffic_mirror_on_configure(root: u32, size: usize) -> bool;
    pub safe fn traffic_mirror_on_request_headers(stream: u32, count: usize, ends: bool) -> u32;
    pub safe fn traffic_mirror_on_request_body(stream: u32, size: usize, ends: bool) -> u32;
    pub safe fn traffic_mirror_on_request_trailers(stream: u32, count: usize) -> u32;
    pub safe fn traffic_mirror_on_http_call_response(
        root: u32,
        token: u32,
        headers: usize,
        body: usize,
        trailers: usize,
    );
    pub safe fn traffic_mirror_on_response_headers(stream: u32, count: usize, ends: bool) -> u32;
    pub safe fn traffic_mirror_on_response_body(stream: u32, size: usize, ends: bool) -> u32;
    pub safe fn traffic_mirror_on_response_trailers(stream: u32, count: usize) -> u32;
    pub safe fn traffic_mirror_on_done(context: u32) -> bool;
    safe fn traffic_mirror_on_memory_allocate(size: usize) -> *mut u8;
}

/// Returns what the filter passes.
///
/// # Safety
/// `data` is null, or valid for `size` bytes for the rest of the call.
unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    if data.is_null() { &[] } else { unsafe { slice::from_raw_parts(data, size) } }
}

/// Hands `answer` over in memory that the filter allocates, as the host has to; nothing is allocated for nothing.
///
/// # Safety
/// `data` and `size` are valid for writes.
unsafe fn give(answer: Result<Vec<u8>, Status>, data: *mut *mut u8, size: *mut usize) -> Status {
    let given = match answer {
        Ok(given) => given,
        Err(status) => return status,
    };
    let mut room = std::ptr::null_mut();
    if !given.is_empty() {
        room = host::turn(true, || traffic_mirror_on_memory_allocate(given.len()));
        // SAFETY: the filter has just allocated as many bytes, and nothing else has them.
        unsafe { room.copy_from_nonoverlapping(given.as_ptr(), given.len()) };
    }
    // SAFETY: the caller's promise.
    unsafe { (*data, *size) = (room, given.len()) };
    Status::Ok
}

/// Writes a number that the filter asked for.
///
/// # Safety
/// `place` is valid for writes.
unsafe fn write<T>(answer: Result<T, Status>, place: *mut T) -> Status {
    match answer {
        Ok(value) => {
            // SAFETY: the caller's promise.
            unsafe { place.write(value) };
            Status::Ok
        }
        Err(status) => status,
    }
}

/// The key of pseudonyms in the environment of all VMs.
pub const KEY: &str = "0123456789abcdef";

/// Gives VMs their environment, which is that of the process here.
pub fn set_environment() {
    // SAFETY: once, before the first VM; nothing beside the standard library, which waits for it, reads the environment.
    unsafe { std::env::set_var("TRAFFIC_MIRROR_KEY", KEY) };
}

/// Reads pairs in the ABI's encoding: a count, the lengths of each name and value, each name and value ended by a zero.
fn decode(buffer: &[u8]) -> Headers {
    let number = |at: usize| u32::from_le_bytes(buffer[at..at + 4].try_into().unwrap()) as usize;
    let count = if buffer.is_empty() { 0 } else { number(0) };
    let mut at = 4 + 8 * count;
    let mut text = |size: usize| {
        at += size + 1;
        buffer[at - size - 1..at - 1].to_vec()
    };
    (0..count).map(|pair| (text(number(4 + 8 * pair)), text(number(8 + 8 * pair)))).collect()
}

/// Encodes pairs as [`decode`] reads them; no pairs are no bytes.
fn encode(pairs: &Headers) -> Vec<u8> {
    if pairs.is_empty() {
        return Vec::new();
    }
    let number = |size: usize| u32::try_from(size).unwrap().to_le_bytes();
    let sizes = pairs.iter().flat_map(|(name, value)| [number(name.len()), number(value.len())].concat());
    let text = pairs.iter().flat_map(|(name, value)| [name, &b"\0"[..], value, b"\0"].concat());
    number(pairs.len()).into_iter().chain(sizes).chain(text).collect()
}

/// Defines imports. The bodies run with the thread's host; all pointers in them are the SDK's or the filter's.
macro_rules! imports {
    ($(fn $name:ident($host:ident $(, $argument:ident: $kind:ty)* $(,)?) $body:block)+) => {
        $(#[unsafe(no_mangle)]
        #[allow(unused_unsafe, reason = "some have no pointers")]
        extern "C" fn $name($($argument: $kind),*) -> Status {
            // SAFETY: as the ABI demands, inputs are valid for their lengths, and places of results for writes.
            host::serve(|$host: &mut Host| unsafe { $body })
        })+
    };
}

imports! {
    fn proxy_log(host, level: u32, data: *const u8, size: usize) {
        host.log(level, bytes(data, size))
    }
    fn proxy_get_log_level(host, level: *mut u32) {
        write(Ok(host.log_level), level)
    }
    fn proxy_get_header_map_pairs(host, map: u32, data: *mut *mut u8, size: *mut usize) {
        give(Ok(encode(&host.pairs(map))), data, size)
    }
    fn proxy_get_header_map_value(
        host, map: u32, name: *const u8, name_size: usize, data: *mut *mut u8, size: *mut usize,
    ) {
        give(host.header(map, bytes(name, name_size)), data, size)
    }
    fn proxy_get_buffer_bytes(host, buffer: u32, start: usize, most: usize, data: *mut *mut u8, size: *mut usize) {
        give(host.buffer(buffer, start, most), data, size)
    }
    fn proxy_get_property(host, path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) {
        give(host.property(bytes(path, path_size)), data, size)
    }
    fn proxy_define_metric(host, kind: u32, name: *const u8, name_size: usize, metric: *mut u32) {
        write(host.define_metric(kind, bytes(name, name_size)), metric)
    }
    fn proxy_increment_metric(host, metric: u32, by: i64) {
        host.increment_metric(metric, by)
    }
    fn proxy_record_metric(host, metric: u32, value: u64) {
        host.record_metric(metric, value)
    }
    fn proxy_http_call(
        host, cluster: *const u8, cluster_size: usize, headers: *const u8, headers_size: usize, body: *const u8,
        body_size: usize, trailers: *const u8, trailers_size: usize, timeout: u32, token: *mut u32,
    ) {
        let headers = decode(bytes(headers, headers_size));
        if !decode(bytes(trailers, trailers_size)).is_empty() {
            host.forbidden("trailers, which the host does not send");
        }
        write(host.http_call(bytes(cluster, cluster_size), headers, bytes(body, body_size), timeout), token)
    }
    fn proxy_get_shared_data(
        host, key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize, version: *mut u32,
    ) {
        match host.shared_data(bytes(key, key_size)) {
            Ok((value, found)) => {
                write(Ok(found), version);
                give(Ok(value), data, size)
            }
            Err(status) => status,
        }
    }
    fn proxy_set_shared_data(
        host, key: *const u8, key_size: usize, value: *const u8, value_size: usize, version: u32,
    ) {
        host.set_shared_data(bytes(key, key_size), bytes(value, value_size), version)
    }
    fn proxy_done(host) {
        host.done()
    }
    fn clock_time_get(host, clock: u32, _precision: u64, now: *mut u64) {
        write(host.clock(clock), now)
    }
    fn proxy_set_effective_context(host, context: u32) {
        host.set_effective_context(context)
    }
}

/// Defines the imports that a mirror has no business to call: those that alter a request, answer it or hold it up, and
/// those that Envoy has and this filter does not need.
macro_rules! forbidden {
    ($(fn $name:ident($($kind:ty),* $(,)?);)+) => {
        $(#[unsafe(no_mangle)]
        extern "C" fn $name($(_: $kind),*) -> Status {
            host::serve(|host| host.forbidden(stringify!($name)))
        })+
    };
}

forbidden! {
    fn proxy_add_header_map_value(u32, *const u8, usize, *const u8, usize);
    fn proxy_replace_header_map_value(u32, *const u8, usize, *const u8, usize);
    fn proxy_remove_header_map_value(u32, *const u8, usize);
    fn proxy_set_header_map_pairs(u32, *const u8, usize);
    fn proxy_set_buffer_bytes(u32, usize, usize, *const u8, usize);
    fn proxy_send_local_response(u32, *const u8, usize, *const u8, usize, *const u8, usize, i32);
    fn proxy_continue_stream(u32);
    fn proxy_close_stream(u32);
    fn proxy_set_property(*const u8, usize, *const u8, usize);
    fn proxy_set_tick_period_milliseconds(u32);
    fn proxy_get_current_time_nanoseconds(*mut u64);
    fn proxy_get_metric(u32, *mut u64);
    fn proxy_get_status(*mut u32, *mut *mut u8, *mut usize);
    fn proxy_register_shared_queue(*const u8, usize, *mut u32);
    fn proxy_resolve_shared_queue(*const u8, usize, *const u8, usize, *mut u32);
    fn proxy_dequeue_shared_queue(u32, *mut *mut u8, *mut usize);
    fn proxy_enqueue_shared_queue(u32, *const u8, usize);
    fn proxy_call_foreign_function(*const u8, usize, *const u8, usize, *mut *mut u8, *mut usize);
    fn proxy_grpc_call(
        *const u8, usize, *const u8, usize, *const u8, usize, *const u8, usize, *const u8, usize, u32, *mut u32,
    );
    fn proxy_grpc_stream(*const u8, usize, *const u8, usize, *const u8, usize, *const u8, usize, *mut u32);
    fn proxy_grpc_send(u32, *const u8, usize, bool);
    fn proxy_grpc_cancel(u32);
    fn proxy_grpc_close(u32);
}
