//! What is worth a warning in a file whose configurations the plugin takes: one function a code, one file a group of codes.

mod bodies;
mod clusters;
mod credentials;
mod methods;
mod updates;

use crate::found::Found;
use crate::input::Document;
use std::fmt;
use traffic_mirror::config::Config;

/// All codes.
const FINDERS: [fn(&Subject<'_>) -> Vec<Finding>; 5] = [
    bodies::large_bodies,
    clusters::retries_copies,
    credentials::credentials_leave,
    methods::lower_case_method,
    updates::no_keep_last,
];

/// A file: all its documents, and the configurations of the plugin that are in them.
pub(crate) struct Subject<'a> {
    pub(crate) documents: &'a [Document],
    pub(crate) plugins: &'a [(Found, Config)],
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The plugin works, and something about it is probably not as it was meant.
    Warning,
}

/// Something worth to be told; prints as `where: warning: what: hint [code]`, on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    /// Its name, which stays: in the documents, it is a heading.
    pub(crate) code: &'static str,
    /// The document and the path in it.
    pub(crate) place: String,
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: String,
}

impl Finding {
    fn warning(code: &'static str, place: String, what: String, hint: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, code, place, what, hint: hint.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
        };
        let line = format!("{}: {severity}: {}: {} [{}]", self.place, self.what, self.hint, self.code);
        // Names come from the file: nothing in them may look like a line of its own.
        f.write_str(&line.replace(char::is_control, " "))
    }
}

/// Finds all that is worth a warning in a file.
pub(crate) fn all(subject: &Subject<'_>) -> Vec<Finding> {
    FINDERS.iter().flat_map(|find| find(subject)).collect()
}
