//! For each mirror of the rule that decides: whether it is selected, and the copy that it would get.

use super::comparison;
use super::request::Given;
use crate::reply::Reply;
use std::borrow::Cow;
use std::rc::Rc;
use traffic_mirror::config::{
    Authority, Config, HeaderName, KeySource, Mirror, Moment, PathRewrite, Ratio, Rule, Share, Trace, When,
};
use traffic_mirror::core::body::at_hand;
use traffic_mirror::core::budget::Budget;
use traffic_mirror::core::copy::{Draft, NotCopied};
use traffic_mirror::core::digest::{Digest, Never};
use traffic_mirror::core::header_map::HeaderMap;
use traffic_mirror::core::matcher::Decision;
use traffic_mirror::core::outcome::Outcome;
use traffic_mirror::core::pending::{self, Pending, Plan};
use traffic_mirror::core::redact::{Failed, Hide, KEY, Key, Redacted, Redaction};
use traffic_mirror::core::request::Request;
use traffic_mirror::core::sample::part_of_key;

/// What a sample does with the request.
enum Selection {
    /// The moment is outside the mirror's `from` and `until`.
    Unscheduled,
    Always,
    Never,
    /// Its key falls into this part.
    Sticky(u32, bool),
    /// It is drawn, and has no key where one was asked for.
    Drawn {
        keyless: bool,
    },
}

impl Selection {
    fn new(mirror: &Mirror, given: &Given, now: Moment) -> Self {
        if mirror.period.is_some_and(|period| !period.includes(now)) {
            return Self::Unscheduled;
        }
        let sample = &mirror.sample;
        let ratio = sample.share.at(|| now);
        let sticky = || sample.sticky.as_ref().and_then(|sticky| part_of_key(sticky, &Request::new(given, true)));
        match ratio {
            _ if ratio.is_always() => Self::Always,
            _ if ratio.is_never() => Self::Never,
            _ => match sticky() {
                Some(part) => Self::Sticky(part, ratio.includes(part)),
                None => Self::Drawn { keyless: sample.sticky.is_some() },
            },
        }
    }

    fn is_possible(&self) -> bool {
        !matches!(self, Self::Unscheduled | Self::Never | Self::Sticky(_, false))
    }

    fn shown(&self, mirror: &Mirror, now: Moment) -> String {
        let sample = &mirror.sample;
        let parts = sample.share.at(|| now).parts();
        let ramp = if matches!(sample.share, Share::Ramp(_)) { " (ramp)" } else { "" };
        let percentage = decimal(parts, Ratio::PARTS / 100);
        let key = sample.sticky.as_ref().map(|sticky| match &sticky.key {
            KeySource::Header(name) => format!("header {name}"),
            KeySource::Cookie(name) => format!("cookie {name}"),
            KeySource::QueryParameter(key) => format!("query parameter {key}"),
            KeySource::SourceIp => "the source's address".to_owned(),
        });
        let key = key.unwrap_or_default();
        match self {
            Self::Unscheduled => "no copies now: from, until".to_owned(),
            Self::Always => format!("100 %{ramp}: selected"),
            Self::Never => format!("0 %{ramp}: not selected"),
            Self::Sticky(part, selected) => {
                let (sign, not) = if *selected { ("<", "") } else { (">=", "not ") };
                format!("{percentage} %{ramp} by {key}: part {part} {sign} {parts} of {}: {not}selected", Ratio::PARTS)
            }
            Self::Drawn { keyless } => {
                let why = if *keyless { format!(", for there is no {key}") } else { String::new() };
                format!(
                    "{percentage} %{ramp} at random{why}: selected with probability {}",
                    decimal(parts, Ratio::PARTS)
                )
            }
        }
    }
}

