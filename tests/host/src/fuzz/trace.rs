//! What `trace` makes of headers: an account that takes values apart at their dashes.

/// The header in which a copy with a trace of its own tells of its request's.
pub const OLD: &str = "x-mirrored-traceparent";

/// The headers that a copy with a trace of its own has not.
const OF_TRACE: &[&str] = &[
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "x-datadog-origin",
    "x-datadog-tags",
];

/// What becomes of the headers of a copy.
#[derive(Debug)]
pub enum Trace<'a> {
    Keep,
    Unsampled,
    /// It has a trace of its own: with the request's `traceparent`, if that is one, and how many headers of that name there are.
    New(Option<&'a [u8]>, usize),
}

impl Trace<'_> {
    /// Returns what a header says on the copy; `None`: it goes.
    pub fn value(&self, name: &[u8], value: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let changed = match self {
            Self::Keep => None,
            Self::Unsampled if name == b"x-b3-flags" => return None,
            Self::Unsampled => unsampled(name, text),
            Self::New(..) if OF_TRACE.iter().any(|own| own.as_bytes() == name) => return None,
            Self::New(None, 2..) if name == b"traceparent" => return None,
            Self::New(Some(old), _) if name == b"traceparent" => Some(fresh(old)),
            Self::New(..) => None,
        };
        Some(changed.map_or_else(|| value.to_vec(), String::into_bytes))
    }

    /// Returns the request's `traceparent`, where the copy tells of it.
    pub fn old(&self) -> Option<&[u8]> {
        if let Self::New(old, _) = self { *old } else { None }
    }
}

/// Makes the `traceparent` of a new trace where every random number is 1, with the flags of another.
pub fn fresh(old: &[u8]) -> String {
    let [.., flags] = parts(old).unwrap();
    format!("00-{0:016x}{0:016x}-{0:016x}-{flags}", 1)
}

/// Returns the first four parts of a `traceparent`: version, trace, span, flags. `None`: it is none.
pub fn parts(value: &[u8]) -> Option<[&str; 4]> {
    let parts: Vec<_> = std::str::from_utf8(value).ok()?.split('-').collect();
    let [version, trace, span, flags, more @ ..] = &parts[..] else { return None };
    let is_hex = |text: &str, length| {
        text.len() == length && text.bytes().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase())
    };
    let is_id = |text: &str, length| is_hex(text, length) && !text.trim_matches('0').is_empty();
    let is_version = is_hex(version, 2) && *version != "ff" && (*version != "00" || more.is_empty());
    (is_version && is_id(trace, 32) && is_id(span, 16) && is_hex(flags, 2)).then_some([version, trace, span, flags])
}

/// Returns what a header says of a request that is not sampled; `None`: the same.
fn unsampled(name: &[u8], text: &str) -> Option<String> {
    match name {
        b"traceparent" => {
            let [.., flags] = parts(text.as_bytes())?;
            let cleared = u8::from_str_radix(flags, 16).unwrap() & !1;
            Some(format!("{}{cleared:02x}{}", &text[..53], &text[55..]))
        }
        b"b3" | b"x-b3-sampled" if is_sampling(text) => Some("0".to_owned()),
        b"b3" => {
            let mut parts: Vec<_> = text.split('-').collect();
            let is_id = |id: &str, lengths: &[usize]| {
                lengths.contains(&id.len()) && id.bytes().all(|digit| digit.is_ascii_hexdigit())
            };
            let is_whole = (3..=4).contains(&parts.len())
                && is_id(parts[0], &[16, 32])
                && is_id(parts[1], &[16])
                && is_sampling(parts[2])
                && parts.get(3).is_none_or(|parent| is_id(parent, &[16]));
            is_whole.then(|| {
                parts[2] = "0";
                parts.join("-")
            })
        }
        b"x-datadog-sampling-priority" => {
            let parts: Vec<_> = text.strip_prefix('-').unwrap_or(text).split('.').collect();
            let is_digits = |part: &&str| part.parse::<f64>().is_ok() && part.bytes().all(|byte| byte.is_ascii_digit());
            (parts.len() <= 2 && parts.iter().all(is_digits)).then(|| "0".to_owned())
        }
        b"x-request-id" => {
            let mut parts: Vec<_> = text.split('-').map(str::to_owned).collect();
            let lengths: Vec<_> = parts.iter().map(String::len).collect();
            let is_uuid = lengths == [8, 4, 4, 4, 12] && parts.concat().bytes().all(|digit| digit.is_ascii_hexdigit());
            is_uuid.then(|| {
                parts[2].replace_range(..1, "4");
                parts.join("-")
            })
        }
        _ => None,
    }
}

fn is_sampling(text: &str) -> bool {
    ["0", "1", "d"].contains(&text) || ["true", "false"].contains(&text.to_ascii_lowercase().as_str())
}
