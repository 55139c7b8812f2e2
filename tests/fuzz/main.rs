//! What the fuzz targets in `fuzz/` check, on the inputs that they start from and on those that once broke the filter.
//!
//! A find stays a test: put its file beside the seeds, as `fuzz/corpus/TARGET/find-NAME`.

mod seeds;

use fake_host::fuzz::{answer, compare, configuration, redact, request};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// No input may take longer than this, on a slow machine and without optimization.
const LONGEST: Duration = Duration::from_secs(10);

/// Checks what is committed of a target's corpus; what fuzzing adds to it has names of another kind.
fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join("fuzz/corpus").join(target);
    let mut inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("seed-") || name.starts_with("find-")
    });
    inputs.sort();
    assert!(!inputs.is_empty(), "no seeds: `cargo test --test fuzz -- --ignored` writes them");
    for path in inputs {
        // Shown where the check fails.
        println!("{}", path.display());
        let started = Instant::now();
        check(&fs::read(&path).unwrap());
        assert!(started.elapsed() < LONGEST, "took {:?}", started.elapsed());
    }
}

#[test]
fn configurations_stay_checked() {
    replay("configuration", configuration::check);
}

#[test]
fn requests_stay_checked() {
    replay("request", request::check);
}

#[test]
fn answers_stay_checked() {
    replay("answer", answer::check);
}

#[test]
fn hidden_values_stay_checked() {
    replay("redact", redact::check);
}

#[test]
fn comparisons_stay_checked() {
    replay("compare", compare::check);
}
