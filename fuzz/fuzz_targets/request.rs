//! One request from its headers to its end: see tests/fuzz/request.rs.
#![no_main]

#[path = "../../tests/native/abi.rs"]
#[allow(dead_code, reason = "tests/native needs more of it")]
mod abi;
#[path = "../../tests/native/books.rs"]
#[allow(dead_code, reason = "tests/native needs more of it")]
mod books;
#[path = "../../tests/native/envoy.rs"]
#[allow(dead_code, reason = "tests/native needs more of it")]
mod envoy;
#[path = "../../tests/native/host.rs"]
#[allow(dead_code, reason = "tests/native needs more of it")]
mod host;
#[path = "../../tests/native/metrics.rs"]
mod metrics;

#[path = "../../tests/fuzz/case.rs"]
mod case;
#[path = "../../tests/fuzz/choice.rs"]
mod choice;
#[path = "../../tests/fuzz/given.rs"]
mod given;
#[path = "../../tests/fuzz/request.rs"]
mod request;
#[path = "../../tests/fuzz/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| request::check(bytes));
