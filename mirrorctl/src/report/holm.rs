//! Holm's procedure with weights: as many hypotheses are rejected as one level allows.
//!
//! S. Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979) 65-70; the weights
//! are its section 4. The probability that any hypothesis is rejected that holds is at most the level, whatever depends on what.

/// What is compared with the level: how probable it makes what was seen, and its part of the level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hypothesis {
    pub(crate) p: f64,
    pub(crate) weight: f64,
}

/// What the procedure makes of a hypothesis.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Step {
    pub(crate) is_rejected: bool,
    /// What it was compared with.
    pub(crate) level: f64,
}

/// Rejects as many hypotheses as one level allows.
pub(crate) fn holm(hypotheses: &[Hypothesis], level: f64) -> Vec<Step> {
    let mut order: Vec<_> = hypotheses.iter().enumerate().collect();
    order.sort_by(|(_, a), (_, b)| (a.p * b.weight).total_cmp(&(b.p * a.weight)));
    let (mut steps, mut stopped) = (Vec::new(), false);
    let mut left: f64 = hypotheses.iter().map(|hypothesis| hypothesis.weight).sum();
    for (index, Hypothesis { p, weight }) in order {
        let at = level * weight / left;
        let is_rejected = !stopped && *p <= at;
        stopped |= !is_rejected;
        steps.push((index, Step { is_rejected, level: at }));
        if is_rejected {
            left -= weight;
        }
    }
    steps.sort_by_key(|(index, _)| *index);
    steps.into_iter().map(|(_, step)| step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(hypotheses: &[(f64, f64)]) -> Vec<(bool, f64)> {
        let hypotheses: Vec<_> = hypotheses.iter().map(|(p, weight)| Hypothesis { p: *p, weight: *weight }).collect();
        holm(&hypotheses, 0.05).iter().map(|step| (step.is_rejected, step.level)).collect()
    }

    #[test]
    fn the_procedure_stops_at_the_first_that_it_keeps() {
        // From Holm's rule, by hand: 0.01 <= 0.05/4, 0.015 <= 0.05/3, 0.04 > 0.05/2.
        let expected = [(false, 0.025), (true, 0.0125), (false, 0.025), (true, 0.05 / 3.0)];
        assert_eq!(steps(&[0.04, 0.01, 0.041, 0.015].map(|p| (p, 1.0))), expected);
    }

    #[test]
    fn weights_divide_the_level() {
        // Two that matter as much as one: 0.05/2 and 0.05/4 each; the first is free, then 0.05/1.5 for the heavy one.
        assert_eq!(
            steps(&[(0.03, 1.0), (0.012, 0.5), (0.9, 0.5)]),
            [(true, 0.05 / 1.5), (true, 0.0125), (false, 0.05)]
        );
        assert_eq!(steps(&[(0.03, 1.0), (0.013, 0.5), (0.9, 0.5)]), [(false, 0.025), (false, 0.0125), (false, 0.0125)]);
    }
}
