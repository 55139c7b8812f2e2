//! The order of a module's functions. Code that runs together then stands together, on few pages of memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::Result;
use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, FunctionSection, Module, NameMap, NameSection};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, FunctionSectionReader, KnownCustom, Name, Parser, Payload, TypeRef,
};

use crate::profile::Profile;

/// Orders the functions that a module has code for: first those that requests run, by how many kinds of requests do, and by how
/// much they execute; then all others, as they stood.
pub fn by_use(profile: &Profile) -> Vec<usize> {
    let mut order: Vec<_> = (0..profile.functions()).collect();
    order.sort_by_cached_key(|function| Reverse(profile.runs(*function)));
    order
}

/// Puts the functions that a module has code for in the given order. Whatever names a function follows.
///
/// Hints at branches are not copied: where the branches stand changes with the numbers of functions.
pub fn reorder(module: &[u8], order: &[usize]) -> Result<Vec<u8>> {
    let mut places = vec![0; order.len()];
    for (place, function) in (0..).zip(order) {
        places[*function] = place;
    }
    let mut reordered = Module::new();
    let mut ordering = Ordering { imported: imported_functions(module)?, order, places };
    ordering.parse_core_module(&mut reordered, Parser::new(0), module)?;
    Ok(reordered.finish())
}

/// Returns how many functions a module imports: their numbers come before those of the functions that it has code for.
pub fn imported_functions(module: &[u8]) -> Result<u32> {
    let mut imported = 0;
    for payload in Parser::new(0).parse_all(module) {
        let Payload::ImportSection(imports) = payload? else { continue };
        for import in imports.into_imports() {
            imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
        }
    }
    Ok(imported)
}

/// Copies a module, with its functions in another order.
struct Ordering<'a> {
    imported: u32,
    /// The functions at their new places.
    order: &'a [usize],
    /// The new places of the functions.
    places: Vec<u32>,
}

impl Reencode for Ordering<'_> {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        let own = function.checked_sub(self.imported);
        Ok(own.map_or(function, |own| self.imported + self.places[own as usize]))
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error> {
        let types = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for function in self.order {
            functions.function(self.type_index(types[*function])?);
        }
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: CodeSectionReader<'_>) -> Result<(), Error> {
        let bodies = section.into_iter().collect::<Result<Vec<_>, _>>()?;
        for function in self.order {
            self.parse_function_body(code, bodies[*function].clone())?;
        }
        Ok(())
    }

    fn parse_custom_section(&mut self, module: &mut Module, section: CustomSectionReader<'_>) -> Result<(), Error> {
        match section.as_known() {
            KnownCustom::BranchHints(_) => Ok(()),
            _ => utils::parse_custom_section(self, module, section),
        }
    }

    fn parse_custom_name_subsection(&mut self, names: &mut NameSection, section: Name<'_>) -> Result<(), Error> {
        match section {
            // Sorted by number, as the format wants it.
            Name::Function(functions) => {
                let mut sorted = BTreeMap::new();
                for naming in functions {
                    let naming = naming?;
                    sorted.insert(self.function_index(naming.index)?, naming.name);
                }
                let mut map = NameMap::new();
                sorted.into_iter().for_each(|(function, name)| map.append(function, name));
                names.functions(&map);
                Ok(())
            }
            // They would have to be sorted as well, and no backtrace shows them. The compiler writes none.
            Name::Local(_) | Name::Label(_) => Ok(()),
            _ => utils::parse_custom_name_subsection(self, names, section),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{by_use, reorder};
    use crate::fixture::{Taken, bodies, module, names};
    use crate::profile::Profile;
    use wasmparser::{ElementItems, ExternalKind, FromReader, Operator, Parser, Payload, SectionLimited};

    #[test]
    fn what_requests_run_comes_first_and_the_others_stay_as_they_stood() {
        let module = module(&[Taken::Half], false);
        let ordered = reorder(&module, &by_use(&Profile::rehearse(&module).unwrap())).unwrap();
        let names: Vec<_> = bodies(&ordered).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["serve", "helper", "idle", "refuse"]);
    }

    #[test]
    fn a_module_in_another_order_is_the_same_but_for_the_numbers_of_its_functions() {
        let module = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../dist/traffic_mirror.wasm"))
            .expect("dist/traffic_mirror.wasm, of `make build`");
        let order: Vec<_> = (0..bodies(&module).len()).rev().collect();
        let reversed = reorder(&module, &order).unwrap();
        assert_ne!(bodies(&module)[0].0, bodies(&reversed)[0].0);
        let (expected, lines) = (described(&module), described(&reversed));
        assert!(expected.len() > 1000, "{} lines", expected.len());
        for (line, expected) in lines.iter().zip(&expected) {
            assert_eq!(line, expected);
        }
        assert_eq!(lines.len(), expected.len());
    }

    /// Describes functions, exports and tables of a module without numbers of functions, in an order that does not depend on them.
    fn described(module: &[u8]) -> Vec<String> {
        let names = names(module);
        let name = |function: u32| names.get(&function).cloned().unwrap_or_else(|| format!("import {function}"));
        let (mut lines, mut types) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload.unwrap() {
                Payload::FunctionSection(section) => types = all(section),
                Payload::ExportSection(section) => lines.extend(all(section).into_iter().map(|export| {
                    let is_function = export.kind == ExternalKind::Func;
                    let what = if is_function { name(export.index) } else { export.index.to_string() };
                    format!("export {}: {what}", export.name)
                })),
                Payload::ElementSection(section) => {
                    for element in all(section) {
                        let ElementItems::Functions(functions) = element.items else { panic!("other elements") };
                        let functions: Vec<_> = all(functions).into_iter().map(name).collect();
                        lines.push(format!("elements {functions:?}"));
                    }
                }
                _ => {}
            }
        }
        for (ty, (function, body)) in types.into_iter().zip(bodies(module)) {
            let locals: Vec<_> = body.get_locals_reader().unwrap().into_iter().map(|locals| locals.unwrap()).collect();
            let operators = body.get_operators_reader().unwrap().into_iter().map(|operator| match operator.unwrap() {
                Operator::Call { function_index } => format!("call {}", name(function_index)),
                operator => format!("{operator:?}"),
            });
            lines.push(format!("{function}: type {ty}, {locals:?}, {:?}", operators.collect::<Vec<_>>()));
        }
        lines.sort();
        lines
    }

    fn all<'a, T: FromReader<'a>>(section: SectionLimited<'a, T>) -> Vec<T> {
        section.into_iter().map(|item| item.unwrap()).collect()
    }
}
