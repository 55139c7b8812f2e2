//! The faults of mirrors, clients, primaries and operators, and what each does to the primary: nothing. `make faults`
//! measures every one through three listeners and writes docs/faults.md; `make soak` mixes them for a while.

mod clients;
mod digest;
mod load;
mod matrix;
mod memory;
mod mirrors;
mod operators;
mod plain;
mod plan;
mod primaries;
mod pushes;
mod rig;
mod server;
mod soak;
mod storm;
mod table;
mod uploads;
mod when;

use std::process::ExitCode;
use std::time::Duration;

use lexopt::prelude::*;

const USAGE: &str = "\
cargo test --profile measure --package tests --test faults -- [OPTION]...
  --only TEXT      the rows whose name contains it; the table goes to standard output
  --rounds N       rounds of each row (default 3)
  --quick          one short round of each row: a smoke test, nothing is written
  --seed N         of the order, and of what the soak chooses
  --out FILE       where the tables go (default docs/faults.md)
  --memory         the memory section alone
  --pushes         the section on pushes alone
  --compare        with the module that compares responses in full; the tables go to standard output
  --soak MINUTES   all faults mixed, instead of the tables";

/// What is to be done.
struct Arguments {
    only: Option<String>,
    rounds: usize,
    quick: bool,
    seed: u64,
    out: String,
    memory: bool,
    pushes: bool,
    compare: bool,
    soak: Option<f64>,
}

fn arguments() -> Result<Arguments, lexopt::Error> {
    let (seed, out) = (fastrand::u64(..1_000_000), "docs/faults.md".to_owned());
    let mut all = Arguments {
        only: None,
        rounds: 3,
        quick: false,
        seed,
        out,
        memory: false,
        pushes: false,
        compare: false,
        soak: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("only") => all.only = Some(parser.value()?.string()?),
            Long("rounds") => all.rounds = parser.value()?.parse()?,
            Long("quick") => all.quick = true,
            Long("seed") => all.seed = parser.value()?.parse()?,
            Long("out") => all.out = parser.value()?.string()?,
            Long("memory") => all.memory = true,
            Long("pushes") => all.pushes = true,
            Long("compare") => all.compare = true,
            Long("soak") => all.soak = Some(parser.value()?.parse()?),
            _ => return Err(argument.unexpected()),
        }
    }
    Ok(all)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    println!("seed {}", arguments.seed);
    fastrand::seed(arguments.seed);
    if arguments.compare {
        harness::process::always_compare();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let crew = crew();
    let wrong = runtime.block_on(async {
        if let Some(minutes) = arguments.soak {
            return soak::soak(Duration::from_secs_f64(minutes * 60.0), &crew).await;
        }
        table::tables(&arguments, &crew).await
    });
    let wrong = wrong.unwrap_or_else(|why| vec![why]);
    for wrong in &wrong {
        println!("WRONG: {wrong}");
    }
    println!("{}", if wrong.is_empty() { "all as it must be".to_owned() } else { format!("{} wrong", wrong.len()) });
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A thread for mirrors and odd clients, so that what they do takes no time from those who measure.
fn crew() -> tokio::runtime::Handle {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}