/// Writes a number of parts as a decimal: exactly, as no binary fraction does. `whole` is a power of ten.
fn decimal(parts: u32, whole: u32) -> String {
    let digits = whole.checked_ilog10().unwrap_or_default() as usize;
    let part = format!("{:0digits$}", parts.checked_rem(whole).unwrap_or_default());
    let number = format!("{}.{part}", parts.checked_div(whole).unwrap_or_default());
    number.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Explains what the mirrors of a rule get.
pub(crate) fn explain(
    reply: &mut Reply,
    config: &Config,
    rule: &Rule,
    decision: Decision,
    given: &Given,
    body: &[u8],
    now: Moment,
) {
    if rule.mirrors.is_empty() {
        reply.sentence("the rule has no mirrors: the request is mirrored nowhere");
        return;
    }
    let marker = config.marker.as_ref();
    let selections: Vec<_> = rule.mirrors.iter().map(|mirror| Selection::new(mirror, given, now)).collect();
    let mut possible = selections.iter().map(Selection::is_possible);
    let mut select = || if possible.next() == Some(true) { Ok(()) } else { Err(Outcome::Unsampled) };
    let mut pending = Pending::new(decision);
    pending.select(rule, |_| select());
    if pending.wants_end() {
        let headers = Request::new(given, true).take_headers();
        let read = pending.read_headers(headers, marker, rule, config.limits.max_body_bytes, || given.is_routed);
        if let Err(reason) = read {
            reply.sentence(format_args!("such a request is never mirrored: {}", reason.label()));
            return;
        }
        let mut budget = Budget::new(&config.limits, Rc::default());
        pending.chunk(body.len(), rule, config.limits.max_body_bytes, &mut budget, at_hand(body));
    }
    for ((mirror, selection), plan) in rule.mirrors.iter().zip(&selections).zip(&pending.plans) {
        reply.line(format_args!("mirror {}", mirror.label));
        reply.sentence(format_args!("  sample: {}", selection.shown(mirror, now)));
        match plan {
            Plan::Not(outcome) if selection.is_possible() => reply.line(format_args!("  no copy: {}", outcome.label())),
            Plan::Not(_) | Plan::Counted => {}
            Plan::Copy { with_body } => {
                if !mirror.when.is_empty() {
                    reply
                        .line(format_args!("  waits for the primary's response: sent if {}", conditions(&mirror.when)));
                }
                let body = if *with_body { body } else { b"" };
                copy(reply, config, mirror, &pending.request, decision, body);
            }
        }
    }
    if let Some(compare) = &rule.compare
        && pending.plans.iter().any(|plan| matches!(plan, Plan::Copy { .. }))
    {
        comparison::explain(reply, compare);
    }
}

/// Says when a copy is sent that waits for the primary's response.
fn conditions(when: &[When]) -> String {
    let one = |when: &When| {
        let status = when.status.as_ref().map(|statuses| format!("its status is {statuses}"));
        let slower = when.slower_than.map(|least| format!("it took more than {least:?}"));
        status.into_iter().chain(slower).collect::<Vec<_>>().join(" and ")
    };
    when.iter().map(one).collect::<Vec<_>>().join(", or ")
}

fn copy(reply: &mut Reply, config: &Config, mirror: &Mirror, request: &Digest, decision: Decision, body: &[u8]) {
    let marker = config.marker.as_ref();
    let hidden = match hide(mirror, request, marker, body, config.limits.max_body_bytes) {
        Ok(hidden) => hidden,
        Err(why) => {
            reply.sentence(format_args!("  no copy: {}: {why}", Outcome::RedactionFailed.label()));
            return;
        }
    };
    // Nothing else is done to the copy before, so that no hidden value is shown as what was there.
    let Hidden { request: hidden, body, values, is_masked } = hidden;
    let headers = hidden.map();
    let Ok(draft) = Draft::new(mirror, &hidden, decision.matched_uri, || 1) else {
        let why = "rewrite.uriRegexRewrite takes too many steps, or makes more than Envoy takes";
        reply.sentence(format_args!("  no copy: {}: {why}", Outcome::NoCluster.label()));
        return;
    };
    let cluster = pending::cluster(&mirror.target, request.map()).map(Cow::Borrowed).unwrap_or_default();
    reply.sentence(format_args!("  copy to cluster {}, response within {:?}:", shown(&cluster), mirror.timeout));
    for (name, value) in draft.write(marker, Vec::new()).unwrap_or_default().iter() {
        let why = why_different(mirror, headers, marker, name, value);
        let is_new = || is_in(headers, name, value) && !is_in(request.map(), name, value);
        let why = why.or_else(|| is_new().then(|| "redact".to_owned()));
        let why = why.map(|why| format!("  <- {why}")).unwrap_or_default();
        reply.line(format_args!("    {}: {}{why}", shown(name), shown(value)));
    }
    let body = match (body, values) {
        (0, _) => "no body".to_owned(),
        (_, 0) => format!("a body of {body} bytes"),
        (_, 1) => format!("a body of {body} bytes, in which redact hides 1 value"),
        _ => format!("a body of {body} bytes, in which redact hides {values} values"),
    };
    reply.sentence(format_args!("    and {body}; Envoy adds content-length and x-envoy- headers of its own"));
    if is_masked {
        reply.sentence(format_args!(
            "    *** is where pseudonyms will be: they need the key, which {KEY} may tell mirrorctl too"
        ));
    }
    let not_copied = draft.not_copied();
    if !not_copied.is_empty() {
        reply.line("  not copied:");
    }
    for (name, value, why) in not_copied {
        let why = match why {
            NotCopied::Never(Never::OfHop) => "belongs to one hop or to the router",
            NotCopied::Never(Never::Listed) => "listed by connection",
            NotCopied::Never(Never::Marker) => "the marker, which a copy gets anew",
            NotCopied::Removed => "headers.remove",
            NotCopied::Replaced => "headers.set: one value takes the place of all",
            NotCopied::Untraced => "trace",
        };
        reply.line(format_args!("    {}: {}  <- {why}", shown(name), shown(value)));
    }
}

/// A request as it is once its values are hidden.
struct Hidden {
    request: Digest,
    /// How long its body is.
    body: usize,
    /// How many values are hidden in that.
    values: usize,
    /// Whether there should be pseudonyms, and there is no key for them.
    is_masked: bool,
}

/// Hides the values of a request that a copy is not to have.
///
/// # Errors
/// Why there can be no copy.
fn hide(
    mirror: &Mirror,
    request: &Digest,
    marker: Option<&HeaderName>,
    body: &[u8],
    max_body: usize,
) -> Result<Hidden, Failed> {
    let Some(redact) = &mirror.redact else {
        return Ok(Hidden { request: request.clone(), body: body.len(), values: 0, is_masked: false });
    };
    let key = std::env::var_os(KEY).and_then(|key| Key::new(key.as_encoded_bytes()));
    let hide = Hide::new(redact.with, key.as_ref());
    let redaction = Redaction::new(redact, hide.unwrap_or(Hide::Mask), request, body, max_body)?;
    let values = redaction.values_in_body();
    let Redacted { path, headers, body: replaced } = redaction.make().ok_or(Failed::Memory)?;
    let pairs = request.map().places().map(|(place, name, value)| {
        let of_header = headers.iter().find(|(hidden, _)| *hidden == place).map(|(_, value)| value);
        let hidden = if name == b":path" { path.as_ref() } else { of_header };
        (name, hidden.map_or(value, |value| value))
    });
    let mut hidden = Digest::new(HeaderMap::from_pairs(pairs), marker);
    if request.has_body() {
        hidden.body_came();
    }
    let body = replaced.map_or(body.len(), |body| body.len());
    Ok(Hidden { request: hidden, body, values, is_masked: hide.is_none() })
}

fn is_in(headers: &HeaderMap, name: &[u8], value: &[u8]) -> bool {
    headers.iter().any(|header| header == (name, value))
}

/// Says why a header of the copy is not as the request has it; `None`: it is.
fn why_different(
    mirror: &Mirror,
    headers: &HeaderMap,
    marker: Option<&HeaderName>,
    name: &[u8],
    value: &[u8],
) -> Option<String> {
    let is = |edit: &HeaderName| edit.as_str().as_bytes() == name;
    let was = || headers.joined(name).map(|was| format!(", was {}", shown(&was))).unwrap_or_default();
    let same = headers.iter().any(|header| header == (name, value));
    let edits = &mirror.headers;
    if marker.is_some_and(is) {
        Some("the marker".to_owned())
    } else if edits.set.iter().any(|(edit, new)| is(edit) && new.as_bytes() == value) {
        Some(format!("headers.set{}", was()))
    } else if edits.add.iter().any(|(edit, new)| is(edit) && new.as_bytes() == value) {
        Some("headers.add".to_owned())
    } else if same {
        None
    } else {
        let rewrite = match (name, &mirror.authority, &mirror.path) {
            _ if !name.starts_with(b":") => {
                return Some(format!(
                    "trace{}",
                    if mirror.trace == Trace::New { ": drawn anew for each copy" } else { "" }
                ));
            }
            (b":authority", Authority::Replace(_), _) => "rewrite.authority",
            (b":authority", ..) => "-shadow",
            (_, _, PathRewrite::Regex(..)) => "rewrite.uriRegexRewrite",
            _ => "rewrite.uri",
        };
        Some(format!("{rewrite}{}", was()))
    }
}

/// Shows bytes as text.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"").replace("\\'", "'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_written_exactly() {
        for (parts, percentage, probability) in [
            (1234, "0.1234", "0.001234"),
            (250_000, "25", "0.25"),
            (333_333, "33.3333", "0.333333"),
            (1, "0.0001", "0.000001"),
            (1_000_000, "100", "1"),
        ] {
            assert_eq!(decimal(parts, Ratio::PARTS / 100), percentage);
            assert_eq!(decimal(parts, Ratio::PARTS), probability);
        }
    }
}
