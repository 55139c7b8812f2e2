//! One line that says how far it is, for whoever waits at a terminal.

use std::io::{IsTerminal, Write, stderr};

/// Erases what stands on the line of the terminal.
const ERASE: &str = "\r\x1b[K";

/// A line on standard error that is gone once there is something to say; in a pipe there is none.
pub(crate) struct Progress {
    is_shown: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { is_shown: stderr().is_terminal() }
    }

    /// Says how far it is.
    pub(crate) fn show(&self, text: &str) {
        if self.is_shown {
            // A line that is too long would not go away.
            let width = super::width(&stderr()).unwrap_or(80).saturating_sub(1);
            let text: String = text.chars().take(width).collect();
            // Whoever closed the other end does not want to know.
            let _ = write!(stderr(), "{ERASE}{text}").and_then(|()| stderr().flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.show("");
    }
}
