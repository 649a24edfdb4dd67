//! Who waits for an amount of a budget, and whose turn it is: in order for each identity, and one of each identity at a time.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use crate::fingerprint::Fingerprint;

/// The shares that wait.
#[derive(Default)]
pub struct Queue {
    /// The identities of which shares wait, the next one first.
    turns: VecDeque<Fingerprint>,
    waiting: HashMap<Fingerprint, VecDeque<Waiter>>,
    tickets: u64,
}

/// One share that waits.
struct Waiter {
    ticket: u64,
    amount: usize,
    granted: oneshot::Sender<()>,
}

impl Queue {
    /// Adds a share at the end of its identity's. Returns its ticket, and what is told once the amount was granted.
    pub fn push(&mut self, identity: Fingerprint, amount: usize) -> (u64, oneshot::Receiver<()>) {
        let (granted, hears) = oneshot::channel();
        self.tickets += 1;
        let waiter = Waiter { ticket: self.tickets, amount, granted };
        let own = self.waiting.entry(identity).or_default();
        if own.is_empty() {
            self.turns.push_back(identity);
        }
        own.push_back(waiter);
        (self.tickets, hears)
    }

    /// The identity whose turn is the `index`th, and the amount that its first share waits for.
    pub fn turn(&self, index: usize) -> Option<(Fingerprint, usize)> {
        let identity = *self.turns.get(index)?;
        Some((identity, self.waiting.get(&identity)?.front()?.amount))
    }

    /// Grants what the first share of the `index`th identity waits for; the next turn of this identity is the last one.
    pub fn grant(&mut self, index: usize) {
        let Some(identity) = self.turns.remove(index) else { return };
        let own = self.waiting.entry(identity).or_default();
        if let Some(waiter) = own.pop_front() {
            // Whoever is gone gives it back.
            let _ = waiter.granted.send(());
        }
        if own.is_empty() {
            self.waiting.remove(&identity);
        } else {
            self.turns.push_back(identity);
        }
    }

    /// Removes a share that no longer waits. Returns whether it still did.
    pub fn remove(&mut self, identity: Fingerprint, ticket: u64) -> bool {
        let Some(own) = self.waiting.get_mut(&identity) else { return false };
        let Some(place) = own.iter().position(|waiter| waiter.ticket == ticket) else { return false };
        own.remove(place);
        if own.is_empty() {
            self.waiting.remove(&identity);
            self.turns.retain(|turn| *turn != identity);
        }
        true
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }
}
