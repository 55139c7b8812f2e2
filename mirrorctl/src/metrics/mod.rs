//! The filter's metrics, as an Envoy's admin endpoint shows them to Prometheus: read, taken apart, and checked.

pub(crate) mod agreement;
pub(crate) mod counters;
pub(crate) mod histogram;
pub(crate) mod plain;
pub(crate) mod prometheus;
pub(crate) mod rows;
pub(crate) mod source;
pub(crate) mod sums;
pub(crate) mod text;
pub(crate) mod words;
