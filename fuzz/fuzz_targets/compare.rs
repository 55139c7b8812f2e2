//! Responses that are compared: see tests/host/src/fuzz/compare.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fake_host::fuzz::compare::check(bytes));
