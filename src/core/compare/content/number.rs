//! Numbers of JSON as exact decimals, whatever their length.

/// A number other than zero: its digits, after `0.`, and the power of ten that this is multiplied with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decimal<'t> {
    pub(super) is_negative: bool,
    /// The first digits, and those that follow: neither a zero at the beginning nor at the end.
    pub(super) digits: [&'t [u8]; 2],
    pub(super) exponent: i64,
}

/// The most digits of an exponent that is read: with more, numbers are equal only if they are written alike.
const MOST: usize = 18;

impl<'t> Decimal<'t> {
    /// Zero.
    const ZERO: Decimal<'static> = Decimal { is_negative: false, digits: [b"", b""], exponent: 0 };

    /// Reads a number as JSON has it; `None` where its exponent is too long.
    pub(super) fn read(written: &'t str) -> Option<Self> {
        let written = written.as_bytes();
        if let [.., b'1'..=b'9'] = written
            && written.iter().all(u8::is_ascii_digit)
        {
            let exponent = i64::try_from(written.len()).ok()?;
            return Some(Self { is_negative: false, digits: [written, b""], exponent });
        }
        let (is_negative, number) = match written {
            [b'-', number @ ..] => (true, number),
            number => (false, number),
        };
        let (number, power) = halves(number, |byte| matches!(byte, b'e' | b'E'));
        let (whole, part) = halves(number, |byte| *byte == b'.');
        // Where the point stands, less the zeros at the beginning.
        let mut point = i64::try_from(whole.len()).ok()?;
        let significant = without_zeros(whole);
        let skipped = whole.len().saturating_sub(significant.len());
        let (whole, mut part, mut skipped) = (significant, part, skipped);
        if whole.is_empty() {
            let significant = without_zeros(part);
            skipped = skipped.saturating_add(part.len().saturating_sub(significant.len()));
            part = significant;
        }
        point = point.checked_sub(i64::try_from(skipped).ok()?)?;
        let part = without_zeros_at_end(part);
        let whole = if part.is_empty() { without_zeros_at_end(whole) } else { whole };
        if whole.is_empty() && part.is_empty() {
            return Some(Self::ZERO);
        }
        Some(Self { is_negative, digits: [whole, part], exponent: point.checked_add(exponent(power)?)? })
    }
}

/// Two are equal that have the same value.
impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        (self.is_negative, self.exponent) == (other.is_negative, other.exponent)
            && self.digits.into_iter().flatten().eq(other.digits.into_iter().flatten())
    }
}

/// Returns whether two numbers are equal, as JSON has them.
pub(super) fn are_equal(one: &str, other: &str) -> bool {
    // A whole number but for zero can be written in one way alone.
    let is_whole = |number: &str| number != "-0" && !number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    one == other
        || (!(is_whole(one) && is_whole(other))
            && Decimal::read(one).zip(Decimal::read(other)).is_some_and(|(one, other)| one == other))
}

/// Splits a text at the first of some bytes, which is in no half.
fn halves(text: &[u8], splits: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let mut halves = text.splitn(2, splits);
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

fn without_zeros_at_end(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    digits.get(..digits.len().saturating_sub(zeros)).unwrap_or_default()
}

fn exponent(written: &[u8]) -> Option<i64> {
    let (sign, digits) = match written {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    let digits = without_zeros(digits);
    if digits.len() > MOST {
        return None;
    }
    value(digits)?.checked_mul(sign)
}

/// Returns the value of at most 18 digits.
pub(super) fn value(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |value, digit| value.checked_mul(10)?.checked_add(i64::from(digit.wrapping_sub(b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_equal_that_have_one_value_however_they_are_written() {
        let groups: [&[&str]; 15] = [
            &["0", "-0", "0.0", "-0.000", "0e5", "0E-999999999999999999999999"],
            &["1", "1.0", "1e0", "1E+0", "10e-1", "0.1e1", "0.01e+2", "100.00e-02", "1e00000000000000000000000"],
            &["-1", "-1.0", "-10e-1"],
            &["9007199254740993", "9007199254740993.0", "9.007199254740993e15"],
            &["9007199254740992", "9007199254740992000e-3"],
            &["1e400", "10e399", "0.1e401"],
            &["1e-400"],
            &["1e99999999999999999", "0.1e+0100000000000000000"],
            &["1e99999999999999999999999999"],
            &["1e99999999999999999999999998"],
            &["0.1", "0.10", "1e-1"],
            &["0.10000000000000001"],
            &["120", "12e1", "1.2e2", "0.120e3", "120.0"],
            &["102", "1.02e2", "0.01020e4"],
            &["1.02"],
        ];
        let all = || groups.iter().enumerate().flat_map(|(at, group)| group.iter().map(move |number| (at, *number)));
        for (of_one, one) in all() {
            for (of_other, other) in all() {
                assert_eq!(are_equal(one, other), of_one == of_other, "{one} {other}");
            }
        }
    }

    proptest! {
        #[test]
        fn numbers_of_any_form_are_equal_where_whole_numbers_are(one in any::<i32>(), other in any::<i32>(), zeros in 0usize..4) {
            let written = format!("{one}{}e-{zeros}", "0".repeat(zeros));
            prop_assert!(one == 0 || are_equal(&written, &one.to_string()), "{written}");
            prop_assert_eq!(are_equal(&written, &other.to_string()), one == other);
        }
    }
}
