//! The filter behind the SDK's own dispatcher, over a host that is not Envoy but behaves as it does: every order of
//! callbacks, in milliseconds.
//!
//! [`abi`] is the border that functions cross, [`host`] what the host does when it is called, [`envoy`] what it does by
//! itself: it serves streams, delivers answers, replaces configurations. [`books`] reads what the filter has counted,
//! [`ledger`] knows what it ought to have.

mod ledger;
mod steps;

mod answers;
mod compared;
mod configurations;
mod copies;
mod keep_last;
mod kept;
mod memory;
mod model;
mod quiet;
mod rates;
mod redact;
