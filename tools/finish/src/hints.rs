//! Hints at branches: which way requests take. V8 moves the other way out of the code that stands together; an engine that does not
//! know them loses nothing.
//!
//! The format is WebAssembly's branch hinting: <https://github.com/WebAssembly/branch-hinting>.

use anyhow::{Context, Result, ensure};
use wasm_encoder::{BranchHint, BranchHints, Section};
use wasmparser::{FunctionBody, Operator, Parser, Payload};

use crate::order::imported_functions;
use crate::profile::{Profile, Way};

/// One in so many may take the other way than the hint says.
const EXCEPTION: u64 = 20;

/// Adds hints to a module. Its functions have the given places in the profile.
pub fn add(module: &[u8], order: &[usize], profile: &Profile) -> Result<Vec<u8>> {
    let mut functions = (imported_functions(module)?..).zip(order);
    let mut hints = BranchHints::new();
    // Where the section before ends, and where the one before the code does.
    let (mut end, mut before_code) = (0, None);
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::Version { range, .. } => end = range.end,
            Payload::CodeSectionStart { .. } => before_code = Some(end),
            Payload::CodeSectionEntry(body) => {
                let (function, place) = functions.next().context("the profile is of fewer functions")?;
                let hinted = hinted(body, &profile.ways(*place))?;
                if !hinted.is_empty() {
                    hints.function_hints(function, hinted);
                }
            }
            _ => {}
        }
        if let Some((_, range)) = payload.as_section() {
            end = range.end;
        }
    }
    let (before, code) = module.split_at(usize::try_from(before_code.context("the module has no code")?)?);
    let mut hinted = before.to_vec();
    hints.append_to(&mut hinted);
    hinted.extend(code);
    Ok(hinted)
}

/// Returns the hints for a function, which has so many ways at its branches.
fn hinted(body: &FunctionBody<'_>, ways: &[Way]) -> Result<Vec<BranchHint>> {
    let (mut ways, mut hints) = (ways.iter(), Vec::new());
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, place) = operators.read_with_offset()?;
        if !matches!(operator, Operator::If { .. } | Operator::BrIf { .. }) {
            continue;
        }
        let way = ways.next().context("the profile is of fewer branches")?;
        if let Some(is_taken) = hint(*way) {
            let branch_func_offset = u32::try_from(place - body.range().start)?;
            hints.push(BranchHint { branch_func_offset, branch_hint_value: u32::from(is_taken) });
        }
    }
    ensure!(ways.next().is_none(), "the profile is of more branches");
    Ok(hints)
}

/// Returns whether a branch is likely to be taken, where one way is.
fn hint(Way { reached, taken }: Way) -> Option<bool> {
    let is_rare = |times: u64| times * EXCEPTION < reached;
    if is_rare(taken) {
        Some(false)
    } else if is_rare(reached - taken) {
        Some(true)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::hint;
    use crate::arrange;
    use crate::fixture::{Taken, hints, module};
    use crate::profile::{Profile, Way};

    fn arranged(module: &[u8]) -> Vec<u8> {
        arrange(module, &Profile::rehearse(module).unwrap()).unwrap()
    }

    #[test]
    fn each_branch_of_which_one_way_is_likely_has_a_hint() {
        let conditions = [Taken::Always, Taken::Never, Taken::Half];
        let arranged = arranged(&module(&conditions, false));
        let expected = [Some(true), Some(false), None].map(|likely| [likely; 2]).concat();
        assert_eq!(hints(&arranged, "serve"), expected, "an `if` and a `br_if` for each of {conditions:?}");
    }

    #[test]
    fn code_that_no_request_runs_has_no_hints() {
        let arranged = arranged(&module(&[Taken::Always, Taken::Never], false));
        assert_eq!(hints(&arranged, "idle"), [None; 4]);
    }

    #[test]
    fn a_way_is_likely_where_fewer_than_one_in_twenty_take_the_other() {
        let cases = [
            (0, 0, None),
            (100, 0, Some(false)),
            (100, 4, Some(false)),
            (100, 5, None),
            (100, 95, None),
            (100, 96, Some(true)),
            (1, 1, Some(true)),
        ];
        for (reached, taken, expected) in cases {
            assert_eq!(hint(Way { reached, taken }), expected, "{taken} of {reached}");
        }
    }
}
