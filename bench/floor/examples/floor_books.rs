//! Mirrors requests without a body, and keeps the filter's counters: the least that a mirror which counts can do. It makes the
//! same host calls as the filter at 100 %, the question for the request's cluster included.
#![no_std]

use core::ptr::null;
use core::sync::atomic::{AtomicU64, Ordering};
use floor::{Kind, Metric};

static REQUESTS: Metric = Metric::undefined();
static DECIDED: Metric = Metric::undefined();
static UNROUTED: Metric = Metric::undefined();
static SENT: Metric = Metric::undefined();
static REFUSED: Metric = Metric::undefined();
static IN_FLIGHT: Metric = Metric::undefined();
/// By the first digit of the status; 0: there is no response.
static CLASSES: [Metric; 6] = [const { Metric::undefined() }; 6];
static RESPONSE_TIME: Metric = Metric::undefined();

static mut HEADERS: [u8; 1 << 16] = [0; 1 << 16];
/// Room for what is small: a status, the name of a cluster.
static mut VALUE: [u8; 1 << 10] = [0; 1 << 10];
/// When each call was made, by its number: far more than are ever in flight.
static SENT_AT: [AtomicU64; 1 << 12] = [const { AtomicU64::new(0) }; 1 << 12];

floor::told_of_contexts!();

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(_root: u32, _size: usize) -> u32 {
    REQUESTS.define(Kind::Counter, "books.requests");
    DECIDED.define(Kind::Counter, "books.decided");
    UNROUTED.define(Kind::Counter, "books.unrouted");
    SENT.define(Kind::Counter, "books.sent");
    REFUSED.define(Kind::Counter, "books.refused");
    IN_FLIGHT.define(Kind::Gauge, "books.in_flight");
    let names = ["books.failed", "books.1xx", "books.2xx", "books.3xx", "books.4xx", "books.5xx"];
    for (class, name) in CLASSES.iter().zip(names) {
        class.define(Kind::Counter, name);
    }
    RESPONSE_TIME.define(Kind::Histogram, "books.response_time");
    1
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(_context: u32, _count: u32, end_of_stream: u32) -> u32 {
    if end_of_stream == 1 {
        mirror();
    }
    floor::CONTINUE
}

fn mirror() {
    let (target, value) = ((&raw mut HEADERS).cast(), (&raw mut VALUE).cast());
    // SAFETY: one thread, and the load's headers are smaller than the buffer.
    let size = unsafe { floor::headers(target) };
    // SAFETY: as above, and so is the name of the cluster.
    if unsafe { floor::property(b"xds\0cluster_name", value) }.is_none() {
        return UNROUTED.add(1);
    }
    REQUESTS.add(1);
    DECIDED.add(1);
    let now = floor::now();
    // SAFETY: the headers were written above, and there is no body.
    let Some(call) = (unsafe { floor::call(target, size, null(), 0) }) else { return REFUSED.add(1) };
    if let Some(at) = sent_at(call) {
        at.store(now, Ordering::Relaxed);
    }
    IN_FLIGHT.add(1);
    SENT.add(1);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(_root: u32, call: u32, headers: u32, _body: u32, _trailers: u32) {
    let class = if headers > 0 { class() } else { 0 };
    let sent = sent_at(call).map_or(0, |at| at.load(Ordering::Relaxed));
    let took = floor::now().saturating_sub(sent);
    IN_FLIGHT.add(-1);
    CLASSES.get(class).inspect(|metric| metric.add(1));
    RESPONSE_TIME.record(took / 1_000_000);
}

/// Returns the first digit of the status of the response whose callback is being served.
fn class() -> usize {
    let value = (&raw mut VALUE).cast::<u8>();
    // SAFETY: one thread, and a status is smaller than the buffer.
    let status = unsafe { floor::header(floor::CALL_RESPONSE_HEADERS, ":status", value) };
    // SAFETY: the buffer is initialised, and nobody else has a reference to it.
    let digit = unsafe { value.read() };
    status.map_or(0, |_| usize::from(digit.wrapping_sub(b'0')))
}

/// Returns where the time of a call is kept. The host counts calls in steps of four.
fn sent_at(call: u32) -> Option<&'static AtomicU64> {
    SENT_AT.get(call as usize / 4 % SENT_AT.len())
}
