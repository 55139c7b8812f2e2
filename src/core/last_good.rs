//! Which configuration goes on where a new one is wrong: that of the root which is at work now, if it is clear which that is.
//!
//! The host says neither which listener a root is for nor which root another one replaces. It also takes up a root again whose
//! configuration comes back, without a word. So roots tell by their use.

use std::cell::Cell;

/// When a root's configuration was set to work, and when it served last. Time is the number of configurations that the VM has
/// seen: a stream costs one store.
#[derive(Debug)]
pub struct Usage {
    /// The hash of the bytes that the configuration at work was read of. Equal ones are one configuration on several roots.
    pub origin: u64,
    configured: u64,
    began: Cell<u64>,
}

impl Usage {
    /// Notes that the configuration with this number, the first has 1, is set to work.
    pub fn new(origin: u64, configured: u64) -> Self {
        Self { origin, configured, began: Cell::new(0) }
    }

    /// Notes that a stream begins, while the newest configuration of the VM is the one with this number.
    pub fn begins(&self, newest: u64) {
        self.began.set(newest);
    }

    /// Orders by the last use. A stream that began after the newest configuration came is later than that.
    fn last_use(&self) -> (u64, u64) {
        (self.configured.max(self.began.get()), self.began.get())
    }
}

/// Finds the root that was configured last or began a stream last, if no other with another configuration began a stream since
/// it was configured: there may be two listeners whose plugins have one name and two configurations.
pub fn last_good<T>(roots: Vec<(&Usage, T)>) -> Option<T> {
    let last = roots.iter().map(|(usage, _)| *usage).max_by_key(|usage| usage.last_use())?;
    let is_other = |usage: &Usage| usage.origin != last.origin && usage.began.get() >= last.configured;
    if roots.iter().any(|(usage, _)| is_other(usage)) {
        return None;
    }
    roots.into_iter().find(|(usage, _)| usage.origin == last.origin).map(|(_, root)| root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_at_work_is_found_where_that_is_clear() {
        // Of each root: its configuration, its number, and at which number it began its last stream.
        for (roots, expected, what) in [
            (&[][..], None, "there is none"),
            (&[('a', 1, 0)], Some('a'), "one that has not served"),
            (&[('a', 1, 1)], Some('a'), "one that has"),
            (&[('a', 1, 1), ('b', 2, 0)], Some('a'), "a came back, or b's listener has no request yet"),
            (&[('a', 1, 0), ('b', 2, 0)], Some('b'), "neither has served"),
            (&[('a', 1, 1), ('b', 3, 0)], Some('b'), "a has not served since b came"),
            (&[('a', 1, 1), ('b', 2, 2)], None, "two listeners"),
            (&[('b', 2, 2), ('a', 1, 1)], None, "two listeners, the other way round"),
            (&[('a', 1, 3), ('b', 2, 2)], None, "b began one since a was configured"),
            (&[('a', 1, 1), ('b', 2, 3)], Some('b'), "a is being drained"),
            (&[('a', 1, 1), ('a', 2, 2)], Some('a'), "one configuration in both directions"),
            (&[('a', 1, 2), ('a', 2, 2), ('b', 3, 3)], Some('b'), "b took over in both"),
            (&[('a', 1, 3), ('a', 2, 2), ('b', 3, 3)], None, "b took over in one of two"),
        ] {
            let usages: Vec<_> = roots
                .iter()
                .map(|(name, configured, began)| {
                    let usage = Usage::new(u64::from(u32::from(*name)), *configured);
                    usage.begins(*began);
                    (usage, *name)
                })
                .collect();
            let found = last_good(usages.iter().map(|(usage, name)| (usage, *name)).collect());
            assert_eq!(found, expected, "{what}");
        }
    }
}
