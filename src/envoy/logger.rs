//! The filter's lines in Envoy's log: each begins with the plugin's name.
//!
//! Envoy puts the name before what a stream logs, and leaves it out where a root does: when it is configured, and when a
//! mirror responds. Beside other plugins such a line would be anybody's.

use crate::envoy::abi;
use log::{Level, LevelFilter, Log, Metadata, Record};
use proxy_wasm::types::LogLevel;
use std::panic;

struct Logger;

/// Lets lines, and the message of a panic, go to Envoy's log.
pub fn start() {
    // Where modules are not run in VMs, another may have started before.
    if log::set_logger(&Logger).is_ok() {
        panic::set_hook(Box::new(|info| abi::log(LogLevel::Critical, &info.to_string())));
    }
    log::set_max_level(LevelFilter::Info);
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Trace => LogLevel::Trace,
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        let plugin = abi::plugin_name();
        let plugin = String::from_utf8_lossy(&plugin);
        let separator = if plugin.is_empty() { "" } else { ": " };
        abi::log(level, &format!("{plugin}{separator}{}", record.args()));
    }

    fn flush(&self) {}
}
