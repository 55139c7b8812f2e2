//! The words for what the filter decides and finds: why a copy was or was not sent, how it was answered, how that compares
//! with the primary, and why a request is ignored. Each is a label of a metric.

use crate::core::causes::{Cause, in_words};
use smallvec::SmallVec;

/// Makes an enum whose values are the labels of a metric.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)+
        }

        impl $name {
            /// All values, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$value),+];

            /// Returns the label in metrics and logs.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $label,)+
                }
            }
        }
    };
}

labels! {
    /// What became of a copy that a rule asked for.
    Outcome {
        /// The host took it.
        Sent => "sent",
        /// The time was outside the mirror's `from` and `until`.
        Unscheduled => "unscheduled",
        /// The request was not sampled for this mirror.
        Unsampled => "unsampled",
        /// The body was longer than `limits.maxBodyBytes`.
        BodyTooLarge => "body_too_large",
        /// The request never ended: the client went, or was answered before its body was read.
        Incomplete => "incomplete",
        /// The primary's response is none that the mirror's `when` asks for.
        NotWanted => "not_wanted",
        /// `limits.maxInFlight` was reached, or the mirror's own.
        InFlightLimit => "in_flight_limit",
        /// `limits.maxBufferedBytes` was reached.
        BufferLimit => "buffer_limit",
        /// `limits.maxRequestsPerSecond` was reached.
        RateLimit => "rate_limit",
        /// What `redact` lists cannot be looked at.
        RedactionFailed => "redaction_failed",
        /// The host does not know the cluster.
        NoCluster => "no_cluster",
        /// The host has no healthy upstream for it, or the cluster's circuit breaker is open.
        NoUpstream => "no_upstream",
        /// The header that should name the cluster was absent or empty.
        NoClusterHeader => "no_cluster_header",
        /// The header named a cluster that is not allowed.
        ClusterNotAllowed => "cluster_not_allowed",
    }
}

labels! {
    /// How a mirror answered.
    Class {
        /// Informational, such as 101.
        Informational => "1xx",
        /// Success.
        Success => "2xx",
        /// Redirection.
        Redirection => "3xx",
        /// The client's error.
        ClientError => "4xx",
        /// The server's error.
        ServerError => "5xx",
        /// Not completely within the mirror's `timeout`.
        Timeout => "timeout",
        /// Not at all: refused, reset or too large.
        Failed => "failed",
    }
}

impl Outcome {
    /// Returns whether the configuration asks for it: then it is nothing to warn of.
    pub fn is_asked_for(self) -> bool {
        matches!(self, Self::Sent | Self::Unscheduled | Self::Unsampled | Self::NotWanted)
    }
}

impl Class {
    /// Returns whether the mirror responded at all.
    pub fn is_response(self) -> bool {
        !matches!(self, Self::Timeout | Self::Failed)
    }
}

labels! {
    /// How the primary answered.
    PrimaryClass {
        /// Success.
        Success => "2xx",
        /// Redirection.
        Redirection => "3xx",
        /// The client's error.
        ClientError => "4xx",
        /// The server's error.
        ServerError => "5xx",
        /// Not at all.
        None => "none",
    }
}

impl PrimaryClass {
    /// Classifies the final status that a client got, if any.
    pub fn new(status: Option<u16>) -> Self {
        match status {
            None => Self::None,
            Some(..300) => Self::Success,
            Some(..400) => Self::Redirection,
            Some(..500) => Self::ClientError,
            Some(_) => Self::ServerError,
        }
    }
}

labels! {
    /// How primary and mirror answered one request.
    Compared {
        /// With the same status code.
        Same => "same",
        /// The mirror with a server error, and the primary with none.
        MirrorError => "mirror_error",
        /// The primary with a server error, and the mirror with none.
        PrimaryError => "primary_error",
        /// With status codes that differ otherwise.
        Different => "different",
        /// With other headers.
        DifferentHeaders => "different_headers",
        /// With another body.
        DifferentBody => "different_body",
        /// In a way that is not looked at, or cannot be.
        NotCompared => "not_compared",
        /// The mirror never answered.
        PrimaryOnly => "primary_only",
        /// The client never got an answer.
        MirrorOnly => "mirror_only",
        /// Nobody answered, or the primary with a server error and the mirror not.
        Neither => "neither",
    }
}

