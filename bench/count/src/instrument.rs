//! Makes a module count the operators that it executes.
//!
//! At the start of each straight-line piece of code a counter is raised by the number of operators in it; each function has a
//! counter of its own. What only marks where blocks begin and end is no operator: it executes nothing.

use std::ops::Range;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ConstExpr, ExportKind, ExportSection, Function, GlobalSection, GlobalType, Instruction, Module,
    ValType,
};
use wasmparser::{ExportSectionReader, FunctionBody, GlobalSectionReader, KnownCustom, Name, Parser, Payload, TypeRef};

/// A module that counts.
pub struct Instrumented {
    pub module: Vec<u8>,
    /// The functions, each with its counter at its place.
    pub functions: Vec<Code>,
}

/// A function that the module has code for.
#[derive(Clone, Default)]
pub struct Code {
    pub name: String,
    /// How long its code is.
    pub bytes: usize,
}

/// The name under which a function's counter is exported.
pub fn counter(function: usize) -> String {
    format!("operators of {function}")
}

/// Puts the counters into a module.
pub fn instrument(module: &[u8]) -> Result<Instrumented, Error> {
    let (functions, globals) = functions_and_globals(module)?;
    let mut counting = Counting { next: globals, globals: globals..globals + functions.len() as u32 };
    let mut instrumented = Module::new();
    counting.parse_core_module(&mut instrumented, Parser::new(0), module)?;
    Ok(Instrumented { module: instrumented.finish(), functions })
}

/// Finds the functions that a module has code for, and how many globals it has.
fn functions_and_globals(module: &[u8]) -> Result<(Vec<Code>, u32), Error> {
    let (mut imported, mut functions, mut bodies, mut globals) = (0, Vec::new(), 0, 0);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(section) => functions.resize(section.count() as usize, Code::default()),
            Payload::GlobalSection(section) => globals = section.count(),
            Payload::CodeSectionEntry(body) => {
                functions[bodies].bytes = body.as_bytes().len();
                bodies += 1;
            }
            Payload::CustomSection(section) => {
                let KnownCustom::Name(names) = section.as_known() else { continue };
                for name in names {
                    let Name::Function(names) = name? else { continue };
                    for naming in names {
                        let naming = naming?;
                        let place = (naming.index as usize).checked_sub(imported);
                        if let Some(function) = place.and_then(|place| functions.get_mut(place)) {
                            function.name = format!("{:#}", rustc_demangle::demangle(naming.name));
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok((functions, globals))
}

/// Copies a module, and adds the counters.
struct Counting {
    /// The counters' places among the globals.
    globals: Range<u32>,
    /// The counter of the next function.
    next: u32,
}

impl Reencode for Counting {
    type Error = std::convert::Infallible;

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_global_section(self, globals, section)?;
        for _ in self.globals.clone() {
            let counter = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
            globals.global(counter, &ConstExpr::i64_const(0));
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_export_section(self, exports, section)?;
        for (function, global) in self.globals.clone().enumerate() {
            exports.export(&counter(function), ExportKind::Global, global);
        }
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut reader = body.get_operators_reader()?;
        let mut piece = Vec::new();
        while !reader.eof() {
            piece.push(self.parse_instruction(&mut reader)?);
            if piece.last().is_some_and(ends_piece) {
                write_piece(&mut function, self.next, &piece);
                piece.clear();
            }
        }
        self.next += 1;
        code.function(&function);
        Ok(())
    }
}

/// Returns whether what follows may be reached by another way, or not be reached.
fn ends_piece(instruction: &Instruction<'_>) -> bool {
    is_mark(instruction) && !matches!(instruction, Instruction::Block(_))
        || matches!(
            instruction,
            Instruction::If(_)
                | Instruction::Br(_)
                | Instruction::BrIf(_)
                | Instruction::BrTable(..)
                | Instruction::Return
                | Instruction::Unreachable
        )
}

/// Returns whether it only marks where a block begins or ends.
fn is_mark(instruction: &Instruction<'_>) -> bool {
    matches!(instruction, Instruction::Block(_) | Instruction::Loop(_) | Instruction::Else | Instruction::End)
}

fn write_piece(function: &mut Function, counter: u32, piece: &[Instruction<'_>]) {
    let operators = piece.iter().filter(|instruction| !is_mark(instruction)).count();
    if operators > 0 {
        function.instruction(&Instruction::GlobalGet(counter));
        function.instruction(&Instruction::I64Const(operators as i64));
        function.instruction(&Instruction::I64Add);
        function.instruction(&Instruction::GlobalSet(counter));
    }
    for instruction in piece {
        function.instruction(instruction);
    }
}
