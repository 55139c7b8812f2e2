//! Which of a rule's mirrors get a copy: percentages, sticky or at random.

use crate::config::{KeySource, Mirror, Moment, Ratio, Sticky};
use crate::core::outcome::Outcome;
use crate::core::request::Request;
use rand_core::Rng;
use std::borrow::Cow;
use xxhash_rust::xxh64::xxh64;

/// What the mirrors of a rule share while they are chosen for one request: one random draw and one reading of the clock, each
/// made when a mirror first asks for it. So a selection of 5 % lies inside one of 10 %.
#[derive(Debug)]
pub struct Choice<R, C> {
    generator: R,
    clock: C,
    drawn: Option<u32>,
    now: Option<Moment>,
}

impl<R: Rng, C: Fn() -> Moment> Choice<R, C> {
    /// Begins the choice for one request.
    pub fn new(generator: R, clock: C) -> Self {
        Self { generator, clock, drawn: None, now: None }
    }

    /// Tells whether a mirror gets a copy of the request.
    ///
    /// # Errors
    /// Why it does not.
    pub fn selects<'a>(&mut self, mirror: &'a Mirror, request: &Request<'a>) -> Result<(), Outcome> {
        if let Some(period) = &mirror.period
            && !period.includes(self.now())
        {
            return Err(Outcome::Unscheduled);
        }
        let ratio = mirror.sample.share.at(|| self.now());
        if ratio.is_always() {
            return Ok(());
        }
        if ratio.is_never() {
            return Err(Outcome::Unsampled);
        }
        let sticky = mirror.sample.sticky.as_ref().and_then(|sticky| part_of_key(sticky, request));
        let generator = &mut self.generator;
        let part = sticky.unwrap_or_else(|| *self.drawn.get_or_insert_with(|| random_part(generator)));
        if ratio.includes(part) { Ok(()) } else { Err(Outcome::Unsampled) }
    }

    fn now(&mut self) -> Moment {
        *self.now.get_or_insert_with(&self.clock)
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
    use crate::config::{Config, HeaderName, Share};
    use crate::core::request::Fixed;
    use proptest::prelude::*;
    use rand_core::SeedableRng;
    use rand_xoshiro::Xoshiro128PlusPlus;
    use serde_json::{Value, json};
    use std::cell::Cell;
    use std::collections::BTreeSet;

    /// A mirror with these fields.
    fn mirror(fields: Value) -> Mirror {
        let mut mirror = json!({ "cluster": "c" });
        mirror.as_object_mut().unwrap().append(&mut fields.as_object().unwrap().clone());
        let text = json!({ "rules": [{ "mirrors": [mirror] }] }).to_string();
        Config::from_bytes(text.as_bytes()).unwrap().rules[0].mirrors[0].clone()
    }

    fn at_random(percentage: f64) -> Mirror {
        let mut mirror = mirror(json!({}));
        mirror.sample.share = Share::Fixed(Ratio::from_percentage(percentage).unwrap());
        mirror
    }

    fn by(key: KeySource, percentage: f64, seed: u64) -> Mirror {
        let mut mirror = at_random(percentage);
        mirror.sample.sticky = Some(Sticky { key, seed });
        mirror
    }

    fn header() -> KeySource {
        KeySource::Header(HeaderName::new("x-user").unwrap())
    }

    fn never() -> Moment {
        panic!("the clock is not needed")
    }

    fn selects(mirror: &Mirror, source: &Fixed) -> bool {
        let generator = Xoshiro128PlusPlus::seed_from_u64(1);
        Choice::new(generator, never).selects(mirror, &Request::new(source, false)).is_ok()
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
            let mirror = at_random(percentage);
            let request = Request::new(&source, false);
            let draws = 200_000;
            let selected = || Choice::new(&mut generator, never).selects(&mirror, &request).is_ok();
            let drawn = std::iter::repeat_with(selected).take(draws).filter(|selected| *selected).count();
            let draws = f64::from(u32::try_from(draws).unwrap());
            let share = f64::from(u32::try_from(drawn).unwrap()) / draws * 100.0;
            // Six standard deviations: once in five hundred million runs, and the seed is fixed.
            let tolerance = 6.0 * (percentage * (100.0 - percentage) / draws).sqrt();
            assert!((share - percentage).abs() < tolerance, "{percentage}: {share}");
        }
    }

    #[test]
    fn the_time_decides_before_the_sample() {
        let [first, last] = [("10", 100), ("12", 0)]
            .map(|(hour, share)| json!({ "at": format!("2026-12-01T{hour}:00:00Z"), "percentage": share }));
        let [from, until] = ["09", "13"].map(|hour| format!("2026-12-01T{hour}:00:00Z"));
        let mirror = mirror(json!({ "ramp": [first, last], "from": from, "until": until }));
        let (source, asked) = (Fixed::default(), Cell::new(0));
        for (now, expected) in [
            ("08:59:59.999", Err(Outcome::Unscheduled)),
            ("09:00:00", Err(Outcome::Unsampled)),
            ("09:59:59.999", Err(Outcome::Unsampled)),
            ("10:00:00", Ok(())),
            ("12:00:00", Err(Outcome::Unsampled)),
            ("13:00:00", Err(Outcome::Unscheduled)),
        ] {
            let clock = || {
                asked.set(asked.get() + 1);
                Moment::parse(&format!("2026-12-01T{now}Z")).unwrap()
            };
            asked.set(0);
            let mut choice = Choice::new(Xoshiro128PlusPlus::seed_from_u64(1), clock);
            let request = Request::new(&source, false);
            assert_eq!([(); 2].map(|()| choice.selects(&mirror, &request)), [expected; 2], "{now}");
            assert_eq!(asked.get(), 1, "the clock is read once for all mirrors");
        }
    }

    #[test]
    fn a_sticky_ramp_keeps_who_was_in_on_every_replica() {
        let step = |step| json!({ "at": format!("2026-12-01T0{step}:00:00Z"), "percentage": step * 20 });
        let steps: Vec<_> = (0..5).map(step).collect();
        let mirror = mirror(json!({ "ramp": steps, "consistentHash": { "httpHeaderName": "x-user" } }));
        let mut before = BTreeSet::new();
        for step in 0..5 {
            let now = Moment::parse(&format!("2026-12-01T0{step}:30:00Z")).unwrap();
            let selected = |seed| {
                let is_selected = |user: &u32| {
                    let (user, generator) = (user.to_string(), Xoshiro128PlusPlus::seed_from_u64(seed));
                    let source = Fixed::new(&[("x-user", user.as_bytes())]);
                    Choice::new(generator, || now).selects(&mirror, &Request::new(&source, false)).is_ok()
                };
                (0..2000).filter(is_selected).collect::<BTreeSet<_>>()
            };
            let now = selected(1);
            assert_eq!(now, selected(2), "two replicas");
            assert!(before.is_subset(&now));
            assert!(now.len().abs_diff(step * 400) < 120, "{step}: {}", now.len());
            before = now;
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
        let mirror = by(header(), 50.0, 0);
        let request = Request::new(&source, false);
        let drawn = (0..1000).filter(|_| Choice::new(&mut generator, never).selects(&mirror, &request).is_ok()).count();
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
            let mut choice = Choice::new(Xoshiro128PlusPlus::seed_from_u64(seed), never);
            let in_small = choice.selects(&small, &request).is_ok();
            prop_assert!(!in_small || choice.selects(&big, &request).is_ok());
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
