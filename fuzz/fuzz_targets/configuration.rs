//! Any bytes as a configuration: see tests/host/src/fuzz/configuration.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fake_host::fuzz::configuration::check(bytes));
