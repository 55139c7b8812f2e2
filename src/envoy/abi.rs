//! What the filter calls of the host, by the Proxy-Wasm ABI: the one file that makes host calls.
//!
//! The SDK's own functions panic on a status that they do not expect and on text that is not UTF-8, and allocate each
//! name and value alone. A panic here stops the worker's every request, so what a request can reach is declared beside
//! the SDK, with statuses as plain numbers.
#![allow(unsafe_code, reason = "host calls pass pointers; this file alone makes them")]

pub mod memory;
#[cfg(feature = "compare")]
pub mod responses;

use crate::config::Moment;
use crate::core::header_map::HeaderMap;
use crate::core::outcome::{Response, Short};
use crate::core::request::Source;
use crate::envoy::ledger::{Counter, Kind, MetricId};
use log::LevelFilter;
pub use memory::{MOST_KEPT, keep};
use memory::{append, fetch, fetch_into, fetch_short, has_some, kept};
use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};
use std::ffi::OsString;
use std::time::Duration;

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
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, metric: *mut u32) -> u32;
    fn proxy_increment_metric(metric: u32, by: i64) -> u32;
    fn proxy_record_metric(metric: u32, value: u64) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, version: u32)
    -> u32;
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_done() -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
}

/// The ABI's status for success.
const OK: u32 = Status::Ok as u32;

/// The ABI's status for a call that failed while it was made.
const INTERNAL_FAILURE: u32 = Status::InternalFailure as u32;

/// The property of the cluster that the route leads to.
const CLUSTER_NAME: &[u8] = b"xds\0cluster_name";

/// The request whose callback is being served.
pub struct CurrentRequest {
    /// Whether it is complete: then its headers mostly need no memory beyond the callback, and are read into what those of another
    /// request had (see [`keep`]).
    pub is_complete: bool,
}

impl Source for CurrentRequest {
    fn headers(&self) -> HeaderMap {
        pairs(MapType::HttpRequestHeaders, if self.is_complete { kept() } else { Vec::new() })
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

    fn cluster_name(&self) -> Option<Vec<u8>> {
        property(CLUSTER_NAME)
    }

    fn has_cluster(&self) -> bool {
        has_some(getting(CLUSTER_NAME))
    }
}

/// The response whose callback is being served, with the counts that the callback came with: after a reset the host has no
/// headers to ask for.
pub struct CurrentResponse {
    /// How many headers it has.
    pub headers: usize,
    /// How many bytes its body has.
    pub body: usize,
    /// How many trailers it has.
    pub trailers: usize,
}

impl Response for CurrentResponse {
    fn header(&self, name: &str) -> Option<Short> {
        (self.headers > 0).then(|| header(MapType::HttpCallResponseHeaders, name)).flatten()
    }

    fn trailer(&self, name: &str) -> Option<Short> {
        (self.trailers > 0).then(|| header(MapType::HttpCallResponseTrailers, name)).flatten()
    }

    fn body(&self) -> Vec<u8> {
        /// More than is ever logged of it.
        const MOST: usize = 512;
        if self.body == 0 {
            return Vec::new();
        }
        buffer(BufferType::HttpCallResponseBody, MOST).unwrap_or_default()
    }
}

/// Returns a variable of the VM's environment.
pub fn environment(name: &str) -> Option<Vec<u8>> {
    std::env::var_os(name).map(OsString::into_encoded_bytes)
}

/// Reads headers into a buffer, whose content goes, if there is room for them.
fn pairs(map: MapType, buffer: Vec<u8>) -> HeaderMap {
    // SAFETY: both pointers are valid for the call.
    let pairs = fetch_into(buffer, |data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) });
    HeaderMap::from_abi(pairs.unwrap_or_default())
}

fn header(map: MapType, name: &str) -> Option<Short> {
    // SAFETY: `name` is valid for the length given, and all pointers are for the call.
    fetch_short(|data, size| unsafe { proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size) })
}

