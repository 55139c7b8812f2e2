//! The adapter to Envoy: exports → callbacks → lifecycle → root → the core, [`in_flight`], [`comparison`], the [`ledger`], the [`abi`].

pub mod abi;
pub mod callbacks;
pub mod comparison;
pub mod exports;
pub mod in_flight;
pub mod ledger;
pub mod lifecycle;
pub mod logger;
pub mod root;
pub mod tokens;
#[cfg(feature = "trap-for-tests")]
mod trap;
