//! A host that is not Envoy but behaves as it does, in this process: the module's own exports run over it.
//!
//! [`abi`] is the border that functions cross, [`host`] what the host does when it is called, [`envoy`] what it does by
//! itself: it serves streams, delivers responses, replaces configurations. [`books`] reads what the filter has counted.
//! [`fuzz`] checks what fuzzing looks for.

pub mod abi;
pub mod books;
pub mod envoy;
pub mod fuzz;
pub mod host;
pub mod metrics;
