//! A panic on purpose, for tests/envoy/traps.rs alone: Envoy decides what follows, and docs/operations.md tells it.

use crate::core::request::Source;
use crate::envoy::abi::CurrentRequest;

/// Panics at a request that carries `x-trap`.
#[allow(clippy::panic, reason = "this is what the tests build it for")]
pub(crate) fn panic_if_asked() {
    let request = CurrentRequest { is_complete: false };
    if request.has_header("x-trap") {
        panic!("trap-for-tests");
    }
}
