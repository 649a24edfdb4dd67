//! Work that takes a processor for long: how much of it is in progress at once, and whose.
//!
//! One identity has no more than one piece of it in progress: its others wait for that one, and nobody else does. All identities
//! together keep no more than half of the processors busy with it, so that requests that are quickly answered find another one.

use std::{collections::HashMap, sync::Arc, thread};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::fingerprint::Fingerprint;

/// Who works and who waits. Clones share it.
#[derive(Clone)]
pub struct Turns {
    running: Arc<Semaphore>,
    by_identity: Arc<Mutex<HashMap<Fingerprint, Arc<Semaphore>>>>,
}

/// The right to work, until it is dropped: its fields are, in this order.
pub struct Turn {
    _running: Option<OwnedSemaphorePermit>,
    _own: Option<OwnedSemaphorePermit>,
    _forget: Forget,
}

impl Default for Turns {
    /// For half of the processors, and at least one.
    fn default() -> Self {
        let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::new((processors / 2).max(1))
    }
}

impl Turns {
    pub fn new(at_once: usize) -> Self {
        Self { running: Arc::new(Semaphore::new(at_once)), by_identity: Arc::default() }
    }

    /// Waits for the earlier work of the same identity, and then for that of others.
    pub async fn take(&self, identity: Fingerprint) -> Turn {
        let own = Arc::clone(self.by_identity.lock().entry(identity).or_insert_with(|| Arc::new(Semaphore::new(1))));
        let forget = Forget { by_identity: Arc::clone(&self.by_identity), identity };
        // Neither semaphore is ever closed, so that each gives its permit.
        let own = own.acquire_owned().await.ok();
        let running = Arc::clone(&self.running).acquire_owned().await.ok();
        Turn { _running: running, _own: own, _forget: forget }
    }

    /// How many identities work or wait.
    #[cfg(test)]
    pub fn identities(&self) -> usize {
        self.by_identity.lock().len()
    }
}

/// Forgets an identity that has no work and waits for none: when the caller leaves before its turn, or when that has ended.
struct Forget {
    by_identity: Arc<Mutex<HashMap<Fingerprint, Arc<Semaphore>>>>,
    identity: Fingerprint,
}

impl Drop for Forget {
    fn drop(&mut self) {
        let mut all = self.by_identity.lock();
        // Others that wait, and work in progress, have the semaphore too.
        if all.get(&self.identity).is_some_and(|own| Arc::strong_count(own) == 1) {
            all.remove(&self.identity);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn an_identity_that_floods_is_waited_for_once() {
        let turns = Turns::new(1);
        let [one, other, third] = ["one", "other", "third"].map(|name| Fingerprint::of(&[name]));
        let first = turns.take(one).await;
        let mut waiting: Vec<_> = (0..8).map(|_| Box::pin(turns.take(one))).collect();
        for turn in &mut waiting {
            assert!(poll!(turn).is_pending());
        }
        let mut others = pin!(turns.take(other));
        assert!(poll!(&mut others).is_pending(), "one works");
        drop(first);
        assert!(poll!(&mut waiting[0]).is_pending(), "the other identity came before the second of the first");
        let others = others.await;
        drop(others);
        let second = waiting.remove(0).await;
        assert!(poll!(&mut waiting[0]).is_pending());
        let mut last = pin!(turns.take(third));
        assert!(poll!(&mut last).is_pending());
        drop((second, waiting));
        drop(last.await);
        assert_eq!(turns.identities(), 0);
    }
}