labels! {
    /// Why a request is no rule's business.
    Ignored {
        /// It carries the marker: it is a copy itself.
        Marked => "marked",
        /// It asks for another protocol, such as WebSocket.
        Upgrade => "upgrade",
        /// It asks for a tunnel.
        Connect => "connect",
        /// No upstream gets it: Envoy has no cluster for it.
        Unrouted => "unrouted",
    }
}

/// The bytes of a [`Short`] that need no allocation.
pub const SHORT: usize = 8;

/// A value that is mostly as short as a status.
pub type Short = SmallVec<[u8; SHORT]>;

/// Where a mirror's response comes from; without headers there is none: the call was reset.
pub trait Response {
    /// Reads the first value of a header.
    fn header(&self, name: &str) -> Option<Short>;
    /// Reads the first value of a trailer.
    fn trailer(&self, name: &str) -> Option<Short>;
    /// Reads the beginning of the body.
    fn body(&self) -> Vec<u8>;
}

/// What came of a copy that was sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// How the mirror answered.
    pub class: Class,
    /// Why the mirror did not; `None`: it did.
    pub cause: Option<Cause>,
}

impl Answered {
    /// Makes what came of a copy whose call the host has cancelled.
    pub fn cancelled() -> Self {
        Self::not(Class::Failed, "Envoy cancelled the call".into())
    }

    fn not(class: Class, cause: Cause) -> Self {
        Self { class, cause: Some(cause) }
    }
}

/// Classifies the response to a copy. `status` is its `:status`, empty where it has none. `is_grpc`: the copy was a gRPC
/// request. `is_late`: the mirror's timeout is over.
///
/// Where the mirror does not answer, the host does: with 502, 503 or 504, and to a gRPC request with 200 and a grpc-status,
/// without the header that it adds to what comes from an upstream. Where the mirror's response has begun, the host has none of
/// its own. A gRPC response has the class of the HTTP status that Envoy maps its grpc-status to, which a header or a trailer
/// says.
pub fn classify(status: &[u8], response: &impl Response, is_grpc: bool, is_late: bool) -> Answered {
    let class = match status.first() {
        Some(b'1') => Class::Informational,
        Some(b'2') => Class::Success,
        Some(b'3') => Class::Redirection,
        Some(b'4') => Class::ClientError,
        Some(b'5') => Class::ServerError,
        Some(_) => return Answered::not(Class::Failed, "the response has no valid status".into()),
        None if is_late => return Answered::not(Class::Timeout, "the response was not complete in time".into()),
        None => return Answered::not(Class::Failed, "the response broke off or was too large".into()),
    };
    let may_be_the_hosts = is_grpc || matches!(class, Class::ClientError | Class::ServerError);
    if may_be_the_hosts && response.header("x-envoy-upstream-service-time").is_none() {
        return of_the_hosts(status, response, is_grpc);
    }
    let grpc_status = || response.header("grpc-status").or_else(|| response.trailer("grpc-status"));
    let number = |status: &[u8]| std::str::from_utf8(status).ok()?.parse().ok();
    let class = is_grpc.then(grpc_status).flatten().map_or(class, |status: Short| class_of_grpc(number(&status)));
    Answered { class, cause: None }
}

/// Classifies a response that the host made in the mirror's place. To a gRPC request it says in a header what went wrong.
fn of_the_hosts(status: &[u8], response: &impl Response, is_grpc: bool) -> Answered {
    let words = is_grpc.then(|| response.header("grpc-message")).flatten();
    let words = words.map_or_else(|| response.body(), Short::into_vec);
    let is_timeout = status == b"504" || (is_grpc && words == b"upstream request timeout");
    Answered::not(if is_timeout { Class::Timeout } else { Class::Failed }, in_words(&words))
}

/// Returns whether a request of this content-type is a gRPC request to Envoy (`Grpc::Common::hasGrpcContentType`).
pub fn is_grpc(content_type: &[u8]) -> bool {
    matches!(content_type.strip_prefix(b"application/grpc"), Some([] | [b'+', ..]))
}

