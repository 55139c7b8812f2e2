//! Answers as nobody should send them: see tests/host/src/fuzz/answer.rs.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fake_host::fuzz::answer::check(bytes));
