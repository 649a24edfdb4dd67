//! Budgets that all identities share: bytes of bodies that are being received, bytes of answers, or streams that are open.
//!
//! Each body, answer and connection has a bound, but many that stall at once could still exhaust the process. So each takes what
//! it needs from a budget first: from the part of its identity, and from the whole. Those that wait for room have it in turn, so
//! that a large one is not kept waiting by small ones that wait too. What does not wait, such as a list of tools, passes them all: it
//! takes what is left or is refused.

mod queue;

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

use self::queue::Queue;
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
    /// Wakes those that wait until less is held, and take nothing.
    freed: Notify,
}

#[derive(Default)]
struct Held {
    all: usize,
    by_identity: HashMap<Fingerprint, Own>,
    queue: Queue,
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
        if self.shared.settled.load(Relaxed) == 0 || self.crowd(identity).is_ok() {
            return Ok(());
        }
        // In memory of its own, which few callers need.
        Box::pin(self.wait_until_uncrowded(identity, within)).await
    }

    async fn wait_until_uncrowded(&self, identity: Fingerprint, within: Duration) -> Result<(), OverBudget> {
        let deadline = tokio::time::Instant::now() + within;
        loop {
            // Registered before the question, so that nothing that is given back after it is missed.
            let freed = self.shared.freed.notified();
            let Err(over) = self.crowd(identity) else { return Ok(()) };
            tokio::time::timeout_at(deadline, freed).await.map_err(|_| over)?;
        }
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

    /// Whether there is room for so much more of an identity.
    fn check(&self, held: &Held, identity: Fingerprint, more: usize) -> Result<(), OverBudget> {
        let own = held.by_identity.get(&identity).copied().unwrap_or_default();
        if own.amount + more > self.of_identity {
            Err(OverBudget::OfIdentity)
        } else if held.all + more > self.of_all {
            Err(OverBudget::OfAll)
        } else {
            Ok(())
        }
    }

    /// Takes so much from the budget, whoever waits.
    fn take(&self, held: &mut Held, identity: Fingerprint, more: usize) -> Result<(), OverBudget> {
        self.check(held, identity, more)?;
        held.all += more;
        held.by_identity.entry(identity).or_default().amount += more;
        Ok(())
    }

    /// Gives room to those that wait. An identity whose part is used up is passed; where the whole is, nobody passes.
    fn grant(&self, held: &mut Held) {
        let mut index = 0;
        while let Some((identity, amount)) = held.queue.turn(index) {
            match self.take(held, identity, amount) {
                Ok(()) => held.queue.grant(index),
                Err(OverBudget::OfIdentity) => index += 1,
                Err(OverBudget::OfAll) => return,
            }
        }
    }
}

/// The place of a share that waits. It is free once this is dropped.
struct Place<'a> {
    share: &'a mut Share,
    more: usize,
    ticket: u64,
    is_granted: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if !self.is_granted {
            let Share { budget, identity, .. } = &*self.share;
            let held = &mut *budget.shared.held.lock();
            if held.queue.remove(*identity, self.ticket) {
                budget.grant(held);
                return;
            }
        }
        self.share.amount += self.more;
    }
}

impl Share {
    /// Whether others wait for what this holds: shares of the same identity, or such as have no room in the whole.
    pub fn is_waited_for(&self) -> bool {
        let held = &*self.budget.shared.held.lock();
        let mut turns = (0..).map_while(|index| held.queue.turn(index));
        turns.any(|(identity, more)| match self.budget.check(held, identity, more) {
            Err(OverBudget::OfAll) => true,
            Ok(()) | Err(OverBudget::OfIdentity) => identity == self.identity,
        })
    }

    /// Gives back what it holds above `amount`.
    pub fn shrink(&mut self, amount: usize) {
        self.give_back(self.amount.saturating_sub(amount));
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.amount == 0
    }

    /// Grows to `amount`, whoever waits; a smaller one changes nothing.
    ///
    /// # Errors
    /// Returns an error if the budget has too little left; the share stays as it was.
    pub fn grow(&mut self, amount: usize) -> Result<(), OverBudget> {
        let more = amount.saturating_sub(self.amount);
        if more > 0 {
            self.budget.take(&mut self.budget.shared.held.lock(), self.identity, more)?;
            self.amount += more;
        }
        Ok(())
    }

    /// As [`grow`](Self::grow), but waits for its turn, and until enough is given back.
    ///
    /// # Errors
    /// Returns an error if that takes too long.
    pub async fn grow_within(&mut self, amount: usize, within: Duration) -> Result<(), OverBudget> {
        let before = self.amount;
        if tokio::time::timeout(within, self.grow_in_turn(amount)).await.is_ok() {
            return Ok(());
        }
        // It may have been granted at the last moment.
        self.shrink(before);
        let held = &*self.budget.shared.held.lock();
        Err(self.budget.check(held, self.identity, amount - before).err().unwrap_or(OverBudget::OfAll))
    }

    async fn grow_in_turn(&mut self, amount: usize) {
        let more = amount.saturating_sub(self.amount);
        if more == 0 {
            return;
        }
        let (ticket, granted) = {
            let held = &mut *self.budget.shared.held.lock();
            let place = held.queue.push(self.identity, more);
            self.budget.grant(held);
            place
        };
        let mut place = Place { share: self, more, ticket, is_granted: false };
        place.is_granted = granted.await.is_ok();
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
            self.budget.grant(held);
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
mod tests;
