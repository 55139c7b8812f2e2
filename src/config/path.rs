//! Where a value of the configuration stands: `rules[0].mirrors[1].cluster`.

use std::fmt;

/// A path, as a chain from a value up to the root. It is written out only where something is wrong: in a configuration of
/// thousands of rules the text of each value's path would take as long as all else.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => f.write_str(name),
            Self::Field(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_fields_and_items_from_the_root_on() {
        let rules = Path::Field(&Path::Root, "rules");
        let rule = Path::Item(&rules, 3);
        let name = Path::Field(&rule, "name");
        for (path, expected) in [
            (Path::Root, ""),
            (rules, "rules"),
            (rule, "rules[3]"),
            (name, "rules[3].name"),
            (Path::Item(&Path::Root, 0), "[0]"),
        ] {
            assert_eq!(path.to_string(), expected);
        }
    }
}
