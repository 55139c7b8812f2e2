//! Commands that documents name exist: targets of make, and files that are run.

use crate::{ROOT, files, read};
use regex::Regex;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_target_of_make_that_a_document_names_exists() {
    let makefile = read("Makefile");
    let target = Regex::new(r"(?m)^([a-z-]+):").unwrap();
    let targets: BTreeSet<_> = target.captures_iter(&makefile).map(|found| found[1].to_owned()).collect();
    // In code: `make check`, or a line of a shell.
    let named = Regex::new(r"(?m)(?:`|^\s*)make ([a-z-]+)").unwrap();
    let mut count = 0;
    for path in files(&["md"]) {
        let text = read(&path);
        let code = text.split('`').skip(1).step_by(2).map(|span| format!("`{span}`"));
        let blocks = text.split("```").skip(1).step_by(2).map(str::to_owned);
        for piece in code.chain(blocks) {
            for found in named.captures_iter(&piece) {
                assert!(targets.contains(&found[1]), "{}: make {} does not exist", path.display(), &found[1]);
                count += 1;
            }
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn every_target_of_make_is_described_in_contributing() {
    let contributing = read("CONTRIBUTING.md");
    let described = Regex::new(r"(?m)^([a-z-]+):.*## ").unwrap();
    for found in described.captures_iter(&read("Makefile")) {
        let target = &found[1];
        let is_named = ["`", " ", "&", "\n"].iter().any(|end| contributing.contains(&format!("make {target}{end}")));
        assert!(is_named || target == "help", "CONTRIBUTING.md does not describe make {target}");
    }
}

#[test]
fn every_tool_and_test_that_a_document_names_exists() {
    // Not what fuzzing leaves: it is there only after a find.
    let named =
        Regex::new(r"`((?:tools|tests|src|bench|schema|fuzz/(?:corpus|fuzz_targets)|deploy|examples)/[\w./-]*)`")
            .unwrap();
    let mut count = 0;
    for path in files(&["md"]) {
        for found in named.captures_iter(&read(&path)) {
            assert!(Path::new(ROOT).join(&found[1]).exists(), "{}: {}", path.display(), &found[1]);
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
}

#[test]
fn contributing_builds_the_module_before_any_test() {
    let contributing = read("CONTRIBUTING.md");
    let blocks = contributing.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let tests = blocks.into_iter().find(|block| block.contains("cargo test")).unwrap();
    assert!(tests.starts_with("make build "), "{tests}");
}
