//! Any bytes as a configuration: see tests/fuzz/configuration.rs.
#![no_main]

#[path = "../../tests/fuzz/configuration.rs"]
#[allow(dead_code, reason = "the seeds need more of it")]
mod configuration;
#[path = "../../tests/fuzz/given.rs"]
mod given;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| configuration::check(bytes));
