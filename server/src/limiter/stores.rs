//! The list of stores: which of them enforces the limits of a policy.

use std::sync::Arc;

use portcullis_crds::contract;

use super::{memory::MemoryStore, store::LimitStore};

/// All stores of this process. They outlive policies, so that a reload resets no limit.
#[derive(Default)]
pub struct Stores {
    memory: Arc<MemoryStore>,
}

impl Stores {
    /// The store that a policy selects.
    pub fn of(&self, limits: &contract::Limits) -> Arc<dyn LimitStore> {
        // All fields are named, so that the compiler points here when one is added that selects another store.
        let contract::Limits { global: _, per_client: _, expensive_tools: _ } = limits;
        self.memory.clone()
    }
}
