//! The finished modules as hosts see them: what they ask of them and what they offer them. `make size` says how big they are.
//!
//! It reads `dist/traffic_mirror.wasm` and `dist/traffic_mirror_compare.wasm`, which `make build` makes.

use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload, TypeRef};

/// What the filter asks the host for. Each is in Envoy's Proxy-Wasm ABI 0.2.1 or in its part of WASI; a module that asks
/// for anything else is refused.
const IMPORTS: &[&str] = &[
    "env.proxy_define_metric",
    "env.proxy_done",
    "env.proxy_get_buffer_bytes",
    "env.proxy_get_header_map_pairs",
    "env.proxy_get_header_map_value",
    "env.proxy_get_log_level",
    "env.proxy_get_property",
    "env.proxy_get_shared_data",
    "env.proxy_http_call",
    "env.proxy_increment_metric",
    "env.proxy_log",
    "env.proxy_record_metric",
    "env.proxy_set_effective_context",
    "env.proxy_set_shared_data",
    "wasi_snapshot_preview1.clock_time_get",
    "wasi_snapshot_preview1.environ_get",
    "wasi_snapshot_preview1.environ_sizes_get",
    "wasi_snapshot_preview1.fd_write",
    "wasi_snapshot_preview1.proc_exit",
    "wasi_snapshot_preview1.random_get",
];

/// What the SDK's root context refers to and nothing calls: tests/native/ proves that. Nothing is among it that could alter, answer
/// or hold up a request.
const SDK_IMPORTS: &[&str] = &[
    "env.proxy_call_foreign_function",
    "env.proxy_dequeue_shared_queue",
    "env.proxy_enqueue_shared_queue",
    "env.proxy_get_current_time_nanoseconds",
    "env.proxy_get_status",
    "env.proxy_grpc_call",
    "env.proxy_grpc_cancel",
    "env.proxy_grpc_close",
    "env.proxy_grpc_send",
    "env.proxy_grpc_stream",
    "env.proxy_register_shared_queue",
    "env.proxy_resolve_shared_queue",
    "env.proxy_set_property",
    "env.proxy_set_tick_period_milliseconds",
];

/// A name that the host finds, and the function that serves it, where that is not the SDK's of the same name.
type Export = (&'static str, Option<&'static str>);

/// What the host finds, and so calls: each export costs every request. Beside it the function that serves it, which is
/// the SDK's of the same name, or one of the filter's own. `tools/finish` holds the same list.
const EXPORTS: &[Export] = &[
    ("_initialize", None),
    ("memory", None),
    ("proxy_abi_version_0_2_1", None),
    // In a module that is not finished, the SDK's takes no configuration.
    ("proxy_on_configure", Some("traffic_mirror_on_configure")),
    ("proxy_on_context_create", Some("traffic_mirror_on_context_create")),
    ("proxy_on_done", Some("traffic_mirror_on_done")),
    // The SDK's would panic on the answer to a call that it did not make.
    ("proxy_on_http_call_response", Some("traffic_mirror_on_http_call_response")),
    // The SDK's would trap where there is no memory, and knows nothing of places.
    ("proxy_on_memory_allocate", Some("traffic_mirror_on_memory_allocate")),
    ("proxy_on_request_body", Some("traffic_mirror_on_request_body")),
    ("proxy_on_request_headers", Some("traffic_mirror_on_request_headers")),
    ("proxy_on_request_trailers", Some("traffic_mirror_on_request_trailers")),
];

/// What the host finds beside that in the module that compares responses, and in no other.
const COMPARING: &[Export] = &[
    ("proxy_on_response_body", Some("traffic_mirror_on_response_body")),
    ("proxy_on_response_headers", Some("traffic_mirror_on_response_headers")),
    ("proxy_on_response_trailers", Some("traffic_mirror_on_response_trailers")),
];

/// Returns the bytes of each module, and what the host finds in it.
fn modules() -> [(Vec<u8>, Vec<Export>); 2] {
    let read = |name: &str| {
        let path = format!("{}/../dist/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}: run `make build` first"))
    };
    let mut comparing = [EXPORTS, COMPARING].concat();
    comparing.sort_unstable();
    [(read("traffic_mirror.wasm"), EXPORTS.to_vec()), (read("traffic_mirror_compare.wasm"), comparing)]
}

