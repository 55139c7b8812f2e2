//! Where the finished module could still panic: what the filter's own functions call of Rust's ways to give up.
//!
//! The lints keep panics out of the source. This looks at what the compiler made of it, with all that it put into the
//! filter's functions of others'. What the others' functions do inside is not looked at.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and nobody outside uses its items")]

use rustc_demangle::demangle;
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload, TypeRef};

/// What a function may call: a part of its name, a part of the other's, and why that never happens or cannot be helped.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("", "raw_vec::handle_error", "there is no memory, and Rust's collections cannot say so"),
    ("", "handle_alloc_error", "there is no memory, and Rust's boxes cannot say so"),
    ("", "core::cell::panic_already", "no callback runs inside another: tests/native/ tries every order"),
    ("StringMatch::holds", "", "inside regex and memchr"),
    ("Replacement::apply", "", "inside regex"),
    ("Rewritten::write_headers", "slice_index_fail", "Vec::drain, of a part that was filled before"),
    ("Rewritten::write_headers", "len_mismatch_fail", "onto a slice that was taken in this length"),
    ("Writer::push", "len_mismatch_fail", "onto a slice that was taken in this length"),
    ("Worker::settle", "", "inside BTreeMap"),
    ("Worker::answered", "core::panicking::panic", "inside BTreeMap"),
    ("worker::State", "unwrap_failed", "inside BTreeMap"),
    ("Pairs::sent", "", "inside BTreeMap"),
    ("filter::insert", "", "inside BTreeMap"),
    ("filter::", "core::panicking::panic", "inside BTreeMap"),
    ("filter::", "unwrap_failed", "inside BTreeMap"),
    ("", "panic_access_error", "no callback comes after a thread's end"),
];

/// Functions that run when a configuration is read: Envoy tries it aside from its workers, and a trap refuses it.
const CONFIGURING: &[&str] = &["traffic_mirror::config::", "filter::configure", "Matcher::new", "index::Group::new"];

/// Functions of `traffic_mirror::config` that requests reach.
const SERVING: &[&str] = &["StringMatch::holds", "Replacement::apply"];

/// Returns the calls inside the module, by the names of both functions.
fn calls() -> BTreeSet<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/traffic_mirror.wasm");
    let module = std::fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}: run `make build` first"));
    let mut names = BTreeMap::new();
    let mut calls = Vec::new();
    let mut function = 0;
    for payload in Parser::new(0).parse_all(&module) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                let imports = section.into_imports().map(|import| import.unwrap().ty);
                function = u32::try_from(imports.filter(|ty| matches!(ty, TypeRef::Func(_))).count()).unwrap();
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().unwrap() {
                    if let Operator::Call { function_index } = operator.unwrap() {
                        calls.push((function, function_index));
                    }
                }
                function = function.checked_add(1).unwrap();
            }
            Payload::CustomSection(section) => {
                let KnownCustom::Name(section) = section.as_known() else { continue };
                for name in section {
                    let Name::Function(functions) = name.unwrap() else { continue };
                    let name = |naming: wasmparser::Naming<'_>| (naming.index, format!("{:#}", demangle(naming.name)));
                    names.extend(functions.into_iter().map(|naming| name(naming.unwrap())));
                }
            }
            _ => {}
        }
    }
    let name = |function| names.get(&function).cloned().unwrap_or_default();
    calls.into_iter().map(|(from, to)| (name(from), name(to))).collect()
}

fn is_any(name: &str, parts: &[&str]) -> bool {
    parts.iter().any(|part| name.contains(part))
}

#[test]
fn the_functions_that_serve_requests_panic_in_no_way_that_is_not_listed() {
    let gives_up = ["panic", "_fail", "handle_error", "alloc_error", "capacity_overflow", "abort"];
    let mut found: Vec<_> = calls()
        .into_iter()
        .filter(|(from, to)| from.contains("traffic_mirror") && !to.contains("traffic_mirror") && is_any(to, &gives_up))
        .collect();
    found.retain(|(from, _)| is_any(from, SERVING) || !is_any(from, CONFIGURING));
    assert!(!found.is_empty(), "the module has no names, or another form");

    let fits = |(from, to): &(String, String), allowed: &(&str, &str, &str)| {
        from.contains(allowed.0) && to.contains(allowed.1)
    };
    let more: Vec<_> = found.iter().filter(|call| !ALLOWED.iter().any(|allowed| fits(call, allowed))).collect();
    assert!(more.is_empty(), "not listed: {more:#?}");
    let idle: Vec<_> = ALLOWED.iter().filter(|allowed| !found.iter().any(|call| fits(call, allowed))).collect();
    assert!(idle.is_empty(), "listed and not there: {idle:#?}");
}
