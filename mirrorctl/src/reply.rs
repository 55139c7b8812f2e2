//! What a command has to say, and how it ends.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// How a command ends: 0: all is well; 1: there are findings; 2: it was not used as it should be.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    out: String,
    err: String,
    has_findings: bool,
    is_misuse: bool,
}

impl Reply {
    /// Adds a line to the output.
    pub(crate) fn line(&mut self, line: impl Display) {
        self.out.push_str(&format!("{line}\n"));
    }

    /// Adds text to the output as it is.
    pub(crate) fn text(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Adds a line of what is wrong.
    pub(crate) fn finding(&mut self, line: impl Display) {
        self.note(line);
        self.fail();
    }

    /// Says by the exit code that something is wrong.
    pub(crate) fn fail(&mut self) {
        self.has_findings = true;
    }

    /// Adds a line of how it was not used as it should be.
    pub(crate) fn misuse(&mut self, line: impl Display) {
        self.note(format_args!("mirrorctl: {line}"));
        self.is_misuse = true;
    }

    /// Adds a line that is not part of the output.
    pub(crate) fn note(&mut self, line: impl Display) {
        self.err.push_str(&format!("{line}\n"));
    }

    /// Tells whether something is wrong.
    pub(crate) fn has_findings(&self) -> bool {
        self.has_findings
    }

    /// Prints it.
    pub(crate) fn print(self) -> ExitCode {
        // Whoever closed the other end does not want to read on.
        let _ = io::stderr().write_all(self.err.as_bytes());
        let _ = io::stdout().write_all(self.out.as_bytes());
        ExitCode::from(if self.is_misuse { 2 } else { u8::from(self.has_findings) })
    }
}
