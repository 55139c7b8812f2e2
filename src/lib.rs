//! traffic-mirror: a Proxy-Wasm HTTP filter that mirrors live requests, for Envoy and Istio.
//!
//! The life of a mirrored request:
//!
//! 1. Envoy hands the request's headers to [`filter`], which passes them on to the [`worker`] of its configuration. [`vm`]
//!    knows which configurations are at work and which leave.
//! 2. [`matcher`] finds the first rule that matches, by way of an [`index`]; [`request`] reads from the host only what rules
//!    ask for.
//! 3. [`sample`] selects the mirrors that get a copy.
//! 4. [`stream::ignored`] leaves out what is never mirrored: copies, upgrades, tunnels.
//! 5. [`stream`] gathers the body, chunk by chunk, within the [`budget`], while the request goes on unhindered.
//! 6. When the request is complete, [`copy`] makes each mirror's headers, and [`host`] sends the copy.
//! 7. [`ledger`] counts the [`outcome`] of each copy; [`calls`] waits for its response and counts that, too; [`compare`] sets
//!    it beside the primary's, where a rule wants it.
//!
//! Data flows one way: host → stream → matcher, sample, copy → host. All but [`host`], [`filter`], [`vm`], [`worker`] and
//! [`calls`] is values in, values out. [`config`] holds the checked configuration.

pub mod budget;
pub mod calls;
pub mod compare;
pub mod config;
pub mod copy;
pub mod filter;
pub mod headers;
pub mod host;
pub mod index;
pub mod ledger;
pub mod matcher;
pub mod outcome;
pub mod request;
pub mod sample;
pub mod stream;
#[cfg(feature = "trap-for-tests")]
mod trap;
pub mod vm;
pub mod worker;

/// The module's entry point, which the host calls once for each VM.
#[allow(unsafe_code, missing_docs, reason = "the SDK's macro exports a function by its name")]
mod entry {
    proxy_wasm::main! {{
        crate::filter::start();
    }}
}
