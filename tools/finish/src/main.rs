//! The last step of the build: leaves in the module only the exports that Envoy has to call, and what they reach; and
//! puts together what requests run of it.
//!
//! The SDK exports every callback of the ABI, and Envoy calls each one that is exported, for every request: what is not
//! exported costs nothing. What only those exports reached would still be compiled in every proxy, so that it goes too. The
//! names of functions stay, as they are in the source, so that backtraces can be read.
//!
//! A request finds the module's code cold: between two requests, Envoy's own drives it out of the caches. So the functions that
//! requests run come first, and hints let the VM move aside what requests do not run of them. Which code that is, a rehearsal
//! tells: an interpreter serves some requests of each kind.
//!
//! A module with the functions that look at responses is finished with those, too: it was built with the feature `compare`.
//!
//! Usage: `finish IN.wasm OUT.wasm`

#[cfg(test)]
mod fixture;
mod hints;
mod order;
mod profile;

use anyhow::{Context, Result};
use rustc_demangle::demangle;
use std::path::PathBuf;
use walrus::passes::gc;
use walrus::{Export, ModuleConfig};

use crate::profile::Profile;

/// What Envoy has to find in the module, and the function that serves it: the SDK's of the same name, or one of
/// the filter's own (`src/envoy/exports.rs` says why).
/// `tests/module.rs` holds the same list.
const EXPORTS: [(&str, &str); 11] = [
    ("memory", "memory"),
    ("_initialize", "_initialize"),
    ("proxy_abi_version_0_2_1", "proxy_abi_version_0_2_1"),
    ("proxy_on_memory_allocate", "traffic_mirror_on_memory_allocate"),
    ("proxy_on_configure", "traffic_mirror_on_configure"),
    ("proxy_on_context_create", "traffic_mirror_on_context_create"),
    ("proxy_on_request_headers", "traffic_mirror_on_request_headers"),
    ("proxy_on_request_body", "traffic_mirror_on_request_body"),
    ("proxy_on_request_trailers", "traffic_mirror_on_request_trailers"),
    ("proxy_on_http_call_response", "traffic_mirror_on_http_call_response"),
    ("proxy_on_done", "traffic_mirror_on_done"),
];

/// What Envoy has to find beside that, where the filter has functions that serve it.
const COMPARING: [(&str, &str); 3] = [
    ("proxy_on_response_headers", "traffic_mirror_on_response_headers"),
    ("proxy_on_response_body", "traffic_mirror_on_response_body"),
    ("proxy_on_response_trailers", "traffic_mirror_on_response_trailers"),
];

fn main() -> Result<()> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let (input, output) = (paths.next().context("no input")?, paths.next().context("no output")?);
    let module = std::fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
    let finished = leave_needed(&module)
        .and_then(|module| {
            let profile = Profile::rehearse(&module).and_then(|profile| profile.check().map(|()| profile));
            arrange(&module, &profile.context("the rehearsal of requests")?)
        })
        .with_context(|| format!("cannot finish {}", input.display()))?;
    std::fs::write(&output, finished).with_context(|| format!("cannot write {}", output.display()))
}

/// Makes the module whose exports are [`EXPORTS`], and [`COMPARING`] if it has any of those, with what they reach of the given one.
fn leave_needed(module: &[u8]) -> Result<Vec<u8>> {
    let mut module = ModuleConfig::new().generate_producers_section(false).parse(module)?;
    let mut kept = Vec::new();
    let compares = module.exports.iter().any(|export| COMPARING.iter().any(|(_, served_by)| export.name == *served_by));
    let more: &[_] = if compares { &COMPARING } else { &[] };
    for (name, served_by) in EXPORTS.iter().chain(more).copied() {
        let export = module.exports.iter().find(|export| export.name == served_by);
        kept.push((name, export.with_context(|| format!("the module has no export {served_by}"))?.item));
    }
    let all: Vec<_> = module.exports.iter().map(Export::id).collect();
    all.into_iter().for_each(|export| module.exports.delete(export));
    for (name, item) in kept {
        module.exports.add(name, item);
    }
    gc::run(&mut module);
    for function in module.funcs.iter_mut() {
        function.name = function.name.as_deref().map(|name| format!("{:#}", demangle(name)));
    }
    Ok(module.emit_wasm())
}

/// Puts the functions that requests run first, and adds hints at their branches. The same module gives the same bytes.
fn arrange(module: &[u8], profile: &Profile) -> Result<Vec<u8>> {
    let order = order::by_use(profile);
    let ordered = order::reorder(module, &order).context("the order of functions")?;
    hints::add(&ordered, &order, profile).context("the hints at branches")
}

#[cfg(test)]
mod tests {
    use super::arrange;
    use crate::profile::Profile;

    #[test]
    fn a_finished_module_is_arranged_already() {
        for name in ["traffic_mirror.wasm", "traffic_mirror_compare.wasm"] {
            let path = format!("{}/../../dist/{name}", env!("CARGO_MANIFEST_DIR"));
            let module = std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}: run `make build` first"));
            let profile = Profile::rehearse(&module).unwrap();
            assert!(arrange(&module, &profile).unwrap() == module, "{path}: other bytes from the same code");
        }
    }
}
