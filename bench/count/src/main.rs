//! What a request costs in the VM: the operators that it executes, and its calls of the host. Both are the same each time,
//! where a clock on a busy machine is not; what either costs in Envoy they do not tell. A `memory.copy` is one operator,
//! whatever its length.
//!
//! `make count MODULES="one.wasm other.wasm"` compares builds of the filter, or the filter with the floors of bench/floor; with
//! `--functions` among MODULES, it lists for each row the functions that execute most, and how long their code is.

mod host;
mod instrument;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::host::{Cost, Sent, Vm};
use crate::instrument::{Code, Instrumented, instrument};

/// Requests before those that are counted: until then, tables grow.
const WARM_UP: u32 = 100;
const COUNTED: u32 = 1000;
/// How many functions `--functions` lists.
const MOST: usize = 25;

fn main() -> ExitCode {
    let (options, modules): (Vec<String>, Vec<_>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    let print = if options.contains(&"--functions".to_owned()) { functions } else { table };
    match load(&modules).and_then(|modules| print(&modules)) {
        Ok(text) if !modules.is_empty() => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Ok(_) => {
            eprintln!("which modules? make count MODULES=\"dist/traffic_mirror.wasm other.wasm\"");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A module under its path.
type Named = (String, Instrumented);

fn load(paths: &[String]) -> Result<Vec<Named>, String> {
    let load = |path: &String| {
        let module = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let instrumented = instrument(&module).map_err(|error| format!("{path}: {error}"))?;
        Ok((path.clone(), instrumented))
    };
    paths.iter().map(load).collect()
}

/// What is mirrored, as in bench/plan.py: requests with 12 headers beside the pseudo headers, a configuration, and the size of
/// responses.
fn rows() -> Vec<(&'static str, Sent, Value, usize)> {
    let mirror = json!([{"cluster": "mirror"}]);
    let two = json!([{"cluster": "mirror"}, {"cluster": "second"}]);
    let edited = json!([{
        "cluster": "mirror", "consistentHash": {"httpHeaderName": "x-user-id"}, "rewrite": {"uri": "/v2"},
        "headers": {"remove": ["authorization", "cookie"], "set": {"x-env": "staging"}, "add": {"via": "mirror"}},
    }]);
    let unmatched = json!([{"headers": {"x-mirror": {"exact": "yes"}}}]);
    let matched = json!([{"headers": {"x-tenant": {"exact": "acme"}}}]);
    let off = json!([{"cluster": "mirror", "percentage": 0}]);
    let rule = |rule: Value| json!({"rules": [rule]});
    let mut limited = rule(json!({"mirrors": mirror}));
    limited["limits"] = json!({"maxRequestsPerSecond": 1_000_000});
    let compared =
        rule(json!({"mirrors": mirror, "compare": {"status": true, "body": {"json": {"ignore": ["/*/id"]}}}}));
    let hiding = |lists: Value| rule(json!({"mirrors": [{"cluster": "mirror", "redact": lists}]}));
    let names = json!({"json": ["/*/name"]});
    let rows = [
        ("no rule matches", Sent::Get, rule(json!({"match": unmatched, "mirrors": mirror}))),
        ("0 %", Sent::Get, rule(json!({"mirrors": off}))),
        ("0 %, a header matches", Sent::Get, rule(json!({"match": matched, "mirrors": off}))),
        ("100 %", Sent::Get, rule(json!({"mirrors": mirror}))),
        ("100 %, `unrouted: mirror`", Sent::Get, rule(json!({"mirrors": mirror, "unrouted": "mirror"}))),
        ("100 %, with a rate", Sent::Get, limited),
        ("100 %, compared with the primary", Sent::Get, rule(json!({"mirrors": mirror, "compare": {"status": true}}))),
        ("two mirrors at 100 %", Sent::Get, rule(json!({"mirrors": two}))),
        (
            "100 %, hashed and edited",
            Sent::Get,
            rule(json!({"match": [{"uri": {"prefix": "/reviews"}}], "mirrors": edited})),
        ),
        ("100 %, POST with 1 KiB", Sent::Post(1 << 10), rule(json!({"mirrors": mirror}))),
        ("100 %, two headers hidden", Sent::Get, hiding(json!({"headers": ["authorization", "x-user-id"]}))),
        ("100 %, hidden in JSON of 1 KiB", Sent::Post(1 << 10), hiding(names.clone())),
        ("100 %, hidden in JSON of 10 KiB", Sent::Post(10 << 10), hiding(names.clone())),
        ("100 %, hidden in JSON of 64 KiB", Sent::Post(64 << 10), hiding(names)),
    ];
    let full = [
        ("100 %, compared as JSON of 1 KiB", 1 << 10),
        ("100 %, compared as JSON of 10 KiB", 10 << 10),
        ("100 %, compared as JSON of 60 KiB", 60 << 10),
    ];
    let rows = rows.into_iter().map(|(name, sent, configuration)| (name, sent, configuration, 0));
    rows.chain(full.map(|(name, size)| (name, Sent::Get, compared.clone(), size))).collect()
}

/// A line for each row, with two columns for each module.
fn table(modules: &[Named]) -> Result<String, String> {
    let heads: String = modules.iter().map(|(path, _)| format!(" {path}: operators | host calls |")).collect();
    let mut table = format!("| a request |{heads}\n|:--|{}\n", "--:|".repeat(modules.len() * 2));
    for (name, sent, configuration, size) in rows() {
        table += &format!("| {name} |");
        for module in modules {
            let cost = measure(module, sent, &configuration, size)
                .map_err(|error| format!("{}, {name}: {error}", module.0))?;
            table += &cost.map_or_else(
                || " refused | |".to_owned(),
                |Cost { operators, calls }| {
                    let [operators, calls] =
                        [operators.iter().sum(), calls].map(|n: u64| n as f64 / f64::from(COUNTED));
                    format!(" {operators:.0} | {calls:.1} |")
                },
            );
        }
        table.push('\n');
    }
    Ok(table)
}

/// For each module and row, the functions that execute most, with their operators a request and the bytes of their code: between two
/// requests Envoy's own code drives that out of the caches.
fn functions(modules: &[Named]) -> Result<String, String> {
    let mut text = String::new();
    for module in modules {
        for (name, sent, configuration, size) in rows() {
            let cost = measure(module, sent, &configuration, size)
                .map_err(|error| format!("{}, {name}: {error}", module.0))?;
            let operators = cost.unwrap_or_default().operators;
            let mut functions: Vec<_> = operators.iter().zip(&module.1.functions).collect();
            functions.retain(|(operators, _)| **operators > 0);
            functions.sort_by(|(one, _), (other, _)| other.cmp(one));
            let bytes: usize = functions.iter().map(|(_, function)| function.bytes).sum();
            text += &format!("{}, {name}: {} functions of {bytes} bytes\n", module.0, functions.len());
            for (operators, Code { name, bytes }) in functions.into_iter().take(MOST) {
                text += &format!("{:>9.1} {bytes:>7}  {name}\n", *operators as f64 / f64::from(COUNTED));
            }
        }
    }
    Ok(text)
}

fn measure((_, module): &Named, sent: Sent, configuration: &Value, size: usize) -> Result<Option<Cost>, String> {
    let started =
        Vm::start(module, configuration.to_string().into_bytes(), sent, size).map_err(|error| error.to_string())?;
    let Some(mut vm) = started else { return Ok(None) };
    let mut before = Cost::default();
    for number in 0..WARM_UP + COUNTED {
        if number == WARM_UP {
            before = vm.cost();
        }
        vm.request().map_err(|error| error.to_string())?;
    }
    let after = vm.cost();
    let operators = after.operators.iter().zip(&before.operators).map(|(after, before)| after - before).collect();
    Ok(Some(Cost { operators, calls: after.calls - before.calls }))
}
