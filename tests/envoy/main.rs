//! The filter in a real Envoy: every promise of the configuration and of the README, between real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and nobody outside uses its items"
)]

mod bodies;
mod books;
mod comparison;
mod configuration;
#[cfg(feature = "cli")]
mod converted;
mod copies;
mod expressions;
mod failures;
mod grpc;
mod harness;
mod hostile;
mod lifecycle;
mod limits;
mod matching;
mod sampling;
mod transparency;
mod traps;
mod updates;
mod upgrades;