/// Returns the class of the HTTP status that Envoy maps a grpc-status to (`Grpc::Utility::grpcToHttpStatus`); `None`: it is no number.
pub(crate) fn class_of_grpc(status: Option<u32>) -> Class {
    match status {
        Some(0) => Class::Success,
        // Canceled, InvalidArgument, NotFound, AlreadyExists, PermissionDenied, ResourceExhausted, FailedPrecondition,
        // Aborted, OutOfRange, Unauthenticated.
        Some(1 | 3 | 5..=11 | 16) => Class::ClientError,
        // Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable, DataLoss, and what is no status.
        _ => Class::ServerError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response with these headers and this grpc-status in its trailers, if any.
    struct Given<'a>(&'a [(&'a str, &'a [u8])], Option<&'a str>);

    const WORDS: &[u8] = b"upstream connect error\n";

    impl Response for Given<'_> {
        fn header(&self, name: &str) -> Option<Short> {
            self.0.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).into())
        }

        fn trailer(&self, name: &str) -> Option<Short> {
            self.1.filter(|_| name == "grpc-status").map(|status| status.as_bytes().into())
        }

        fn body(&self) -> Vec<u8> {
            WORDS.to_vec()
        }
    }

    const FROM_UPSTREAM: (&str, &[u8]) = ("x-envoy-upstream-service-time", b"1");

    #[test]
    fn a_response_of_the_hosts_own_is_a_failure() {
        for (status, is_grpc, is_from_upstream, expected) in [
            (&b"101"[..], false, false, Class::Informational),
            (b"200", false, false, Class::Success),
            (b"200", true, false, Class::Failed),
            (b"200", true, true, Class::Success),
            (b"302", false, false, Class::Redirection),
            (b"404", false, true, Class::ClientError),
            (b"503", false, true, Class::ServerError),
            (b"503", false, false, Class::Failed),
            (b"504", false, true, Class::ServerError),
            (b"504", false, false, Class::Timeout),
            (b"", false, true, Class::Failed),
            (b"\xff", false, true, Class::Failed),
        ] {
            let headers = [(":status", status), FROM_UPSTREAM];
            let response = Given(if is_from_upstream { &headers } else { &headers[..1] }, None);
            let Answered { class, cause } = classify(status, &response, is_grpc, false);
            assert_eq!(class, expected, "{status:?} {is_grpc} {is_from_upstream}");
            assert_eq!(cause.is_none(), class.is_response(), "{status:?} {is_grpc} {is_from_upstream}");
            if !is_from_upstream && !class.is_response() {
                assert_eq!(cause.as_deref(), Some("upstream connect error"));
            }
        }
    }

    #[test]
    fn a_response_that_is_not_complete_when_the_timeout_is_over_is_late() {
        let none = Given(&[], None);
        assert_eq!(classify(b"", &none, false, true).class, Class::Timeout);
        assert_eq!(classify(b"", &none, false, false).class, Class::Failed);
        for (message, expected) in
            [(&b"upstream request timeout"[..], Class::Timeout), (b"upstream connect error", Class::Failed)]
        {
            let headers = [(":status", &b"200"[..]), ("grpc-status", b"14"), ("grpc-message", message)];
            let answered = classify(b"200", &Given(&headers, None), true, true);
            assert_eq!((answered.class, answered.cause.as_deref().map(str::as_bytes)), (expected, Some(message)));
        }
    }

    #[test]
    fn a_grpc_response_has_the_class_of_the_http_status_that_envoy_maps_its_status_to() {
        let http = [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
        let known = http.iter().enumerate().map(|(grpc_status, http)| (grpc_status.to_string(), *http));
        let odd = ["17", "", "-1", "x"].map(|odd| (odd.to_owned(), 500));
        for (grpc_status, http) in known.chain(odd) {
            let expected = match http / 100 {
                2 => Class::Success,
                4 => Class::ClientError,
                _ => Class::ServerError,
            };
            let in_headers = [(":status", &b"200"[..]), FROM_UPSTREAM, ("grpc-status", grpc_status.as_bytes())];
            for response in [Given(&in_headers, None), Given(&in_headers[..2], Some(&grpc_status))] {
                assert_eq!(classify(b"200", &response, true, false).class, expected, "{grpc_status}");
                assert_eq!(classify(b"200", &response, false, false).class, Class::Success, "{grpc_status}: not gRPC");
            }
        }
    }

    #[test]
    fn the_primarys_response_has_the_class_of_its_status() {
        for (status, expected) in [
            (None, "none"),
            (Some(200), "2xx"),
            (Some(299), "2xx"),
            (Some(304), "3xx"),
            (Some(499), "4xx"),
            (Some(500), "5xx"),
            (Some(999), "5xx"),
        ] {
            assert_eq!(PrimaryClass::new(status).label(), expected, "{status:?}");
        }
    }

    #[test]
    fn a_content_type_is_grpc_as_envoy_tells_it() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/grpc;charset=utf-8", false),
            ("application/grpc,application/grpc", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(content_type.as_bytes()), expected, "{content_type}");
        }
    }
}
