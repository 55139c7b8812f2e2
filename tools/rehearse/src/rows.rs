//! The kinds of requests: what a client sends, what is configured, what is responded. As in bench/plan.py, requests have 12
//! headers beside the pseudo headers.

use serde_json::{Value, json};

/// What a client sends.
#[derive(Clone, Copy)]
pub enum Sent {
    /// No body.
    Get,
    /// JSON of about so many bytes, which comes in one piece.
    Post(usize),
}

/// Requests of one kind.
pub struct Row {
    pub name: &'static str,
    pub sent: Sent,
    pub configuration: Value,
    /// About how many bytes the responses have, where they are compared in full: a module that was built without that refuses it.
    pub response: usize,
    /// How many copies the filter sends of each request, with its body.
    pub copies: u64,
    /// What every user of the filter has: rules, samples, mirrors, and none of the features that few ask for.
    pub is_plain: bool,
}

/// Returns requests of each kind.
pub fn rows() -> Vec<Row> {
    let mirror = json!([{"cluster": "mirror"}]);
    let two = json!([{"cluster": "mirror"}, {"cluster": "second"}]);
    let edited = json!([{
        "cluster": "mirror", "consistentHash": {"httpHeaderName": "x-user-id"}, "rewrite": {"uri": "/v2"},
        "headers": {"remove": ["authorization", "cookie"], "set": {"x-env": "staging"}, "add": {"via": "mirror"}},
    }]);
    let unmatched = json!([{"headers": {"x-mirror": {"exact": "yes"}}}]);
    let matched = json!([{"headers": {"x-tenant": {"exact": "acme"}}}]);
    let off = json!([{"cluster": "mirror", "percentage": 0}]);
    let rule = |rule: Value| json!({"rules": [rule]});
    let mut limited = rule(json!({"mirrors": mirror}));
    limited["limits"] = json!({"maxRequestsPerSecond": 1_000_000});
    let compared =
        rule(json!({"mirrors": mirror, "compare": {"status": true, "body": {"json": {"ignore": ["/*/id"]}}}}));
    let hiding = |lists: Value| rule(json!({"mirrors": [{"cluster": "mirror", "redact": lists}]}));
    let names = json!({"json": ["/*/name"]});

    let row = |is_plain, name, sent, configuration| Row { name, sent, configuration, response: 0, copies: 1, is_plain };
    let of = |copies, row| Row { copies, ..row };
    let plain = |name, sent, configuration| row(true, name, sent, configuration);
    let other = |name, sent, configuration| row(false, name, sent, configuration);
    let full = |name, response| Row { response, ..other(name, Sent::Get, compared.clone()) };
    vec![
        of(0, plain("no rule matches", Sent::Get, rule(json!({"match": unmatched, "mirrors": mirror})))),
        of(0, plain("0 %", Sent::Get, rule(json!({"mirrors": off})))),
        of(0, plain("0 %, a header matches", Sent::Get, rule(json!({"match": matched, "mirrors": off})))),
        plain("100 %", Sent::Get, rule(json!({"mirrors": mirror}))),
        plain("100 %, `unrouted: mirror`", Sent::Get, rule(json!({"mirrors": mirror, "unrouted": "mirror"}))),
        other("100 %, with a rate", Sent::Get, limited),
        other(
            "100 %, compared with the primary",
            Sent::Get,
            rule(json!({"mirrors": mirror, "compare": {"status": true}})),
        ),
        of(2, plain("two mirrors at 100 %", Sent::Get, rule(json!({"mirrors": two})))),
        other(
            "100 %, hashed and edited",
            Sent::Get,
            rule(json!({"match": [{"uri": {"prefix": "/reviews"}}], "mirrors": edited})),
        ),
        plain("100 %, POST with 1 KiB", Sent::Post(1 << 10), rule(json!({"mirrors": mirror}))),
        other("100 %, two headers hidden", Sent::Get, hiding(json!({"headers": ["authorization", "x-user-id"]}))),
        other("100 %, hidden in JSON of 1 KiB", Sent::Post(1 << 10), hiding(names.clone())),
        other("100 %, hidden in JSON of 10 KiB", Sent::Post(10 << 10), hiding(names.clone())),
        other("100 %, hidden in JSON of 64 KiB", Sent::Post(64 << 10), hiding(names)),
        full("100 %, compared as JSON of 1 KiB", 1 << 10),
        full("100 %, compared as JSON of 10 KiB", 10 << 10),
        full("100 %, compared as JSON of 60 KiB", 60 << 10),
    ]
}
