//! Messages as a person reads them: by file and document, in lines that fit the terminal.

use std::fmt::Write;

/// The narrowest terminal that lines are broken for.
const NARROWEST: usize = 40;

/// The parts of a message: `warning: routes.yaml: document 2 (VirtualService shop/a): spec.hosts: missing`.
#[derive(Debug, PartialEq, Eq)]
struct Message<'a> {
    /// `warning: `, where the line begins with it.
    severity: &'a str,
    file: &'a str,
    document: &'a str,
    what: &'a str,
}

impl<'a> Message<'a> {
    /// Takes a line apart; `None` where it is not about a document.
    fn new(line: &'a str) -> Option<Self> {
        let severity =
            ["warning: ", "note: "].into_iter().find(|severity| line.starts_with(severity)).unwrap_or_default();
        let (file, rest) = line.strip_prefix(severity)?.split_once(": document ")?;
        let number = rest.find(|character: char| !character.is_ascii_digit())?;
        let end = if rest.get(number..)?.starts_with(" (") { rest.find("): ")?.saturating_add(1) } else { number };
        let (document, what) = rest.split_at_checked(end)?;
        Some(Self { severity, file, document, what: what.strip_prefix(": ")? })
    }
}

/// Writes messages file by file, in the order in which they begin.
pub(super) fn grouped(lines: &[String], width: usize) -> String {
    let width = width.max(NARROWEST);
    let mut files: Vec<(&str, Vec<Message<'_>>)> = Vec::new();
    let mut others = Vec::new();
    for line in lines {
        let Some(message) = Message::new(line) else {
            others.push(line);
            continue;
        };
        // Files come one after another, but for warnings, which come first.
        match files.iter_mut().rev().find(|(file, _)| *file == message.file) {
            Some((_, messages)) => messages.push(message),
            None => files.push((message.file, vec![message])),
        }
    }
    let mut text = String::new();
    for (file, mut messages) in files {
        let _ = writeln!(text, "{file}");
        messages.sort_by_key(|message| number(message.document));
        let mut document = "";
        for message in messages {
            if message.document != document {
                document = message.document;
                let _ = writeln!(text, "  document {document}");
            }
            push(&mut text, &format!("{}{}", message.severity, message.what), width, "    ");
        }
    }
    others.into_iter().for_each(|line| push(&mut text, line, width, ""));
    text
}

fn number(document: &str) -> u64 {
    document.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Adds a line that may be indented; what does not fit stands deeper.
pub(super) fn push_indented(text: &mut String, line: &str, width: usize) {
    let message = line.trim_start_matches(' ');
    let (indent, _) = line.split_at_checked(line.len().saturating_sub(message.len())).unwrap_or_default();
    push(text, message, width.max(NARROWEST), indent);
}

/// Adds a message, indented; what does not fit its first line stands deeper.
fn push(text: &mut String, message: &str, width: usize, indent: &str) {
    let deeper = format!("{indent}  ");
    let options = textwrap::Options::new(width).initial_indent(indent).subsequent_indent(&deeper).break_words(false);
    // Names and codes are searched for: they stay in one piece.
    let options = options
        .word_splitter(textwrap::WordSplitter::NoHyphenation)
        .word_separator(textwrap::WordSeparator::AsciiSpace);
    for line in textwrap::wrap(message, options) {
        let _ = writeln!(text, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_its_severity_file_document_and_what_is_said() {
        for (line, expected) in [
            (
                "warning: a: b.yaml: document 12 (Service a (b)): spec: x: y",
                Some(("warning: ", "a: b.yaml", "12 (Service a (b))", "spec: x: y")),
            ),
            ("stdin: document 1: spec: x (y): z", Some(("", "stdin", "1", "spec: x (y): z"))),
            ("mirrorctl: nothing", None),
            ("stdin: document 1", None),
            ("stdin: document x: y", None),
        ] {
            let expected = expected.map(|(severity, file, document, what)| Message { severity, file, document, what });
            assert_eq!(Message::new(line), expected, "{line}");
        }
    }

    #[test]
    fn messages_stand_below_their_file_and_document_and_fit() {
        let lines = [
            "warning: a.yaml: document 2 (Service x): spec.ports: one two three four five six",
            "mirrorctl: no such file",
            "b.yaml: document 1: spec: missing",
            "a.yaml: document 1: spec.averyverylongwordthatdoesnotfitintotheline: no",
            "a.yaml: document 2 (Service x): spec.b: no",
        ]
        .map(str::to_owned);
        let expected = "a.yaml\n\
                        \x20 document 1\n\
                        \x20   spec.averyverylongwordthatdoesnotfitintotheline:\n\
                        \x20     no\n\
                        \x20 document 2 (Service x)\n\
                        \x20   warning: spec.ports: one two three\n\
                        \x20     four five six\n\
                        \x20   spec.b: no\n\
                        b.yaml\n\
                        \x20 document 1\n\
                        \x20   spec: missing\n\
                        mirrorctl: no such file\n";
        assert_eq!(grouped(&lines, 40), expected);
        assert_eq!(grouped(&lines, 10), expected);
    }
}
