//! Parts of the documents that are made from the program: the tables of options, and what its commands say of themselves.
//!
//! `make docs` runs these tests with UPDATE_DOCS set. Then they write what they otherwise compare with.

use crate::{ROOT, mirrorctl, options};
use std::{env, fs};

/// Compares a file with what it ought to be, or writes it.
fn hold(path: &str, expected: &str) {
    let path = format!("{ROOT}/{path}");
    let is_current = fs::read_to_string(&path).unwrap() == expected;
    if env::var_os("UPDATE_DOCS").is_none() {
        assert!(is_current, "{path} is not up to date; run: make docs");
    } else if !is_current {
        fs::write(&path, expected).unwrap();
    }
}

/// Returns a document with a text put between two of its lines, `<!-- name: begin -->` and `<!-- name: end -->`.
fn with_part(path: &str, name: &str, part: &str) -> String {
    let text = fs::read_to_string(format!("{ROOT}/{path}")).unwrap();
    let [begin, end] = ["begin", "end"].map(|edge| format!("<!-- {name}: {edge} -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{path} has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{path} has no {end}"));
    format!("{before}{begin}\n{part}\n{end}{after}")
}

#[test]
fn the_schema_that_editors_use_is_the_one_that_is_printed() {
    hold("schema/traffic-mirror.schema.json", &mirrorctl(&["schema"], "").ok());
}

#[test]
fn the_tables_of_options_are_those_of_the_schema() {
    const PAGE: &str = "docs/configuration.md";
    let schema = serde_json::from_str(&mirrorctl(&["schema"], "").ok()).unwrap();
    hold(PAGE, &with_part(PAGE, "options", &options::tables(&schema)));
}

/// Returns the names of the commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = mirrorctl(&["--help"], "").ok();
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    list.map(|line| line.split_whitespace().next().unwrap().to_owned()).filter(|name| name != "help").collect()
}

#[test]
fn the_usage_is_what_the_commands_say_of_themselves() {
    const PAGE: &str = "docs/mirrorctl.md";
    let said = |command: &str| {
        let help = mirrorctl(&[command, "--help"], "").ok();
        let lines: Vec<_> = help.lines().map(str::trim_end).collect();
        format!("### mirrorctl {command}\n\n```text\n{}\n```\n", lines.join("\n"))
    };
    let commands = commands();
    assert!(commands.len() >= 7, "{commands:?}");
    let usage: Vec<_> = commands.iter().map(|command| said(command)).collect();
    hold(PAGE, &with_part(PAGE, "usage", &usage.join("\n")));
}

#[test]
fn every_command_is_in_the_table_of_mirrorctl_md() {
    let page = fs::read_to_string(format!("{ROOT}/docs/mirrorctl.md")).unwrap();
    for command in commands().iter().filter(|command| *command != "completions") {
        assert!(page.contains(&format!("| [{command}](#{command}")), "{command}");
    }
}
