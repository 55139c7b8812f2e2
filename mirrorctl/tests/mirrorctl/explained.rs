//! `mirrorctl explain` and the filter agree: on the rule, on who gets a copy, and on the copy, header by header.

use fake_host::books;
use fake_host::envoy::{Envoy, headers};
use fake_host::host::Headers;
use std::fs;
use std::process::Command;

/// A copy: its cluster, and its headers, one a line, as far as text goes.
type Copied = (String, Vec<String>);

const REQUESTS: [&[&str]; 12] = [
    &["GET http://host:80/api/x?y=1", "accept: */*", "x-user: 7", "cookie: a=b; u=7", "x-env: prod"],
    &[
        "POST /api/x",
        "host: [::1]",
        "x-user: 8",
        "te: gzip",
        "te: trailers",
        "expect: 100-continue",
        "x-env: a",
        "x-env: b",
    ],
    &["GET /other", "x-user: 9", "authorization: secret", "x-envoy-max-retries: 3", "x-envoy-original-path: /"],
    &["POST /other?u=7", "connection: x-hop, close", "x-hop: 1", "keep-alive: 5", "x-to: b"],
    &["POST /api/x", "x-mirrored-request: true"],
    &["POST /other", "connection: upgrade", "upgrade: websocket"],
    &["GET /api/x", "x-user: 7", "connection: keep-alive, Upgrade", "upgrade: websocket"],
    &["GET /api/x", "x-user: 7", "connection: close", "upgrade: h2c"],
    &["CONNECT host:443", "x-user: 7"],
    &["CONNECT http://host:80/other", "x-user: 8"],
    &["PUT /api", "x-to: nowhere"],
    &["DELETE /api", "x-user: 7", "content-length: 0"],
];

/// What comes after the headers, if anything does; and whether the headers end the request.
const BODIES: [(&[u8], bool); 4] = [(b"", true), (b"", false), (b"body", false), (b"too long", false)];

const MIRRORS: [&str; 10] = [
    r#"{"cluster": "a"}"#,
    r#"{"cluster": "a", "percentage": 50, "consistentHash": {"httpHeaderName": "x-user"}}, {"cluster": "b", "percentage": 0}"#,
    r#"{"cluster": "a", "disableShadowHostSuffixAppend": true, "body": "omit", "timeout": "1s"}, {"cluster": "b"}"#,
    r#"{"cluster": "a", "rewrite": {"authority": "other:1", "uriRegexRewrite": {"match": "^/(.)", "rewrite": "/v2/\\1"}}}"#,
    r#"{"cluster": "a", "headers": {"remove": ["authorization"], "set": {"x-env": "staging", "x-new": "1"}, "add": {"x-user": "2"}}}"#,
    r#"{"clusterHeader": "x-to", "allowedClusters": ["b"]}"#,
    r#"{"cluster": "a", "fraction": {"numerator": 1, "denominator": 2}, "consistentHash": {"httpCookieName": "u", "seed": 3}}"#,
    r#"{"cluster": "a", "onOversizedBody": "omit"}, {"cluster": "b"}"#,
    r#"{"cluster": "a", "redact": {"headers": ["x-user"], "cookies": ["u"], "queryParams": ["y"], "form": ["a"], "with": "pseudonym"},
        "headers": {"set": {"x-env": "staging"}}}"#,
    "",
];