/// How the stream ended whose callback is being served.
#[derive(Clone, Copy)]
pub struct StreamEnd {
    /// Its final status code, if any: an informational one is not, so that a client which left after `100 Continue` got none.
    pub code: Option<u16>,
    /// How many nanoseconds its upstream took, from the first byte of the request to the last of the response; `None` where the
    /// response was not an upstream's.
    pub latency: Option<u64>,
}

impl StreamEnd {
    /// Asks the host.
    pub fn read() -> Self {
        let code = number(b"response\0code").and_then(|code| u16::try_from(code).ok());
        let latency = number(b"response\0backend_latency").and_then(|took| u64::try_from(took).ok());
        Self { code: code.filter(|code| *code >= 200), latency }
    }

    /// Returns the status code that the client got. It did not get the redirect that Envoy follows by itself: it gets the response to
    /// the request that this makes, which is another stream.
    pub fn code_for_client(&self) -> Option<u16> {
        let is_followed = || property(b"response\0code_details").is_some_and(|details| details == b"internal_redirect");
        self.code.filter(|code| !(300..400).contains(code) || !is_followed())
    }
}

/// Returns the host's function that hands over a property; the parts of its path are separated by zero bytes.
#[inline(always)]
fn getting(path: &[u8]) -> impl FnOnce(*mut *mut u8, *mut usize) -> u32 {
    // SAFETY: `path` is valid for the length given, and who calls this gives pointers for the call.
    |data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }
}

/// Reads a property.
fn property(path: &[u8]) -> Option<Vec<u8>> {
    fetch(getting(path))
}

/// Reads a property that is a number.
fn number(path: &[u8]) -> Option<i64> {
    fetch_short(getting(path))?.as_ref().try_into().ok().map(i64::from_le_bytes)
}

/// Appends `size` bytes, from the byte at `start` on, of the chunk of a request's body whose callback is being served; false, and nothing
/// appended, where memory does not suffice.
pub fn append_chunk(to: &mut Vec<u8>, start: usize, size: usize) -> bool {
    append_buffer(BufferType::HttpRequestBody, to, start, size)
}

fn append_buffer(kind: BufferType, to: &mut Vec<u8>, start: usize, size: usize) -> bool {
    // SAFETY: all pointers are valid for the call.
    append(to, size, |data, got| unsafe { proxy_get_buffer_bytes(kind as u32, start, size, data, got) })
}

/// Reads a buffer, but not more than `most` bytes.
fn buffer(kind: BufferType, most: usize) -> Option<Vec<u8>> {
    // SAFETY: all pointers are valid for the call.
    fetch(|data, size| unsafe { proxy_get_buffer_bytes(kind as u32, 0, most, data, size) })
}

/// Reads the plugin's configuration; empty where there is none.
pub fn configuration() -> Vec<u8> {
    buffer(BufferType::PluginConfiguration, usize::MAX >> 1).unwrap_or_default()
}

/// Reads the name of the plugin whose callback is being served; empty where it has none.
pub fn plugin_name() -> Vec<u8> {
    property(b"plugin_name").unwrap_or_default()
}

/// A version that no shared number has. The host creates what is not there whatever the version, and changes nothing else by
/// this one, so that of two workers that create a number one fails. By 0 it would change anything.
const ABSENT: u32 = u32::MAX;

/// Reads a number that all workers share, and its version for [`swap_shared_number`]; 0 where there is none.
pub fn shared_number(key: &[u8]) -> (u64, u32) {
    let mut version = ABSENT;
    // SAFETY: `key` is valid for the length given, and all other pointers are for the call.
    let found =
        fetch_short(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut version) });
    let number = found.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_le_bytes);
    (number, version)
}

/// Changes a number that all workers share, if it still has this version; false, and nothing changed, where it has not.
pub fn swap_shared_number(key: &[u8], number: u64, version: u32) -> bool {
    let bytes = number.to_le_bytes();
    // SAFETY: both pointers are valid for the length beside them.
    OK == unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), bytes.as_ptr(), bytes.len(), version) }
}

/// Why the host did not take a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It does not know the cluster (or cannot take so many headers: at most 1,024, and 1 MiB).
    UnknownCluster,
    /// The cluster has no upstream for it, or its circuit breaker is open.
    NoUpstream,
}

