//! `mirrorctl explain`: what it says, and how it ends. That it says what the filter does is tested in `tests/native`.

use crate::mirrorctl;

const CONFIGURATION: &str = "
rules:
- name: health
  match:
  - uri: { exact: /healthz }
  - method: { exact: HEAD }
    cookies: { probe: { exact: '1' } }
  mirrors: []
- name: near
  match:
  - sourceCidrs: [10.0.0.0/8]
    routeName: { exact: default }
    clusterName: { suffix: '|near' }
  mirrors: [{ cluster: near }]
- name: users
  match:
  - uri: { prefix: /api }
  mirrors:
  - cluster: candidate
    percentage: 40
    consistentHash: { httpHeaderName: x-user }
    rewrite: { uri: /v2 }
    headers: { remove: [authorization], set: { x-env: staging }, add: { via: mirror } }
  - cluster: recorder
    fraction: { numerator: 1, denominator: 4 }
    body: omit
  - cluster: never
    percentage: 0
  compare: { status: true }
limits: { maxBodyBytes: 10 }
";

fn explain(args: &[&str]) -> String {
    let file =
        std::env::temp_dir().join(format!("mirrorctl-explain-{}-{}.yaml", std::process::id(), args.join("").len()));
    std::fs::write(&file, CONFIGURATION).unwrap();
    let out = mirrorctl(&[&["explain", file.to_str().unwrap()], args].concat(), "body beyond the limit").ok();
    std::fs::remove_file(file).unwrap();
    out
}

#[test]
fn each_step_is_told_with_its_reason() {
    let args = ["--request", "POST http://api:80/api/x?y=1", "-H", "X-User: 5", "-H", "authorization: secret"];
    let more = ["-H", "x-env: prod", "-H", "connection: x-hop", "-H", "x-hop: 1", "-H", "cookie: probe=\"2\""];
    let expected = r#"rule health does not match:
  rules[0].match[0].uri: {"exact":"/healthz"}: the path is "/api/x"
  rules[0].match[1].method: {"exact":"HEAD"}: the method is "POST"
  rules[0].match[1].cookies.probe: {"exact":"1"}: the cookie is "2"
rule near does not match:
  rules[1].match[0].sourceCidrs: ["10.0.0.0/8"]: there is no source
  rules[1].match[0].routeName: {"exact":"default"}: there is no route name
  rules[1].match[0].clusterName: {"suffix":"|near"}: there is no cluster name
rule users decides: by rules[2].match[0]
mirror candidate
  sample: 40 % by header x-user: part 74157 < 400000 of 1000000: selected
  copy to cluster candidate, response within 5s:
    :authority: api-shadow:80  <- -shadow, was api:80
    :path: /v2/x?y=1  <- rewrite.uri, was /api/x?y=1
    :method: POST
    :scheme: http
    x-user: 5
    x-env: staging  <- headers.set, was prod
    cookie: probe="2"
    via: mirror  <- headers.add
    x-mirrored-request: true  <- the marker
    and no body; Envoy adds content-length and x-envoy- headers of its own
  not copied:
    authorization: secret  <- headers.remove
    connection: x-hop  <- belongs to one hop or to the router
    x-hop: 1  <- listed by connection
mirror recorder
  sample: 25 % at random: selected with probability 0.25
  copy to cluster recorder, response within 5s:
"#;
    let out = explain(&[&args[..], &more].concat());
    assert!(out.starts_with(expected), "{out}");
    let end =
        "mirror never\n  sample: 0 %: not selected\ncompare: a mirror's status and time are set beside the primary's\n";
    assert!(out.ends_with(end), "{out}");
}

#[test]
fn what_is_compared_is_told() {
    const BODY: &str = "{ignore: [/id, /at], unorderedArrays: true, nullIsAbsent: true}";
    for (compare, expected) in [
        (
            "{ status: true, fields: false }",
            &["a mirror's status and time are", "  where they differ is neither counted nor logged"][..],
        ),
        (
            "{ headers: [Location, etag], body: { exact: true, maxBytes: 100 } }",
            &[
                "a mirror's headers (location, etag), body (byte by byte, up to 100 bytes) and time are",
                "  traffic_mirror_compare.wasm does this; the other module refuses the rule",
            ],
        ),
        (
            &format!("{{ status: true, body: {{ json: {BODY} }} }}"),
            &[
                "a mirror's status, body (as JSON, up to 65536 bytes) and time are",
                "  in JSON: 2 places are ignored, the order in arrays does not count, a member that is null is as if it were absent",
                "  traffic_mirror_compare.wasm does this; the other module refuses the rule",
            ],
        ),
    ] {
        let file = format!("rules: [{{mirrors: [{{cluster: m}}], compare: {compare}}}]");
        let out = mirrorctl(&["explain", "-", "--request", "GET /"], &file).ok();
        let said = out.split("\ncompare: ").nth(1).unwrap();
        let expected: Vec<_> =
            expected.iter().map(|line| line.replace("time are", "time are set beside the primary's")).collect();
        assert_eq!(said.lines().collect::<Vec<_>>(), expected, "{out}");
    }
}

