//! Budgets that all identities share: bytes of bodies that are being received, or streams that are open.
//!
//! Each body and each connection has a bound, but many that stall at once could still exhaust the process. So each takes what it
//! needs from a budget first: from the part of its identity, and from the whole.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::fingerprint::Fingerprint;

/// An amount that identities share. Clones share it too.
#[derive(Clone)]
pub struct Budget {
    of_identity: usize,
    of_all: usize,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_identity: HashMap<Fingerprint, usize>,
}

/// What one body or stream holds of a budget. It is given back when this is dropped.
pub struct Share {
    budget: Budget,
    identity: Fingerprint,
    amount: usize,
}

/// A budget has too little left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverBudget {
    /// The identity holds as much as it may.
    OfIdentity,
    /// All identities together hold as much as they may.
    OfAll,
}

impl Budget {
    pub fn new(of_identity: usize, of_all: usize) -> Self {
        Self { of_identity, of_all, held: Arc::default() }
    }

    /// What all identities hold now.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.held.lock().all
    }

    /// A share for this identity, which holds nothing yet.
    pub fn share(&self, identity: Fingerprint) -> Share {
        Share { budget: self.clone(), identity, amount: 0 }
    }
}

impl Share {
    /// Grows to `amount`; a share does not shrink.
    ///
    /// # Errors
    /// Returns an error if the budget has too little left; the share stays as it was.
    pub fn grow(&mut self, amount: usize) -> Result<(), OverBudget> {
        let more = amount.saturating_sub(self.amount);
        if more == 0 {
            return Ok(());
        }
        let held = &mut *self.budget.held.lock();
        let own = held.by_identity.get(&self.identity).copied().unwrap_or(0);
        if own + more > self.budget.of_identity {
            return Err(OverBudget::OfIdentity);
        }
        if held.all + more > self.budget.of_all {
            return Err(OverBudget::OfAll);
        }
        held.all += more;
        held.by_identity.insert(self.identity, own + more);
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.amount == 0 {
            return;
        }
        let held = &mut *self.budget.held.lock();
        held.all -= self.amount;
        if let Entry::Occupied(mut own) = held.by_identity.entry(self.identity) {
            *own.get_mut() -= self.amount;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_holds_no_more_than_its_part_and_all_no_more_than_the_whole() {
        let budget = Budget::new(3, 4);
        let [one, other] = ["one", "other"].map(|name| budget.share(Fingerprint::of(&[name])));
        let (mut one, mut other, mut more) = (one, other, budget.share(Fingerprint::of(&["one"])));
        assert_eq!((one.grow(2), more.grow(1)), (Ok(()), Ok(())));
        assert_eq!(one.grow(3), Err(OverBudget::OfIdentity));
        assert_eq!((other.grow(1), other.grow(2)), (Ok(()), Err(OverBudget::OfAll)));
        drop(one);
        assert_eq!((other.grow(2), more.grow(2)), (Ok(()), Ok(())));
        drop((other, more));
        let held = budget.held.lock();
        assert_eq!((held.all, held.by_identity.len()), (0, 0));
    }
}