/// Collects what `take` finds in the module's sections.
fn collect<T: Ord>(module: &[u8], take: impl Fn(Payload<'_>) -> Vec<T>) -> BTreeSet<T> {
    Parser::new(0).parse_all(module).flat_map(|payload| take(payload.unwrap())).collect()
}

fn imports(module: &[u8]) -> BTreeSet<String> {
    collect(module, |payload| match payload {
        Payload::ImportSection(section) => section
            .into_imports()
            .map(|import| import.unwrap())
            .inspect(|import| assert!(matches!(import.ty, TypeRef::Func(_)), "{import:?} is no function"))
            .map(|import| format!("{}.{}", import.module, import.name))
            .collect(),
        _ => Vec::new(),
    })
}

/// Returns the exports, each with its index among functions, memories or whatever it is.
fn exports(module: &[u8]) -> BTreeSet<(String, u32)> {
    collect(module, |payload| match payload {
        Payload::ExportSection(section) => section
            .into_iter()
            .map(|export| export.unwrap())
            .map(|export| (export.name.to_owned(), export.index))
            .collect(),
        _ => Vec::new(),
    })
}

/// Returns the functions that have a name, by their index.
fn function_names(module: &[u8]) -> BTreeSet<(u32, String)> {
    collect(module, |payload| {
        let Payload::CustomSection(section) = payload else { return Vec::new() };
        let KnownCustom::Name(section) = section.as_known() else { return Vec::new() };
        let functions = section.into_iter().filter_map(|name| match name.unwrap() {
            Name::Function(functions) => Some(functions),
            _ => None,
        });
        functions.flatten().map(|naming| naming.unwrap()).map(|naming| (naming.index, naming.name.to_owned())).collect()
    })
}

#[test]
fn each_module_asks_the_host_for_what_is_listed_and_nothing_more() {
    let listed: BTreeSet<_> = IMPORTS.iter().chain(SDK_IMPORTS).map(|name| (*name).to_owned()).collect();
    for (module, _) in modules() {
        let asked = imports(&module);
        assert!(asked == listed, "asked for or listed, not both: {:?}", asked.symmetric_difference(&listed));
    }
}

/// The capabilities that docs/operations.md lists for Envoy's `capability_restriction_config`.
fn documented_capabilities() -> BTreeSet<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md")).unwrap();
    let list = page.split("  allowed_capabilities:\n").nth(1).unwrap().split("```").next().unwrap();
    list.lines().filter_map(|line| line.trim().strip_suffix(": {}")).map(str::to_owned).collect()
}

#[test]
fn the_listed_capabilities_are_what_the_module_needs() {
    let [(module, _), _] = modules();
    let without_module = |name: &str| name.rsplit('.').next().unwrap().to_owned();
    // What the host calls to give and take memory, and to start the module, is no capability.
    let callbacks = EXPORTS.iter().map(|(name, _)| *name).filter(|name| name.starts_with("proxy_on_"));
    let needed: BTreeSet<String> = IMPORTS
        .iter()
        .copied()
        .chain(callbacks)
        .map(without_module)
        .filter(|name| name != "proxy_on_memory_allocate")
        .collect();
    let asked: BTreeSet<String> = imports(&module).iter().map(|name| without_module(name)).collect();
    let listed = documented_capabilities();
    assert!(listed.is_superset(&needed), "needed, not listed: {:?}", needed.difference(&listed));
    let known: BTreeSet<String> = asked.union(&needed).cloned().collect();
    assert!(listed.is_subset(&known), "listed, not asked for: {:?}", listed.difference(&known));
}

