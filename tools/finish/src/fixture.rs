//! A module for the tests: its callback for the headers of requests has branches of which it is known how often they are taken.

use std::collections::BTreeMap;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection, GlobalType,
    InstructionSink, MemorySection, MemoryType, Module, NameMap, NameSection, TypeSection, ValType,
};
use wasmparser::{FunctionBody, KnownCustom, Name, Operator, Parser, Payload};

use crate::order::imported_functions;

/// How often a branch is taken.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    Always,
    Never,
    /// By each second request.
    Half,
}

/// Builds a module whose functions are `idle`, which nothing calls; `proxy_on_request_headers`, with an `if` and a `br_if` for each
/// of the given conditions; `helper`, which it calls; and `refuse`, which is `proxy_on_configure` where the module is to refuse.
pub fn module(conditions: &[Taken], refuses: bool) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    types.ty().function([ValType::I32; 3], [ValType::I32]);
    types.ty().function([ValType::I32; 2], [ValType::I32]);
    for ty in [0, 1, 0, 2] {
        functions.function(ty);
    }

    let mut idle = Function::new([]);
    branches(&mut idle.instructions(), conditions);
    idle.instructions().end();
    let mut serve = Function::new([(1, ValType::I64)]);
    serve.instructions().global_get(0).i32_const(1).i32_add().global_set(0);
    branches(&mut serve.instructions(), conditions);
    serve.instructions().call(2).i32_const(0).end();
    let mut helper = Function::new([]);
    helper.instructions().nop().end();
    let mut refuse = Function::new([]);
    refuse.instructions().i32_const(0).end();
    for function in [idle, serve, helper, refuse] {
        code.function(&function);
    }

    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut globals = GlobalSection::new();
    let number = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
    globals.global(number, &ConstExpr::i32_const(0));
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("proxy_on_request_headers", ExportKind::Func, 1);
    if refuses {
        exports.export("proxy_on_configure", ExportKind::Func, 3);
    }
    let mut names = NameMap::new();
    (0..).zip(["idle", "serve", "helper", "refuse"]).for_each(|(function, name)| names.append(function, name));
    let mut name_section = NameSection::new();
    name_section.functions(&names);

    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&globals).section(&exports);
    module.section(&code).section(&name_section);
    module.finish()
}

/// Writes an `if` and a `br_if` for each condition.
fn branches(write: &mut InstructionSink<'_>, conditions: &[Taken]) {
    for taken in conditions {
        condition(write, *taken);
        write.if_(BlockType::Empty).nop().end().block(BlockType::Empty);
        condition(write, *taken);
        write.br_if(0).end();
    }
}

fn condition(write: &mut InstructionSink<'_>, taken: Taken) {
    match taken {
        Taken::Always => write.i32_const(1),
        Taken::Never => write.i32_const(0),
        Taken::Half => write.global_get(0).i32_const(1).i32_and(),
    };
}

/// Returns the functions that a module has code for, in their order, each with its name.
pub fn bodies(module: &[u8]) -> Vec<(String, FunctionBody<'_>)> {
    let names = names(module);
    let bodies = Parser::new(0).parse_all(module).filter_map(|payload| match payload.unwrap() {
        Payload::CodeSectionEntry(body) => Some(body),
        _ => None,
    });
    (imported_functions(module).unwrap()..).zip(bodies).map(|(number, body)| (names[&number].clone(), body)).collect()
}

/// Returns the names of functions by their numbers.
pub fn names(module: &[u8]) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload.unwrap() else { continue };
        let KnownCustom::Name(section) = section.as_known() else { continue };
        for name in section {
            let Name::Function(functions) = name.unwrap() else { continue };
            let functions = functions.into_iter().map(|naming| naming.unwrap());
            names.extend(functions.map(|naming| (naming.index, naming.name.to_owned())));
        }
    }
    names
}

/// Returns the hints of a function with a name, one for each of its branches with conditions.
pub fn hints(module: &[u8], function: &str) -> Vec<Option<bool>> {
    let names = names(module);
    let mut hints = BTreeMap::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::CustomSection(section) => {
                let KnownCustom::BranchHints(section) = section.as_known() else { continue };
                for of_function in section {
                    let of_function = of_function.unwrap();
                    if names[&of_function.func] == function {
                        let places = of_function.hints.into_iter().map(|hint| hint.unwrap());
                        hints.extend(places.map(|hint| (u64::from(hint.func_offset), hint.taken)));
                    }
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    let (_, body) = bodies(module).into_iter().find(|(name, _)| name == function).unwrap();
    let operators = body.get_operators_reader().unwrap().into_iter_with_offsets().map(|operator| operator.unwrap());
    let branches = operators
        .filter(|(operator, _)| matches!(operator, Operator::If { .. } | Operator::BrIf { .. }))
        .map(|(_, place)| place);
    let of_branches = branches.map(|place| hints.remove(&(place - body.range().start))).collect();
    assert!(hints.is_empty(), "hints where no branch is: {hints:?}");
    of_branches
}
