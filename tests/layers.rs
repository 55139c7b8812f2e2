//! Which part of the filter may know which: data flows one way, and no two parts import each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The parts, each with those that it may name beside itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("core", &["config"]),
    ("envoy/ledger", &["config", "core"]),
    ("envoy/abi", &["config", "core", "envoy/ledger"]),
    ("envoy/comparison", &["config", "core", "envoy/abi", "envoy/ledger"]),
    ("envoy/in_flight", &["core", "envoy/abi", "envoy/comparison", "envoy/ledger"]),
    ("envoy/tokens", &["config", "core", "envoy/abi"]),
    (
        "envoy/root",
        &["config", "core", "envoy/abi", "envoy/comparison", "envoy/in_flight", "envoy/ledger", "envoy/tokens"],
    ),
    (
        "envoy/lifecycle",
        &["config", "core", "envoy/abi", "envoy/comparison", "envoy/in_flight", "envoy/ledger", "envoy/root"],
    ),
    ("envoy/logger", &["envoy/abi"]),
    ("envoy/trap", &["core", "envoy/abi"]),
    (
        "envoy/callbacks",
        &[
            "core",
            "envoy/abi",
            "envoy/comparison",
            "envoy/in_flight",
            "envoy/root",
            "envoy/trap",
            "envoy/lifecycle",
            "envoy/logger",
        ],
    ),
    ("envoy/exports", &["envoy/abi", "envoy/callbacks", "envoy/comparison"]),
];

/// Returns the sources below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// Returns the part that a path below `src` belongs to, or that follows `crate::` in a line.
fn part(path: &str) -> String {
    let mut names = path.split(['/', ':', ';', ',', ' ', '.', ')']).filter(|name| !name.is_empty());
    match names.next().unwrap_or_default() {
        "envoy" => format!("envoy/{}", names.next().unwrap_or_default()),
        first => first.to_owned(),
    }
}

/// Returns the parts that each part names, without itself.
fn named() -> BTreeMap<String, BTreeSet<String>> {
    let src = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join("src");
    let mut named = BTreeMap::<String, BTreeSet<String>>::new();
    for path in sources(&src) {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
        if ["lib.rs", "envoy/mod.rs"].contains(&&*name) || name.starts_with("bin/") {
            continue;
        }
        let (own, text) = (part(&name), fs::read_to_string(&path).unwrap());
        if !own.starts_with("envoy") {
            assert!(!text.contains("proxy_wasm"), "{name} names the SDK");
        }
        let others = text.split("crate::").skip(1).map(part).filter(|other| *other != own);
        named.entry(own.clone()).or_default().extend(others);
    }
    named
}

#[test]
fn each_part_names_those_alone_that_stand_below_it() {
    let named = named();
    let parts: BTreeSet<_> = MAY_NAME.iter().map(|(part, _)| (*part).to_owned()).collect();
    assert_eq!(named.keys().cloned().collect::<BTreeSet<_>>(), parts, "the parts");
    for (part, allowed) in MAY_NAME {
        let more: Vec<_> = named[*part].iter().filter(|other| !allowed.contains(&other.as_str())).collect();
        assert!(more.is_empty(), "{part} names {more:?}");
    }
}

#[test]
fn the_list_of_what_may_be_named_has_no_circle() {
    // Each part stands behind all that it may name.
    for (at, (part, allowed)) in MAY_NAME.iter().enumerate() {
        for other in *allowed {
            let place = MAY_NAME.iter().position(|(name, _)| name == other).unwrap();
            assert!(place < at, "{part} may name {other}, which stands behind it");
        }
    }
}
