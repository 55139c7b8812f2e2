//! The examples as a reader of them would run them: each one's envoy.yaml in a real Envoy, held against the table in its
//! README; and its istio.yaml, as far as that can be read without a mesh.
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

mod cross_cluster;
mod documents;
#[allow(dead_code, reason = "the tests of the filter itself use the rest")]
#[path = "../envoy/harness/mod.rs"]
mod harness;
mod httpbin;
mod mesh;
mod outcomes;
mod readme;
mod scene;

/// The examples: folders of `examples/`.
pub const NAMES: [&str; 5] = ["bookinfo", "nginx-versions", "calcbackend", "httpbin-gateway-api", "cross-cluster"];
