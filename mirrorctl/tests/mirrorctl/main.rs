//! mirrorctl as a user runs it: arguments in; output, errors and exit code out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking, and nobody outside uses its items"
)]

mod baseline;
mod check;
mod clusters;
mod codes;
mod convert;
mod converted;
mod doctor;
mod explain;
mod explained;
mod generated;
mod input;
mod malformed;
mod moved;
mod options;
mod plan;
mod proxies;
mod report;
mod said;
mod shown;
mod stats;
mod terminal;
mod types;
mod versions;

use std::io::Write;
use std::process::{Command, Stdio};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What a run of mirrorctl left.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Returns the lines of the output, checked to be all that there is but for notes.
    pub fn ok(self) -> String {
        let said: Vec<_> = self.err.lines().filter(|line| !line.starts_with("note: ")).collect();
        assert_eq!((self.code, &*said.join("\n")), (0, ""), "{}", self.out);
        self.out
    }
}

/// Runs mirrorctl in the repository's folder.
pub fn mirrorctl(args: &[&str], stdin: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mirrorctl"))
        .args(args)
        .current_dir(ROOT)
        // The fake host sets it for the whole process, once another test has started one.
        .env_remove("TRAFFIC_MIRROR_KEY")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that does not read its standard input closes it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn help_usage_and_completions() {
    assert!(mirrorctl(&["--help"], "").ok().contains("Exit codes: 0 all is well, 1 findings, 2 wrong usage"));
    assert!(mirrorctl(&["--version"], "").ok().contains(env!("CARGO_PKG_VERSION")));
    for args in [&[][..], &["check"], &["check", "--what", "x"], &["nothing"], &["completions", "tcl"]] {
        let ran = mirrorctl(args, "");
        assert_eq!((ran.code, &*ran.out), (2, ""), "{args:?}");
        assert!(ran.err.contains("--help") || ran.err.contains("Usage: mirrorctl"), "{args:?}: {}", ran.err);
    }
    for (shell, word) in
        [("bash", "complete -F _mirrorctl"), ("zsh", "#compdef mirrorctl"), ("fish", "complete -c mirrorctl")]
    {
        assert!(mirrorctl(&["completions", shell], "").ok().contains(word), "{shell}");
    }
}
