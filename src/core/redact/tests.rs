//! Where values are found, and what the text becomes.

use super::*;
use crate::config::{Pointer, Pointers, With};
use proptest::prelude::*;
use proptest::sample::select;

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

fn pointers(texts: &[&str]) -> Pointers {
    texts.iter().map(|text| Pointer::new(text).unwrap()).collect()
}

/// Returns the text with `#` in place of each value that was found.
fn marked(text: &[u8], spans: &Spans) -> String {
    let key = Key::new(&[0; 16]).unwrap();
    let replaced = spans.replaced(text, Escapes::None, Hide::Mask).unwrap();
    assert_eq!(replaced.len(), spans.length(text, Escapes::None, Hide::Mask));
    let pseudonyms = spans.replaced(text, Escapes::Json, Hide::Pseudonym(&key)).unwrap();
    assert_eq!(pseudonyms.len(), spans.length(text, Escapes::Json, Hide::Pseudonym(&key)));
    String::from_utf8_lossy(&replaced).replace("***", "#")
}

fn in_json(text: &str, places: &[&str]) -> Result<String, Failed> {
    let mut spans = Spans::default();
    json::find(text.as_bytes(), &pointers(places), &mut spans)?;
    Ok(marked(text.as_bytes(), &spans))
}

#[test]
fn a_value_is_found_where_a_pointer_leads() {
    for (text, places, expected) in [
        (r#"{"a":"x","b":"y"}"#, &["/a"][..], r#"{"a":#,"b":"y"}"#),
        (r#" { "a" : "x" , "a" : 2 } "#, &["/a"], r#" { "a" : # , "a" : # } "#),
        (r#"{"\u0061":1,"\u0041":1,"A":1}"#, &["/a"], r#"{"\u0061":#,"\u0041":1,"A":1}"#),
        (r#"{"\ud83d\ude00":1,"😀":2}"#, &["/😀"], r#"{"\ud83d\ude00":#,"😀":#}"#),
        (r#"{"a":{"b":[1,{"b":2}]},"b":3}"#, &["/a/b"], r#"{"a":{"b":#},"b":3}"#),
        (r#"{"a":{"b":[1,{"b":2}]},"b":3}"#, &["/a/b/0", "/b"], r#"{"a":{"b":[#,{"b":2}]},"b":#}"#),
        (r#"{"a":{"b":1,"c":2}}"#, &["/a/b", "/a"], r#"{"a":#}"#),
        (r#"{"a":{"b":1,"c":2}}"#, &["/a/*", "/a/b"], r#"{"a":{"b":#,"c":#}}"#),
        (r#"[[[1],[2]],[[3]]]"#, &["/*/*/0"], r#"[[[#],[#]],[[#]]]"#),
        (r#"[[1,2],{"1":3}]"#, &["/*/1"], r#"[[1,#],{"1":#}]"#),
        (r#"[1,2,3,4,5,6,7,8,9,10,11]"#, &["/10", "/01", "/-"], r#"[1,2,3,4,5,6,7,8,9,10,#]"#),
        (
            r#"{"a/b":1,"a~b":2,"a~1b":3,"":4,"*":5}"#,
            &["/a~1b", "/a~0b", "/"],
            r#"{"a/b":#,"a~b":#,"a~1b":3,"":#,"*":5}"#,
        ),
        (r#"{"a":null,"b":true,"c":-1.5e+3,"d":[],"e":{}}"#, &["/*"], r##"{"a":#,"b":#,"c":#,"d":#,"e":#}"##),
        (r#"{"a":"\"},\\"}"#, &["/a"], r#"{"a":#}"#),
        (r#"{"a":{"x":{"b":1}},"c":{"b":2}}"#, &["/*/b"], r#"{"a":{"x":{"b":1}},"c":{"b":#}}"#),
        (" [1] ", &[""], " # "),
        ("7", &["", "/a"], "#"),
        ("7", &["/a"], "7"),
        ("[]", &["/0"], "[]"),
    ] {
        assert_eq!(in_json(text, places).as_deref(), Ok(expected), "{text} {places:?}");
    }
}

#[test]
fn what_is_not_json_is_not_looked_at() {
    let text = r#"["\u00e9\ud83d\ude00\n","é",0,-0.1E-2,null,true,false,{"a":{}}]"#;
    assert_eq!(in_json(text, &["/a"]).as_deref(), Ok(text));
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":}",
        "{1:1}",
        "[1]]",
        "[1}",
        "{\"a\":1]",
        "1 2",
        "{}{}",
        "// c\n1",
        "[1]//",
        "'a'",
        "\"a",
        "\"a\nb\"",
        "\"\t\"",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\u+123\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0061\"",
        "\"\\udc00\"",
        "\"\\ud83d\\\"",
        "01",
        "-",
        "1.",
        ".5",
        "+1",
        "1e",
        "0x1",
        "NaN",
        "Infinity",
        "tru",
        "True",
        "nulls",
        "\u{feff}1",
        "\u{a0}1",
        "1\u{c}",
        "\"\\",
    ] {
        assert_eq!(in_json(text, &["/a"]), Err(Failed::Malformed), "{text:?}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text:?}");
    }
    let not_utf_8 = json::find(b"\"\xff\"", &Pointers::default(), &mut Spans::default());
    assert_eq!(not_utf_8, Err(Failed::Charset));
}

#[test]
fn a_number_may_have_any_number_of_digits() {
    let digits = "7".repeat(400);
    let text = format!("{{\"a\":{digits},\"b\":-{digits}.{digits}e{digits}}}");
    assert_eq!(in_json(&text, &["/b"]), Ok(format!("{{\"a\":{digits},\"b\":#}}")));
}

#[test]
fn json_is_128_deep_at_most_and_has_1000_hidden_values() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(in_json(&nested(128), &["/x"]).is_ok());
    assert_eq!(in_json(&nested(129), &["/x"]), Err(Failed::Nesting));
    assert_eq!(in_json(&format!("[1,{}]", nested(128)), &[""]), Err(Failed::Nesting));
    assert_eq!(in_json(&"[".repeat(1 << 20), &["/x"]), Err(Failed::Nesting));
    let many = |count: usize| format!("[{}]", vec!["1"; count].join(","));
    assert_eq!(in_json(&many(1000), &["/*"]), Ok(many(1000).replace('1', "#")));
    assert_eq!(in_json(&many(1001), &["/*"]), Err(Failed::Values));
    assert_eq!(in_json(&many(5000), &["/4999"]).map(|text| text.len()), Ok(many(5000).len()));
}

#[test]
fn a_parameter_is_found_by_its_decoded_name() {
    for (text, expected) in [
        ("email=a&b=c", Ok("email=#&b=c")),
        ("b=c&%65mail=a%26b&EMAIL=x&email=", Ok("b=c&%65mail=#&EMAIL=x&email=#")),
        ("e+mail=1&e%20mail=2&e%2Bmail=3", Ok("e+mail=#&e%20mail=#&e%2Bmail=3")),
        ("%C3%A9=1&é=2", Ok("%C3%A9=#&é=#")),
        ("email=a=b&email&email==", Ok("email=#&email&email=#")),
        ("&&=&=a&a", Ok("&&=&=a&a")),
        ("a=100%&b=%zz&email=%", Ok("a=100%&b=%zz&email=#")),
        ("", Ok("")),
        ("email=a;b=c", Ok("email=#")),
        ("a=b;c=d", Ok("a=b;c=d")),
        ("a=b;email=c", Err(Failed::Ambiguous)),
        ("a;%65mail", Err(Failed::Ambiguous)),
        ("email=a;email=b", Err(Failed::Ambiguous)),
        ("a=b& email=c", Err(Failed::Ambiguous)),
        ("+email=a", Err(Failed::Ambiguous)),
        ("a=b&%20email=c", Err(Failed::Ambiguous)),
        ("email%00=a", Err(Failed::Ambiguous)),
        ("email%00x=a", Err(Failed::Ambiguous)),
        ("email%09=a", Err(Failed::Ambiguous)),
        ("?email=a", Err(Failed::Ambiguous)),
        ("%C2%A0email=a", Err(Failed::Ambiguous)),
        ("\u{2003}email=a", Err(Failed::Ambiguous)),
        ("e++mail=a&x+email=b", Ok("e++mail=a&x+email=b")),
        ("%u0065mail=a", Err(Failed::Name)),
        ("%=a&+=b", Ok("%=a&+=b")),
        ("a%=a", Err(Failed::Name)),
        ("%C1%A5=a", Err(Failed::Name)),
        ("%E9=a", Err(Failed::Name)),
    ] {
        let mut spans = Spans::default();
        let found = pairs::query(text.as_bytes(), 0, &names(&["é", "email", "e mail"]), &mut spans);
        assert_eq!(found.map(|()| marked(text.as_bytes(), &spans)), expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn a_form_that_begins_as_json_is_none() {
    for text in ["{\"a\":1}", " [1]", "\"a\"", "\u{feff}a=1", "\0{\0}", "a=1\0"] {
        let found = pairs::form(text.as_bytes(), &names(&["a"]), &mut Spans::default());
        assert_eq!(found, Err(Failed::Malformed), "{text}");
    }
    assert_eq!(pairs::form(b"x[a]=1", &names(&["a"]), &mut Spans::default()), Ok(()));
}

#[test]
fn a_cookie_is_found_without_its_quotes() {
    for (line, expected) in [
        ("session=1; a=2", Ok("session=#; a=2")),
        ("a=2;session=\"1\";session= \"\" ; Session=3", Ok("a=2;session=\"#\";session= \"#\" ; Session=3")),
        (" session =\t1 ;session=", Ok(" session =\t# ;session=#")),
        ("session=a=b, c", Ok("session=#")),
        ("session; a", Ok("session; a")),
        ("", Ok("")),
        ("a=\"x; session=1\"", Ok("a=\"x; session=#")),
        ("session=\"x; a=1\"", Err(Failed::Ambiguous)),
        ("session=\"", Err(Failed::Ambiguous)),
        ("session=\"a\\\"b\"", Ok("session=\"#\"")),
        ("session=\"a\\\\\"; b", Ok("session=\"#\"; b")),
        ("session=\"a\\\"; b\"", Err(Failed::Ambiguous)),
        ("a=1, session=2", Err(Failed::Ambiguous)),
        ("a=1 session=2", Err(Failed::Ambiguous)),
        ("a=1\tsession=2", Err(Failed::Ambiguous)),
        ("=session=2", Err(Failed::Ambiguous)),
        ("\u{a0}session=2", Err(Failed::Ambiguous)),
        ("a=1; \u{2003}session=2", Err(Failed::Ambiguous)),
        ("a=sessions; b=/?session=1", Ok("a=sessions; b=/?session=1")),
    ] {
        let mut spans = Spans::default();
        let found = pairs::cookies(line.as_bytes(), &names(&["session"]), &mut spans);
        assert_eq!(found.map(|()| marked(line.as_bytes(), &spans)), expected.map(str::to_owned), "{line}");
    }
}

/// Hides in a request with these headers and body.
fn redact(
    lists: Redact,
    headers: &[(&str, &str)],
    body: &str,
    max_body: usize,
) -> Result<(Vec<String>, String), Failed> {
    use crate::core::header_map::HeaderMap;
    let map = HeaderMap::from_pairs(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    let request = Digest::new(map, None);
    let key = Key::new(b"0123456789abcdef").unwrap();
    let hide = Hide::new(lists.with, Some(&key)).unwrap();
    let redaction = Redaction::new(&lists, hide, &request, body.as_bytes(), max_body)?;
    let length = redaction.body_length();
    let redacted = redaction.make().unwrap();
    assert_eq!(redacted.body.as_ref().map_or(0, Vec::len), length);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let values = redacted.path.iter().chain(redacted.headers.iter().map(|(_, value)| value));
    Ok((values.map(|value| text(value)).collect(), redacted.body.map_or(body.to_owned(), |body| text(&body))))
}

fn lists(with: With) -> Redact {
    Redact {
        headers: Vec::new(),
        cookies: names(&["session"]),
        query_params: names(&["token"]),
        form: names(&["email"]),
        json: pointers(&["/email"]),
        with,
    }
}

#[test]
fn equal_values_have_equal_pseudonyms_however_they_are_written() {
    // printf 'a b' | openssl dgst -sha256 -hmac 0123456789abcdef
    let expected = "p_29e562d41e97b951";
    for (headers, body) in [
        (&[(":path", "/?token=a+b")][..], ""),
        (&[(":path", "/?token=a%20b")], ""),
        (&[("cookie", "session=\"a b\"")], ""),
        (&[("content-type", "application/json")], r#"{"email":"a\u0020b"}"#),
        (&[("content-type", "application/x-www-form-urlencoded")], "email=%61+b"),
    ] {
        let (values, body) = redact(lists(With::Pseudonym), headers, body, 1 << 20).unwrap();
        let found = values.into_iter().chain([body]).collect::<String>();
        assert!(found.contains(expected), "{found}");
        let masked = redact(lists(With::Mask), headers, "", 1 << 20).unwrap();
        assert!(masked.0.iter().all(|value| value.contains("***")), "{masked:?}");
    }
    let json = [("content-type", "application/json")];
    let number = redact(lists(With::Pseudonym), &json, r#"{"email":[1, 2]}"#, 1 << 20).unwrap().1;
    assert_ne!(number, redact(lists(With::Pseudonym), &json, r#"{"email":[1,2]}"#, 1 << 20).unwrap().1);
}

#[test]
fn a_body_that_becomes_too_long_is_not_copied() {
    let json = [("content-type", "application/json")];
    let body = r#"{"email":1}"#;
    let becomes = r#"{"email":"***"}"#;
    assert_eq!(redact(lists(With::Mask), &json, body, becomes.len()), Ok((vec![], becomes.to_owned())));
    assert_eq!(redact(lists(With::Mask), &json, body, becomes.len() - 1), Err(Failed::TooLong));
}

#[test]
fn what_has_no_body_needs_no_content_type() {
    assert_eq!(redact(lists(With::Mask), &[], "", 0), Ok((vec![], String::new())));
    assert_eq!(redact(lists(With::Mask), &[("content-type", "text/x")], "", 0), Ok((vec![], String::new())));
    assert_eq!(redact(lists(With::Mask), &[], "x", 9), Err(Failed::ContentType));
    let no_body = Redact { form: vec![], json: Pointers::default(), ..lists(With::Mask) };
    assert_eq!(redact(no_body, &[], "x", 9), Ok((vec![], "x".to_owned())));
    assert_eq!(redact(lists(With::Mask), &[(":path", "/#?token=a")], "", 9), Err(Failed::Ambiguous));
}

proptest! {
    #[test]
    fn what_serde_json_takes_is_json_and_nothing_else_is(text in r#"[\[\]{}",:a-f0-9u\\ .eE+\-trnl]{0,12}"#, around in select(vec![("", ""), ("[", "]"), ("{\"a\":", "}"), ("\"", "\"")])) {
        let text = format!("{}{text}{}", around.0, around.1);
        let is_json = json::find(text.as_bytes(), &pointers(&["/*/x"]), &mut Spans::default()).is_ok();
        // A number that is too large is one all the same.
        let expected = match serde_json::from_str::<serde_json::Value>(&text) {
            Err(error) if error.to_string().starts_with("number out of range") => serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(),
            read => read.is_ok(),
        };
        prop_assert_eq!(is_json, expected, "{}", text);
    }

    #[test]
    fn any_bytes_are_walked_to_an_end(body: Vec<u8>, with in select(vec![With::Mask, With::Pseudonym])) {
        let text = String::from_utf8_lossy(&body).into_owned();
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            let _ = redact(lists(with), &[("content-type", kind), ("cookie", &text), (":path", &text)], &text, 1 << 20);
        }
        let _ = json::find(&body, &pointers(&["/*"]), &mut Spans::default());
        let _ = pairs::form(&body, &names(&["a"]), &mut Spans::default());
    }
}
