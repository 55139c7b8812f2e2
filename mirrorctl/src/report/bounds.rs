//! Bounds of a share from blocks of time, without a word about what is counted.
//!
//! Requests are not independent: users retry, and a sticky sample repeats one user. Blocks of time that are long beside such
//! repeats nearly are. So the block is the unit: each is as likely above as below what is true on average. Then every set of
//! blocks is as likely to lie above the truth as below it, and the shares of all sets of blocks are "typical values":
//! J. A. Hartigan, Using Subsample Values as Typical Values, JASA 64 (1969) 1303-1317. It is the sign-flip test, turned around.
//! All sets are counted and none is drawn, so that one input has one result.

/// The most blocks. A mirror that is down half of the time is still found in a hundred reports at once.
pub(crate) const MOST: usize = 16;
/// The fewest, however few hypotheses there are.
const FEWEST: f64 = 8.0;
/// Sums of shares are as exact as this.
const EXACT: f64 = 1e-9;
/// From so many events on, blocks alone tell how sure a share is.
const MANY: f64 = 100.0;

/// A piece of time: how much more often one thing came than its opposite, and of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Block {
    pub(crate) for_it: f64,
    pub(crate) against: f64,
    pub(crate) of: f64,
}

impl Block {
    fn plus(self, other: Self) -> Self {
        Self { for_it: self.for_it + other.for_it, against: self.against + other.against, of: self.of + other.of }
    }
}

/// Blocks in the order of time, each of about as many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blocks(Vec<Block>);

impl Blocks {
    /// Joins pieces that are neighbours to at most [`MOST`] blocks; pieces in which nothing came are no blocks.
    pub(crate) fn of(pieces: impl Iterator<Item = Block> + Clone) -> Self {
        let total: f64 = pieces.clone().map(|piece| piece.of).sum();
        let (mut blocks, mut open, mut seen) = (Vec::new(), Block::default(), 0.0);
        let mut edge = 1.0;
        for piece in pieces {
            open = open.plus(piece);
            seen += piece.of;
            if open.of > 0.0 && seen >= total * edge / MOST as f64 - EXACT {
                blocks.push(std::mem::take(&mut open));
                edge = (seen * MOST as f64 / total).floor() + 1.0;
            }
        }
        Self(blocks)
    }

    /// Holds pieces against those of the same times, whose share counts as that of the opposite.
    pub(crate) fn beside(pieces: &[[Block; 2]]) -> Self {
        let held = |[own, other]: &[Block; 2]| Block { against: other.for_it * own.of / other.of, ..*own };
        Self(joined(pieces).iter().map(held).collect())
    }

    /// The same of what is surely so: less those that may come from what stands against it, where that is more than beside.
    pub(crate) fn surely_beside(pieces: &[[Block; 2]]) -> Self {
        let held = |[own, other]: &[Block; 2]| {
            let scale = own.of / other.of;
            let doubtful = (own.against - other.against * scale).max(0.0);
            Block { against: other.for_it * scale + doubtful, ..*own }
        };
        Self(joined(pieces).iter().map(held).collect())
    }

    /// Returns all together.
    pub(crate) fn total(&self) -> Block {
        self.0.iter().fold(Block::default(), |sum, block| sum.plus(*block))
    }

