//! The store in memory: each replica enforces an equal share of every rate, independently of the others.

mod log;
mod logs;

use futures::future::{Either, ready};

use super::{
    dimension::Dimensions,
    moment::Clock,
    store::{Admission, LimitStore, OverLimit, Receipt, StoreFuture},
};

/// Counts admissions in memory.
pub struct MemoryStore {
    logs: logs::Logs,
    clock: Clock,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { logs: logs::Logs::default(), clock: Clock::start() }
    }
}

impl MemoryStore {
    /// As [`LimitStore::admit`], at once.
    ///
    /// # Errors
    /// Returns an error if a dimension is used up.
    pub fn take<'a>(&self, dimensions: &'a Dimensions) -> Result<Receipt<'a>, OverLimit> {
        let at = self.clock.now();
        self.logs.admit(&dimensions.of_replica(), at)?;
        Ok(Receipt { dimensions, at })
    }
}

impl LimitStore for MemoryStore {
    fn used_up(&self, dimensions: &Dimensions) -> Option<OverLimit> {
        self.logs.used_up(&dimensions.of_replica(), self.clock.now())
    }

    fn admit<'a>(&'a self, dimensions: &'a Dimensions) -> StoreFuture<'a, Admission<'a>> {
        Either::Left(ready(match self.take(dimensions) {
            Ok(receipt) => Admission::Admitted(receipt),
            Err(over) => Admission::Over(over),
        }))
    }

    fn take_back<'a>(&'a self, receipt: Receipt<'a>) -> StoreFuture<'a, ()> {
        self.logs.take_back(&receipt.dimensions.of_replica(), receipt.at);
        Either::Left(ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limiter::{LimitKey, Rate};

    #[tokio::test]
    async fn a_store_admits_the_share_of_its_replica_and_takes_back_what_had_no_effect() {
        let store = MemoryStore::default();
        let mut dimensions = Dimensions::new(3);
        dimensions.push(LimitKey::Global, Rate { requests: 7, per: Duration::from_secs(3600) }).unwrap();
        assert_eq!(store.used_up(&dimensions), None);
        let first = store.take(&dimensions).unwrap();
        assert!(matches!(store.admit(&dimensions).await, Admission::Admitted(_)));
        assert!(matches!(store.admit(&dimensions).await, Admission::Over(OverLimit { dimension: 0, .. })));
        store.take_back(first).await;
        assert!(matches!(store.admit(&dimensions).await, Admission::Admitted(_)));
        assert!(store.used_up(&dimensions).is_some() && store.take(&dimensions).is_err());
    }
}
