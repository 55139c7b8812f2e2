//! The headers that traces are made of: what a mirror's `trace` makes of them.
//!
//! Only what is well-formed is changed: W3C Trace Context, B3 in one header and in several, Datadog, and the UUID of Envoy's
//! `x-request-id`, whose 15th character says whether it is traced (`UUIDRequestIDExtension::setTraceReason`).

use crate::config::{Mirror, Trace};
use crate::core::digest::Digest;

/// The name of the header in which a copy with a trace of its own tells of its request's.
pub const OLD: &str = "x-mirrored-traceparent";

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const TRACEPARENT: usize = 55;

/// What becomes of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit<'a> {
    /// It gets this value, in three parts.
    Value([&'a [u8]; 3]),
    /// It goes.
    Gone,
}

/// What becomes of the headers of one copy.
#[derive(Debug)]
pub enum Tracing<'a> {
    /// They say that the copy is not sampled.
    Unsampled,
    /// The copy begins a trace of its own: the value of its `traceparent`, and that of the request.
    New(Box<[u8]>, &'a [u8]),
    /// The copy would, but the request has no trace that it could tell of; whether it has several, which go.
    WithoutOld(bool),
}

impl<'a> Tracing<'a> {
    /// Finds out how a request's headers change; `None`: they stay.
    #[inline]
    pub fn new(mirror: &Mirror, request: &'a Digest, random: impl FnMut() -> u64) -> Option<Box<Self>> {
        if mirror.trace == Trace::Keep { None } else { Some(Box::new(Self::other(mirror, request, random))) }
    }

    #[cold]
    fn other(mirror: &Mirror, request: &'a Digest, random: impl FnMut() -> u64) -> Self {
        if mirror.trace == Trace::Unsampled {
            return Self::Unsampled;
        }
        let mut all = request.map().places().filter(|(_, name, _)| *name == b"traceparent");
        let (first, has_several) = (all.next(), all.next().is_some());
        // What is not to be on the copy is not told by another name either.
        let hidden = mirror.redact.iter().flat_map(|redact| &redact.headers);
        let is_gone = hidden.chain(&mirror.headers.remove).any(|name| name.as_str() == "traceparent");
        let old = first.filter(|(place, _, value)| {
            let is_cut = request.cuts().iter().any(|(cut, _)| cut == place);
            !has_several && !is_gone && !is_cut && is_traceparent(value)
        });
        old.map_or(Self::WithoutOld(has_several), |(_, _, old)| Self::New(traceparent(old, random), old))
    }

    /// Returns what becomes of a header; `None`: it stays.
    pub fn edit<'e>(&'e self, name: &[u8], value: &'e [u8]) -> Option<Edit<'e>> {
        match self {
            Self::Unsampled => unsampled(name, value),
            Self::New(new, _) if name == b"traceparent" => Some(Edit::Value([new, b"", b""])),
            Self::WithoutOld(true) if name == b"traceparent" => Some(Edit::Gone),
            Self::New(..) | Self::WithoutOld(_) => is_of_trace(name).then_some(Edit::Gone),
        }
    }

    /// Returns the value of [`OLD`], where the copy has one.
    pub fn old(&self) -> Option<&'a [u8]> {
        match self {
            Self::New(_, old) => Some(old),
            _ => None,
        }
    }
}

/// Makes the `traceparent` of a new trace, with the flags of an old one.
fn traceparent(old: &[u8], mut random: impl FnMut() -> u64) -> Box<[u8]> {
    // All zeros would be no id.
    let mut number = || random().max(1);
    let text = format!("00-{:016x}{:016x}-{:016x}-", number(), number(), number());
    let flags = old.get(TRACEPARENT.saturating_sub(2)..TRACEPARENT).unwrap_or(b"00");
    [text.as_bytes(), flags].concat().into()
}

