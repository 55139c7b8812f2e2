//! A panic on purpose, for tests/envoy/traps.rs alone: Envoy decides what comes of one, and README.md tells it.

use crate::host::CurrentRequest;
use crate::request::Source;

/// Panics at a request that carries `x-trap`.
#[allow(clippy::panic, reason = "this is what the tests build it for")]
pub(crate) fn spring() {
    if CurrentRequest.has_header("x-trap") {
        panic!("trap-for-tests");
    }
}
