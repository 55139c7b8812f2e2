//! The faults of mirrors, clients, primaries and operators, and what each does to the primary: nothing. `make faults`
//! measures every one through three listeners and writes docs/faults.md; `make soak` mixes them for a while.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    missing_docs,
    unreachable_pub,
    reason = "as in the tests: it fails by panicking, and nobody outside uses its items"
)]

mod clients;
mod digest;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../envoy/harness/mod.rs"]
mod harness;
mod load;
mod matrix;
mod mirrors;
mod operators;
mod primaries;
mod rig;
mod server;
mod soak;

use std::time::Duration;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let crew = crew();
    runtime.block_on(async {
        let effort = matrix::Effort { rounds: 2, lasts: Duration::from_millis(1200), rate: 150.0 };
        let only = std::env::args().nth(1).unwrap_or_default();
        if only == "soak" {
            let t = std::env::args().nth(2).unwrap().parse().unwrap();
            println!("{:#?}", soak::soak(Duration::from_secs(t), &crew).await);
            return;
        }
        for row in clients::rows().into_iter().chain(primaries::rows()).chain(operators::rows()) {
            if !row.name.contains(&only) { continue }
            let t = std::time::Instant::now();
            match matrix::measure(&row, effort, &crew).await {
                Err(e) => println!("{}: ERR {e}", row.name),
                Ok(e) => {
                    println!("{} {:?}", row.name, t.elapsed());
                    for (c, l) in e.columns.iter().zip(rig::LISTENERS) {
                        println!("   {l} {:?} {:?} {:?} {:?} {:?} {}", c.kinds(), c.odd, c.quantile(0.5), c.quantile(0.99), c.worst(1.0), c.peak>>20);
                    }
                    println!("   {} {} {:?} {:?}", e.before>>20, e.after>>20, e.shown, e.wrong);
                }
            }
        }
    });
}

/// A thread for mirrors and odd clients, so that what they do takes no time from those who measure.
fn crew() -> tokio::runtime::Handle {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    handle
}
