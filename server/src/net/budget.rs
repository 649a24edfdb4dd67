//! The memory of bodies that are on their way.
//!
//! One body is bounded, and so are connections, but many bodies that all stall are more than a process has. What is received
//! is taken from a budget before it is kept: of whoever sends it, and of the process.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{BodyBounds, BodyRefusal};
use crate::fingerprint::Fingerprint;

/// Bytes of bodies that are held now, by identity. Clones share it.
#[derive(Clone, Default)]
pub struct BodyBudget(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    all: usize,
    of: HashMap<Fingerprint, usize>,
}

/// What one body holds of the budget: given back when this is dropped, which is when the body is.
pub struct BodyShare {
    budget: BodyBudget,
    identity: Fingerprint,
    bytes: usize,
}

impl BodyBudget {
    /// The share of a body of this identity: nothing yet.
    pub fn share(&self, identity: Fingerprint) -> BodyShare {
        BodyShare { budget: self.clone(), identity, bytes: 0 }
    }
}

impl BodyShare {
    /// Grows to `bytes`.
    pub(super) fn grow(&mut self, bytes: usize, bounds: &BodyBounds) -> Result<(), BodyRefusal> {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let held = &mut *self.budget.0.lock();
        let own = held.of.get(&self.identity).copied().unwrap_or(0);
        if own + more > bounds.held_of_identity {
            return Err(BodyRefusal::OverShare);
        }
        if held.all + more > bounds.held {
            return Err(BodyRefusal::Overloaded);
        }
        held.all += more;
        held.of.insert(self.identity, own + more);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let held = &mut *self.budget.0.lock();
        held.all -= self.bytes;
        if let Entry::Occupied(mut own) = held.of.entry(self.identity) {
            *own.get_mut() -= self.bytes;
            if *own.get() == 0 {
                own.remove();
            }
        }
    }
}
