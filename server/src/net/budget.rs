//! Budgets that all identities share: bytes of bodies that are being received, bytes of answers, or streams that are open.
//!
//! Each body, answer and connection has a bound, but many that stall at once could still exhaust the process. So each takes what
//! it needs from a budget first: from the part of its identity, and from the whole.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fingerprint::Fingerprint;

/// An amount that identities share. Clones share it too.
#[derive(Clone)]
pub struct Budget {
    of_identity: usize,
    of_all: usize,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    held: Mutex<Held>,
    /// What all identities hold of which the rest was given back, so that asking takes no lock while there is none.
    settled: AtomicUsize,
    /// Wakes those that wait for an amount to be given back.
    freed: Notify,
    /// How many wait.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_identity: HashMap<Fingerprint, Own>,
}

#[derive(Clone, Copy, Default)]
struct Own {
    amount: usize,
    /// The part of it that waits for its peer alone: see [`Share::settle`].
    settled: usize,
}

/// What one body, answer or stream holds of a budget. It is given back when this is dropped.
pub struct Share {
    budget: Budget,
    identity: Fingerprint,
    amount: usize,
    is_settled: bool,
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
        Self { of_identity, of_all, shared: Arc::default() }
    }

    /// What all identities hold now.
    pub fn held(&self) -> usize {
        self.shared.held.lock().all
    }

    /// A share for this identity, which holds nothing yet.
    pub fn share(&self, identity: Fingerprint) -> Share {
        Share { budget: self.clone(), identity, amount: 0, is_settled: false }
    }

    /// Waits until the settled shares of an identity are at most half of its part, and those of all three quarters of the whole.
    ///
    /// # Errors
    /// Returns an error if that takes too long.
    pub async fn until_uncrowded(&self, identity: Fingerprint, within: Duration) -> Result<(), OverBudget> {
        if self.shared.settled.load(Relaxed) == 0 {
            return Ok(());
        }
        self.until(within, || self.crowd(identity)).await
    }

    fn crowd(&self, identity: Fingerprint) -> Result<(), OverBudget> {
        let own = self.shared.held.lock().by_identity.get(&identity).copied().unwrap_or_default();
        if own.settled > self.of_identity / 2 {
            Err(OverBudget::OfIdentity)
        } else if self.shared.settled.load(Relaxed) > self.of_all / 4 * 3 {
            Err(OverBudget::OfAll)
        } else {
            Ok(())
        }
    }

    /// Tries each time that an amount was given back.
    async fn until(
        &self,
        within: Duration,
        mut attempt: impl FnMut() -> Result<(), OverBudget>,
    ) -> Result<(), OverBudget> {
        let deadline = tokio::time::Instant::now() + within;
        let _waiting = Waiting::new(&self.shared.waiting);
        loop {
            // Registered before the attempt, so that nothing that is given back after it is missed.
            let freed = self.shared.freed.notified();
            let Err(over) = attempt() else { return Ok(()) };
            tokio::time::timeout_at(deadline, freed).await.map_err(|_| over)?;
        }
    }
}

