//! The expressions of all configurations that live at the same time: what two of them have, or one has twice, is made once.

use super::{Expression, Fault, LARGEST, Pattern};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::{Rc, Weak};

/// The largest size of all expressions of a configuration together: 16 MiB of tables or less, made in some 100 ms. A VM has
/// room for several such configurations beside all bodies.
const LARGEST_TOGETHER: usize = 1 << 25;

/// A pattern, and whether it ignores case.
type Key = (Box<str>, bool);

/// Expressions that live as long as some configuration has them.
#[derive(Debug, Default)]
pub(in crate::config) struct Expressions {
    expressions: RefCell<HashMap<Key, Weak<Expression>>>,
    patterns: RefCell<HashMap<Key, Weak<Pattern>>>,
}

#[cfg(test)]
impl Expressions {
    pub(super) fn len(&self) -> usize {
        [self.expressions.borrow().len(), self.patterns.borrow().len()].iter().sum()
    }
}

/// Makes the expressions of one configuration.
#[derive(Debug)]
pub(in crate::config) struct Compiler<'a> {
    shared: &'a Expressions,
    expressions: RefCell<HashMap<Key, Rc<Expression>>>,
    patterns: RefCell<HashMap<Key, Rc<Pattern>>>,
    size: Cell<usize>,
    uses: Cell<usize>,
}

impl<'a> Compiler<'a> {
    pub(in crate::config) fn new(shared: &'a Expressions) -> Self {
        shared.expressions.borrow_mut().retain(|_, expression| expression.strong_count() > 0);
        shared.patterns.borrow_mut().retain(|_, pattern| pattern.strong_count() > 0);
        Self {
            shared,
            expressions: RefCell::default(),
            patterns: RefCell::default(),
            size: Cell::default(),
            uses: Cell::default(),
        }
    }

    /// Makes an expression that has to match a whole value.
    pub(in crate::config) fn whole(&self, pattern: &str, ignore_case: bool) -> Result<Rc<Expression>, Fault> {
        let make = || Expression::whole(pattern, ignore_case);
        let key = (pattern.into(), ignore_case);
        self.take(&self.expressions, &self.shared.expressions, key, make, |made| made.size)
    }

    /// Makes an expression of which matches are found anywhere, with their groups.
    pub(in crate::config) fn pattern(&self, pattern: &str) -> Result<Rc<Pattern>, Fault> {
        let key = (pattern.into(), false);
        self.take(&self.patterns, &self.shared.patterns, key, || Pattern::new(pattern), |made| made.size)
    }

    fn take<T>(
        &self,
        own: &RefCell<HashMap<Key, Rc<T>>>,
        shared: &RefCell<HashMap<Key, Weak<T>>>,
        key: Key,
        make: impl FnOnce() -> Result<T, Fault>,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<Rc<T>, Fault> {
        self.uses.set(self.uses.get().saturating_add(1));
        let mut own = own.borrow_mut();
        let vacant = match own.entry(key) {
            Entry::Occupied(made) => return Ok(Rc::clone(made.get())),
            Entry::Vacant(vacant) => vacant,
        };
        let known = shared.borrow().get(vacant.key()).and_then(Weak::upgrade);
        let made = match known {
            Some(made) => made,
            // To try expressions that are refused takes as long: after some, the others are not even tried.
            None if self.size.get() > LARGEST_TOGETHER => return Err(Fault::Together),
            None => {
                let made = Rc::new(make().inspect_err(|_| self.add(LARGEST))?);
                shared.borrow_mut().insert(vacant.key().clone(), Rc::downgrade(&made));
                made
            }
        };
        // The same whether it was made or known: what is refused does not depend on what else there is.
        self.add(size(&made));
        if self.size.get() > LARGEST_TOGETHER {
            return Err(Fault::Together);
        }
        Ok(Rc::clone(vacant.insert(made)))
    }

    /// Returns how often an expression was asked for.
    pub(in crate::config) fn uses(&self) -> usize {
        self.uses.get()
    }

    fn add(&self, size: usize) {
        self.size.set(self.size.get().saturating_add(size));
    }
}
