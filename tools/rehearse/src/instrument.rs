//! Makes a module count how often it executes each straight-line piece of its code.
//!
//! At the start of each piece a counter is raised. The counters stand in a memory of their own, beside the module's. What only
//! marks where blocks begin and end is no operator: it executes nothing.

use std::ops::Range;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Instruction, MemArg, MemArgTarget, MemorySection, MemoryType, Module,
};
use wasmi::Engine;
use wasmparser::{ExportSectionReader, FunctionBody, KnownCustom, MemorySectionReader, Name, Parser, Payload, TypeRef};

/// The name under which the counters' memory is exported.
pub(crate) const COUNTERS: &str = "counters of pieces";
/// The bytes of a counter.
pub(crate) const COUNTER: usize = size_of::<u64>();

/// A module that counts.
pub struct Instrumented {
    pub(crate) module: wasmi::Module,
    /// The functions that the module has code for.
    pub functions: Vec<Function>,
    /// The pieces of all functions, each with its counter at its place.
    pub pieces: Vec<Piece>,
}

/// A function that the module has code for.
#[derive(Clone, Default)]
pub struct Function {
    pub name: String,
    /// How long its code is.
    pub bytes: usize,
    /// Its places among the pieces.
    pub pieces: Range<usize>,
}

/// Code that is executed from its start to its end, or not at all.
pub struct Piece {
    pub operators: u64,
    pub bytes: usize,
    /// What it ends with, where that is a branch with a condition. The next piece of the function is then what follows the branch,
    /// and nothing else leads to its start.
    pub branch: Option<Branch>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Branch {
    /// What follows is executed where the condition holds.
    If,
    /// What follows is executed where the condition does not hold.
    BrIf,
}

impl Instrumented {
    /// Puts the counters into a module.
    pub fn new(module: &[u8]) -> anyhow::Result<Self> {
        let mut counting = Counting::read(module)?;
        let mut instrumented = Module::new();
        counting.parse_core_module(&mut instrumented, Parser::new(0), module)?;
        let module = wasmi::Module::new(&Engine::default(), instrumented.finish())?;
        Ok(Self { module, functions: counting.functions, pieces: counting.pieces })
    }
}

/// Copies a module, and adds the counters.
#[derive(Default)]
struct Counting {
    functions: Vec<Function>,
    /// How many functions have their pieces.
    done: usize,
    pieces: Vec<Piece>,
    /// How many memories the module has, and so the index of the counters'.
    memories: u32,
}

impl Counting {
    /// Finds the functions that a module has code for, and how many memories it has.
    fn read(module: &[u8]) -> Result<Self, Error> {
        let mut counting = Self::default();
        let (mut imported, mut bodies) = (0, 0);
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::FunctionSection(section) => {
                    counting.functions.resize(section.count() as usize, Function::default());
                }
                Payload::MemorySection(section) => counting.memories = section.count(),
                Payload::CodeSectionEntry(body) => {
                    counting.functions[bodies].bytes = body.as_bytes().len();
                    bodies += 1;
                }
                Payload::CustomSection(section) => {
                    let KnownCustom::Name(names) = section.as_known() else { continue };
                    for name in names {
                        let Name::Function(names) = name? else { continue };
                        for naming in names {
                            let naming = naming?;
                            let place = (naming.index as usize).checked_sub(imported);
                            if let Some(function) = place.and_then(|place| counting.functions.get_mut(place)) {
                                function.name = format!("{:#}", rustc_demangle::demangle(naming.name));
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(counting)
    }

    /// Writes what raises the next counter.
    fn raise(&self, function: &mut wasm_encoder::Function) {
        let offset = (self.pieces.len() * COUNTER) as u64;
        let target = MemArgTarget::Memory(self.memories);
        let counter = MemArg { offset, align: COUNTER.ilog2(), target, ordering: None };
        let mut write = function.instructions();
        write.i32_const(0).i32_const(0).i64_load(counter).i64_const(1).i64_add().i64_store(counter);
    }
}

impl Reencode for Counting {
    type Error = std::convert::Infallible;

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: MemorySectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_memory_section(self, memories, section)?;
        // How many counters there are is known when all code is: whoever starts the module lets it grow.
        memories.memory(MemoryType { minimum: 0, maximum: None, memory64: false, shared: false, page_size_log2: None });
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(COUNTERS, ExportKind::Memory, self.memories);
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Result<(), Error> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut reader = body.get_operators_reader()?;
        let first = self.pieces.len();
        let (mut start, mut follows_branch, mut piece) = (reader.original_position(), false, Vec::new());
        while !reader.eof() {
            piece.push(self.parse_instruction(&mut reader)?);
            let Some(last) = piece.last().filter(|last| ends_piece(last)) else { continue };
            let branch = match last {
                Instruction::If(_) => Some(Branch::If),
                Instruction::BrIf(_) => Some(Branch::BrIf),
                _ => None,
            };
            let operators = piece.iter().filter(|instruction| !is_mark(instruction)).count() as u64;
            let end = reader.original_position();
            if operators > 0 || follows_branch {
                self.raise(&mut function);
                self.pieces.push(Piece { operators, bytes: (end - start) as usize, branch });
            }
            for instruction in piece.drain(..) {
                function.instruction(&instruction);
            }
            (start, follows_branch) = (end, branch.is_some());
        }
        self.functions[self.done].pieces = first..self.pieces.len();
        self.done += 1;
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
