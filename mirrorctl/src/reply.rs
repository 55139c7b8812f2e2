//! What a command has to say, and how it ends.

mod lines;
mod progress;

pub(crate) use progress::Progress;

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use terminal_size::{Height, Width, terminal_size};

/// How a command ends: 0: all is well; 1: there are findings; 2: it was not used as it should be.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    out: String,
    err: Vec<String>,
    has_findings: bool,
    is_misuse: bool,
}

impl Reply {
    /// Adds a line to the output.
    pub(crate) fn line(&mut self, line: impl Display) {
        self.out.push_str(&format!("{line}\n"));
    }

    /// Adds what is said to the output: on a terminal in lines that fit, indented as it is, else as one line.
    pub(crate) fn sentence(&mut self, line: impl Display) {
        match width(&io::stdout()) {
            Some(width) => lines::push_indented(&mut self.out, &line.to_string(), width),
            None => self.line(line),
        }
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
        self.err.push(line.to_string());
    }

    /// Tells whether something is wrong.
    pub(crate) fn has_findings(&self) -> bool {
        self.has_findings
    }

    /// Prints it: to a terminal by file and in lines that fit, else a line for each thing that is said.
    pub(crate) fn print(self) -> ExitCode {
        let err = match width(&io::stderr()) {
            Some(width) => lines::grouped(&self.err, width),
            None => self.err.iter().map(|line| format!("{line}\n")).collect(),
        };
        // Whoever closed the other end does not want to read on.
        let _ = io::stderr().write_all(err.as_bytes());
        let _ = io::stdout().write_all(self.out.as_bytes());
        ExitCode::from(if self.is_misuse { 2 } else { u8::from(self.has_findings) })
    }
}

/// Returns how many characters a line of a terminal has; `None`: it is none.
pub(crate) fn width(to: &impl IsTerminal) -> Option<usize> {
    screen(to).map(|(width, _)| width)
}

/// Returns how many columns and rows a terminal has; `None`: it is none.
pub(crate) fn screen(to: &impl IsTerminal) -> Option<(usize, usize)> {
    let (Width(width), Height(height)) = terminal_size().filter(|_| to.is_terminal())?;
    Some((usize::from(width), usize::from(height)))
}
