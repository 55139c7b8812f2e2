//! Copies on which values are hidden: see tests/host/src/fuzz/redact.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fake_host::fuzz::redact::check(bytes));
