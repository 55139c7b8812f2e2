//! The adapter to Envoy: exports → callbacks → vm → root → the core, [`calls`], the [`ledger`], the [`abi`].

pub mod abi;
pub mod callbacks;
pub mod calls;
pub mod exports;
pub mod ledger;
pub mod root;
#[cfg(feature = "trap-for-tests")]
mod trap;
pub mod vm;
