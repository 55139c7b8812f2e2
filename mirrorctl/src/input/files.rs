//! From what the user names to files: a file is itself, a folder is what is in it, a pattern is what it matches.

use super::STDIN;
use glob::{MatchOptions, Pattern};
use std::collections::HashSet;
use std::path::Path;

/// How the names of files end that are read from a folder.
const ENDS: [&str; 3] = ["yaml", "yml", "json"];

/// Hidden files and folders are not looked into.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Lists the files, each once, those of a folder by their names.
///
/// # Errors
/// What to tell the user where there is none.
pub(crate) fn files(named: &[String]) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for name in named {
        let path = Path::new(name);
        if path.is_dir() {
            let below = format!("{}/**/*", Pattern::escape(name.trim_end_matches('/')));
            let known =
                |file: &String| Path::new(file).extension().is_some_and(|end| ENDS.iter().any(|own| end == *own));
            let found: Vec<_> = matching(&below)?.into_iter().filter(known).collect();
            if found.is_empty() {
                return Err(format!("{name}: no file in it that ends in .yaml, .yml or .json"));
            }
            all.extend(found);
        } else if name != STDIN && !path.exists() && name.contains(['*', '?', '[']) {
            let found = matching(name)?;
            if found.is_empty() {
                return Err(format!("{name}: no file matches"));
            }
            all.extend(found);
        } else {
            all.push(name.clone());
        }
    }
    let mut known = HashSet::new();
    all.retain(|file| known.insert(file.clone()));
    Ok(all)
}

fn matching(pattern: &str) -> Result<Vec<String>, String> {
    let paths = glob::glob_with(pattern, OPTIONS).map_err(|error| format!("{pattern}: {error}"))?;
    let mut files = Vec::new();
    for path in paths {
        let path = path.map_err(|error| format!("{}: {}", error.path().display(), error.error()))?;
        if path.is_file() {
            files.push(path.to_string_lossy().into_owned());
        }
    }
    Ok(files)
}
