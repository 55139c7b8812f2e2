//! What a request costs in the VM: its instructions, and its calls of the host. Both are the same each time, where a clock
//! on a busy machine is not; what either costs in Envoy they do not tell. The instructions are units of wasmi's fuel: one
//! for most of them, and one for many bytes where memory is copied.
//!
//! `make count MODULES="one.wasm other.wasm"` compares builds of the filter.

mod host;

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::host::{Cost, Vm};

/// Requests before those that are counted: until then, tables grow.
const WARM_UP: u32 = 100;
const COUNTED: u32 = 1000;

fn main() -> ExitCode {
    let modules: Vec<String> = std::env::args().skip(1).collect();
    match table(&modules) {
        Ok(table) if !modules.is_empty() => {
            print!("{table}");
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

/// What is mirrored, as in bench/plan.py: GETs with 12 headers beside the pseudo headers, and a rule.
fn rules() -> [(&'static str, Value); 5] {
    let mirror = json!([{"cluster": "mirror"}]);
    let edited = json!([{
        "cluster": "mirror", "consistentHash": {"httpHeaderName": "x-user-id"}, "rewrite": {"uri": "/v2"},
        "headers": {"remove": ["authorization", "cookie"], "set": {"x-env": "staging"}, "add": {"via": "mirror"}},
    }]);
    [
        ("no rule matches", json!({"match": [{"headers": {"x-mirror": {"exact": "yes"}}}], "mirrors": mirror})),
        ("0 %", json!({"mirrors": [{"cluster": "mirror", "percentage": 0}]})),
        ("100 %", json!({"mirrors": mirror})),
        ("100 %, compared with the primary", json!({"mirrors": mirror, "compare": {"status": true}})),
        ("100 %, hashed and edited", json!({"match": [{"uri": {"prefix": "/reviews"}}], "mirrors": edited})),
    ]
}

/// A row for each rule, and two columns for each module.
fn table(modules: &[String]) -> Result<String, String> {
    let mut table = format!("| a request |{}\n|:--|{}\n", heads(modules), "--:|".repeat(modules.len() * 2));
    for (name, rule) in rules() {
        table += &format!("| {name} |");
        for module in modules {
            let cost = measure(module, &rule).map_err(|error| format!("{module}, {name}: {error}"))?;
            table += &cost.map_or_else(
                || " refused | |".to_owned(),
                |Cost { instructions, calls }| {
                    format!(" {} | {:.1} |", instructions / u64::from(COUNTED), calls as f64 / f64::from(COUNTED))
                },
            );
        }
        table.push('\n');
    }
    Ok(table)
}

fn heads(modules: &[String]) -> String {
    modules.iter().map(|module| format!(" {module}: instructions | host calls |")).collect()
}

fn measure(module: &str, rule: &Value) -> Result<Option<Cost>, String> {
    let bytes = std::fs::read(module).map_err(|error| error.to_string())?;
    let configuration = json!({"rules": [rule]}).to_string();
    let started = Vm::start(&bytes, configuration.into_bytes()).map_err(|error| error.to_string())?;
    let Some(mut vm) = started else { return Ok(None) };
    let mut before = Cost::default();
    for number in 0..WARM_UP + COUNTED {
        if number == WARM_UP {
            before = vm.cost();
        }
        vm.request().map_err(|error| error.to_string())?;
    }
    let after = vm.cost();
    Ok(Some(Cost { instructions: after.instructions - before.instructions, calls: after.calls - before.calls }))
}
