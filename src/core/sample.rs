//! Which of a rule's mirrors get a copy: percentages, sticky or at random.

use crate::config::{KeySource, Ratio, Sample, Sticky};
use crate::core::request::Request;
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
pub fn part_of_key<'a>(sticky: &'a Sticky, request: &Request<'a>) -> Option<u32> {
    let key = match &sticky.key {
        KeySource::Header(name) => request.header(name)?,
        KeySource::Cookie(name) => Cow::Borrowed(request.cookie(name)?),
        KeySource::QueryParameter(key) => Cow::Borrowed(request.query_param(key)?),
        KeySource::SourceIp => Cow::Borrowed(request.source_ip_text()?),
    };
    let part = xxh64(&key, sticky.seed).checked_rem(u64::from(Ratio::PARTS))?;
    u32::try_from(part).ok()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use crate::config::HeaderName;
    use crate::core::request::Fixed;
    use proptest::prelude::*;
    use rand_core::SeedableRng;
    use rand_xoshiro::Xoshiro128PlusPlus;

    fn at_random(percentage: f64) -> Sample {
        Sample { ratio: Ratio::from_percentage(percentage).unwrap(), sticky: None }
    }

    fn by(key: KeySource, percentage: f64, seed: u64) -> Sample {
        Sample { sticky: Some(Sticky { key, seed }), ..at_random(percentage) }
    }

    fn header() -> KeySource {
        KeySource::Header(HeaderName::new("x-user").unwrap())
    }

    fn selects(sample: &Sample, source: &Fixed) -> bool {
        let mut generator = Xoshiro128PlusPlus::seed_from_u64(1);
        Draw::default().selects(sample, &Request::new(source, false), &mut generator)
    }

    #[test]
    fn never_and_always_need_neither_draw_nor_key() {
        let source = Fixed::new(&[("x-user", b"7")]);
        for (percentage, expected) in [(0.0, false), (0.00001, false), (100.0, true)] {
            assert_eq!(selects(&by(header(), percentage, 0), &source), expected, "{percentage}");
        }
        assert!(source.asked.borrow().is_empty());
    }

    #[test]
    fn the_share_drawn_is_the_share_asked_for() {
        let source = Fixed::default();
        let mut generator = Xoshiro128PlusPlus::seed_from_u64(7);
        for percentage in [0.5, 5.0, 33.3333, 50.0, 99.0] {
            let sample = at_random(percentage);
            let request = Request::new(&source, false);
            let draws = 200_000;
            let drawn = (0..draws).filter(|_| Draw::default().selects(&sample, &request, &mut generator)).count();
            let share = f64::from(u32::try_from(drawn).unwrap()) / f64::from(draws) * 100.0;
            // Six standard deviations: once in five hundred million runs, and the seed is fixed.
            let tolerance = 6.0 * (percentage * (100.0 - percentage) / f64::from(draws)).sqrt();
            assert!((share - percentage).abs() < tolerance, "{percentage}: {share}");
        }
    }

    #[test]
    fn a_key_is_found_where_the_sample_says() {
        let mut source = Fixed::new(&[(":path", b"/?u=10.0.0.7"), ("x-user", b"10.0.0.7"), ("cookie", b"u=10.0.0.7")]);
        source.source_address = Some("10.0.0.7:80".into());
        let part = u32::try_from(xxh64(b"10.0.0.7", 42) % 1_000_000).unwrap();
        for key in [header(), KeySource::Cookie("u".into()), KeySource::QueryParameter("u".into()), KeySource::SourceIp]
        {
            let sticky = Sticky { key, seed: 42 };
            assert_eq!(part_of_key(&sticky, &Request::new(&source, false)), Some(part), "{sticky:?}");
        }
    }

    #[test]
    fn a_request_without_the_key_falls_back_to_the_draw() {
        let source = Fixed::default();
        let mut generator = Xoshiro128PlusPlus::seed_from_u64(7);
        let sample = by(header(), 50.0, 0);
        let request = Request::new(&source, false);
        let drawn = (0..1000).filter(|_| Draw::default().selects(&sample, &request, &mut generator)).count();
        assert!((400..600).contains(&drawn), "{drawn}");
    }

    proptest! {
        #[test]
        fn a_smaller_share_lies_inside_a_bigger_one(
            seed: u64, small in 0.0..100.0f64, more in 0.0..100.0f64, user: Vec<u8>, sticky: bool,
        ) {
            let big = (small + more).min(100.0);
            let source = Fixed::new(&[("x-user", &user)]);
            let sample = |share| if sticky { by(header(), share, seed) } else { at_random(share) };
            let (small, big) = (sample(small), sample(big));
            let request = Request::new(&source, false);
            let mut draw = Draw::default();
            let mut generator = Xoshiro128PlusPlus::seed_from_u64(seed);
            let in_small = draw.selects(&small, &request, &mut generator);
            prop_assert!(!in_small || draw.selects(&big, &request, &mut generator));
        }

        #[test]
        fn the_same_key_always_has_the_same_part(user: Vec<u8>, seed: u64) {
            let source = Fixed::new(&[("x-user", &user)]);
            let sticky = Sticky { key: header(), seed };
            let part = part_of_key(&sticky, &Request::new(&source, false));
            prop_assert_eq!(part, Some(u32::try_from(xxh64(&user, seed) % 1_000_000).unwrap()));
        }
    }
}
