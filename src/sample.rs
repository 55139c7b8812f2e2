//! Which of a rule's mirrors get a copy: percentages, sticky or at random.

use crate::config::{KeySource, Ratio, Sample, Sticky};
use crate::request::Request;
use rand_core::Rng;
use std::borrow::Cow;
use xxhash_rust::xxh64::xxh64;

/// The one random draw of a request, made when a mirror first asks for it and shared by all mirrors, so that a
/// selection of 5 % lies inside one of 10 %.
#[derive(Debug, Default)]
pub struct Draw(Option<u32>);

impl Draw {
    /// Tells whether a mirror gets a copy of the request.
    pub fn selects<'a>(&mut self, sample: &'a Sample, request: &Request<'a>, generator: &mut impl Rng) -> bool {
        let ratio = sample.ratio;
        if ratio.is_never() || ratio.is_always() {
            return ratio.is_always();
        }
        let sticky = sample.sticky.as_ref().and_then(|sticky| part_of_key(sticky, request));
        ratio.includes(sticky.unwrap_or_else(|| *self.0.get_or_insert_with(|| random_part(generator))))
    }
}

/// Draws one of `0..Ratio::PARTS`, each with the same probability to 1 in 2^44.
fn random_part(generator: &mut impl Rng) -> u32 {
    let scaled = u128::from(generator.next_u64()).wrapping_mul(u128::from(Ratio::PARTS)) >> u64::BITS;
    u32::try_from(scaled).unwrap_or_default()
}

/// Finds the part in which the request's key always falls; `None` where it has no key.
fn part_of_key<'a>(sticky: &'a Sticky, request: &Request<'a>) -> Option<u32> {
    let key = match &sticky.key {
        KeySource::Header(name) => request.header(name)?,
        KeySource::Cookie(name) => Cow::Borrowed(request.cookie(name)?),
        KeySource::QueryParameter(key) => Cow::Borrowed(request.query_param(key)?),
        KeySource::SourceIp => Cow::Borrowed(request.source_ip_text()?),
    };
    let part = xxh64(&key, sticky.seed).checked_rem(u64::from(Ratio::PARTS))?;
    u32::try_from(part).ok()
}
