//! The filter's metrics, as an Envoy's admin endpoint shows them to Prometheus: read, taken apart, and checked.

pub(crate) mod agreement;
pub(crate) mod balance;
pub(crate) mod books;
pub(crate) mod histogram;
pub(crate) mod rows;
pub(crate) mod source;
mod text;
pub(crate) mod words;
