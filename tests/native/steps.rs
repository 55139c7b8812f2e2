//! What may come next, of which the [`model`](crate::model) makes any order.

use crate::ledger::Limits;
use crate::model::RULES;
use fake_host::host::Headers;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What comes next. Streams and calls are told by their places among those that there are.
#[derive(Debug, Clone)]
pub enum Step {
    /// A stream opens, and perhaps is all there is.
    Open,
    /// The headers of a request come, for which Envoy may have no cluster.
    Headers { rule: usize, pseudo: Vec<&'static str>, more: Headers, is_routed: bool, ends: bool },
    /// A chunk of a body comes, or nothing of it; the host may fail to hand it over.
    Body { stream: usize, size: usize, hides: bool, ends: bool },
    /// Trailers come.
    Trailers { stream: usize },
    /// A stream ends, complete or not, and its client has got an answer or none.
    End { stream: usize, status: Option<u16> },
    /// The headers of a stream's response come.
    ResponseHeaders { stream: usize, headers: Headers, ends: bool },
    /// A chunk of its body; the host may fail to hand it over.
    ResponseBody { stream: usize, size: usize, hides: bool, ends: bool },
    /// Its trailers.
    ResponseTrailers { stream: usize, headers: Headers },
    /// A mirror answers, or resets.
    Answer { call: usize, headers: Headers, size: usize },
    /// An answer comes to a call that does not wait for one.
    Stray { token: u32, to_last_root: bool, headers: Headers },
    /// Another configuration takes over; its rules may be in another order.
    Replace { limits: Limits, is_reversed: bool },
    /// The configuration before this one takes over again.
    Return,
    /// The plugin is taken away, or a new module takes over: the VM ends.
    EndVm { is_wrong: bool },
    /// A wrong configuration takes over, and the last good one goes on.
    KeepLast,
    /// Another configuration is refused.
    Refuse,
    /// The clock shows this, in nanoseconds after the first second. It may run back.
    Clock { now: u64 },
    /// Envoy gets or loses a cluster, or its last host.
    Cluster { name: &'static str, outcome: Option<&'static str> },
}

pub fn limits() -> impl Strategy<Value = Limits> {
    let body = select(vec![0, 8, 1000, 50_000, 50_000]);
    let buffered = select(vec![0, 10, 65, 65, 65, 2000, 1 << 20, 1 << 20]);
    let in_flight = select(vec![1, 2, 1000, 1000, 1000]);
    let burst = select(vec![None, None, None, Some(1), Some(5)]);
    (body, buffered, in_flight, burst).prop_map(|(body, buffered, in_flight, burst)| Limits {
        body: body.min(buffered),
        buffered,
        in_flight,
        burst,
    })
}

pub fn pair(name: &str, value: impl AsRef<[u8]>) -> (Vec<u8>, Vec<u8>) {
    (name.into(), value.as_ref().to_vec())
}

fn request() -> impl Strategy<Value = Step> {
    let cluster =
        || prop_oneof![3 => select(vec!["a", "b", "drained", ""]).prop_map(Vec::from), 1 => vec(any::<u8>(), 1..3)];
    let one = |name: &str, value: &str| Just(vec![pair(name, value)]);
    let kind = select(vec!["application/grpc", "application/grpc+proto", "application/grpc-web", "text/plain"]);
    let more = prop_oneof![
        8 => (select(vec!["x-to", "x-or"]), cluster()).prop_map(|(name, value)| vec![pair(name, value)]),
        2 => one("content-length", "999"),
        2 => kind.prop_map(|kind| vec![pair("content-type", kind)]),
        1 => Just(vec![pair("upgrade", "websocket"), pair("connection", "keep-alive, Upgrade")]),
        1 => one("upgrade", "h2c"),
        1 => one("x-mirrored-request", ""),
        2 => vec(any::<u8>(), 0..9).prop_map(|value| vec![pair("x-any", value)]),
    ];
    // Now and then no rule matches, a pseudo header is missing, or the method is CONNECT.
    let rule = select(vec![0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, RULES.len()]);
    let pseudo = prop_oneof![
        12 => Just(vec![":authority", ":method"]),
        1 => Just(vec![":method"]),
        1 => Just(vec![":authority", "CONNECT"]),
    ];
    let user = "[a-f]".prop_map(|user| pair("x-user", user));
    let is_routed = prop::bool::weighted(0.9);
    let parts = (rule, pseudo, vec(more, 0..4), user, is_routed, any::<bool>());
    parts.prop_map(|(rule, pseudo, more, user, is_routed, ends)| {
        let more = [more.concat(), vec![user]].concat();
        Step::Headers { rule, pseudo, more, is_routed, ends }
    })
}

fn answer() -> impl Strategy<Value = Headers> {
    let status = prop_oneof![
        2 => select(vec!["200", "404", "503", "504"]).prop_map(Vec::from),
        1 => "[1-5][0-9][0-9]".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..4),
    ];
    let served = || pair("x-envoy-upstream-service-time", "1");
    prop_oneof![
        Just(Headers::new()),
        Just(vec![pair("server", "")]),
        status.clone().prop_map(|status| vec![pair(":status", status)]),
        status.clone().prop_map(move |status| vec![served(), pair(":status", status)]),
        (status, select(vec!["0", "5", "14", "16", "x"])).prop_map(move |(status, grpc)| vec![
            pair("grpc-status", grpc),
            served(),
            pair(":status", status)
        ]),
    ]
}

