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
        let (is_negative, number) = match written.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, written),
        };
        let (number, power) = number.split_once(['e', 'E']).unwrap_or((number, ""));
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let length = i64::try_from(whole.len()).ok()?;
        // Zeros at the beginning, and at the end.
        let rest = whole.trim_start_matches('0');
        let (whole, part, zeros) = match rest {
            "" => ("", part.trim_start_matches('0'), part.len()),
            _ => (rest, part, part.len()),
        };
        let skipped = length.checked_sub(i64::try_from(whole.len()).ok()?)?;
        let skipped = skipped.checked_add(i64::try_from(zeros.checked_sub(part.len())?).ok()?)?;
        let part = part.trim_end_matches('0');
        let whole = if part.is_empty() { whole.trim_end_matches('0') } else { whole };
        if whole.is_empty() && part.is_empty() {
            return Some(Self::ZERO);
        }
        let exponent = length.checked_sub(skipped)?.checked_add(exponent(power)?)?;
        Some(Self { is_negative, digits: [whole.as_bytes(), part.as_bytes()], exponent })
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
    one == other || Decimal::read(one).zip(Decimal::read(other)).is_some_and(|(one, other)| one == other)
}

fn exponent(written: &str) -> Option<i64> {
    let (sign, digits) = match written.as_bytes().first() {
        Some(b'-') => (-1, written.get(1..)?),
        Some(b'+') => (1, written.get(1..)?),
        Some(_) => (1, written),
        None => return Some(0),
    };
    let digits = digits.trim_start_matches('0');
    match digits.len() {
        0 => Some(0),
        1..=MOST => digits.parse::<i64>().ok()?.checked_mul(sign),
        _ => None,
    }
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
