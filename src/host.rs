//! Envoy, through the Proxy-Wasm ABI: the one file that makes host calls, and the one place for `unsafe`.
//!
//! The SDK's own getters panic on a status that they do not expect and on names that are not UTF-8, and allocate each
//! name and value alone. A panic here stops the worker's every request, so what a request can reach is declared beside
//! the SDK, with statuses as plain numbers.
#![allow(unsafe_code, reason = "host calls pass pointers; this file alone makes them")]

use crate::headers::HeaderMap;
use crate::request::Source;
use crate::stats::{Kind, MetricId};
use log::LevelFilter;
use proxy_wasm::hostcalls;
use proxy_wasm::types::{BufferType, MapType, MetricType, Status};
use std::cell::RefCell;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

#[cfg_attr(target_arch = "wasm32", link(wasm_import_module = "env"))]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, most: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    fn proxy_record_metric(metric: u32, value: u64) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_done() -> u32;
}

// The SDK's own exports, in this very module.
unsafe extern "C" {
    fn proxy_on_queue_ready(context: u32, queue: u32);
    fn proxy_on_done(context: u32) -> bool;
    fn proxy_on_delete(context: u32);
}

thread_local! {
    /// Roots that the host has let go after [`done`], and that the SDK still holds.
    static GONE: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
}

/// Serves the host's `proxy_on_done` in the finished module, which does not export `proxy_on_delete`: the host deletes
/// a context right after it is done, and each callback that it need not make saves its price on every request.
///
/// In a module that was not finished the host makes both callbacks, and this function is not called.
#[unsafe(no_mangle)]
extern "C" fn traffic_mirror_on_done(context: u32) -> bool {
    let gone = GONE.take();
    // SAFETY: the functions are the SDK's own; the host calls this one when no callback of the SDK's is running, so that
    // nothing of the SDK's is borrowed. Each context is deleted once: the host is done with it once.
    unsafe {
        gone.into_iter().for_each(|root| proxy_on_delete(root));
        let may_go = proxy_on_done(context);
        if may_go {
            proxy_on_delete(context);
        }
        may_go
    }
}

/// The ABI's status for success.
const OK: u32 = Status::Ok as u32;

/// Calls a host function that returns a buffer; `None` where the host has none.
fn fetch(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data = null_mut();
    let mut size = 0;
    if call(&mut data, &mut size) != OK {
        return None;
    }
    if data.is_null() {
        return Some(Vec::new());
    }
    // SAFETY: the host got the buffer from `proxy_on_memory_allocate`, which the SDK makes of a boxed slice of just
    // this size, filled it, and keeps no pointer to it.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The request whose callback is being served.
pub struct CurrentRequest;

impl Source for CurrentRequest {
    fn headers(&self) -> HeaderMap {
        let map = MapType::HttpRequestHeaders as u32;
        // SAFETY: both pointers are valid for the call.
        HeaderMap::from_abi(
            fetch(|data, size| unsafe { proxy_get_header_map_pairs(map, data, size) }).unwrap_or_default(),
        )
    }

    fn has_header(&self, name: &str) -> bool {
        header(MapType::HttpRequestHeaders, name).is_some()
    }

    fn source_address(&self) -> Option<Vec<u8>> {
        property(b"source\0address")
    }

    fn route_name(&self) -> Option<Vec<u8>> {
        property(b"xds\0route_name")
    }
}

/// Returns the first value of a header of the answer whose callback is being served.
///
/// Only where the callback counted headers: after a reset the host has none to ask for.
pub fn answer_header(name: &str) -> Option<Vec<u8>> {
    header(MapType::HttpCallResponseHeaders, name)
}

fn header(map: MapType, name: &str) -> Option<Vec<u8>> {
    // SAFETY: `name` is valid for the length given, and all pointers are for the call.
    fetch(|data, size| unsafe { proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size) })
}