#[test]
fn the_host_finds_the_callbacks_that_each_module_needs_and_no_other() {
    for (module, expected) in modules() {
        let exported: Vec<_> = exports(&module).into_iter().map(|(name, _)| name).collect();
        assert_eq!(exported, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}

#[test]
fn each_callback_is_served_by_the_function_that_is_meant_to() {
    for (module, expected) in modules() {
        let names = function_names(&module);
        let functions = exports(&module).into_iter().filter(|(name, _)| name != "memory");
        for (export, index) in functions {
            let own = expected.iter().find(|(name, _)| *name == export).and_then(|(_, own)| *own);
            let expected = own.unwrap_or(&export).to_owned();
            assert!(names.contains(&(index, expected.clone())), "{export} is not {expected}");
        }
    }
}

#[test]
fn the_modules_have_no_trap_for_tests() {
    let is_trap = |window: &[u8]| window == b"trap-for-tests";
    for (module, _) in modules() {
        assert!(!module.windows(14).any(is_trap), "dist/ holds a module for tests/envoy/traps.rs");
    }
}

#[test]
fn the_functions_have_names_for_the_hosts_backtraces() {
    let is_ours = |name: &str| name.contains("traffic_mirror") && name.contains("callbacks");
    for (module, _) in modules() {
        let names = function_names(&module);
        assert!(names.iter().any(|(_, name)| is_ours(name)), "{} names, none of the filter's", names.len());
    }
}

/// Functions of both modules that requests run: the ends of their names.
const SERVING: &[&str] = &[
    "traffic_mirror_on_context_create",
    "traffic_mirror_on_request_headers",
    "traffic_mirror_on_http_call_response",
    "traffic_mirror_on_done",
    "root::Root::begin",
    "::hand_over",
];

/// Functions that only the reading of a configuration runs: the starts of their names.
const CONFIGURING: &[&str] = &["regex_syntax::", "prost::", "traffic_mirror::config::Config::"];

#[test]
fn what_requests_run_stands_before_what_only_configurations_run() {
    for (module, _) in modules() {
        let names = function_names(&module);
        let last = SERVING.iter().map(|end| {
            let of_this = names.iter().rfind(|(_, name)| name.ends_with(end));
            of_this.unwrap_or_else(|| panic!("no function {end}"))
        });
        let first = CONFIGURING.iter().map(|start| {
            let of_these = names.iter().find(|(_, name)| name.starts_with(start));
            of_these.unwrap_or_else(|| panic!("no function {start}"))
        });
        let (last, first) = (last.max().unwrap(), first.min().unwrap());
        assert!(last < first, "{first:?} comes before {last:?}");
    }
}

/// Returns the hints before the code: a function's number, and where in it the hint belongs.
fn hints(module: &[u8]) -> Vec<(u32, u64)> {
    let before_code = Parser::new(0)
        .parse_all(module)
        .map(|payload| payload.unwrap())
        .take_while(|payload| !matches!(payload, Payload::CodeSectionStart { .. }));
    let mut hints = Vec::new();
    for payload in before_code {
        let Payload::CustomSection(section) = payload else { continue };
        let KnownCustom::BranchHints(section) = section.as_known() else { continue };
        for function in section.into_iter().map(|function| function.unwrap()) {
            let places = function.hints.into_iter().map(|hint| u64::from(hint.unwrap().func_offset));
            hints.extend(places.map(|place| (function.func, place)));
        }
    }
    hints
}

#[test]
fn hints_for_the_vm_stand_before_the_code_and_each_is_at_a_branch() {
    for (module, _) in modules() {
        let imported = imports(&module).len() as u32;
        let bodies = Parser::new(0).parse_all(&module).filter_map(|payload| match payload.unwrap() {
            Payload::CodeSectionEntry(body) => Some(body),
            _ => None,
        });
        let bodies: BTreeMap<_, _> = (imported..).zip(bodies).collect();
        let hints = hints(&module);
        assert!(hints.len() > 100, "{} hints", hints.len());
        assert!(hints.is_sorted_by(|one, next| one < next), "not in the order of functions and places");
        for (function, place) in hints {
            let body = &bodies[&function];
            let operators = body.get_operators_reader().unwrap().into_iter_with_offsets();
            let at = operators.map(|operator| operator.unwrap()).find(|(_, at)| at - body.range().start == place);
            let is_branch = matches!(at, Some((Operator::If { .. } | Operator::BrIf { .. }, _)));
            assert!(is_branch, "function {function}, byte {place}: {at:?}");
        }
    }
}

#[test]
fn the_entry_of_requests_has_hints() {
    for (module, _) in modules() {
        let hinted: BTreeSet<_> = hints(&module).into_iter().map(|(function, _)| function).collect();
        let is_hinted = |(function, _): &(u32, String)| hinted.contains(function);
        let names: Vec<_> = function_names(&module).into_iter().filter(is_hinted).map(|(_, name)| name).collect();
        assert!(names.iter().any(|name| name.ends_with("root::Root::begin")), "hints only in {names:?}");
    }
}
