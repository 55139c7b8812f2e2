//! Prometheus' text format, as far as Envoy writes it. Of the page, only the filter's lines are looked at: the rest is long.

use std::collections::BTreeMap;

/// How the names of the filter's metrics begin.
const PREFIX: &str = "traffic_mirror_";

/// A line of the page: a metric's name without the prefix, its labels, its value.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    pub(crate) name: &'a str,
    pub(crate) labels: BTreeMap<&'a str, String>,
    pub(crate) value: f64,
}

/// Returns the filter's samples.
///
/// # Errors
/// The first line that is none, with its number.
pub(crate) fn samples(text: &str) -> Result<Vec<Sample<'_>>, String> {
    let lines = (1..).zip(text.lines());
    let ours = lines.filter_map(|(number, line)| Some((number, line, line.strip_prefix(PREFIX)?)));
    let read = |(number, line, rest): (u32, &str, _)| {
        sample(rest).ok_or_else(|| format!("line {number} is not in Prometheus' text format: {line}"))
    };
    ours.map(read).collect::<Result<_, _>>().map_err(|error| error.trim_end().to_owned())
}

fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at_checked(end)?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    // A time may stand behind the value.
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// Reads labels up to the closing brace, and returns what comes after it.
fn labels(mut rest: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (key, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.chars();
        loop {
            match characters.next()? {
                '"' => break,
                '\\' => value.push(match characters.next()? {
                    'n' => '\n',
                    other => other,
                }),
                other => value.push(other),
            }
        }
        labels.insert(key, value);
        rest = characters.as_str();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Sample<'_> {
        samples(line).unwrap().remove(0)
    }

    #[test]
    fn lines_are_taken_apart() {
        let sample = one(r#"traffic_mirror_copies_total{rule="a",mirror="b\\c\"d\ne}",} 12 1700000000"#);
        let labels = [("rule", "a"), ("mirror", "b\\c\"d\ne}")].map(|(key, value)| (key, value.to_owned()));
        assert_eq!(sample, Sample { name: "copies_total", labels: labels.into(), value: 12.0 });
        assert_eq!(one("traffic_mirror_in_flight 3").value, 3.0);
        assert_eq!(one("traffic_mirror_in_flight{} 3").labels.len(), 0);
        assert_eq!(one("traffic_mirror_x{le=\"+Inf\"} +Inf").value, f64::INFINITY);
    }

    #[test]
    fn lines_of_others_are_skipped_and_broken_ones_named() {
        let text = "# TYPE traffic_mirror_x counter\nenvoy_wasm_traffic_mirror_x{} what\n\n";
        assert_eq!(samples(text).unwrap(), []);
        for broken in ["x", "x{", "x{a=\"b\" 1", "x{a=b} 1", "x{} one", "x{}", "x{a=\"\\"] {
            let error = samples(&format!("\ntraffic_mirror_{broken}")).unwrap_err();
            assert_eq!(error, format!("line 2 is not in Prometheus' text format: traffic_mirror_{broken}"));
        }
    }
}
