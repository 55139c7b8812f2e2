//! Files that are not what they should be: each is told by a line that says where and what, and never by a crash.

use crate::mirrorctl;

/// A VirtualService that mirrors.
const GOOD: &str =
    "kind: VirtualService\nmetadata: {name: a}\nspec: {hosts: [a], http: [{mirror: {host: m, port: {number: 80}}}]}\n";

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    for (text, expected) in [
        ("a: [\n", "document 1: unclosed bracket '[' at line 1, column 4"),
        ("a: b: c\n", "document 1: mapping values are not allowed in this context at line 1, column 5"),
        ("a: 1\na: 2\n", "document 1: duplicate mapping key: a"),
        ("a: {b: 1, b: 2}\n", "document 1: duplicate mapping key: b"),
        ("a: &x [*x]\n", "document 1: Recursive reference not allowed here at line 1, column 8"),
        ("a: *nope\n", "document 1: reference to unknown value at line 1, column 4"),
        ("<<: *a\n", "document 1: reference to unknown value at line 1, column 5"),
        ("{\"a\": 1\n", "document 1: unclosed bracket '{' at line 1, column 1"),
        ("{\"a\": 1}\n{\"b\": \n", "document 2: not JSON: EOF while parsing a value at line 3 column 0"),
        ("{\"a\": 1}\n{\"b\": 1,}\n", "document 2: not JSON: trailing comma at line 2 column 9"),
        ("{\"a\": 1} x\n", "document 1: did not find expected <document start> at line 1, column 10"),
        ("[1, 2\n", "document 1: unclosed bracket '[' at line 1, column 1"),
        ("%YAML 3.0\n---\na: b\n", "document 1: unsupported YAML major version at line 1, column 1"),
        ("%\n", "document 1: while scanning a directive, could not find expected directive name at line 1, column 2"),
        ("a: !!binary \"*\"\n", "document 1: invalid !!binary base64 at line 1, column 13"),
        ("? [a, b]\n: c\n", "document 1: expected string scalar at line 1, column 3"),
        ("~: a\n", "document 1: null is not allowed here at line 1, column 1"),
        ("a: .nan\n", "document 1: value `.nan` is not a finite number at line 1, column 4"),
        ("a: -.inf\n", "document 1: value `-.inf` is not a finite number at line 1, column 4"),
        ("\"unclosed\n", "document 1: unclosed quote at line 1, column 1"),
        ("a: 'b\n\nc: d\n", "document 1: invalid indentation in multiline quoted scalar at line 3, column 1"),
        ("a: |\n x\n  y\n z\nb\n", "document 1: simple key expected ':' at line 5, column 1"),
        ("a: b\n c: d\n", "document 1: mapping values are not allowed in this context at line 2, column 3"),
        ("a:\n  - b\n c: d\n", "document 1: "),
        (
            "a: \"\\x\"\n",
            "document 1: while parsing a quoted scalar, did not find expected hexadecimal number at line 1",
        ),
        ("a: @b\n", "document 1: unexpected character: `@' at line 1, column 4"),
        ("a: `b`\n", "document 1: unexpected character: ``' at line 1, column 4"),
        ("a: {{ .Values.x }}\n", "document 1: a template: render it first: expected string scalar at line 1, column 5"),
        ("{{- if .x }}\nkind: VirtualService\n{{- end }}\n", "document 1: a template: render it first: "),
        ("kind: {% if a %}b{% endif %}\n", "document 1: a template: render it first: "),
        ("kind: List\nitems: 5\n", "document 1 (List): items: 5: a number, not a list"),
        ("apiVersion: v1\nkind: [VirtualService]\n", "document 1: kind: […]: a list, not a string"),
        (
            "kind: VirtualService\nspec: text\n",
            "document 1 (VirtualService): spec: (not shown): a string, not an object",
        ),
        ("kind: VirtualService\nspec: [a]\n", "document 1 (VirtualService): spec: […]: a list, not an object"),
        ("kind: HTTPRoute\nspec: {rules: {a: b}}\n", "document 1 (HTTPRoute): spec.rules: {…}: an object, not a list"),
        ("kind: HTTPRoute\nspec: {rules: [[]]}\n", "document 1 (HTTPRoute): spec.rules[0]: […]: a list, not an object"),
        (
            "kind: HTTPRoute\nmetadata: a\nspec: {}\n",
            "document 1 (HTTPRoute): metadata: (not shown): a string, not an object",
        ),
    ] {
        let ran = mirrorctl(&["convert", "-"], text);
        let told = ran.err.lines().any(|line| line.starts_with(&format!("stdin: {expected}")));
        assert!(ran.code == 1 && ran.out.is_empty() && told, "{text:?}\n{expected}\n{ran:?}");
        // The others are read all the same, and lines are those of the file.
        let ran = mirrorctl(&["check", "-"], text);
        assert!([1, 2].contains(&ran.code) && !ran.err.contains("panicked"), "{text:?}\n{ran:?}");
        let behind = mirrorctl(&["convert", "-"], &format!("{GOOD}---\n{text}"));
        let moved = expected.replacen("document 1", "document 2", 1);
        let (moved, _) = moved.split_once(" at line").unwrap_or((&moved, ""));
        if !text.starts_with(['{', '[', '%']) {
            assert!(behind.code == 1 && behind.err.contains(moved), "{text:?}\n{moved}\n{behind:?}");
        }
    }
}

