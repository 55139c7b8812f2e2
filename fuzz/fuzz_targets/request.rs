//! One request from its headers to its end: see tests/host/src/fuzz/request.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fake_host::fuzz::request::check(bytes));