    /// Returns the difference as a share.
    pub(crate) fn share(&self) -> f64 {
        let total = self.total();
        if total.of > 0.0 { (total.for_it - total.against) / total.of } else { 0.0 }
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns how probable so much is, or more, if the share is no larger than this in truth.
    pub(crate) fn p_above(&self, share: f64) -> f64 {
        not_above_zero(&self.beyond(share))
    }

    /// Returns how probable so little is, or less, if the share is no smaller than this in truth.
    ///
    /// Blocks in which nothing came cannot tell how seldom it comes: where events are few, they are no more probable than those
    /// of a Poisson process, too. So nothing in 1,000 does not show that it is less than 1 in 1,000.
    pub(crate) fn p_below(&self, share: f64) -> f64 {
        let negated: Vec<_> = self.beyond(share).iter().map(|beyond| -beyond).collect();
        let total = self.total();
        not_above_zero(&negated).max(poisson_at_most(total.for_it, share * total.of + total.against))
    }

    /// Returns what the share is above, at this level.
    pub(crate) fn low(&self, level: f64) -> f64 {
        bisected(|share| self.p_above(share) <= level)
    }

    /// Returns what the share is below, at this level.
    pub(crate) fn high(&self, level: f64) -> f64 {
        -bisected(|share| self.p_below(-share) <= level)
    }

    fn beyond(&self, share: f64) -> Vec<f64> {
        self.0.iter().map(|block| block.for_it - block.against - share * block.of).collect()
    }
}

/// Joins pieces of two sides, as [`Blocks::of`] does those of one, until both have something.
fn joined(pieces: &[[Block; 2]]) -> Vec<[Block; 2]> {
    let both = |[a, b]: [Block; 2], [c, d]: [Block; 2]| [a.plus(c), b.plus(d)];
    let size = |[own, other]: [Block; 2]| own.of + other.of;
    let total: f64 = pieces.iter().copied().map(size).sum();
    let (mut blocks, mut open, mut seen) = (Vec::new(), [Block::default(); 2], 0.0);
    let mut edge = 1.0;
    for piece in pieces {
        open = both(open, *piece);
        seen += size(*piece);
        let is_filled = open.iter().all(|side| side.of > 0.0);
        if is_filled && seen >= total * edge / MOST as f64 - EXACT {
            blocks.push(std::mem::take(&mut open));
            edge = (seen * MOST as f64 / total).floor() + 1.0;
        }
    }
    // What came to one side alone at the end.
    if let Some(last) = blocks.last_mut() {
        *last = both(*last, open);
    }
    blocks
}

/// Returns how many blocks it takes to be sure of one hypothesis in so many.
pub(crate) fn fewest(level: f64) -> usize {
    (-level.log2()).ceil().max(FEWEST) as usize
}

/// Finds the edge below which something holds, between -1 and 1.
fn bisected(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (-1.0, 1.0);
    if !holds(low) {
        return low;
    }
    for _ in 0..30 {
        let middle = f64::midpoint(low, high);
        *(if holds(middle) { &mut low } else { &mut high }) = middle;
    }
    low
}

/// Returns which part of all subsets, the empty one included, has a sum of at most 0. The subsets of one half are held against
/// those of the other: 256 each, and not 65,536.
fn not_above_zero(values: &[f64]) -> f64 {
    let (left, right) = values.split_at(values.len() / 2);
    let (left, mut right) = (sums(left), sums(right));
    right.sort_by(f64::total_cmp);
    let below: f64 = left.iter().map(|sum| right.partition_point(|other| sum + other <= EXACT) as f64).sum();
    below / (left.len() as f64 * right.len() as f64)
}

fn sums(values: &[f64]) -> Vec<f64> {
    values.iter().fold(vec![0.0], |mut sums, value| {
        let with: Vec<_> = sums.iter().map(|sum| sum + value).collect();
        sums.extend(with);
        sums
    })
}

/// Returns how probable at most so many events are of a Poisson process with this mean; 0 of so many that it does not matter.
fn poisson_at_most(events: f64, mean: f64) -> f64 {
    if events >= MANY {
        return 0.0;
    }
    if mean <= 0.0 {
        return 1.0;
    }
    let (mut log, mut sum, mut event) = (-mean, 0.0, 0.0);
    // What an increase estimates is no whole number.
    while event <= events + EXACT {
        sum += log.exp();
        event += 1.0;
        log += mean.ln() - f64::ln(event);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(differences: &[f64], of: f64) -> Blocks {
        let block = |difference: &f64| Block { for_it: difference.max(0.0), against: (-difference).max(0.0), of };
        Blocks::of(differences.iter().map(block))
    }

    #[test]
    fn every_set_of_blocks_is_as_likely_above_the_truth_as_below() {
        // Of 16 sets, by hand: sums of at most 0 are {}, {-1}, {1,-1}.
        let four = blocks(&[1.0, 2.0, 4.0, -1.0], 10.0);
        assert_eq!(four.p_above(0.0), 3.0 / 16.0);
        assert_eq!(blocks(&[1.0; 10], 10.0).p_above(0.0), 1.0 / 1024.0);
        // All but the empty set are above 0.1 - a bit, none is above 0.1.
        let even = blocks(&[1.0; 10], 10.0);
        assert!((even.low(0.01) - 0.1).abs() < 1e-6, "{}", even.low(0.01));
        assert_eq!((even.p_above(0.1), even.share(), even.count()), (1.0, 0.1, 10));
        // One block is no unit to be sure by, however much came in it.
        let mut burst = [0.0; 16];
        burst[7] = 500.0;
        assert_eq!(blocks(&burst, 1000.0).p_above(0.001), 0.5);
    }

    #[test]
    fn nothing_in_a_thousand_is_not_less_than_one_in_a_thousand() {
        let none = |of| blocks(&[0.0; 16], of);
        assert!((none(62.5).p_below(0.001) - (-1.0_f64).exp()).abs() < 1e-9);
        // The rule of three: of 3,000.
        assert!(none(187.5).p_below(0.001) < 0.05 && none(186.0).p_below(0.001) > 0.05);
        assert!((none(187.5).high(0.05) - 0.001).abs() < 1e-5, "{}", none(187.5).high(0.05));
        // Some 90 % of what half of all blocks show is not less than that.
        let some = blocks(&[3.0; 16], 100.0);
        assert!(some.high(0.05) > 0.03 && some.low(0.05) < 0.03 + 1e-6);
    }

    #[test]
    fn a_share_is_held_against_that_of_the_same_time() {
        let piece =
            |own: (f64, f64), other: (f64, f64)| [own, other].map(|(for_it, of)| Block { for_it, against: 0.0, of });
        let beside = |pieces: &[[Block; 2]]| Blocks::beside(pieces).0;
        let block = |for_it, against, of| Block { for_it, against, of };
        // Of 100 as many as of 50.
        assert_eq!(beside(&[piece((4.0, 100.0), (2.0, 50.0))]), [block(4.0, 4.0, 100.0)]);
        // Nothing to hold it against for a while, at the beginning and at the end.
        let uneven = [piece((1.0, 10.0), (0.0, 0.0)), piece((0.0, 10.0), (5.0, 10.0)), piece((2.0, 10.0), (0.0, 0.0))];
        assert_eq!(beside(&uneven), [block(3.0, 15.0, 30.0)]);
        assert_eq!(beside(&[piece((1.0, 10.0), (0.0, 0.0))]), []);
        assert_eq!(beside(&[piece((1.0, 10.0), (1.0, 10.0)); 160]).len(), 16);
        // Seven more than the other may come from five failures, of which the other has one in its half.
        let failing = |own: Block, against| Block { against, ..own };
        let [own, other] = piece((9.0, 100.0), (1.0, 50.0));
        assert_eq!(Blocks::surely_beside(&[[failing(own, 5.0), failing(other, 1.0)]]).0, [block(9.0, 5.0, 100.0)]);
        assert_eq!(Blocks::surely_beside(&[[failing(own, 1.0), failing(other, 3.0)]]).0, [block(9.0, 2.0, 100.0)]);
    }

    #[test]
    fn pieces_become_at_most_sixteen_blocks_of_as_many() {
        let piece = |of| Block { for_it: 0.0, against: 0.0, of };
        let sizes = |pieces: &[f64]| {
            Blocks::of(pieces.iter().map(|of| piece(*of))).0.iter().map(|block| block.of).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[5.0; 160]), [50.0; 16]);
        assert_eq!(sizes(&[0.0, 3.0, 0.0, 0.0, 3.0, 0.0]), [3.0, 3.0]);
        assert_eq!(sizes(&[]), [0.0; 0]);
        let uneven = sizes(&[1.0, 100.0, 1.0, 1.0, 1.0]);
        assert_eq!((uneven.iter().sum::<f64>(), uneven.len()), (104.0, 2));
        assert_eq!([0.025, 0.0001].map(fewest), [8, 14]);
    }
}
