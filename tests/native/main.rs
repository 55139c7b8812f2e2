//! The filter behind the SDK's own dispatcher, over a host that is not Envoy but behaves as it does: every order of
//! callbacks, in milliseconds.
//!
//! [`abi`] is the border that functions cross, [`host`] what the host does when it is called, [`envoy`] what it does by
//! itself: it serves streams, delivers answers, replaces configurations. [`books`] reads what the filter has counted,
//! [`ledger`] knows what it ought to have.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and nobody outside uses its items"
)]

mod abi;
mod books;
mod envoy;
mod host;
mod ledger;
mod metrics;
mod steps;

mod answers;
mod configurations;
mod copies;
#[cfg(feature = "cli")]
mod explained;
mod memory;
mod model;
mod quiet;
