//! What the documents show of mirrorctl is what it prints, and the options that they name are those that it has.

use crate::{ROOT, mirrorctl};
use regex::Regex;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a line of the shell, with the program that was built on its path.
fn shell(line: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_mirrorctl")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-c", &format!("{line} 2>&1")]).current_dir(ROOT).env("PATH", path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the README and the pages in docs/, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let mut paths = vec![PathBuf::from(ROOT).join("README.md")];
    let mut folders = vec![PathBuf::from(ROOT).join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn each_command_prints_what_is_shown() {
    let text: String = documents().into_iter().map(|(_, text)| text).collect();
    let blocks: Vec<_> =
        text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("console\n")).collect();
    let mut commands = 0;
    for shown in blocks.iter().flat_map(|block| block.strip_prefix("$ ").unwrap().split("\n$ ")) {
        let (command, expected) = match shown.split_once("<<END\n") {
            Some((command, rest)) => {
                let (input, expected) = rest.split_once("END\n").unwrap();
                (format!("{command} 2>&1 <<END\n{input}END\n"), expected)
            }
            None => {
                let (command, expected) = shown.split_once('\n').unwrap();
                (command.to_owned(), expected)
            }
        };
        let printed = if command.contains("<<END") { shell(&format!("{{ {command}}}")) } else { shell(&command) };
        assert_eq!(printed.trim_end(), expected.trim_end(), "{command}");
        commands += 1;
    }
    assert!(commands >= 4, "{commands} commands");
}

#[test]
fn every_option_that_a_document_names_exists() {
    let command = Regex::new(r"mirrorctl ([a-z]+)([^`\n]*)").unwrap();
    let option = Regex::new(r"(?:^| )(--?[A-Za-z][a-z-]*)").unwrap();
    let mut count = 0;
    for (path, text) in documents() {
        let spans = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let blocks = text.split("```").skip(1).step_by(2).map(str::to_owned);
        for code in spans.chain(blocks).filter(|code| !code.contains("Usage:")) {
            for found in command.captures_iter(&code) {
                let help = mirrorctl(&[&found[1], "--help"], "");
                assert_eq!(help.code, 0, "{}: mirrorctl {}", path.display(), &found[1]);
                // Another program may follow.
                for option in option.captures_iter(found[2].split('|').next().unwrap()) {
                    let named = Regex::new(&format!(r"(?m)^ +(?:-[A-Za-z], )?{}(?-u:\b)", &option[1])).unwrap();
                    assert!(named.is_match(&help.out), "{}: {}", path.display(), &found[0]);
                }
                count += 1;
            }
        }
    }
    assert!(count >= 15, "{count} commands");
}