/// Reads a property; the parts of its path are separated by zero bytes.
fn property(path: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: `path` is valid for the length given, and all pointers are for the call.
    fetch(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Reads the `size` bytes of the body's chunk whose callback is being served; `None` where memory does not suffice.
pub fn body_chunk(size: usize) -> Option<Vec<u8>> {
    // The host puts the chunk where the SDK allocates, and the SDK cannot say no: so it is tried here first.
    let mut room = Vec::<u8>::new();
    room.try_reserve_exact(size).ok()?;
    drop(std::hint::black_box(room));
    let buffer = BufferType::HttpRequestBody as u32;
    // SAFETY: all pointers are valid for the call.
    fetch(|data, length| unsafe { proxy_get_buffer_bytes(buffer, 0, size, data, length) })
}

/// Reads the plugin's configuration; empty where there is none.
pub fn configuration() -> Vec<u8> {
    let buffer = BufferType::PluginConfiguration as u32;
    // SAFETY: all pointers are valid for the call.
    fetch(|data, size| unsafe { proxy_get_buffer_bytes(buffer, 0, usize::MAX >> 1, data, size) }).unwrap_or_default()
}

/// Why the host did not take a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not know the cluster (or cannot take so many headers: at most 1,024, and 1 MiB).
    UnknownCluster,
    /// The cluster has no upstream for it, or its circuit breaker is open.
    NoUpstream,
}

/// Sends a request to a cluster, on behalf of the root context, and returns the number of the call.
///
/// # Errors
/// Why the host did not take it; no answer will come then.
pub fn send(
    root: u32,
    cluster: &str,
    headers: &[(&[u8], &[u8])],
    body: Option<&[u8]>,
    timeout: Duration,
) -> Result<u32, Refusal> {
    // SAFETY: the SDK writes the bytes into a buffer and never looks at them as text: it calls `len` and `as_bytes`
    // alone, which hold for any bytes. It offers no way to send values that are not UTF-8 (proxy-wasm-rust-sdk#26).
    let text = |bytes| unsafe { std::str::from_utf8_unchecked(bytes) };
    let headers = headers.iter().map(|(name, value)| (text(name), text(value))).collect();
    // The SDK delivers an answer to the context that was active when the call was made, and drops it if that is a
    // stream which has ended. The callback of a queue that does not exist makes the root the active one.
    // SAFETY: the function is the SDK's own; it borrows the SDK's roots, which no callback of a stream has borrowed,
    // and the root ignores the queue.
    unsafe { proxy_on_queue_ready(root, 0) };
    hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout).map_err(|status| match status {
        Status::InternalFailure => Refusal::NoUpstream,
        _ => Refusal::UnknownCluster,
    })
}

/// Defines a metric.
///
/// # Errors
/// The host's status, as text.
pub fn define_metric(kind: Kind, name: &str) -> Result<MetricId, String> {
    let kind = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    hostcalls::define_metric(kind, name).map_err(|status| format!("metric {name} cannot be defined: {status:?}"))
}

/// Adds to a counter or a gauge.
pub fn add(metric: MetricId, by: i64) {
    // SAFETY: no pointers. The status says only whether the metric exists, and it does.
    let _ = unsafe { proxy_increment_metric(metric, by) };
}

/// Records a value in a histogram.
pub fn record(metric: MetricId, value: u64) {
    // SAFETY: no pointers. The status says only whether the metric exists, and it does.
    let _ = unsafe { proxy_record_metric(metric, value) };
}

/// Tells the host that the root, which asked to stay, may go.
pub fn done(root: u32) {
    GONE.with_borrow_mut(|gone| gone.push(root));
    // SAFETY: no pointers. The status says only whether the host waits for this.
    let _ = unsafe { proxy_done() };
}

/// Returns the level at which Envoy logs what plugins say.
pub fn log_level() -> LevelFilter {
    let mut level = 0;
    // SAFETY: the pointer is valid for the call. The number is read as such: Envoy's `off` has no name in the SDK.
    if unsafe { proxy_get_log_level(&mut level) } != OK {
        return LevelFilter::Info;
    }
    match level {
        0 => LevelFilter::Trace,
        1 => LevelFilter::Debug,
        2 => LevelFilter::Info,
        3 => LevelFilter::Warn,
        4 | 5 => LevelFilter::Error,
        _ => LevelFilter::Off,
    }
}

/// The host's monotonic clock.
#[derive(Debug)]
pub struct Clock(Instant);

impl Clock {
    /// Starts at zero.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the nanoseconds since the start.
    pub fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
