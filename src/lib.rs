//! traffic-mirror: a Proxy-Wasm HTTP filter that mirrors live requests, for Envoy and Istio.
//!
//! The life of a mirrored request:
//!
//! 1. Envoy calls the module's [`envoy::exports`]; [`envoy::callbacks`] know which stream each call is about, and
//!    [`envoy::lifecycle`] which configurations are at work. One configuration on one worker is an [`envoy::root`].
//! 2. [`core::matcher`] finds the first rule that matches, by way of an [`core::index`]; [`core::request`] reads from the host
//!    only what rules ask for.
//! 3. [`core::sample`] selects the mirrors that get a copy.
//! 4. [`core::ignored`] leaves out what is never mirrored: copies, upgrades, tunnels, and what no upstream gets.
//! 5. [`core::pending`] buffers the body, chunk by chunk, within the [`core::budget`], while the request goes on unhindered.
//! 6. When the request is complete, [`core::copy`] makes each mirror's headers, and [`envoy::abi`] sends the copy.
//! 7. [`envoy::ledger`] counts the [`core::outcome`] of each copy; [`envoy::in_flight`] waits for its response and counts that,
//!    too; [`core::compare`] sets it beside the primary's, where a rule wants it, which [`envoy::comparison`] knows.
//!
//! The arrows: exports → callbacks → lifecycle → root → {core → config, in_flight → comparison, ledger, abi}. Nothing in [`config`] and [`core`] names
//! [`envoy`] or the SDK, and a test holds that. A *request* is [`core::request::Request`] while its headers can be read,
//! and [`core::pending::Pending`] from then to its end; a *stream* is what the host calls the exchange that it is part of.

pub mod config;
pub mod core;
pub mod envoy;

/// The module's entry point, which the host calls once for each VM.
#[allow(unsafe_code, missing_docs, reason = "the SDK's macro exports a function by its name")]
mod entry {
    proxy_wasm::main! {{
        crate::envoy::callbacks::start();
    }}
}
