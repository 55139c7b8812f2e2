//! Which requests a mirror gets: a share of all, at random or sticky.

use super::moment::Moment;
use super::names::{HeaderName, key};
use super::node::{Node, Object, optional};
use super::schedule::Ramp;

/// Which requests are copied to a mirror.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The share of requests.
    pub share: Share,
    /// Where the key of a sticky sample is found; `None`: at random.
    pub sticky: Option<Sticky>,
}

/// A share of requests, which may depend on the time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Share {
    /// Always the same.
    Fixed(Ratio),
    /// One after the other.
    Ramp(Ramp),
}

impl Share {
    /// Returns the share at a moment, which is asked for only where it matters.
    pub fn at(&self, now: impl FnOnce() -> Moment) -> Ratio {
        match self {
            Self::Fixed(ratio) => *ratio,
            Self::Ramp(ramp) => ramp.at(now()),
        }
    }

    /// Tells whether no request is ever in the share.
    pub fn is_never(&self) -> bool {
        match self {
            Self::Fixed(ratio) => ratio.is_never(),
            Self::Ramp(ramp) => ramp.steps().iter().all(|(_, ratio)| ratio.is_never()),
        }
    }
}

/// A share of requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u32);

impl Ratio {
    /// The number of equal parts that a share is counted in.
    pub const PARTS: u32 = 1_000_000;

    /// No request.
    pub const NEVER: Self = Self(0);

    /// All requests.
    pub const ALWAYS: Self = Self(Self::PARTS);

    /// Makes a share of a percentage, to four decimals; `None` outside 0 to 100.
    pub fn from_percentage(percentage: f64) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a million")]
        (0.0..=100.0).contains(&percentage).then(|| Self((percentage * 10_000.0).round() as u32))
    }

    /// Makes a share of a fraction, to the nearest millionth; `None` above one, or of nothing.
    pub fn from_fraction(numerator: u64, denominator: u64) -> Option<Self> {
        if denominator == 0 || numerator > denominator {
            return None;
        }
        let (numerator, denominator) = (u128::from(numerator), u128::from(denominator));
        let scaled = numerator.saturating_mul(u128::from(Self::PARTS)).saturating_add(denominator / 2);
        u32::try_from(scaled.checked_div(denominator)?).ok().map(Self)
    }

    /// Returns how many of the parts are in the share: those below this number.
    pub fn parts(self) -> u32 {
        self.0
    }

    /// Tells whether no request is in the share.
    pub fn is_never(self) -> bool {
        self.0 == 0
    }

    /// Tells whether every request is in the share.
    pub fn is_always(self) -> bool {
        self == Self::ALWAYS
    }

    /// Tells whether a part, `0..PARTS`, is in the share. A smaller share lies inside a bigger one.
    pub fn includes(self, part: u32) -> bool {
        part < self.0
    }
}

/// A sticky sample: the same key is always selected or never.
#[derive(Debug, Clone)]
pub struct Sticky {
    /// Where the key is found.
    pub key: KeySource,
    /// The seed of XXH64.
    pub seed: u64,
}

/// Where the key of a sticky sample is found.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In a header, several values joined with `,`.
    Header(HeaderName),
    /// In a cookie.
    Cookie(Box<str>),
    /// In the query: the first value of the key, as it stands there.
    QueryParameter(Box<str>),
    /// The address of the downstream peer, without the port.
    SourceIp,
}

impl Sample {
    #[inline(never)]
    pub(super) fn read(object: &mut Object<'_>) -> Option<Self> {
        let share = read_share(object);
        let sticky = optional(object.field("consistentHash"), Sticky::read);
        Some(Self { share: share?, sticky: sticky? })
    }
}

impl Sticky {
    #[inline(never)]
    fn read(node: &Node<'_>) -> Option<Self> {
        const KINDS: [&str; 4] = ["httpHeaderName", "httpCookieName", "httpQueryParameterName", "useSourceIp"];
        let mut object = node.object()?;
        let choice = object.choice(&KINDS);
        let seed = object.field("seed");
        object.finish();
        let seed = optional(seed, |node| node.whole(0..=u64::MAX));
        let Some((kind, node)) = choice else {
            if !object.has_any(&KINDS) {
                object.refuse("no key", format_args!("exactly one of {}", KINDS.join(", ")));
            }
            return None;
        };
        let key = match kind {
            "httpHeaderName" => KeySource::Header(HeaderName::asked_for(&node, node.text()?)?),
            "httpCookieName" => KeySource::Cookie(key(&node, node.text()?)?),
            "httpQueryParameterName" => KeySource::QueryParameter(key(&node, node.text()?)?),
            _ if node.flag()? => KeySource::SourceIp,
            _ => return node.refuse("true, or another key"),
        };
        Some(Self { key, seed: seed?.unwrap_or(0) })
    }
}

/// What is said of a share that is some requests as it is written, and none or all as it is counted.
const ROUNDS_TO_NONE: &str = "rounds to none of a million requests: 0 %, or at least 0.0001 %";
const ROUNDS_TO_ALL: &str = "rounds to all of a million requests: 100 %, or at most 99.9999 %";

#[inline(never)]
fn read_share(object: &mut Object<'_>) -> Option<Share> {
    const KINDS: [&str; 3] = ["percentage", "fraction", "ramp"];
    let Some((kind, node)) = object.choice(&KINDS) else {
        return (!object.has_any(&KINDS)).then_some(Share::Fixed(Ratio::ALWAYS));
    };
    match kind {
        "percentage" => read_percentage(&node).map(Share::Fixed),
        "fraction" => read_fraction(&node).map(Share::Fixed),
        _ => Ramp::read(&node).map(Share::Ramp),
    }
}

#[inline(never)]
pub(super) fn read_percentage(node: &Node<'_>) -> Option<Ratio> {
    let percentage = node.number()?;
    match Ratio::from_percentage(percentage) {
        Some(ratio) if ratio.is_never() && percentage > 0.0 => node.refuse(ROUNDS_TO_NONE),
        Some(ratio) if ratio.is_always() && percentage < 100.0 => node.refuse(ROUNDS_TO_ALL),
        Some(ratio) => Some(ratio),
        None => node.refuse("not between 0 and 100"),
    }
}

#[inline(never)]
fn read_fraction(node: &Node<'_>) -> Option<Ratio> {
    let mut fraction = node.object()?;
    let [numerator, denominator] = ["numerator", "denominator"].map(|name| fraction.field(name));
    fraction.finish();
    let numerator = match numerator {
        Some(node) => node.whole(0..=u64::MAX),
        None => fraction.missing("numerator", "a whole number"),
    };
    let denominator = match denominator {
        Some(node) => node.whole(1..=u64::MAX),
        None => fraction.missing("denominator", "a whole number, at least 1"),
    };
    let (numerator, denominator) = (numerator?, denominator?);
    let shown = format_args!("{numerator}/{denominator}");
    match Ratio::from_fraction(numerator, denominator) {
        Some(ratio) if ratio.is_never() && numerator > 0 => node.refuse_as(shown, ROUNDS_TO_NONE),
        Some(ratio) if ratio.is_always() && numerator < denominator => node.refuse_as(shown, ROUNDS_TO_ALL),
        Some(ratio) => Some(ratio),
        None => node.refuse_as(shown, "a numerator above the denominator"),
    }
}
