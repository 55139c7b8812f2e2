//! The recipes of docs/recipes.md that have parts of Envoy's own configuration: each runs in a real Envoy as the page shows it.

mod choice;
mod clusters;
mod filters;
mod recipe;

use harness::process::ROOT;
use std::fs;
use std::path::Path;

#[test]
fn every_recipe_with_envoys_own_configuration_is_run() {
    let page = recipe::page();
    let (_, own) = page.split_once(recipe::PART).unwrap();
    let shown: Vec<&str> = own.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let folder = Path::new(ROOT).join("tests/recipes");
    let sources = ["filters.rs", "choice.rs", "clusters.rs"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    let is_run = |heading: &str| sources.iter().any(|source| source.contains(&format!("\"{heading}\"")));
    let not_run: Vec<&str> = shown.iter().filter(|heading| !is_run(heading)).copied().collect();
    assert!(shown.len() > 10 && not_run.is_empty(), "{} recipes, not run: {not_run:?}", shown.len());
}