/// One that waits. It no longer does once this is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Share {
    /// Whether others wait for an amount to be given back.
    pub fn is_waited_for(&self) -> bool {
        self.budget.shared.waiting.load(Relaxed) > 0
    }

    /// Gives back what it holds above `amount`.
    pub fn shrink(&mut self, amount: usize) {
        self.give_back(self.amount.saturating_sub(amount));
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.amount == 0
    }

    /// Grows to `amount`; a smaller one changes nothing.
    ///
    /// # Errors
    /// Returns an error if the budget has too little left; the share stays as it was.
    pub fn grow(&mut self, amount: usize) -> Result<(), OverBudget> {
        let more = amount.saturating_sub(self.amount);
        if more == 0 {
            return Ok(());
        }
        let held = &mut *self.budget.shared.held.lock();
        let own = held.by_identity.get(&self.identity).copied().unwrap_or_default();
        if own.amount + more > self.budget.of_identity {
            return Err(OverBudget::OfIdentity);
        }
        if held.all + more > self.budget.of_all {
            return Err(OverBudget::OfAll);
        }
        held.all += more;
        held.by_identity.entry(self.identity).or_default().amount += more;
        self.amount = amount;
        Ok(())
    }

    /// As [`grow`](Self::grow), but waits until enough is given back.
    ///
    /// # Errors
    /// Returns an error if that takes too long.
    pub async fn grow_within(&mut self, amount: usize, within: Duration) -> Result<(), OverBudget> {
        if self.grow(amount).is_ok() {
            return Ok(());
        }
        let budget = self.budget.clone();
        budget.until(within, || self.grow(amount)).await
    }

    /// Gives back what is held above `amount`. What is left waits for its peer alone, and does not grow any more.
    pub fn settle(&mut self, amount: usize) {
        if !self.is_settled {
            self.give_back(self.amount.saturating_sub(amount));
            self.is_settled = true;
            let held = &mut *self.budget.shared.held.lock();
            self.budget.shared.settled.fetch_add(self.amount, Relaxed);
            if let Some(own) = held.by_identity.get_mut(&self.identity) {
                own.settled += self.amount;
            }
        }
    }

    fn give_back(&mut self, amount: usize) {
        if amount == 0 {
            return;
        }
        self.amount -= amount;
        let settled = if self.is_settled { amount } else { 0 };
        {
            let held = &mut *self.budget.shared.held.lock();
            held.all -= amount;
            self.budget.shared.settled.fetch_sub(settled, Relaxed);
            if let Entry::Occupied(mut own) = held.by_identity.entry(self.identity) {
                own.get_mut().amount -= amount;
                own.get_mut().settled -= settled;
                if own.get().amount == 0 {
                    own.remove();
                }
            }
        }
        self.budget.shared.freed.notify_waiters();
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share").field("amount", &self.amount).finish_non_exhaustive()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

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
        let held = budget.shared.held.lock();
        assert_eq!((held.all, held.by_identity.len()), (0, 0));
    }

    #[tokio::test]
    async fn a_share_waits_for_what_others_give_back_and_not_for_longer_than_it_may() {
        let budget = Budget::new(4, 6);
        let [one, other] = ["one", "other"].map(|name| Fingerprint::of(&[name]));
        let mut first = budget.share(one);
        assert_eq!(first.grow(4), Ok(()));
        let mut second = budget.share(one);
        assert_eq!(second.grow_within(3, Duration::ZERO).await, Err(OverBudget::OfIdentity));
        assert_eq!(budget.share(other).grow_within(3, Duration::ZERO).await, Err(OverBudget::OfAll));
        let (grown, ()) = tokio::join!(second.grow_within(3, PATIENCE), async { first.settle(1) });
        assert_eq!((grown, budget.held()), (Ok(()), 4));
    }

    #[tokio::test]
    async fn an_identity_is_crowded_by_what_waits_for_its_peers_and_by_nothing_else() {
        let budget = Budget::new(4, 8);
        let [one, other] = ["one", "other"].map(|name| Fingerprint::of(&[name]));
        let mut share = budget.share(one);
        assert_eq!(share.grow(4), Ok(()));
        assert_eq!(budget.until_uncrowded(one, Duration::ZERO).await, Ok(()));
        share.settle(3);
        assert_eq!(budget.until_uncrowded(one, Duration::ZERO).await, Err(OverBudget::OfIdentity));
        assert_eq!(budget.until_uncrowded(other, Duration::ZERO).await, Ok(()));
        let (uncrowded, ()) = tokio::join!(budget.until_uncrowded(one, PATIENCE), async { drop(share) });
        assert_eq!((uncrowded, budget.shared.settled.load(Relaxed)), (Ok(()), 0));
    }
}
