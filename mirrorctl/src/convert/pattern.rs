//! Text as a regular expression and as a replacement, each of which stands for the text itself.

/// Writes text as an expression that matches the text, and nothing else.
pub(super) fn literal(text: &str) -> String {
    // Outside of brackets a hyphen is an ordinary character, and names are full of them.
    regex_syntax::escape(text).replace("\\-", "-")
}

/// Writes text as a replacement, in RE2's syntax: only a backslash means something there.
pub(super) fn replacement(text: &str) -> String {
    text.replace('\\', "\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    proptest! {
        #[test]
        fn text_becomes_an_expression_that_matches_it_alone(text: String, other: String) {
            let regex = Regex::new(&format!(r"\A{}\z", literal(&text))).unwrap();
            prop_assert!(regex.is_match(&text));
            prop_assert_eq!(regex.is_match(&other), text == other);
        }
    }

    #[test]
    fn what_is_special_is_escaped_and_nothing_else() {
        for (text, expected) in [
            ("/a+b", r"/a\+b"),
            ("/a(b)$", r"/a\(b\)\$"),
            ("/a*", r"/a\*"),
            (r"a\-b", r"a\\-b"),
            ("[a]{b}|^?.", r"\[a\]\{b\}\|\^\?\."),
            ("/a-b_c/%20,;=:@!'", "/a-b_c/%20,;=:@!'"),
        ] {
            assert_eq!(literal(text), expected);
        }
    }
}
