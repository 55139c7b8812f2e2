//! Answers as nobody should send them: see tests/fuzz/answer.rs.
#![no_main]

#[path = "../../tests/fuzz/answer.rs"]
mod answer;

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

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| answer::check(bytes));
