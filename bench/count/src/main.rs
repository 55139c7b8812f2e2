//! What a request costs in the VM: the operators that it executes, and its calls of the host. Both are the same each time,
//! where a clock on a busy machine is not; what either costs in Envoy they do not tell. A `memory.copy` is one operator,
//! whatever its length.
//!
//! `make count MODULES="one.wasm other.wasm"` compares builds of the filter, or the filter with the floors of bench/floor; with
//! `--functions` among MODULES, it lists for each row the functions that execute most, how long their code is, and how much of it
//! is executed.

use std::process::ExitCode;

use anyhow::{Context, Result};
use rehearse::{Counts, Function, Instrumented, Row, rehearse, rows};

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
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A module under its path.
type Named = (String, Instrumented);

fn load(paths: &[String]) -> Result<Vec<Named>> {
    let load = |path: &String| {
        let module = std::fs::read(path).with_context(|| path.clone())?;
        Ok((path.clone(), Instrumented::new(&module).with_context(|| path.clone())?))
    };
    paths.iter().map(load).collect()
}

/// A line for each row, with two columns for each module.
fn table(modules: &[Named]) -> Result<String> {
    let heads: String = modules.iter().map(|(path, _)| format!(" {path}: operators | host calls |")).collect();
    let mut table = format!("| a request |{heads}\n|:--|{}\n", "--:|".repeat(modules.len() * 2));
    for row in rows() {
        table += &format!("| {} |", row.name);
        for module in modules {
            table += &measure(module, &row)?.map_or_else(
                || " refused | |".to_owned(),
                |counts| {
                    let operators = (0..module.1.pieces.len()).map(|piece| operators(&module.1, &counts, piece)).sum();
                    let [operators, calls] = [operators, counts.calls].map(|n: u64| n as f64 / f64::from(COUNTED));
                    format!(" {operators:.0} | {calls:.1} |")
                },
            );
        }
        table.push('\n');
    }
    Ok(table)
}

/// For each module and row, the functions that execute most, with their operators a request, the bytes of their code, and the
/// bytes of it that are executed: between two requests Envoy's own code drives that out of the caches.
fn functions(modules: &[Named]) -> Result<String> {
    let mut text = String::new();
    for module in modules {
        for row in rows() {
            let Some(counts) = measure(module, &row)? else { continue };
            let mut functions: Vec<_> =
                module.1.functions.iter().map(|function| spent(&module.1, &counts, function)).collect();
            functions.retain(|spent| spent.operators > 0);
            functions.sort_by_key(|spent| std::cmp::Reverse(spent.operators));
            let bytes: usize = functions.iter().map(|spent| spent.function.bytes).sum();
            let run: usize = functions.iter().map(|spent| spent.run).sum();
            text += &format!(
                "{}, {}: {} functions of {bytes} bytes, {run} of them run\n",
                module.0,
                row.name,
                functions.len()
            );
            for Spent { function, operators, run } in functions.into_iter().take(MOST) {
                let operators = operators as f64 / f64::from(COUNTED);
                text += &format!("{operators:>9.1} {:>7} {run:>7}  {}\n", function.bytes, function.name);
            }
        }
    }
    Ok(text)
}

/// What requests spend in a function.
struct Spent<'a> {
    function: &'a Function,
    operators: u64,
    /// The bytes of its code that are executed.
    run: usize,
}

fn spent<'a>(module: &Instrumented, counts: &Counts, function: &'a Function) -> Spent<'a> {
    let run = function.pieces.clone().filter(|piece| counts.times[*piece] > 0);
    Spent {
        function,
        operators: run.clone().map(|piece| operators(module, counts, piece)).sum(),
        run: run.map(|piece| module.pieces[piece].bytes).sum(),
    }
}

/// The operators that were executed of a piece of code.
fn operators(module: &Instrumented, counts: &Counts, piece: usize) -> u64 {
    counts.times[piece] * module.pieces[piece].operators
}

fn measure((path, module): &Named, row: &Row) -> Result<Option<Counts>> {
    rehearse(module, row, WARM_UP, COUNTED).with_context(|| format!("{path}, {}", row.name))
}
