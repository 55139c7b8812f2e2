//! Durations as Go and proto3 JSON write them. No library's: the smallest that reads them has 26 KB of code, for one field.

use std::time::Duration;

/// The units, the longer names before those that they begin with, and their nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration such as `5s`, `1.5s`, `100ms` or `1m30s` (Go's `time.ParseDuration`, without a sign). Each number has a
/// unit, also 0. What is less than a nanosecond is cut off. `None`: it is none, or longer than 584 years.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0u64;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (unit, after) = UNITS.iter().find_map(|(name, unit)| Some((*unit, after.strip_prefix(name)?)))?;
        let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
        total = total.checked_add(whole.checked_mul(unit)?)?.checked_add(part(fraction, unit))?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::from_nanos(total))
}

/// Splits a text after its first digits.
fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Returns how many nanoseconds the decimals after the point are of a unit. An hour has 3.6 * 10^12 of them, so that no more than 13
/// decimals count.
fn part(decimals: &str, unit: u64) -> u64 {
    let mut scale = 1u128;
    let mut value = 0u128;
    for digit in decimals.bytes().take(13) {
        value = value.saturating_mul(10).saturating_add(u128::from(digit.saturating_sub(b'0')));
        scale = scale.saturating_mul(10);
    }
    value.saturating_mul(u128::from(unit)).checked_div(scale).and_then(|part| u64::try_from(part).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fundu::{CustomDurationParser, CustomTimeUnit, TimeUnit};
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, nanoseconds) in [
            ("5s", Some(5_000_000_000)),
            ("1.5s", Some(1_500_000_000)),
            (".5s", Some(500_000_000)),
            ("5.s", Some(5_000_000_000)),
            ("100ms", Some(100_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1h0m0.25s", Some(3_600_250_000_000)),
            ("7us", Some(7_000)),
            ("7µs", Some(7_000)),
            ("7μs", Some(7_000)),
            ("7ns", Some(7)),
            ("0.0000000001s", Some(0)),
            ("0s", Some(0)),
            ("18446744073709551615ns", Some(u64::MAX)),
            ("18446744073709551616ns", None),
            ("600000h", Some(600_000 * 3_600_000_000_000)),
            ("6000000h", None),
            ("", None),
            ("5", None),
            ("1m30", None),
            ("s", None),
            (".s", None),
            ("-5s", None),
            ("+5s", None),
            ("5 s", None),
            ("1e3s", None),
            ("infs", None),
            ("5d", None),
            ("1.2.3s", None),
            ("5S", None),
        ] {
            assert_eq!(parse(text), nanoseconds.map(Duration::from_nanos), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_library_reads_the_same(text in r"([0-9]{1,5}(\.[0-9]{0,9})?(ns|us|ms|s|m|h)){1,4}") {
            let units = [("ns", TimeUnit::NanoSecond), ("us", TimeUnit::MicroSecond), ("ms", TimeUnit::MilliSecond),
                ("s", TimeUnit::Second), ("m", TimeUnit::Minute), ("h", TimeUnit::Hour)];
            let names: Vec<_> = units.iter().map(|(name, _)| [*name]).collect();
            let units: Vec<_> =
                units.iter().zip(&names).map(|((_, unit), name)| CustomTimeUnit::with_default(*unit, name)).collect();
            let library = CustomDurationParser::builder().time_units(&units).parse_multiple(None).build();
            let read = Duration::try_from(library.parse(&text).unwrap()).unwrap();
            // It carries what each number has below a nanosecond.
            let parts = u64::try_from(text.matches(char::is_alphabetic).count()).unwrap();
            let own = parse(&text).unwrap();
            prop_assert!(own <= read && read.saturating_sub(own) <= Duration::from_nanos(parts), "{own:?} {read:?}");
        }
    }
}
