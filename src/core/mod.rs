//! What is decided, without a host: values in, values out. Nothing here names Envoy or the Proxy-Wasm SDK.

pub mod body;
pub mod budget;
pub mod causes;
pub mod compare;
pub mod copy;
pub mod digest;
pub mod header_map;
pub mod ignored;
pub mod index;
mod json;
pub mod last_good;
pub mod matcher;
pub mod outcome;
pub mod pending;
pub mod primary;
pub mod rate;
pub mod redact;
pub mod request;
pub mod sample;
#[cfg(feature = "compare")]
pub mod shelf;
pub mod trace;
mod writer;