/// Returns whether a value is a `traceparent`: of version 00, or begins as one of a later version (W3C Trace Context, 2.2).
fn is_traceparent(value: &[u8]) -> bool {
    let Some(([v1, v2, b'-', rest @ ..], after)) = value.split_first_chunk::<TRACEPARENT>() else { return false };
    let [ids @ .., b'-', f1, f2] = rest else { return false };
    let Some((trace, [b'-', span @ ..])) = ids.split_at_checked(32) else { return false };
    let is_later = [v1, v2] != [&b'0', &b'0'];
    let ends = if is_later { after.first().is_none_or(|byte| *byte == b'-') } else { after.is_empty() };
    let is_id = |id: &[u8]| is_hex(id) && id.iter().any(|digit| *digit != b'0');
    is_hex(&[*v1, *v2, *f1, *f2]) && [*v1, *v2] != *b"ff" && is_id(trace) && span.len() == 16 && is_id(span) && ends
}

/// Returns whether this is hexadecimal in lower case.
fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether a header, beside `traceparent`, says something of a trace.
fn is_of_trace(name: &[u8]) -> bool {
    matches!(
        name,
        b"tracestate"
            | b"b3"
            | b"x-b3-traceid"
            | b"x-b3-spanid"
            | b"x-b3-parentspanid"
            | b"x-b3-sampled"
            | b"x-b3-flags"
            | b"x-datadog-trace-id"
            | b"x-datadog-parent-id"
            | b"x-datadog-sampling-priority"
            | b"x-datadog-origin"
            | b"x-datadog-tags"
    )
}

fn unsampled<'e>(name: &[u8], value: &'e [u8]) -> Option<Edit<'e>> {
    let parts = match name {
        b"traceparent" => unsampled_traceparent(value)?,
        b"b3" => unsampled_b3(value)?,
        b"x-b3-sampled" if is_sampling(value) => [&b"0"[..], b"", b""],
        b"x-b3-flags" => return Some(Edit::Gone),
        b"x-datadog-sampling-priority" if is_number(value) => [&b"0"[..], b"", b""],
        b"x-request-id" => untraced_request_id(value)?,
        _ => return None,
    };
    Some(Edit::Value(parts))
}