const MATCHES: [&str; 3] =
    ["", r#"{"uri": {"prefix": "/api"}, "method": {"exact": "POST"}}"#, r#"{"headers": {"x-user": {}}}"#];

/// Runs mirrorctl, and returns the rule that decides and the copies.
fn explained(configuration: &str, request: &[&str], body: &[u8]) -> (Option<String>, Vec<Copied>, String) {
    let folder = std::env::temp_dir();
    let path = |name: &str| folder.join(format!("explained-{}-{name}", std::process::id()));
    let (config, content) = (path("config.json"), path("body"));
    fs::write(&config, configuration).unwrap();
    fs::write(&content, body).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mirrorctl"));
    command.arg("explain").arg(&config).args(["--request", request[0]]);
    for header in &request[1..] {
        command.args(["-H", header]);
    }
    if !body.is_empty() {
        command.arg("--body").arg(&content);
    }
    let output = command.env("TRAFFIC_MIRROR_KEY", fake_host::abi::KEY).output().unwrap();
    for file in [config, content] {
        fs::remove_file(file).unwrap();
    }
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let rule = text.lines().find_map(|line| line.strip_prefix("rule ")?.split_once(" decides"));
    let rule = rule.map(|(name, _)| name.to_owned());
    let mut copies: Vec<Copied> = Vec::new();
    let mut is_copy = false;
    for line in text.lines() {
        if let Some((cluster, _)) = line.strip_prefix("  copy to cluster ").and_then(|rest| rest.split_once(',')) {
            copies.push((cluster.to_owned(), Vec::new()));
            is_copy = true;
        } else if let Some(header) = line.strip_prefix("    ").filter(|_| is_copy) {
            let header = header.split_once("; Envoy adds").map_or(header, |(body, _)| body);
            copies.last_mut().unwrap().1.push(header.split("  <- ").next().unwrap().to_owned());
        } else {
            is_copy = false;
        }
    }
    (rule, copies, text)
}

/// Has the filter serve a request, and returns the rule that decided and the copies that it sent.
fn served(configuration: &str, request: Headers, body: &[u8], ends: bool) -> (Option<String>, Vec<Copied>) {
    let (envoy, root) = Envoy::with(configuration);
    let stream = envoy.begin(root, request, ends);
    if !ends {
        envoy.body(stream, body, true);
    }
    envoy.end(stream);
    let copied = Envoy::host(|host| {
        let copy = |call: &fake_host::host::Call| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let mut lines: Vec<_> =
                call.headers.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect();
            let body = call.body.len();
            lines.push(if body == 0 { "and no body".to_owned() } else { format!("and a body of {body} bytes") });
            (call.cluster.clone(), lines)
        };
        let rule =
            ["first", "second"].into_iter().find(|rule| books::sum(host, "requests_total", &[("rule", rule)]) > 0);
        (rule.map(str::to_owned), host.sent.iter().map(copy).collect())
    });
    envoy.answer_all("200");
    envoy.check();
    copied
}

/// Makes the headers that Envoy would hand over.
fn handed_over(request: &[&str], body: &[u8]) -> Headers {
    let (method, target) = request[0].split_once(' ').unwrap();
    let mut named: Vec<_> = request[1..].iter().map(|header| header.split_once(": ").unwrap()).collect();
    let host = named.iter().position(|(name, _)| *name == "host").map(|position| named.remove(position).1);
    let url = target.strip_prefix("http://").and_then(|url| Some(url.split_at(url.find('/')?)));
    let (authority, path) = url.unwrap_or((host.unwrap_or("localhost"), target));
    let (authority, path) = if path.starts_with('/') { (authority, Some(path)) } else { (path, None) };
    let pseudo =
        [(":authority", Some(authority)), (":path", path), (":method", Some(method)), (":scheme", Some("http"))];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let length = body.len().to_string();
    let length = (!body.is_empty()).then_some(("content-length", &*length));
    headers(&pseudo.chain(named).chain(length).collect::<Vec<_>>())
}

#[test]
fn what_is_explained_is_what_the_filter_does() {
    let (mut sent, mut is_ignored) = (0, false);
    for mirrors in MIRRORS {
        for matches in MATCHES {
            let configuration = format!(
                r#"{{"rules": [{{"name": "first", "match": [{matches}], "mirrors": [{mirrors}]}},
                              {{"name": "second", "match": [{{"uri": {{"prefix": "/o"}}}}], "mirrors": [{{"cluster": "c"}}]}}],
                    "limits": {{"maxBodyBytes": 4}}}}"#
            );
            for (request, (body, ends)) in REQUESTS.iter().flat_map(|request| BODIES.map(|body| (request, body))) {
                let (rule, copies, text) = explained(&configuration, request, body);
                let (decided, served) = served(&configuration, handed_over(request, body), body, ends);
                // A draw may go either way; which one, only the filter knows.
                if text.contains("at random") {
                    continue;
                }
                assert_eq!(copies, served, "{configuration}\n{request:?} {body:?} {ends}\n{text}");
                // What is ignored is in no rule's books.
                if decided.is_some() {
                    assert_eq!(rule, decided, "{configuration}\n{request:?}\n{text}");
                }
                is_ignored |= text.contains("such a request is never mirrored: upgrade") && ends;
                sent += copies.len();
            }
        }
    }
    assert!(sent > 50 && is_ignored, "{sent} copies");
}
