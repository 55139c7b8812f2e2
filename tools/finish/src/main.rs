//! The last step of the build: leaves in the module only the exports that Envoy has to call.
//!
//! The SDK exports every callback of the ABI, and Envoy calls each one that is exported, for every request: what is not
//! exported costs nothing. All else, the names section included, stays as it is, so that backtraces stay readable.
//!
//! Usage: `finish IN.wasm OUT.wasm`

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use wasm_encoder::{ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// What Envoy has to find in the module, and the function that serves it: the SDK's of the same name, or one of
/// the filter's own (`src/envoy/exports.rs` says why).
/// `tests/module.rs` holds the same list.
const EXPORTS: [(&str, &str); 11] = [
    ("memory", "memory"),
    ("_initialize", "_initialize"),
    ("proxy_abi_version_0_2_1", "proxy_abi_version_0_2_1"),
    ("proxy_on_memory_allocate", "proxy_on_memory_allocate"),
    ("proxy_on_configure", "traffic_mirror_on_configure"),
    ("proxy_on_context_create", "traffic_mirror_on_context_create"),
    ("proxy_on_request_headers", "traffic_mirror_on_request_headers"),
    ("proxy_on_request_body", "traffic_mirror_on_request_body"),
    ("proxy_on_request_trailers", "traffic_mirror_on_request_trailers"),
    ("proxy_on_http_call_response", "traffic_mirror_on_http_call_response"),
    ("proxy_on_done", "traffic_mirror_on_done"),
];

fn main() -> Result<()> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let (input, output) = (paths.next().context("no input")?, paths.next().context("no output")?);
    let module = std::fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
    let finished = finish(&module).with_context(|| format!("cannot finish {}", input.display()))?;
    std::fs::write(&output, finished).with_context(|| format!("cannot write {}", output.display()))
}

/// Copies a module section by section, but for the exports, of which [`EXPORTS`] stay.
fn finish(module: &[u8]) -> Result<Vec<u8>> {
    let mut finished = Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ExportSection(exports) = payload {
            let mut kept = ExportSection::new();
            for export in exports {
                let export = export?;
                for (name, _) in EXPORTS.iter().filter(|(_, served_by)| *served_by == export.name) {
                    kept.export(name, kind(export.kind)?, export.index);
                }
            }
            ensure!(kept.len() as usize == EXPORTS.len(), "the module lacks one of {EXPORTS:?}");
            finished.section(&kept);
        } else if let Some((id, range)) = payload.as_section() {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            let data = module.get(range).context("a section outside of the module")?;
            finished.section(&RawSection { id, data });
        }
    }
    Ok(finished.finish())
}

fn kind(kind: ExternalKind) -> Result<wasm_encoder::ExportKind> {
    match kind {
        ExternalKind::Func => Ok(wasm_encoder::ExportKind::Func),
        ExternalKind::Memory => Ok(wasm_encoder::ExportKind::Memory),
        other => anyhow::bail!("an export of kind {other:?} is not among those to keep"),
    }
}
