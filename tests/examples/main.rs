//! The examples as a reader of them would run them: each one's envoy.yaml in a real Envoy, held against the table in its
//! README; and its istio.yaml, as far as that can be read without a mesh.

mod cross_cluster;
mod documents;
mod httpbin;
mod mesh;
mod outcomes;

/// The examples: folders of `examples/`.
pub const NAMES: [&str; 8] = [
    "bookinfo",
    "nginx-versions",
    "failing-requests",
    "calcbackend",
    "httpbin-gateway-api",
    "cross-cluster",
    "private-data",
    "compare-json",
];
