//! The filter in a real Envoy: every promise of the configuration and of the README, between real servers.

mod bodies;
mod compare_content;
mod compare_memory;
mod comparison;
mod configuration;
mod copies;
mod counters;
mod expressions;
mod failures;
mod grpc;
mod hostile;
mod keep_last;
mod lifecycle;
mod limits;
mod matching;

mod redact;
mod routing;
mod sampling;
mod schedule;
mod transparency;
mod traps;
mod updates;
mod upgrades;
mod when;
