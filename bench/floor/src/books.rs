//! The counters of this filter, kept by the least code: what a mirror that counts does beside mirroring.

use crate::{CALL_RESPONSE_HEADERS, Kind, Metric, call, header, now, property};
use core::sync::atomic::{AtomicU64, Ordering};

static REQUESTS: Metric = Metric::undefined();
static DECIDED: Metric = Metric::undefined();
static UNROUTED: Metric = Metric::undefined();
static WAITING: Metric = Metric::undefined();
static BUFFERED: Metric = Metric::undefined();
static SENT: Metric = Metric::undefined();
static REFUSED: Metric = Metric::undefined();
static IN_FLIGHT: Metric = Metric::undefined();
/// By the first digit of the status; 0: there is no response.
static CLASSES: [Metric; 6] = [const { Metric::undefined() }; 6];
static RESPONSE_TIME: Metric = Metric::undefined();

/// Room for what is small: a status, the name of a cluster.
static mut VALUE: [u8; 1 << 10] = [0; 1 << 10];
/// When each call was made, by its number: far more than are ever in flight.
static SENT_AT: [AtomicU64; 1 << 12] = [const { AtomicU64::new(0) }; 1 << 12];

/// Has the host define the metrics.
pub fn define() {
    REQUESTS.define(Kind::Counter, "books.requests");
    DECIDED.define(Kind::Counter, "books.decided");
    UNROUTED.define(Kind::Counter, "books.unrouted");
    WAITING.define(Kind::Gauge, "books.waiting");
    BUFFERED.define(Kind::Gauge, "books.buffered");
    SENT.define(Kind::Counter, "books.sent");
    REFUSED.define(Kind::Counter, "books.refused");
    IN_FLIGHT.define(Kind::Gauge, "books.in_flight");
    let names = ["books.failed", "books.1xx", "books.2xx", "books.3xx", "books.4xx", "books.5xx"];
    for (class, name) in CLASSES.iter().zip(names) {
        class.define(Kind::Counter, name);
    }
    RESPONSE_TIME.define(Kind::Histogram, "books.response_time");
}

/// Counts a request; false: it has no cluster, and is not mirrored.
pub fn begins() -> bool {
    // SAFETY: one thread, and the name of the cluster is smaller than the buffer.
    if unsafe { property(b"xds\0cluster_name", (&raw mut VALUE).cast()) }.is_none() {
        UNROUTED.add(1);
        return false;
    }
    REQUESTS.add(1);
    DECIDED.add(1);
    true
}

/// Counts a request whose body is still to come.
pub fn waits() {
    WAITING.add(1);
}

/// Counts bytes of it.
pub fn buffers(size: usize) {
    BUFFERED.add(size as i64);
}

/// Counts that it is complete, with so many of them.
pub fn waits_no_more(size: usize) {
    BUFFERED.add(-(size as i64));
    WAITING.add(-1);
}

/// Sends the copy, and counts what becomes of that.
///
/// # Safety
/// Both ranges are readable.
pub unsafe fn send(headers: *const u8, headers_size: usize, body: *const u8, body_size: usize) {
    let now = now();
    // SAFETY: as the caller promises.
    let Some(call) = (unsafe { call(headers, headers_size, body, body_size) }) else { return REFUSED.add(1) };
    if let Some(at) = sent_at(call) {
        at.store(now, Ordering::Relaxed);
    }
    IN_FLIGHT.add(1);
    SENT.add(1);
}

/// Counts the response to a call with so many headers.
pub fn responds(call: u32, headers: u32) {
    let class = if headers > 0 { class() } else { 0 };
    let sent = sent_at(call).map_or(0, |at| at.load(Ordering::Relaxed));
    let took = now().saturating_sub(sent);
    IN_FLIGHT.add(-1);
    CLASSES.get(class).inspect(|metric| metric.add(1));
    RESPONSE_TIME.record(took / 1_000_000);
}

/// Returns the first digit of the status of the response whose callback is being served.
fn class() -> usize {
    let value = (&raw mut VALUE).cast::<u8>();
    // SAFETY: one thread, and a status is smaller than the buffer.
    let status = unsafe { header(CALL_RESPONSE_HEADERS, ":status", value) };
    // SAFETY: the buffer is initialised, and nobody else has a reference to it.
    let digit = unsafe { value.read() };
    status.map_or(0, |_| usize::from(digit.wrapping_sub(b'0')))
}

/// Returns where the time of a call is kept. The host counts calls in steps of four.
fn sent_at(call: u32) -> Option<&'static AtomicU64> {
    SENT_AT.get(call as usize / 4 % SENT_AT.len())
}

/// Exports what the host calls with a configuration and with responses, for a module that keeps these counters.
#[macro_export]
macro_rules! counts {
    () => {
        $crate::told_of_contexts!();

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_configure(_root: u32, _size: usize) -> u32 {
            $crate::books::define();
            1
        }

        #[unsafe(no_mangle)]
        extern "C" fn proxy_on_http_call_response(_root: u32, call: u32, headers: u32, _body: u32, _trailers: u32) {
            $crate::books::responds(call, headers);
        }
    };
}
