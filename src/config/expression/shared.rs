//! The expressions of all configurations that live at the same time: what two of them have, or one has twice, is made once.

use super::{Expression, Fault, LARGEST, Pattern};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
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

/// An expression that a rule uses: which one it is, as long as the rule is there, and its size.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Use {
    id: *const (),
    size: usize,
}

/// Makes the expressions of one configuration.
#[derive(Debug)]
pub(in crate::config) struct Compiler<'a> {
    shared: &'a Expressions,
    /// What was asked for, in that order, and is kept until the configuration is read.
    uses: RefCell<Vec<(Use, Rc<dyn Any>)>>,
    /// Those whose size is counted.
    counted: RefCell<HashSet<*const ()>>,
    size: Cell<usize>,
}

impl<'a> Compiler<'a> {
    pub(in crate::config) fn new(shared: &'a Expressions) -> Self {
        shared.expressions.borrow_mut().retain(|_, expression| expression.strong_count() > 0);
        shared.patterns.borrow_mut().retain(|_, pattern| pattern.strong_count() > 0);
        Self { shared, uses: RefCell::default(), counted: RefCell::default(), size: Cell::default() }
    }

    /// Makes an expression that has to match a whole value.
    pub(in crate::config) fn whole(&self, pattern: &str, ignore_case: bool) -> Result<Rc<Expression>, Fault> {
        let make = || Expression::whole(pattern, ignore_case);
        self.take(&self.shared.expressions, (pattern.into(), ignore_case), make, |made| made.size)
    }

    /// Makes an expression of which matches are found anywhere, with their groups.
    pub(in crate::config) fn pattern(&self, pattern: &str) -> Result<Rc<Pattern>, Fault> {
        self.take(&self.shared.patterns, (pattern.into(), false), || Pattern::new(pattern), |made| made.size)
    }

    fn take<T: 'static>(
        &self,
        shared: &RefCell<HashMap<Key, Weak<T>>>,
        key: Key,
        make: impl FnOnce() -> Result<T, Fault>,
        size: impl FnOnce(&T) -> usize,
    ) -> Result<Rc<T>, Fault> {
        let known = shared.borrow().get(&key).and_then(Weak::upgrade);
        let made = match known {
            Some(made) => made,
            // To try expressions that are refused takes as long: after some, the others are not even tried.
            None if self.size.get() > LARGEST_TOGETHER => return Err(Fault::Together),
            None => {
                let made = Rc::new(make().inspect_err(|_| self.add(LARGEST))?);
                shared.borrow_mut().insert(key, Rc::downgrade(&made));
                made
            }
        };
        // The same whether it was made or known: what is refused does not depend on what else there is.
        let using = Use { id: Rc::as_ptr(&made).cast(), size: size(&made) };
        self.uses.borrow_mut().push((using, made.clone()));
        self.count(&[using]).then_some(made).ok_or(Fault::Together)
    }

    /// Counts expressions that a rule of this configuration uses, each once; false: with them they are too large together.
    pub(in crate::config) fn count(&self, uses: &[Use]) -> bool {
        let mut counted = self.counted.borrow_mut();
        let new = uses.iter().filter(|using| counted.insert(using.id)).map(|using| using.size);
        let new = new.fold(0, usize::saturating_add);
        self.add(new);
        new == 0 || self.size.get() <= LARGEST_TOGETHER
    }

    /// Returns how often an expression was asked for.
    pub(in crate::config) fn asked(&self) -> usize {
        self.uses.borrow().len()
    }

    /// Returns what was asked for since that many.
    pub(in crate::config) fn since(&self, asked: usize) -> Box<[Use]> {
        self.uses.borrow().iter().skip(asked).map(|(using, _)| *using).collect()
    }

    fn add(&self, size: usize) {
        self.size.set(self.size.get().saturating_add(size));
    }
}