#[test]
fn a_request_that_is_not_mirrored_is_told_why() {
    for (args, expected) in [
        (&["--request", "GET /healthz"][..], "the rule has no mirrors: the request is mirrored nowhere\n"),
        (&["--request", "/x"], "no rule matches: nothing is mirrored\n"),
        (&["--request", "GET /api", "-H", "x-mirrored-request: 1"], "such a request is never mirrored: marked\n"),
        (
            &["--request", "GET /api", "-H", "connection: Upgrade", "-H", "upgrade: websocket"],
            "such a request is never mirrored: upgrade\n",
        ),
        (
            &["--request", "GET /api", "-H", "connection: Upgrade", "-H", "upgrade: websocket", "--body", "-"],
            "such a request is never mirrored: upgrade\n",
        ),
        (&["--request", "CONNECT http://a/api"], "such a request is never mirrored: connect\n"),
        (&["--request", "CONNECT http://a/api", "--body", "-"], "such a request is never mirrored: connect\n"),
        (
            &["--request", "POST /api", "--body", "-", "-H", "x-user: 5"],
            "mirror candidate\n  sample: 40 % by header x-user: part 74157 < 400000 of 1000000: selected\n  no copy: body_too_large\n",
        ),
        (
            &["--request", "GET /api", "-H", "x-user: 7"],
            "part 622455 >= 400000 of 1000000: not selected\nmirror recorder\n",
        ),
        (
            &["--request", "/", "--source", "10.1.2.3", "--route-name", "default", "--cluster-name", "a|near"],
            "rule near decides: by rules[1].match[0]\n",
        ),
        (
            &["--request", "/", "--cluster-name", "near"],
            "rules[1].match[0].clusterName: {\"suffix\":\"|near\"}: the cluster name is \"near\"\n",
        ),
        (&["--request", "GET /api", "--unrouted"], "such a request is never mirrored: unrouted\n"),
        (&["--request", "GET /api", "--unrouted", "-H", "x-mirrored-request: 1"], "never mirrored: marked\n"),
    ] {
        let out = explain(args);
        assert!(out.contains(expected), "{args:?}\n{out}");
    }
}

#[test]
fn what_cannot_be_explained_is_told_by_the_exit_code() {
    let bad = "{rules: [{mirrors: [{cluster: a, percentage: 140}]}]}";
    for (args, stdin, code, expected) in [
        (
            &["explain", "-", "--request", "/"][..],
            bad,
            1,
            "stdin: document 1: rules[0].mirrors[0].percentage: 140: not between",
        ),
        (&["explain", "-", "--request", "/"], "kind: Pod\napiVersion: v1\n", 1, "-: no plugin configuration found"),
        (
            &["explain", "-", "--request", "/"],
            "kind: VirtualService\nmetadata: {name: a}\n",
            1,
            "stdin: document 1 (VirtualService a): routes, not a configuration: convert it first: mirrorctl convert",
        ),
        (&["explain", "-", "--request", "/", "-H", "a"], "", 2, "mirrorctl: -H \"a\": not NAME: VALUE"),
        (
            &["explain", "-", "--request", "/", "--unrouted", "--cluster-name", "a"],
            "",
            2,
            "error: the argument '--unrouted' cannot be used with '--cluster-name <NAME>'",
        ),
        (&["explain", "-"], "", 2, "error: the following required arguments were not provided"),
    ] {
        let ran = mirrorctl(args, stdin);
        assert!(ran.code == code && ran.err.starts_with(expected), "{args:?}: {ran:?}");
    }
}

#[test]
fn a_request_that_no_upstream_gets_is_explained_as_the_rule_wants_it() {
    let configuration = "{rules: [{unrouted: mirror, mirrors: [{cluster: a}, {clusterHeader: x-to}]}]}";
    for configuration in [configuration, &configuration.replace("{cluster: a}, ", "").replace("mirror,", "ignore,")] {
        let out = mirrorctl(&["explain", "-", "--request", "/", "--unrouted"], configuration).ok();
        assert!(!out.contains("never mirrored") && out.contains("  no copy: no_cluster_header\n"), "{out}");
    }
}

