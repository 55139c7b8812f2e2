//! What the README shows of mirrorctl is what it prints.

use crate::ROOT;
use std::path::Path;
use std::process::Command;

/// Runs a line of the shell, with the program that was built on its path.
fn shell(line: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_mirrorctl")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("sh").args(["-c", &format!("{line} 2>&1")]).current_dir(ROOT).env("PATH", path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn each_command_prints_what_is_shown() {
    let readme = std::fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let blocks: Vec<_> =
        readme.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("console\n")).collect();
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