/// What is compared of a response beside its status and its body.
fn response() -> impl Strategy<Value = Headers> {
    let header = prop_oneof![
        select(vec!["1", "2"]).prop_map(|value| pair("x-v", value)),
        select(vec!["0", "5", "14", "x"]).prop_map(|status| pair("grpc-status", status)),
        Just(pair("x-other", "")),
    ];
    vec(header, 0..4)
}

pub fn step() -> impl Strategy<Value = Step> {
    let stream = || 0..5usize;
    let size = prop_oneof![Just(0), 1..12usize, Just(30), Just(999), Just(20_000)];
    let response_size = || prop_oneof![Just(0), 5..7usize, Just(60), Just(100), Just(101)];
    let cluster =
        (select(vec!["a", "b", "c", "unknown"]), select(vec![Some("sent"), Some("sent"), Some("no_upstream"), None]));
    prop_oneof![
        16 => request(),
        1 => Just(Step::Open),
        16 => (stream(), size, prop::bool::weighted(0.1), prop::bool::weighted(0.3))
            .prop_map(|(stream, size, hides, ends)| Step::Body { stream, size, hides, ends }),
        4 => stream().prop_map(|stream| Step::Trailers { stream }),
        10 => (stream(), select(vec![None, Some(0), Some(100), Some(103), Some(200), Some(200), Some(302), Some(404), Some(503)]))
            .prop_map(|(stream, status)| Step::End { stream, status }),
        14 => (0..6usize, answer(), response(), response_size()).prop_map(|(call, headers, more, size)| {
            let headers = if headers.is_empty() { headers } else { [headers, more].concat() };
            Step::Answer { call, headers, size }
        }),
        8 => (stream(), response(), any::<bool>())
            .prop_map(|(stream, headers, ends)| Step::ResponseHeaders { stream, headers, ends }),
        8 => (stream(), response_size(), prop::bool::weighted(0.1), any::<bool>())
            .prop_map(|(stream, size, hides, ends)| Step::ResponseBody { stream, size, hides, ends }),
        3 => (stream(), response()).prop_map(|(stream, headers)| Step::ResponseTrailers { stream, headers }),
        2 => (0..99u32, any::<bool>(), answer())
            .prop_map(|(token, to_last_root, headers)| Step::Stray { token, to_last_root, headers }),
        2 => (limits(), any::<bool>()).prop_map(|(limits, is_reversed)| Step::Replace { limits, is_reversed }),
        2 => Just(Step::Return),
        1 => prop::bool::weighted(0.3).prop_map(|is_wrong| Step::EndVm { is_wrong }),
        2 => Just(Step::KeepLast),
        1 => Just(Step::Refuse),
        6 => (select(vec![0, 10, 15, 20, 30, 35, 40]), select(vec![-1, 0, 1]))
            .prop_map(|(second, by): (u64, _)| Step::Clock { now: (second * 1_000_000_000).saturating_add_signed(by) }),
        2 => cluster.prop_map(|(name, outcome)| Step::Cluster { name, outcome }),
    ]
}