#[test]
fn a_path_that_cannot_be_rewritten_makes_no_copy() {
    let rewrite = |rewrite: &str| format!("{{uriRegexRewrite: {{match: ., rewrite: {rewrite}}}}}");
    let mirror = |rewrite: &str| format!("{{cluster: a, rewrite: {rewrite}}}");
    let path = format!("/{}", "a".repeat(1024));
    for (text, expected) in [("x".repeat(1024), "  no copy: no_cluster: rewrite."), ("x".to_owned(), "    :path: /aaa")]
    {
        let configuration = format!("{{rules: [{{mirrors: [{}]}}]}}", mirror(&rewrite(&text)));
        let out = mirrorctl(&["explain", "-", "--request", &path], &configuration).ok();
        assert!(out.contains(expected), "{out}");
    }
}

#[test]
fn a_request_that_names_no_host_is_for_localhost_and_that_is_said() {
    let configuration = "{rules: [{match: [{authority: {exact: localhost}}], mirrors: [{cluster: a}]}]}";
    for (args, is_said) in [
        (&["--request", "/x"][..], true),
        (&["--request", "POST /x"], true),
        (&["--request", "http://localhost/x"], false),
        (&["--request", "/x", "-H", "host: localhost"], false),
        (&["--request", "CONNECT localhost"], false),
    ] {
        let out = mirrorctl(&[&["explain", "-"], args].concat(), configuration).ok();
        let said = "the request names no host: localhost; give a URL or -H 'host: NAME'\n";
        assert_eq!(out.contains(said), is_said, "{args:?}\n{out}");
    }
}

const HIDING: &str = r#"
rules:
- match: [{ uri: { prefix: /api } }]
  mirrors:
  - cluster: test
    redact: { headers: [x-token, x-set], cookies: [session], queryParams: [token], json: [/user/email, "/cards/*"] }
    rewrite: { uri: /v2 }
    headers: { set: { x-set: new } }
"#;

/// Explains a request of which several values are hidden, with this body.
fn hidden(configuration: &str, kind: &str, body: &str) -> String {
    let body_file = std::env::temp_dir().join(format!("mirrorctl-hidden-{}-{}", std::process::id(), body.len()));
    std::fs::write(&body_file, body).unwrap();
    let kind = format!("content-type: {kind}");
    let args =
        ["explain", "-", "--request", "POST http://api/api/x?token=secret&y=1", "--body", body_file.to_str().unwrap()];
    let headers = ["-H", "x-token: secret", "-H", "x-set: secret", "-H", "cookie: a=1; session=secret", "-H", &kind];
    let hop = ["-H", "connection: x-token"];
    let out = mirrorctl(&[&args[..], &headers, &hop].concat(), configuration).ok();
    std::fs::remove_file(body_file).unwrap();
    assert!(!out.contains("secret"), "{out}");
    out
}

#[test]
fn what_is_hidden_is_told_by_its_name_alone() {
    let body = r#"{"user":{"email":"secret"},"cards":["secret","secret"]}"#;
    let out = hidden(HIDING, "application/json", body);
    let expected = r#"  copy to cluster test, response within 5s:
    :authority: api-shadow  <- -shadow, was api
    :path: /v2/x?token=***&y=1  <- rewrite.uri, was /api/x?token=***&y=1
    :method: POST
    :scheme: http
    x-set: new  <- headers.set, was ***
    cookie: a=1; session=***  <- redact
    content-type: application/json
    x-mirrored-request: true  <- the marker
    and a body of 46 bytes, in which redact hides 3 values; Envoy adds content-length and x-envoy- headers of its own
  not copied:
    x-token: ***  <- listed by connection
    connection: x-token  <- belongs to one hop or to the router
    content-length: 55  <- belongs to one hop or to the router
"#;
    assert!(out.contains(expected), "{out}");
    let pseudonyms =
        hidden(&HIDING.replace("headers: [x-token", "with: pseudonym, headers: [x-token"), "application/json", body);
    assert!(pseudonyms.contains("    *** is where pseudonyms will be: they need the key, which"), "{pseudonyms}");
}

#[test]
fn why_a_copy_is_not_sent_whose_values_cannot_be_found_is_told() {
    for (kind, body, why) in [
        ("text/plain", "secret", "the body has no content-type, several, or one that is not looked at"),
        ("application/json", "{\"secret\"", "the body is not what its content-type says"),
        ("application/json; charset=utf-16", "secret", "the body is not UTF-8"),
    ] {
        let out = hidden(HIDING, kind, body);
        assert!(out.contains(&format!("  no copy: redaction_failed: {why}\n")), "{out}");
    }
}