/// Sends a request to a cluster and returns the number of the call. The host makes it on behalf of the root context, so that
/// it outlives the stream, and answers to the root.
///
/// `headers` are in the ABI's encoding.
///
/// # Errors
/// Why the host did not take it; no answer will come then.
pub fn send(cluster: &[u8], headers: &[u8], body: &[u8], timeout: Duration) -> Result<u32, Refusal> {
    /// The ABI's encoding of no headers.
    const NO_TRAILERS: [u8; 4] = [0; 4];
    // 0 would be for ever, and what does not fit into 31 bits is refused; the configuration allows neither.
    let seconds = u32::try_from(timeout.as_secs()).unwrap_or(u32::MAX);
    let timeout = seconds.saturating_mul(1000).saturating_add(timeout.subsec_millis()).max(1);
    let mut token = 0;
    // SAFETY: each pointer is valid for the length beside it, and the last for the call.
    let status = unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            NO_TRAILERS.as_ptr(),
            NO_TRAILERS.len(),
            timeout,
            &mut token,
        )
    };
    match status {
        OK => Ok(token),
        INTERNAL_FAILURE => Err(Refusal::NoUpstream),
        _ => Err(Refusal::UnknownCluster),
    }
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
    let mut metric = 0;
    // SAFETY: `name` is valid for the length given, and the last pointer for the call.
    match unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut metric) } {
        OK => Ok(metric),
        status => Err(format!("metric {name} cannot be defined: status {status}")),
    }
}

/// Adds to a counter or a gauge.
pub fn add(metric: MetricId, by: i64) {
    // SAFETY: no pointers. The status says only whether the metric exists, and it does.
    let _ = unsafe { proxy_increment_metric(metric, by) };
}

/// Adds one to a counter.
pub fn count(counter: &Counter) {
    add(counter.next(), 1);
}

/// Records a value in a histogram, or sets a gauge to it.
pub fn record(metric: MetricId, value: u64) {
    // SAFETY: no pointers. The status says only whether the metric exists, and it does.
    let _ = unsafe { proxy_record_metric(metric, value) };
}

/// Tells the host that the root whose callback is being served, and which asked to stay, may go.
pub fn done() {
    // SAFETY: no pointers. The status says only whether the host waits for this.
    let _ = unsafe { proxy_done() };
}

/// Returns whether the host still has a context, which it may have dropped without a word. `own` is the context whose
/// callback is being served.
pub fn has_context(context: u32, own: u32) -> bool {
    // SAFETY: no pointers. The host refuses a context that it does not have. It would serve all further calls of this
    // callback on behalf of one that it has, so that the next line takes that back.
    let is_there = unsafe { proxy_set_effective_context(context) } == OK;
    if is_there {
        // SAFETY: no pointers.
        let _ = unsafe { proxy_set_effective_context(own) };
    }
    is_there
}

/// Writes a line into Envoy's log.
pub fn log(level: LogLevel, text: &str) {
    // SAFETY: `text` is valid for the length given. The status says nothing that could be logged.
    let _ = unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
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

/// Returns the host's monotonic time, in nanoseconds from any fixed time.
pub fn now() -> u64 {
    time_of(MONOTONIC)
}

/// Returns the time of the day, which all workers and replicas share as far as their clocks agree.
pub fn wall_clock() -> Moment {
    Moment::since_epoch(time_of(REALTIME))
}

fn time_of(clock: u32) -> u64 {
    let mut now = 0;
    // SAFETY: the pointer is valid for the call. The clock is always there, and the precision no matter.
    let _ = unsafe { clock_time_get(clock, 0, &mut now) };
    now
}

/// WASI's number of the clock that tells the nanoseconds since 1970.
const REALTIME: u32 = 0;

/// WASI's number of the monotonic clock.
const MONOTONIC: u32 = 1;

#[cfg_attr(target_arch = "wasm32", link(wasm_import_module = "wasi_snapshot_preview1"))]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, now: *mut u64) -> u32;
}