#[test]
fn lines_are_those_of_the_file() {
    let text = format!("# A comment.\n{GOOD}---\n# Another.\na: 1\n---\nb: [\n---\n{GOOD}");
    let ran = mirrorctl(&["convert", "-"], &text);
    assert_eq!((ran.code, &*ran.err), (1, "stdin: document 3: unclosed bracket '[' at line 9, column 4\n"));
}

#[test]
fn what_is_nested_too_deep_is_told() {
    let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let blocks: String = (0..1000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for text in [
        lists(500_000),
        format!("a: {}", lists(500_000)),
        format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)),
        blocks,
        "- ".repeat(500_000),
    ] {
        for command in ["convert", "check"] {
            let ran = mirrorctl(&[command, "-"], &text);
            let start = "stdin: document 1: nested deeper than 128 levels at line ";
            assert!(ran.code == 1 && ran.err.starts_with(start) && ran.err.lines().count() == 1, "{ran:?}");
        }
    }
}

#[test]
fn anchors_stand_for_what_they_name_and_cannot_grow_without_end() {
    let to = "host: m, port: {number: 80}";
    let text = format!(
        "kind: VirtualService\nmetadata: {{name: a}}\nx: &to {{{to}}}\nspec: {{hosts: [a], http: [{{mirror: *to}}]}}\n"
    );
    // A name of its own is an error of the resource, not of YAML.
    let ran = mirrorctl(&["convert", "-"], &text);
    assert_eq!((ran.code, ran.err.lines().count()), (1, 1), "{ran:?}");
    assert!(ran.err.starts_with("stdin: document 1 (VirtualService a): x: {…}: unknown field"), "{ran:?}");
    let own = text.replace("x: &to", "status: &to");
    assert!(mirrorctl(&["convert", "-"], &own).ok().contains("host: m.default.svc.cluster.local"));
    let merged = GOOD.replace("mirror: {", "mirror: {<<: *none, ");
    assert!(mirrorctl(&["convert", "-"], &merged).err.contains("reference to unknown value"));
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        laughs += &format!("a{level}: &a{level} [{}]\n", [&*before; 10].join(", "));
    }
    let ran = mirrorctl(&["convert", "-"], &laughs);
    assert!(ran.code == 1 && ran.err.lines().count() == 1 && ran.err.contains("alias"), "{ran:?}");
}