/// Returns whether this is a sampling state of B3, as it is or once was.
fn is_sampling(value: &[u8]) -> bool {
    matches!(value, b"0" | b"1" | b"d") || [&b"true"[..], b"false"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// Returns whether this is a number, such as `-1` and `2.0`.
fn is_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    parts.all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
}

/// Clears the sampled flag, the lowest bit of the last digit.
fn unsampled_traceparent(value: &[u8]) -> Option<[&[u8]; 3]> {
    let (before, rest) = value.split_at_checked(TRACEPARENT.saturating_sub(1)).filter(|_| is_traceparent(value))?;
    let (flag, after) = rest.split_first()?;
    let even: &[u8] = match flag {
        b'0' | b'1' => b"0",
        b'2' | b'3' => b"2",
        b'4' | b'5' => b"4",
        b'6' | b'7' => b"6",
        b'8' | b'9' => b"8",
        b'a' | b'b' => b"a",
        b'c' | b'd' => b"c",
        _ => b"e",
    };
    Some([before, even, after])
}

/// Sets the sampling field of `TRACE-SPAN-SAMPLING-PARENT` or of `SAMPLING` to 0; a value without one says that it is open.
fn unsampled_b3(value: &[u8]) -> Option<[&[u8]; 3]> {
    if is_sampling(value) {
        return Some([b"0", b"", b""]);
    }
    let mut fields = value.split(|byte| *byte == b'-');
    let (trace, span, sampling, parent) = (fields.next()?, fields.next()?, fields.next()?, fields.next());
    let is_b3 = matches!(trace.len(), 16 | 32)
        && [span, parent.unwrap_or(span)].iter().all(|id| id.len() == 16 && id.iter().all(u8::is_ascii_hexdigit))
        && trace.iter().all(u8::is_ascii_hexdigit)
        && is_sampling(sampling)
        && fields.next().is_none();
    let at = trace.len().saturating_add(span.len()).saturating_add(2);
    let (before, rest) = value.split_at_checked(at).filter(|_| is_b3)?;
    Some([before, b"0", rest.get(1..)?])
}

/// Says that a request is not traced, where its id is a UUID.
fn untraced_request_id(value: &[u8]) -> Option<[&[u8]; 3]> {
    let is_uuid = value.len() == 36
        && value.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    let (before, rest) = value.split_at_checked(14).filter(|_| is_uuid)?;
    Some([before, b"4", rest.get(1..)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::core::header_map::HeaderMap;
    use proptest::prelude::*;

    /// The examples of the specifications: W3C Trace Context, openzipkin/b3-propagation, Datadog's, Envoy's own.
    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const B3: &str = "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";

    fn edited(tracing: &Tracing<'_>, name: &str, value: &str) -> Option<String> {
        match tracing.edit(name.as_bytes(), value.as_bytes()) {
            None => Some(value.to_owned()),
            Some(Edit::Value(parts)) => Some(String::from_utf8(parts.concat()).unwrap()),
            Some(Edit::Gone) => None,
        }
    }

    #[test]
    fn a_copy_that_is_not_sampled_says_so_in_each_format() {
        for (name, value, expected) in [
            ("traceparent", SAMPLED, Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
                Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02"),
            ),
            (
                "traceparent",
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0b-what-comes",
                Some("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0a-what-comes"),
            ),
            ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", Some("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")),
            ("b3", B3, Some("80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0-05e3ac9a4f6e3b90")),
            ("b3", "a3ce929d0e0e4736-00f067aa0ba902b7-d", Some("a3ce929d0e0e4736-00f067aa0ba902b7-0")),
            ("b3", "a3ce929d0e0e4736-00f067aa0ba902b7", Some("a3ce929d0e0e4736-00f067aa0ba902b7")),
            ("b3", "1", Some("0")),
            ("b3", "d", Some("0")),
            ("x-b3-traceid", "80f198ee56343ba864fe8b2a57d3eff7", Some("80f198ee56343ba864fe8b2a57d3eff7")),
            ("x-b3-sampled", "1", Some("0")),
            ("x-b3-sampled", "True", Some("0")),
            ("b3", "80F198EE56343BA8-E457B5A2E4D86BD1-1", Some("80F198EE56343BA8-E457B5A2E4D86BD1-0")),
            ("x-datadog-sampling-priority", "1.0", Some("0")),
            ("x-b3-flags", "1", None),
            ("x-datadog-sampling-priority", "2", Some("0")),
            ("x-datadog-sampling-priority", "-1", Some("0")),
            ("x-datadog-trace-id", "1234567890", Some("1234567890")),
            ("x-request-id", "5b1f3c2e-9f3a-9d0c-8d5e-0c7f1b2a3d4e", Some("5b1f3c2e-9f3a-4d0c-8d5e-0c7f1b2a3d4e")),
            ("x-request-id", "5B1F3C2E-9F3A-AD0C-8D5E-0C7F1B2A3D4E", Some("5B1F3C2E-9F3A-4D0C-8D5E-0C7F1B2A3D4E")),
        ] {
            assert_eq!(edited(&Tracing::Unsampled, name, value).as_deref(), expected, "{name}: {value}");
        }
    }

    #[test]
    fn what_is_malformed_stays_as_it_is() {
        for (name, values) in [
            (
                "traceparent",
                &[
                    "",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                    "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                    "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
                    "00-4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-01",
                    "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                    "00-4bf92f3577b34da6a3ce929d0e0e473600f067aa0ba902b7--01",
                    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
                    "é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                ][..],
            ),
            (
                "b3",
                &[
                    "",
                    "2",
                    "a-b-1",
                    "a3ce929d0e0e4736-00f067aa0ba902b7-2",
                    "a3ce929d0e0e4736-00f067aa0ba902b7-1-x",
                    &[B3, "-0"].concat(),
                ],
            ),
            ("x-b3-sampled", &["", "yes", "2"]),
            ("x-datadog-sampling-priority", &["", "high", "1.", "-"]),
            (
                "x-request-id",
                &["", "abc", "5b1f3c2e-9f3a-9d0c-8d5e-0c7f1b2a3d4", "5b1f3c2e-9f3a-9d0c-8d5e-0c7f1b2a3d4g"],
            ),
        ] {
            for value in values {
                assert_eq!(edited(&Tracing::Unsampled, name, value).as_deref(), Some(*value), "{name}");
            }
        }
    }

    fn mirror(trace: &str) -> Mirror {
        let text = format!(r#"{{"rules":[{{"mirrors":[{{"cluster":"c","trace":"{trace}"}}]}}]}}"#);
        Config::from_bytes(text.as_bytes()).unwrap().rules[0].mirrors[0].clone()
    }

    fn headers(pairs: &[(&str, &str)]) -> Digest {
        let pairs = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        Digest::new(HeaderMap::from_pairs(pairs), None)
    }

    #[test]
    fn a_copy_with_a_trace_of_its_own_has_the_old_flags() {
        let request = headers(&[("traceparent", SAMPLED), ("b3", B3)]);
        let mut numbers = [0x1234, u64::MAX, 0].into_iter();
        let tracing = Tracing::new(&mirror("new"), &request, || numbers.next().unwrap()).unwrap();
        assert_eq!(
            edited(&tracing, "traceparent", SAMPLED).unwrap(),
            "00-0000000000001234ffffffffffffffff-0000000000000001-01"
        );
        assert_eq!(tracing.old(), Some(SAMPLED.as_bytes()));
        for name in ["tracestate", "b3", "x-b3-flags", "x-datadog-tags"] {
            assert_eq!(edited(&tracing, name, "1"), None, "{name}");
        }
        for name in ["x-request-id", "baggage", "x-b3", "x-datadog"] {
            assert_eq!(edited(&tracing, name, "1").as_deref(), Some("1"), "{name}");
        }
    }

    #[test]
    fn a_copy_of_a_request_without_a_valid_trace_gets_none() {
        for traces in [&[][..], &[("traceparent", "malformed")], &[("traceparent", SAMPLED); 2]] {
            let request = headers(traces);
            let tracing = Tracing::new(&mirror("new"), &request, || panic!("no id is needed")).unwrap();
            assert_eq!(tracing.old(), None);
            assert_eq!(edited(&tracing, "b3", B3), None);
            for (name, value) in traces {
                let expected = (traces.len() == 1).then_some(*value);
                assert_eq!(edited(&tracing, name, value).as_deref(), expected);
            }
        }
    }

    #[test]
    fn a_trace_that_is_hidden_is_not_told() {
        let mut mirror = mirror("new");
        let redacting = r#"{"rules":[{"mirrors":[{"cluster":"c","redact":{"headers":["traceparent"]}}]}]}"#;
        mirror.redact = Config::from_bytes(redacting.as_bytes()).unwrap().rules[0].mirrors[0].redact.clone();
        let request = headers(&[("traceparent", SAMPLED)]);
        let tracing = Tracing::new(&mirror, &request, || panic!("no id is needed")).unwrap();
        assert_eq!(tracing.old(), None);
        assert_eq!(edited(&tracing, "traceparent", "***").as_deref(), Some("***"));
        let mut removing = self::mirror("new");
        removing.headers.remove = mirror.redact.unwrap().headers;
        let tracing = Tracing::new(&removing, &request, || panic!("no id is needed")).unwrap();
        assert_eq!(tracing.old(), None);
        let listed = headers(&[("traceparent", SAMPLED), ("connection", "traceparent")]);
        let tracing = Tracing::new(&self::mirror("new"), &listed, || panic!("no id is needed")).unwrap();
        assert_eq!(tracing.old(), None);
    }

    proptest! {
        #[test]
        fn any_value_is_taken(name in "traceparent|b3|x-b3-sampled|x-request-id", value: Vec<u8>, random: u64) {
            let request = Digest::new(HeaderMap::from_pairs([(name.as_bytes(), &value[..])]), None);
            for trace in ["unsampled", "new"] {
                let tracing = Tracing::new(&mirror(trace), &request, || random).unwrap();
                let _ = tracing.edit(name.as_bytes(), &value);
            }
        }

        #[test]
        fn a_new_trace_is_one(numbers: [u64; 3], flags in "[0-9a-f]{2}") {
            let old = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let mut numbers = numbers.into_iter();
            let new = traceparent(old.as_bytes(), || numbers.next().unwrap());
            prop_assert!(is_traceparent(&new));
            prop_assert!(new.ends_with(flags.as_bytes()));
        }
    }
}
