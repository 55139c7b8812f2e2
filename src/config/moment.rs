//! Moments as RFC 3339 writes them. No library's: the smallest that reads them with offsets has more code than all of this page.

use super::node::Node;

/// A moment of UTC, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Whole seconds since 1970, leap seconds left out.
    seconds: i64,
    nanoseconds: u32,
}

impl Moment {
    /// Makes the moment that is so many nanoseconds after the beginning of 1970.
    pub fn since_epoch(nanoseconds: u64) -> Self {
        const SECOND: u64 = 1_000_000_000;
        Self {
            seconds: i64::try_from(nanoseconds / SECOND).unwrap_or(i64::MAX),
            nanoseconds: u32::try_from(nanoseconds % SECOND).unwrap_or_default(),
        }
    }

    /// Reads a moment such as `2026-12-01T09:00:00Z` or `2026-12-01T10:00:00.25+01:00` (RFC 3339, without leap seconds). Digits
    /// below a nanosecond are cut off. `None`: it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (date_time, rest) = text.as_bytes().split_first_chunk::<19>()?;
        let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b't', hours @ .., b':', n1, n2, b':', s1, s2] =
            date_time
        else {
            return None;
        };
        let (year, month) = (number(&[*y1, *y2, *y3, *y4])?, number(&[*m1, *m2])?);
        let day = number(&[*d1, *d2])?;
        let time = time_of_day(hours, &[*n1, *n2])?.checked_add(below(&[*s1, *s2], 60)?)?;
        let (nanoseconds, rest) = match rest.split_first() {
            Some((b'.', rest)) => fraction(rest)?,
            _ => (0, rest),
        };
        let offset = match rest {
            b"Z" | b"z" => 0,
            [sign @ (b'+' | b'-'), hours @ .., b':', n1, n2] => {
                let offset = time_of_day(hours, &[*n1, *n2])?;
                if *sign == b'-' { offset.saturating_neg() } else { offset }
            }
            _ => return None,
        };
        let seconds = days(year, month, day)?.checked_mul(86_400)?.checked_add(time)?.checked_sub(offset)?;
        Some(Self { seconds, nanoseconds })
    }

    /// Reads a moment of the configuration.
    #[inline(never)]
    pub(super) fn read(node: &Node<'_>) -> Option<Self> {
        let moment = Self::parse(node.text()?);
        moment.or_else(|| node.refuse("not a date, time and offset as in RFC 3339, such as 2026-12-01T09:00:00Z"))
    }
}

/// Reads digits, and nothing else.
fn number(digits: &[u8]) -> Option<i64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, |number, digit| appended(number, *digit)))
}

fn below(digits: &[u8], end: i64) -> Option<i64> {
    number(digits).filter(|number| *number < end)
}

/// Returns the seconds of hours and minutes.
fn time_of_day(hours: &[u8], minutes: &[u8]) -> Option<i64> {
    let hours = Some(hours).filter(|digits| digits.len() == 2)?;
    below(hours, 24)?.checked_mul(3600)?.checked_add(below(minutes, 60)?.checked_mul(60)?)
}

/// Reads the decimals of a second, at least one; returns the nanoseconds, and what follows.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (decimals, rest) = text.split_at_checked(end).filter(|(decimals, _)| !decimals.is_empty())?;
    let digits = decimals.iter().chain(std::iter::repeat(&b'0')).take(9);
    Some((u32::try_from(digits.fold(0, |number, digit| appended(number, *digit))).ok()?, rest))
}

/// Appends a digit to a number of a few digits.
fn appended(number: i64, digit: u8) -> i64 {
    number.saturating_mul(10).saturating_add(i64::from(digit.saturating_sub(b'0')))
}

/// Returns the days from 1970 to a day of the Gregorian calendar; `None` where there is no such day.
#[allow(clippy::arithmetic_side_effects, reason = "a year has four digits, a month and a day two")]
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=last).contains(&day) {
        return None;
    }
    // The year begins in March, so that a leap day is its last.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let before = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    Some(before + (month * 153 + 2) / 5 + day - 1 - 719_468)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "small numbers of the tests' own")]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::format_description::well_known::Rfc3339;

    fn of_library(text: &str) -> Option<Moment> {
        let read = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        Some(Moment { seconds: read.unix_timestamp(), nanoseconds: read.nanosecond() })
    }

    #[test]
    fn moments_are_read_as_rfc_3339_writes_them() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some((0, 0))),
            ("2026-12-01T09:00:00Z", Some((1_796_115_600, 0))),
            ("2026-12-01t09:00:00z", Some((1_796_115_600, 0))),
            ("2026-12-01T10:00:00+01:00", Some((1_796_115_600, 0))),
            ("2026-12-01T03:30:00.5-05:30", Some((1_796_115_600, 500_000_000))),
            ("2026-12-01T09:00:00.1234567899Z", Some((1_796_115_600, 123_456_789))),
            ("1969-12-31T23:59:59.9Z", Some((-1, 900_000_000))),
            ("0000-01-01T00:00:00Z", Some((-62_167_219_200, 0))),
            ("9999-12-31T23:59:59Z", Some((253_402_300_799, 0))),
            ("2024-02-29T00:00:00Z", Some((1_709_164_800, 0))),
            ("2000-02-29T00:00:00Z", Some((951_782_400, 0))),
            ("2023-02-29T00:00:00Z", None),
            ("1900-02-29T00:00:00Z", None),
            ("2026-13-01T09:00:00Z", None),
            ("2026-00-01T09:00:00Z", None),
            ("2026-04-31T09:00:00Z", None),
            ("2026-12-00T09:00:00Z", None),
            ("2026-12-01T24:00:00Z", None),
            ("2026-12-01T09:60:00Z", None),
            ("2026-12-01T09:00:60Z", None),
            ("2026-12-01T09:00:00", None),
            ("2026-12-01T09:00:00.Z", None),
            ("2026-12-01 09:00:00Z", None),
            ("2026-12-01T09:00Z", None),
            ("2026-12-01", None),
            ("2026-12-01T09:00:00+0100", None),
            ("2026-12-01T09:00:00+1:00", None),
            ("2026-12-01T09:00:00+24:00", None),
            ("2026-12-01T09:00:00+001:00", None),
            ("2026-12-01T09:00:00Z ", None),
            ("+026-12-01T09:00:00Z", None),
            ("2026-12-01T+9:00:00Z", None),
            ("", None),
        ] {
            let expected = expected.map(|(seconds, nanoseconds)| Moment { seconds, nanoseconds });
            assert_eq!(Moment::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn moments_of_the_clock_and_of_the_configuration_are_the_same() {
        let nanoseconds = 1_796_115_600_250_000_000;
        assert_eq!(Some(Moment::since_epoch(nanoseconds)), Moment::parse("2026-12-01T09:00:00.25Z"));
        assert!(Moment::since_epoch(u64::MAX) > Moment::since_epoch(nanoseconds));
    }

    proptest! {
        #[test]
        fn a_library_reads_the_same(
            date in "[0-9]{4}-[01][0-9]-[0-3][0-9]", time in "[0-2][0-9]:[0-5][0-9]:[0-5][0-9]",
            rest in r"(\.[0-9]{1,9})?(Z|z|[+-][0-2][0-9]:[0-5][0-9])",
        ) {
            let text = format!("{date}T{time}{rest}");
            prop_assert_eq!(Moment::parse(&text), of_library(&text), "{}", text);
        }

        #[test]
        fn any_text_is_read_or_not(text in ".{0,40}") {
            let _ = Moment::parse(&text);
        }
    }
}
