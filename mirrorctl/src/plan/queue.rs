//! How many copies are in flight at once, where they come at random.
//!
//! Requests of many clients that do not know of each other come as a Poisson process. Then the number of copies in flight has a Poisson
//! distribution around its mean, whatever the distribution of the mirror's times, and a limit refuses the share of the copies that
//! Erlang's loss formula B gives (A. K. Erlang, 1917; for any distribution of times: B. A. Sevastyanov, 1957).

/// The standard normal's quantile that is exceeded in 1 of 1,000 cases.
const Z: f64 = 3.090_232_306;

/// From here on what is refused is what does not fit on average: one step of the formula for each place would take too long.
const MANY: f64 = 1e6;

/// Returns the share of the copies that so many places refuse, of which `mean` would be taken without a limit.
pub(crate) fn refused(mean: f64, places: f64) -> f64 {
    if mean > MANY {
        return (1.0 - places / mean).max(0.0);
    }
    let mut share = 1.0;
    let mut place = 0.0;
    while place < places {
        place += 1.0;
        share = mean * share / (place + mean * share);
        if place > mean && share < 1e-12 {
            return 0.0;
        }
    }
    share
}

/// Returns what a number with a Poisson distribution exceeds in 1 of 1,000 cases at most: the normal distribution's quantile, and what
/// E. A. Cornish and R. A. Fisher (1938) add for a distribution that leans to one side.
pub(crate) fn peak(mean: f64) -> f64 {
    if mean > 0.0 { (mean + Z * mean.sqrt() + (Z * Z - 1.0) / 6.0).ceil() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_limit_refuses_is_what_tables_of_erlang_b_say() {
        // 1 place and 1 Erlang: a half. From published tables: 10 places refuse 1 % of 4.46 Erlang, 20 refuse 0.1 % of 9.41.
        assert!((refused(1.0, 1.0) - 0.5).abs() < 1e-12);
        for (mean, places, share) in [(4.46, 10.0, 0.01), (84.06, 100.0, 0.01), (9.41, 20.0, 0.001)] {
            let found = refused(mean, places);
            assert!((found / share - 1.0).abs() < 0.02, "{mean} {places}: {found}");
        }
        assert_eq!((refused(0.0, 5.0), refused(5.0, 0.0)), (0.0, 1.0));
        assert_eq!(refused(4e6, 1e6), 0.75);
    }

    #[test]
    fn the_peak_is_exceeded_rarely_and_is_not_too_wide() {
        for mean in [0.01, 0.5, 1.0, 7.3, 40.0, 400.0] {
            // The Poisson distribution itself.
            let none = f64::exp(-mean);
            let (mut one, mut sum, mut number) = (none, none, 0.0);
            while 1.0 - sum > 0.001 {
                number += 1.0;
                one *= mean / number;
                sum += one;
            }
            assert!((number..=number + 1.0).contains(&peak(mean)), "{mean}: {} {number}", peak(mean));
        }
        assert_eq!(peak(0.0), 0.0);
    }

    #[test]
    fn copies_that_come_at_random_find_the_limit_full_as_often_as_that() {
        // Poisson arrivals, times that are all alike: the formula holds for any distribution.
        let (rate, time, places) = (50.0, 0.2, 14);
        let mut random = fastrand::Rng::with_seed(7);
        let (mut now, mut lost, count) = (0.0, 0_u32, 200_000);
        let mut ends = std::collections::VecDeque::new();
        for _ in 0..count {
            now -= (1.0 - random.f64()).ln() / rate;
            while ends.front().is_some_and(|end| *end <= now) {
                ends.pop_front();
            }
            if ends.len() < places { ends.push_back(now + time) } else { lost = lost.saturating_add(1) }
        }
        let (found, expected) = (f64::from(lost) / f64::from(count), refused(rate * time, 14.0));
        assert!((found / expected - 1.0).abs() < 0.1, "{found} {expected}");
    }
}
