//! Where the module's bytes come from: its code by crate, and its largest functions. It fails where they grow out of bounds.
//!
//! Each proxy that loads the module pays for them before the first request: Envoy compiles all of it, in time by the bytes
//! of code, in memory by the largest functions (docs/cost.md).
//!
//! Usage: `size MODULE.wasm …`

use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, HashMap};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// The most bytes of code that a module may have, by what its name ends with. A change that raises it says why. The last 35,000 of
/// both are for what finds all texts of expressions in one pass: 30 ms when a proxy starts, against 100 ms that a client's path
/// could take each time.
const MOST_CODE: [(&str, usize); 2] = [("_compare.wasm", 835_000), ("", 745_000)];

/// The most bytes that one function may have.
const MOST_FUNCTION: usize = 12_000;

/// How many crates and functions are printed, the largest first.
const SHOWN: usize = 20;

fn main() -> Result<()> {
    let mut are_within = true;
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
        let module = Module::read(&bytes).with_context(|| format!("cannot read {path}"))?;
        println!("{path}: {} bytes", bytes.len());
        are_within &= module.print(&path);
    }
    if are_within { Ok(()) } else { bail!("above the bounds, which stand in tools/size/src/main.rs") }
}

/// What is measured of a module, in bytes.
#[derive(Default)]
struct Module {
    sections: Vec<(String, usize)>,
    functions: Vec<(String, usize)>,
}

impl Module {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut module = Self::default();
        let (mut imported, mut bodies, mut names) = (0, Vec::new(), HashMap::new());
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload?;
            if let Some((id, range)) = payload.as_section() {
                module.sections.push((section_name(&payload, id), usize::try_from(range.end - range.start)?));
            }
            match payload {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(body.range()),
                Payload::CustomSection(section) => {
                    let KnownCustom::Name(section) = section.as_known() else { continue };
                    for name in section {
                        let Name::Function(functions) = name? else { continue };
                        for function in functions {
                            let function = function?;
                            names.insert(function.index, format!("{:#}", rustc_demangle::demangle(function.name)));
                        }
                    }
                }
                _ => {}
            }
        }
        for (index, body) in (imported..).zip(bodies) {
            let name = names.remove(&index).unwrap_or_else(|| format!("function {index}"));
            module.functions.push((name, usize::try_from(body.end - body.start)?));
        }
        module.functions.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        Ok(module)
    }

    /// Prints it; false: it is out of bounds.
    fn print(&self, path: &str) -> bool {
        println!("\n   bytes  section");
        self.sections.iter().for_each(|(name, size)| println!("{size:8}  {name}"));
        let mut by_crate = BTreeMap::<_, usize>::new();
        for (name, size) in &self.functions {
            *by_crate.entry(crate_of(name)).or_default() += size;
        }
        let mut by_crate: Vec<_> = by_crate.into_iter().collect();
        by_crate.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
        println!("\n   bytes  code of");
        let (shown, others) = by_crate.split_at(SHOWN.min(by_crate.len()));
        shown.iter().for_each(|(name, size)| println!("{size:8}  {name}"));
        println!("{:8}  others", others.iter().map(|(_, size)| size).sum::<usize>());
        println!("\n   bytes  function");
        self.functions.iter().take(SHOWN).for_each(|(name, size)| println!("{size:8}  {name}"));

        let code: usize = self.functions.iter().map(|(_, size)| size).sum();
        let largest = self.functions.first().map_or(0, |(_, size)| *size);
        let mut is_within = true;
        let most_code = MOST_CODE.iter().find(|(end, _)| path.ends_with(end)).map_or(0, |(_, most)| *most);
        for (what, size, most) in [("code", code, most_code), ("the largest function", largest, MOST_FUNCTION)] {
            println!("\n{what}: {size} bytes, at most {most}");
            is_within &= size <= most;
        }
        println!();
        is_within
    }
}

fn section_name(payload: &Payload<'_>, id: u8) -> String {
    match payload {
        Payload::CustomSection(section) => format!("custom: {}", section.name()),
        Payload::CodeSectionStart { .. } => "code".into(),
        Payload::DataSection(_) => "data".into(),
        _ => format!("section {id}"),
    }
}

/// Returns the crate of a function: of the type it belongs to, where it is one of a trait.
fn crate_of(name: &str) -> &str {
    let name = name.trim_start_matches(['<', '&', '(', '[', '*']);
    let name = name.strip_prefix("dyn ").or_else(|| name.strip_prefix("mut ")).unwrap_or(name);
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    name.split(|character| !is_part(character)).next().filter(|name| !name.is_empty()).unwrap_or("?")
}
