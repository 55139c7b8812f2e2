//! Figures with their units: as they are given on the command line, and as they are written.

use crate::metrics::words::grouped;

const UNITS: [(&str, f64); 4] =
    [("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0), ("TiB", 1_099_511_627_776.0)];

/// Takes a size: `512`, `64KiB`, `1.5MiB`.
pub(crate) fn size(text: &str) -> Result<f64, String> {
    let unit = UNITS.iter().find_map(|(unit, bytes)| text.strip_suffix(unit).map(|number| (number, *bytes)));
    let (number, bytes) = unit.unwrap_or((text, 1.0));
    positive(number.trim()).map(|number| number * bytes).map_err(|_| "not a size, such as 512, 64KiB or 1MiB".into())
}

/// Takes a number that is not negative.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "not a number that is 0 or more".into())
}

/// Takes a percentage, with or without its sign, and returns the share.
pub(crate) fn percentage(text: &str) -> Result<f64, String> {
    let number = positive(text.trim_end_matches('%').trim()).ok().filter(|number| *number <= 100.0);
    number.map(|number| number / 100.0).ok_or_else(|| "not a percentage from 0 to 100".into())
}

/// Writes bytes: `512 B`, `1.5 KiB`, `64 MiB`.
pub(crate) fn bytes(bytes: f64) -> String {
    let unit = UNITS.iter().rev().find(|(_, size)| bytes >= *size);
    unit.map_or_else(|| format!("{} B", amount(bytes)), |(unit, size)| format!("{} {unit}", amount(bytes / size)))
}

/// Writes a number: with what follows the point where it is small.
pub(crate) fn amount(number: f64) -> String {
    let scale = match number {
        number if number >= 100.0 => return grouped(number),
        number if number >= 10.0 => 10.0,
        _ => 100.0,
    };
    format!("{}", (number * scale).round() / scale)
}

/// Writes a time.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 1.0 { format!("{} ms", amount(seconds * 1000.0)) } else { format!("{} s", amount(seconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_shares_are_read_and_written() {
        assert_eq!(
            ["512", "64KiB", "1.5 MiB", "1GiB"].map(|text| size(text).unwrap()),
            [512.0, 65536.0, 1_572_864.0, 1_073_741_824.0]
        );
        assert!(["", "-1", "1KB", "x", "inf", "NaN", "KiB"].iter().all(|text| size(text).is_err()));
        assert_eq!(["5", "5%", "0.5 %", "100"].map(|text| percentage(text).unwrap()), [0.05, 0.05, 0.005, 1.0]);
        assert!(["101", "-1", "x", ""].iter().all(|text| percentage(text).is_err()));
        assert_eq!(
            [0.0, 512.0, 1536.0, 67_108_864.0, 1.5e12].map(bytes),
            ["0 B", "512 B", "1.5 KiB", "64 MiB", "1.36 TiB"]
        );
        assert_eq!(
            [0.0, 0.123, 9.876, 12.34, 99.99, 1234.5].map(amount),
            ["0", "0.12", "9.88", "12.3", "100", "1,234"]
        );
        assert_eq!([0.0, 0.08, 1.5, 30.0].map(seconds), ["0 ms", "80 ms", "1.5 s", "30 s"]);
    }
}
