//! What documents say of an Envoy: its connection managers, routes, clusters and filters, as values. No advice, no printing.

pub(crate) mod cluster;
pub(crate) mod envoy;
pub(crate) mod field;
pub(crate) mod filter;
