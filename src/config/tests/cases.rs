//! Configurations, and what is said of those that are refused; nothing is said of the others. Values alone: the JSON Schema is
//! held against them too.

use serde_json::{Value, json};

/// A part of a configuration, and a piece of what is said of it; empty: it is taken.
type Case = (Value, &'static str);

/// Every field of the contract.
pub(crate) fn everything() -> Value {
    json!({
        "rules": [{
            "name": "tester",
            "match": [{
                "uri": { "prefix": "/reviews" }, "ignoreUriCase": true,
                "method": { "exact": "GET" }, "scheme": { "exact": "https" }, "authority": { "exact": "reviews:9080" },
                "headers": { "end-user": { "exact": "tester", "ignoreCase": true } },
                "withoutHeaders": { "x-internal": {} },
                "queryParams": { "v": { "suffix": "2" } }, "cookies": { "session": { "contains": "é", "ignoreCase": true } },
                "sourceCidrs": ["10.0.0.0/8", "fd00::/8", "127.0.0.1"],
                "routeName": { "regex": "default|other" }, "clusterName": { "prefix": "outbound|9080|" },
            }],
            "mirrors": [
                {
                    "name": "candidate", "cluster": "mirror", "percentage": 50,
                    "consistentHash": { "httpHeaderName": "x-user-id", "seed": "18446744073709551615" },
                    "rewrite": { "authority": "reviews-v2.test", "uri": "/v2" },
                    "headers": { "remove": ["authorization"], "set": { "x-env": "staging" }, "add": { "via": "mirror" } },
                    "redact": {
                        "headers": ["x-token"], "cookies": ["session"], "queryParams": ["token"], "form": ["password"],
                        "json": ["/user/email", "/cards/*/number"], "with": "pseudonym",
                    },
                    "body": "omit", "onOversizedBody": "omit", "timeout": "1.5s", "maxInFlight": 7, "trace": "unsampled",
                    "from": "2026-12-01T08:00:00Z", "until": "2026-12-08T09:00:00.5+01:00",
                },
                {
                    "destination": { "host": "mirror.test", "port": { "number": 9080 }, "subset": "v1" },
                    "fraction": { "numerator": 1, "denominator": 3 },
                    "rewrite": { "uriRegexRewrite": { "match": "^/api/(.*)$", "rewrite": "/\\1" } },
                    "consistentHash": { "useSourceIp": true },
                },
                {
                    "clusterHeader": "x-mirror-cluster", "allowedClusters": ["a", "b"],
                    "disableShadowHostSuffixAppend": true, "body": "include", "onOversizedBody": "skip",
                    "consistentHash": { "httpCookieName": "session" },
                },
                {
                    "cluster": "d", "consistentHash": { "httpQueryParameterName": "user" }, "trace": "new",
                    "ramp": [{ "at": "2026-12-01T09:00:00Z", "percentage": 1 }, { "at": "2026-12-01T12:00:00Z", "percentage": 0 }],
                    "when": [{ "status": ["5xx", 429, "404", "500-503", "none"] }, { "slowerThan": "500ms" }],
                },
            ],
            "compare": {
                "status": true, "headers": ["content-type", "Location"], "fields": false,
                "body": {
                    "json": { "ignore": ["/timestamp", "/items/*/id", ""], "unorderedArrays": true, "nullIsAbsent": true },
                    "maxBytes": "1024",
                },
            },
            "unrouted": "mirror",
        }],
        "markerHeader": "X-Copy",
        "onInvalid": "keepLast",
        "limits": {
            "maxBodyBytes": 1, "maxBufferedBytes": 2.0, "maxInFlight": "3", "maxRequestsPerSecond": 4, "burst": 5,
        },
    })
}

/// Fields of a mirror that has the cluster `c`, in a rule for the prefix `/`.
pub(crate) fn mirrors() -> Vec<Case> {
    vec![
        (json!({ "percentage": 0.0001 }), ""),
        (json!({ "percentage": 99.9999 }), ""),
        (
            json!({ "percentage": 0.00004 }),
            "percentage: 0.00004: rounds to none of a million requests: 0 %, or at least 0.0001 %",
        ),
        (json!({ "percentage": 99.99996 }), "percentage: 99.99996: rounds to all of a million requests: 100 %, or"),
        (json!({ "percentage": 100.1 }), "percentage: 100.1: not between 0 and 100"),
        (json!({ "percentage": -1 }), "percentage: -1: not between"),
        (json!({ "percentage": "5" }), "percentage: \"5\": not a number"),
        (json!({ "fraction": { "numerator": 0, "denominator": 1 } }), ""),
        (
            json!({ "fraction": { "numerator": 2, "denominator": 1 } }),
            "fraction: 2/1: a numerator above the denominator",
        ),
        (json!({ "fraction": { "numerator": 1, "denominator": 2_000_000 } }), ""),
        (json!({ "fraction": { "numerator": 1, "denominator": 2_000_001 } }), "fraction: 1/2000001: rounds to none"),
        (
            json!({ "fraction": { "numerator": 2_000_000, "denominator": 2_000_001 } }),
            "fraction: 2000000/2000001: rounds to all",
        ),
        (json!({ "fraction": { "numerator": 3, "denominator": 3 } }), ""),
        (json!({ "fraction": { "numerator": 0, "denominator": 0 } }), "denominator: 0: not a whole number between 1"),
        (json!({ "fraction": { "numerator": 1 } }), "fraction.denominator: missing"),
        (
            json!({ "fraction": { "numerator": 1, "denominator": 2 }, "percentage": 5 }),
            "at most one of percentage, fraction, ramp",
        ),
        (json!({ "maxInFlight": 1 }), ""),
        (
            json!({ "maxInFlight": 0 }),
            "maxInFlight: 0: not a whole number between 1 and 4294967295; a mirror that is to get no",
        ),
        (json!({ "maxInFlight": "5" }), ""),
        (json!({ "trace": "off" }), "trace: \"off\": keep, unsampled or new"),
        (json!({ "trace": true }), "trace: true: not a string"),
        (json!({ "ramp": [] }), "ramp: []: a list of at least one step"),
        (json!({ "ramp": { "at": "2026-12-01T09:00:00Z", "percentage": 1 } }), "not a list"),
        (json!({ "ramp": [{ "percentage": 1 }] }), "ramp[0].at: missing"),
        (json!({ "ramp": [{ "at": "2026-12-01T09:00:00Z" }] }), "ramp[0].percentage: missing"),
        (
            json!({ "ramp": [{ "at": "2026-12-01T09:00:00Z", "percentage": 101 }] }),
            "ramp[0].percentage: 101: not between 0 and 100",
        ),
        (json!({ "ramp": [{ "at": "2026-12-01T09:00:00Z", "percentage": 0.00001 }] }), "rounds to none"),
        (json!({ "ramp": [{ "at": "2026-12-01T09:00:00Z", "percentage": 1, "until": "" }] }), "unknown field"),
        (
            json!({ "ramp": [{ "at": "tomorrow", "percentage": 1 }] }),
            "ramp[0].at: \"tomorrow\": not a date, time and offset as in RFC 3339",
        ),
        (
            json!({ "ramp": [{ "at": "2026-12-01T09:00:00Z", "percentage": 1 }, { "at": "2026-12-01T10:00:00+01:00", "percentage": 2 }] }),
            "ramp[1]: at: later than the step before",
        ),
        (
            json!({ "ramp": [{ "at": "2026-12-01T09:00:00Z", "percentage": 50 }, { "at": "2026-12-01T09:00:00.000000001Z", "percentage": 2 }] }),
            "",
        ),
        (
            json!({ "ramp": [{ "at": "2026-12-01T09:00:00Z", "percentage": 1 }], "percentage": 5 }),
            "percentage and ramp: at most one of percentage, fraction, ramp",
        ),
        (json!({ "from": "2026-12-01T09:00:00Z" }), ""),
        (json!({ "until": "2026-12-01T09:00:00Z" }), ""),
        (json!({ "from": "2026-12-01" }), "from: \"2026-12-01\": not a date, time and offset"),
        (json!({ "until": 5 }), "until: 5: not a string"),
        (
            json!({ "from": "2026-12-01T09:00:00Z", "until": "2026-12-01T10:00:00+01:00" }),
            "until: \"2026-12-01T10:00:00+01:00\": not after from",
        ),
        (json!({ "from": "2026-12-01T09:00:00Z", "until": "2026-12-01T09:00:00.1Z" }), ""),
        (json!({ "when": [] }), "when: []: a list of at least one entry"),
        (json!({ "when": [{}] }), "when[0]: {}: at least one of status, slowerThan"),
        (json!({ "when": { "status": ["5xx"] } }), "not a list"),
        (json!({ "when": [{ "status": [] }] }), "when[0].status: []: a list of at least one status"),
        (json!({ "when": [{ "status": "5xx" }] }), "when[0].status: \"5xx\": not a list"),
        (json!({ "when": [{ "status": ["5xx"], "slower": "1s" }] }), "unknown field"),
        (json!({ "when": [{ "slowerThan": "1ms" }] }), ""),
        (json!({ "when": [{ "slowerThan": "0s" }] }), "slowerThan: \"0s\": not a duration between 1ms and 1h"),
        (json!({ "when": [{ "status": ["1xx", "5xx", "none", 100, 599, "100", "599", "100-599", "200-200"] }] }), ""),
        (
            json!({ "when": [{ "status": [99] }] }),
            "status[0]: 99: not a class (5xx), a code between 100 and 599, a range",
        ),
        (json!({ "when": [{ "status": [600] }] }), "status[0]: 600: not a class"),
        (json!({ "when": [{ "status": ["6xx"] }] }), "status[0]: \"6xx\": not a class"),
        (json!({ "when": [{ "status": ["0xx"] }] }), "not a class"),
        (json!({ "when": [{ "status": ["xxx"] }] }), "not a class"),
        (json!({ "when": [{ "status": ["5XX"] }] }), "not a class"),
        (json!({ "when": [{ "status": ["503-500"] }] }), "not a class"),
        (json!({ "when": [{ "status": ["500-600"] }] }), "not a class"),
        (json!({ "when": [{ "status": ["500-"] }] }), "not a class"),
        (json!({ "when": [{ "status": ["+50"] }] }), "not a class"),
        (json!({ "when": [{ "status": [true] }] }), "not a class"),
        (json!({ "when": [{ "status": [500.5] }] }), "not a class"),
        (
            json!({ "headers": { "set": { "x-mirrored-primary-status": "1" } } }),
            "x-mirrored-primary-status: the filter owns",
        ),
        (json!({ "headers": { "remove": ["X-Mirrored-Traceparent"] } }), "the filter owns this header"),
        (json!({ "name": "A-z_0" }), ""),
        (json!({ "name": null }), ""),
        (json!({ "name": "" }), "rules[0].mirrors[0].name: \"\": not 1 to 64 of A-Z, a-z, 0-9, _ and -"),
        (json!({ "name": "a".repeat(65) }), "not 1 to 64"),
        (json!({ "name": "a.b" }), "not 1 to 64"),
        (json!({ "name": 5 }), "name: 5: not a string"),
        (json!({ "cluster": "a." }), ""),
        (json!({ "cluster": "..", "name": "dots" }), ""),
        (json!({ "cluster": ".." }), "rules[0].mirrors[0]: cluster ..: no label is left of it"),
        (json!({ "clusterHeader": "x" }), "cluster and clusterHeader: at most one of"),
        (json!({ "cluster": null }), "no cluster: exactly one of cluster, destination, clusterHeader"),
        (json!({ "cluster": "" }), "cluster: \"\": not the name of a cluster"),
        (json!({ "cluster": "a;.;b" }), "not the name of a cluster"),
        (json!({ "cluster": "a;." }), "not the name of a cluster"),
        (json!({ "cluster": "outcome=.=b" }), "not the name of a cluster"),
        (json!({ "cluster": "a;.b=.c;" }), ""),
        (json!({ "cluster": null, "destination": { "host": "mirror", "port": { "number": 80 } } }), ""),
        (
            json!({ "cluster": null, "destination": { "host": "m-1.prod_2.svc.cluster.local.", "port": { "number": 80 } } }),
            "",
        ),
        (json!({ "cluster": null, "destination": { "host": "10.0.0.1", "port": { "number": 80 } } }), ""),
        (json!({ "cluster": null, "destination": { "host": "2001:db8::1", "port": { "number": 80 } } }), ""),
        (json!({ "cluster": null, "destination": { "host": "::1", "port": { "number": 80 } } }), ""),
        (
            json!({ "cluster": null, "destination": { "host": "http://mirror", "port": { "number": 80 } } }),
            "destination.host: \"http://mirror\": not a host: letters, digits, -, _ and ., or",
        ),
        (
            json!({ "cluster": null, "destination": { "host": "mirror:80", "port": { "number": 80 } } }),
            "destination.host: \"mirror:80\": not a host: letters, digits, -, _ and ., or",
        ),
        (
            json!({ "cluster": null, "destination": { "host": "a b", "port": { "number": 80 } } }),
            "destination.host: \"a b\": not a host: letters, digits, -, _ and ., or",
        ),
        (
            json!({ "cluster": null, "destination": { "host": "a/b", "port": { "number": 80 } } }),
            "destination.host: \"a/b\": not a host: letters, digits, -, _ and ., or",
        ),
        (
            json!({ "cluster": null, "destination": { "host": "a::b", "port": { "number": 80 } } }),
            "destination.host: \"a::b\": not a host: letters, digits, -, _ and ., or",
        ),
        (
            json!({ "cluster": null, "destination": { "host": "*", "port": { "number": 80 } } }),
            "destination.host: \"*\": not a host: letters, digits, -, _ and ., or",
        ),
        (
            json!({ "cluster": null, "destination": { "host": "*.test", "port": { "number": 80 } } }),
            "destination.host: \"*.test\": not a host: letters, digits, -, _ and ., or",
        ),
        (
            json!({ "cluster": null, "destination": { "host": "[::1]", "port": { "number": 80 } } }),
            "destination.host: \"[::1]\": not a host: letters, digits, -, _ and ., or",
        ),
        (
            json!({ "cluster": null, "destination": { "host": "m\u{e9}", "port": { "number": 80 } } }),
            "destination.host: \"m\u{e9}\": not a host: letters, digits, -, _ and ., or",
        ),
        (json!({ "cluster": null, "destination": { "host": "a|b", "port": { "number": 80 } } }), "not a host: letters"),
        (
            json!({ "cluster": null, "destination": { "host": "", "port": { "number": 80 } } }),
            "not the name of a cluster",
        ),
        (json!({ "allowedClusters": ["a"] }), "allowedClusters: only with clusterHeader"),
        (json!({ "consistentHash": {} }), "consistentHash: no key: exactly one of httpHeaderName"),
        (json!({ "consistentHash": { "useSourceIp": false } }), "useSourceIp: false: true, or another key"),
        (json!({ "consistentHash": { "useSourceIp": true, "httpCookieName": "a" } }), "at most one of httpHeaderName"),
        (json!({ "consistentHash": { "httpHeaderName": "a", "seed": -1 } }), "seed: -1: not a whole number"),
        (json!({ "rewrite": { "uri": "/a", "uriRegexRewrite": {} } }), "at most one of uri, uriRegexRewrite"),
        (json!({ "rewrite": { "uri": "a" } }), "rewrite.uri: \"a\": not a path: it begins with /, and has no ?, no #"),
        (json!({ "rewrite": { "uri": "" } }), "rewrite.uri: \"\": not a path"),
        (json!({ "rewrite": { "uri": "/a b" } }), "not a path"),
        (json!({ "rewrite": { "uri": "/a\tb" } }), "not a path"),
        (json!({ "rewrite": { "uri": "/a?b" } }), "not a path"),
        (json!({ "rewrite": { "uri": "/a#b" } }), "not a path"),
        (json!({ "rewrite": { "uri": "/\u{e9}" } }), ""),
        (
            json!({ "rewrite": { "uriRegexRewrite": { "match": "(", "rewrite": "/" } } }),
            "not a regular expression: unclosed group",
        ),
        (json!({ "rewrite": { "uriRegexRewrite": { "match": "a", "rewrite": "\\1" } } }), "\\1 names a group"),
        (json!({ "rewrite": { "uriRegexRewrite": { "match": "a", "rewrite": "\\x" } } }), "a backslash stands before"),
        (json!({ "rewrite": { "uriRegexRewrite": { "match": "a", "rewrite": "\\" } } }), "a backslash stands before"),
        (
            json!({ "rewrite": { "uriRegexRewrite": { "match": "a".repeat(1025), "rewrite": "" } } }),
            "longer than 1024 characters",
        ),
        (json!({ "rewrite": { "authority": "a b" } }), "not a host"),
        (json!({ "headers": { "remove": [":path"] } }), "headers.remove[0]: :path: a pseudo header"),
        (json!({ "headers": { "set": { "Host": "secret" } } }), "headers.set.Host: host: the host or a single hop"),
        (json!({ "headers": { "add": { "content-length": "1" } } }), "the host or a single hop"),
        (json!({ "headers": { "add": { "x-envoy-internal": "1" } } }), "the host or a single hop"),
        (json!({ "headers": { "add": { "a": "secret\n" } } }), "headers.add.a: (not shown): control characters"),
        (json!({ "headers": { "add": { "a": 1 } } }), "headers.add.a: (not shown): not a string"),
        (
            json!({ "headers": { "remove": ["a", "a"] } }),
            "headers.remove[1]: a: the same header as a, which stands here too",
        ),
        (json!({ "headers": { "remove": ["X-A", "b", "x-a"] } }), "headers.remove[2]: x-a: the same header as X-A"),
        (json!({ "headers": { "set": { "X-A": "secret", "x-a": "secret" } } }), "set.x-a: x-a: the same header as X-A"),
        (json!({ "headers": { "add": { "X-A": "secret", "x-a": "secret" } } }), "add.x-a: x-a: the same header as X-A"),
        (json!({ "headers": { "remove": ["a"], "set": { "a": "1" }, "add": { "A": "2" } } }), ""),
        (
            json!({ "headers": { "remove": ["X-Mirrored-Request"] } }),
            "headers.remove[0]: x-mirrored-request: the markerHeader, which every copy carries: it cannot be edited",
        ),
        (
            json!({ "headers": { "set": { "x-mirrored-request": "secret" } } }),
            "set.x-mirrored-request: x-mirrored-request: the",
        ),
        (
            json!({ "headers": { "add": { "x-mirrored-request": "secret" } } }),
            "add.x-mirrored-request: x-mirrored-request: the",
        ),
        (json!({ "headers": { "authorization": "secret" } }), "headers.authorization: (not shown): unknown field"),
        (json!({ "headers": { "set": "a: secret" } }), "headers.set: (not shown): not an object"),
        (json!({ "redact": { "headers": ["Authorization", "x-a"], "with": "mask" } }), ""),
        (json!({ "redact": { "json": ["", "/", "/a/*/0", "/~0~1"], "form": ["a b", "é"], "with": "pseudonym" } }), ""),
        (json!({ "redact": { "cookies": ["a"], "queryParams": ["a;b"] }, "headers": { "remove": ["cookie"] } }), ""),
        (
            json!({ "redact": {} }),
            "rules[0].mirrors[0].redact: {}: at least one of headers, cookies, queryParams, form, json",
        ),
        (json!({ "redact": { "with": "mask" } }), "redact: {}: at least one of headers, cookies"),
        (json!({ "redact": { "json": null } }), "redact: {}: at least one of"),
        (json!({ "redact": ["authorization"] }), "redact: […]: not an object"),
        (json!({ "redact": { "json": [] } }), "redact.json: []: a list of at least one; without the field: none"),
        (json!({ "redact": { "headers": "a" } }), "redact.headers: \"a\": not a list"),
        (json!({ "redact": { "headers": [1] } }), "redact.headers[0]: 1: not a string"),
        (json!({ "redact": { "body": ["/a"], "json": ["/a"] } }), "redact.body: (not shown): unknown field"),
        (json!({ "redact": { "json": ["/a"], "key": "secret" } }), "redact.key: (not shown): unknown field"),
        (json!({ "redact": { "json": ["/a"], "with": "hash" } }), "redact.with: \"hash\": mask or pseudonym"),
        (json!({ "redact": { "headers": [":path"] } }), "redact.headers[0]: :path: a pseudo header"),
        (json!({ "redact": { "headers": ["Host"] } }), "redact.headers[0]: host: the host or a single hop"),
        (json!({ "redact": { "headers": ["te"] } }), "redact.headers[0]: te: the host or a single hop"),
        (json!({ "redact": { "headers": ["a b"] } }), "redact.headers[0]: a b: not the name of a header"),
        (json!({ "redact": { "headers": ["X-Mirrored-Request"] } }), "x-mirrored-request: the markerHeader, which"),
        (
            json!({ "redact": { "headers": ["Content-Type"] } }),
            "redact.headers[0]: \"Content-Type\": what the body is cannot be hidden",
        ),
        (json!({ "redact": { "headers": ["content-encoding"] } }), "what the body is cannot be hidden"),
        (json!({ "redact": { "headers": ["A", "b", "a"] } }), "redact.headers[2]: a: the same header as A"),
        (
            json!({ "redact": { "headers": ["Cookie"] }, "headers": { "remove": ["cookie"] } }),
            "redact.headers[0]: \"Cookie\": headers.remove of the mirror names it too",
        ),
        (json!({ "redact": { "cookies": ["a", "A", "a"] } }), "redact.cookies[2]: \"a\": stands in the list already"),
        (json!({ "redact": { "cookies": ["a=b"] } }), "redact.cookies[0]: \"a=b\": no cookie has such a name"),
        (json!({ "redact": { "cookies": [" a"] } }), "no cookie has such a name"),
        (json!({ "redact": { "cookies": [""] } }), "a name that is empty or has control characters"),
        (json!({ "redact": { "form": ["a", "a"] } }), "redact.form[1]: \"a\": stands in the list already"),
        (json!({ "redact": { "queryParams": ["\n"] } }), "redact.queryParams[0]: \"\\n\": a name that is empty or has"),
        (json!({ "redact": { "json": ["a"] } }), "redact.json[0]: \"a\": not a JSON pointer: empty, or a / before"),
        (json!({ "redact": { "json": ["/~2"] } }), "redact.json[0]: \"/~2\": not a JSON pointer"),
        (json!({ "redact": { "json": ["/a", "/a"] } }), "redact.json[1]: \"/a\": stands in the list already"),
        (
            json!({ "redact": { "json": (0..101).map(|number| format!("/{number}")).collect::<Vec<_>>() } }),
            "redact.json: 101 entries: at most 100",
        ),
        (json!({ "body": "drop" }), "body: \"drop\": include or omit"),
        (json!({ "onOversizedBody": true }), "onOversizedBody: true: not a string"),
        (json!({ "timeout": "1ms" }), ""),
        (json!({ "timeout": "1h" }), ""),
        (json!({ "timeout": "1m30.5s" }), ""),
        (json!({ "timeout": "0s" }), "not a duration between 1ms and 1h"),
        (json!({ "timeout": "999us" }), "not a duration"),
        (json!({ "timeout": "61m" }), "not a duration"),
        (json!({ "timeout": "5" }), "not a duration"),
        (json!({ "timeout": "-5s" }), "not a duration"),
        (json!({ "timeout": "5 s" }), "not a duration"),
        (json!({ "timeout": "infs" }), "not a duration"),
        (json!({ "timeout": 5 }), "timeout: 5: not a string"),
        (json!({ "disableShadowHostSuffixAppend": 1 }), "not true or false"),
    ]
}

/// Whole rules.
pub(crate) fn rules() -> Vec<Case> {
    let long = "a".repeat(1025);
    vec![
        (json!({ "mirrors": [] }), ""),
        (json!({ "mirrors": {} }), "rules[0].mirrors: {}: not a list"),
        (
            json!({ "mirrors": [{ "cluster": "a" }, { "cluster": "a" }] }),
            "rules[0].mirrors[1]: label a: already the label",
        ),
        (json!({ "mirrors": [{ "cluster": "a" }, { "cluster": "a", "name": "b" }] }), ""),
        (json!({ "mirrors": [], "match": [{}] }), ""),
        (json!({ "mirrors": [], "unrouted": "ignore" }), ""),
        (json!({ "mirrors": [], "unrouted": "drop" }), "rules[0].unrouted: \"drop\": ignore or mirror"),
        (json!({ "mirrors": [], "unrouted": true }), "rules[0].unrouted: true: not a string"),
        (json!({ "mirrors": [], "match": {} }), "rules[0].match: {}: not a list"),
        (json!({ "mirrors": [], "name": "" }), "not 1 to 64"),
        (json!({ "mirrors": [], "name": "a".repeat(65) }), "not 1 to 64"),
        (json!({ "mirrors": [], "match": [{ "uri": { "regex": long } }] }), "longer than 1024 characters"),
        (json!({ "mirrors": [], "match": [{ "uri": { "regex": "a)(b" } }] }), "not a regular expression"),
        (json!({ "mirrors": [], "match": [{ "uri": { "regex": "(a{1000}){1000}" } }] }), "not a regular expression"),
        (json!({ "mirrors": [], "match": [{ "uri": { "regex": "\\pL+é" } }] }), ""),
        (json!({ "mirrors": [], "match": [{ "uri": "/" }] }), "uri: \"/\": not an object"),
        (json!({ "mirrors": [], "match": [{ "clusterName": "c" }] }), "match[0].clusterName: \"c\": not an object"),
        (json!({ "mirrors": [], "match": [{ "headers": { "a": null } }] }), "headers.a: null: not an object"),
        (json!({ "mirrors": [], "match": [{ "cookies": { "": {} } }] }), "a name that is empty"),
        (
            json!({ "mirrors": [], "match": [{ "headers": { "X-A": {}, "x-a": {} } }] }),
            "rules[0].match[0].headers.x-a: x-a: the same header as X-A, which stands here too",
        ),
        (
            json!({ "mirrors": [], "match": [{ "headers": { "host": {}, ":authority": {} } }] }),
            "headers.host: host: the same header as :authority",
        ),
        (
            json!({ "mirrors": [], "match": [{ "withoutHeaders": { "HOST": {}, "host": {} } }] }),
            "withoutHeaders.host: host: the same header as HOST",
        ),
        (
            json!({ "mirrors": [], "match": [{ "headers": { "a": {} }, "withoutHeaders": { "A": { "exact": "1" } } }] }),
            "",
        ),
        (
            json!({ "mirrors": [], "match": [{ "queryParams": { "a": {}, "A": {} }, "cookies": { "a": {}, "A": {} } }] }),
            "",
        ),
        (json!({ "mirrors": [], "match": [{ "sourceCidrs": ["10.0.0.0/33"] }] }), "not an address range"),
        (
            json!({ "mirrors": [], "match": [{ "sourceCidrs": [] }] }),
            "rules[0].match[0].sourceCidrs: []: a list of at least one range; without the field: any address",
        ),
        (json!({ "mirrors": [], "match": [{ "sourceCidrs": null }] }), ""),
        (
            json!({ "mirrors": [], "match": [{ "sourceCidrs": ["::ffff:10.0.0.0/104", "::ffff:10.1.2.3", "::/0"] }] }),
            "",
        ),
        (
            json!({ "mirrors": [], "match": [{ "sourceCidrs": ["::ffff:10.0.0.0/95"] }] }),
            "sourceCidrs[0]: \"::ffff:10.0.0.0/95\": an IPv4-mapped range shorter than /96",
        ),
        (json!({ "mirrors": [{ "cluster": "c", "rewrite": { "uri": "/" } }] }), "needs an exact or prefix uri"),
        (
            json!({ "mirrors": [{ "cluster": "c", "rewrite": { "uri": "/" } }], "match": [{ "uri": { "suffix": "a" } }] }),
            "needs an exact or prefix uri",
        ),
        (
            json!({ "mirrors": [{ "cluster": "c", "rewrite": { "uri": "/" } }], "match": [{ "uri": { "regex": "/a.*" } }] }),
            "needs an exact or prefix uri",
        ),
    ]
}

/// What of responses is compared, by the build that compares headers and bodies.
pub(crate) fn comparisons() -> Vec<Case> {
    let headers: Vec<_> = (0..101).map(|number| format!("x-{number}")).collect();
    let pointers: Vec<_> = (0..101).map(|number| format!("/{number}")).collect();
    vec![
        (json!({ "headers": ["location"] }), ""),
        (json!({ "headers": headers[..100] }), ""),
        (json!({ "headers": headers }), "compare.headers: 101 entries: at most 100"),
        (json!({ "headers": [] }), "compare.headers: []: a list of at least one; without the field: none"),
        (json!({ "headers": "location" }), "compare.headers: \"location\": not a list"),
        (json!({ "headers": [1] }), "compare.headers[0]: 1: not a string"),
        (json!({ "headers": ["a b"] }), "compare.headers[0]: \"a b\": not the name of a header"),
        (json!({ "headers": [":status"] }), "compare.headers[0]: \":status\": a pseudo header: use status"),
        (json!({ "headers": ["A", "a"] }), "compare.headers[1]: a: the same header as A"),
        (json!({ "body": { "exact": true } }), ""),
        (json!({ "body": { "exact": true, "json": null }, "status": false, "fields": true }), ""),
        (json!({ "body": { "exact": false } }), "compare.body.exact: false: true, or json instead"),
        (json!({ "body": { "exact": 1 } }), "compare.body.exact: 1: not true or false"),
        (json!({ "body": {} }), "compare.body: neither: exactly one of json, exact"),
        (json!({ "body": { "maxBytes": 5 } }), "compare.body: neither: exactly one of json, exact"),
        (json!({ "body": { "exact": true, "json": {} } }), "compare.body: json and exact: at most one of json, exact"),
        (json!({ "body": true }), "compare.body: true: not an object"),
        (json!({ "body": { "exact": true, "maxBytes": 1 } }), ""),
        (json!({ "body": { "exact": true, "maxBytes": 1_048_576 } }), ""),
        (
            json!({ "body": { "exact": true, "maxBytes": 0 } }),
            "compare.body.maxBytes: 0: not a whole number between 1 and 1048576",
        ),
        (
            json!({ "body": { "exact": true, "maxBytes": 1_048_577 } }),
            "compare.body.maxBytes: 1048577: not a whole number between 1 and 1048576",
        ),
        (json!({ "body": { "json": {} } }), ""),
        (json!({ "body": { "json": { "ignore": [] } } }), ""),
        (json!({ "body": { "json": { "ignore": ["", "/a~1b/*"], "unorderedArrays": false } } }), ""),
        (json!({ "body": { "json": { "ignore": ["a"] } } }), "json.ignore[0]: \"a\": not a JSON pointer"),
        (json!({ "body": { "json": { "ignore": ["/~2"] } } }), "json.ignore[0]: \"/~2\": not a JSON pointer"),
        (
            json!({ "body": { "json": { "ignore": ["/a", "/a"] } } }),
            "json.ignore[1]: \"/a\": stands in the list already",
        ),
        (json!({ "body": { "json": { "ignore": pointers } } }), "json.ignore: 101 entries: at most 100"),
        (json!({ "body": { "json": { "ignore": "/a" } } }), "json.ignore: \"/a\": not a list"),
        (json!({ "body": { "json": { "nullIsAbsent": "yes" } } }), "nullIsAbsent: \"yes\": not true or false"),
        (json!({ "body": { "json": true } }), "compare.body.json: true: not an object"),
        (
            json!({ "body": { "json": { "ignoreOrder": true } } }),
            "ignoreOrder: true: unknown field; known here: ignore, unorderedArrays, nullIsAbsent",
        ),
        (json!({ "body": { "exact": true, "max": 1 } }), "max: 1: unknown field; known here: json, exact, maxBytes"),
        (json!({ "fields": false }), "rules[0].compare: {}: at least one of status, headers, body"),
        (json!({ "headers": ["a"], "fields": 1 }), "compare.fields: 1: not true or false"),
    ]
}

/// Limits.
pub(crate) fn limits() -> Vec<Case> {
    vec![
        (json!({ "maxBodyBytes": 0, "maxBufferedBytes": 0, "maxInFlight": 1 }), ""),
        (
            json!({ "maxInFlight": 0 }),
            "limits.maxInFlight: 0: not a whole number between 1 and 4294967295; a mirror that is to get no copies has percentage: 0",
        ),
        (json!({ "maxBodyBytes": 67_108_864 }), ""),
        (
            json!({ "maxBodyBytes": 67_108_865, "maxBufferedBytes": 536_870_912 }),
            "not a whole number between 0 and 67108864",
        ),
        (json!({ "maxBodyBytes": 5, "maxBufferedBytes": 5 }), ""),
        (json!({ "maxBodyBytes": 5, "maxBufferedBytes": 4 }), "limits.maxBodyBytes: 5: at most maxBufferedBytes, 4"),
        (json!({ "maxBufferedBytes": 536_870_912 }), ""),
        (
            json!({ "maxBufferedBytes": 536_870_913 }),
            "limits.maxBufferedBytes: 536870913: not a whole number between 0 and 536870912",
        ),
        (json!({ "maxInFlight": 1.5 }), "not a whole number"),
        (json!({ "maxRequestsPerSecond": 0 }), "not a whole number"),
        (json!({ "maxRequestsPerSecond": 1, "burst": 0 }), "not a whole number"),
    ]
}

/// Whole documents, with all that is said of them.
pub(crate) fn documents() -> Vec<Case> {
    vec![
        (json!({}), "rules: missing: a list of at least one rule"),
        (json!({ "rules": [] }), "rules: []: a list of at least one rule"),
        (json!([]), "configuration: []: not an object"),
    ]
}
