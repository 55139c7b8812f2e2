//! Where the finished modules could still panic: what the filter's own functions call of Rust's ways to give up.
//!
//! The lints keep panics out of the source. This looks at what the compiler made of it, with all that it put into the
//! filter's functions of others'. What the others' functions do inside is not looked at.

use rustc_demangle::demangle;
use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload, TypeRef};

/// What functions may call: parts of their names, the ends of the others', and why that never happens or cannot be helped.
const ALLOWED: &[(&[&str], &[&str], &str)] = &[
    (
        &["traffic_mirror"],
        &["raw_vec::handle_error", "handle_alloc_error"],
        "there is no memory, and what is small is not asked for before it is taken",
    ),
    (
        &["traffic_mirror"],
        &["panic_already_borrowed", "panic_already_mutably_borrowed"],
        "no callback runs inside another: tests/native/ tries every order",
    ),
    (&["traffic_mirror"], &["thread::local::panic_access_error"], "no callback comes after a thread's end"),
    (
        &[
            "callbacks::insert",
            "Calls::sent",
            "Calls::answered",
            "Calls::fail_all",
            "drop_in_place<alloc::collections::btree::map::BTreeMap<u32,traffic_mirror::envoy",
            "comparison::responses::watch",
            "comparison::responses::forget",
        ],
        &["option::unwrap_failed", "panicking::panic", "slice_index_fail"],
        "inside BTreeMap",
    ),
    (
        &["logger::start"],
        &["PanicHookInfo as core::fmt::Display>::fmt", "result::unwrap_failed"],
        "the message of a panic that there is already",
    ),
    (&["comparison::count_places"], &["insert_mut::assert_failed"], "Vec::insert, at a place that was looked up"),
    (&["StringMatch::holds"], &[""], "inside memchr"),
    (
        &["Replacement::apply"],
        &["panic_bounds_check"],
        "inside regex-automata: an assertion is looked at where the text is",
    ),
    (
        &["index::Candidates"],
        &["panic_fmt"],
        "inside daachorse: it was asked to find texts in the way that it was made for",
    ),
];

/// Functions that run when a configuration is read: Envoy tries it aside from its workers, and a trap refuses it.
const CONFIGURING: &[&str] = &[
    "traffic_mirror::config::",
    "lifecycle::configure",
    "Matcher::new",
    "index::Finder::new",
    "within::finder",
    "Metrics",
];

/// Functions of `traffic_mirror::config` that requests reach.
const SERVING: &[&str] = &[
    "StringMatch::holds",
    "Expression::is_match",
    "Table::is_match",
    "Positions::is_match",
    "Replacement::apply",
    "Simulation::",
    "Simulation>",
    "Threads::",
    "Search",
];

/// Returns the calls inside a module, by the names of both functions.
fn calls(module: &str) -> BTreeSet<(String, String)> {
    let path = format!("{}/../dist/{module}", env!("CARGO_MANIFEST_DIR"));
    let module = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}: run `make build` first"));
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
    // What is inlined in one may be called in the other.
    let calls = ["traffic_mirror.wasm", "traffic_mirror_compare.wasm"].map(calls);
    let calls: BTreeSet<_> = calls.into_iter().flatten().collect();
    let mut found: Vec<_> = calls
        .into_iter()
        .filter(|(from, to)| from.contains("traffic_mirror") && !to.contains("traffic_mirror") && is_any(to, &gives_up))
        .collect();
    found.retain(|(from, _)| is_any(from, SERVING) || !is_any(from, CONFIGURING));
    assert!(!found.is_empty(), "the module has no names, or another form");

    let is_allowed = |(from, to): &(String, String)| {
        ALLOWED.iter().any(|(parts, ends, _)| is_any(from, parts) && ends.iter().any(|end| to.ends_with(end)))
    };
    let more: Vec<_> = found.iter().filter(|call| !is_allowed(call)).collect();
    assert!(more.is_empty(), "not listed: {more:#?}");
    for (parts, ends, _) in ALLOWED {
        let is_there = |part: &str, end: &str| found.iter().any(|(from, to)| from.contains(part) && to.ends_with(end));
        let idle_part = parts.iter().find(|part| !ends.iter().any(|end| is_there(part, end)));
        let idle_end = ends.iter().find(|end| !parts.iter().any(|part| is_there(part, end)));
        assert_eq!((idle_part, idle_end), (None, None), "listed and not there");
    }
}
