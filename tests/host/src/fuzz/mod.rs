//! What the fuzz targets in `fuzz/` check, and `cargo test --test fuzz` on the inputs that are committed.

pub mod answer;
pub mod case;
pub mod choice;
mod clock;
pub mod compare;
pub mod configuration;
mod given;
pub mod redact;
pub mod request;
mod trace;
mod when;
mod wire;
