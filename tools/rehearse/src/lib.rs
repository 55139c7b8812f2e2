//! Runs a finished module in an interpreter with requests of each kind, and tells which of its code they run.
//!
//! Nothing here depends on a clock or on chance: the same module gives the same counts each time. A `memory.copy` is one
//! operator, whatever its length.

mod host;
mod instrument;
mod rows;
mod vm;

pub use instrument::{Branch, Function, Instrumented, Piece};
pub use rows::{Row, Sent, rows};

use anyhow::Result;

use crate::vm::Vm;

/// What some requests have spent.
#[derive(Clone, Default)]
pub struct Counts {
    /// How often each piece of code was executed.
    pub times: Vec<u64>,
    /// The calls of the host.
    pub calls: u64,
    /// The copies that were sent.
    pub copies: u64,
    /// Those of them that have a body.
    pub bodies: u64,
}

/// Serves requests of one kind, and counts all but the first `warm_up`: until then, tables grow. `None`: the module does not take
/// the configuration.
pub fn rehearse(module: &Instrumented, row: &Row, warm_up: u32, counted: u32) -> Result<Option<Counts>> {
    let Some(mut vm) = Vm::start(module, row)? else { return Ok(None) };
    for _ in 0..warm_up {
        vm.request()?;
    }
    let before = vm.counts();
    for _ in 0..counted {
        vm.request()?;
    }
    let after = vm.counts();
    let times = after.times.iter().zip(&before.times).map(|(after, before)| after - before).collect();
    let [calls, copies, bodies] =
        [(after.calls, before.calls), (after.copies, before.copies), (after.bodies, before.bodies)]
            .map(|(after, before)| after - before);
    Ok(Some(Counts { times, calls, copies, bodies }))
}
