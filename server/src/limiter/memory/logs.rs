//! A log for each dimension in use, found by its key.
//!
//! A call locks the logs of its dimensions in one fixed order, checks all of them and then takes from all or none. Each log also
//! publishes, without its lock, when it is next free, so that a flood of refused calls takes no lock at all.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::log::Log;
use crate::limiter::{
    dimension::{Dimension, Dimensions, LimitKey},
    moment::Moment,
    store::OverLimit,
};

const SHARDS: usize = 16;
/// How often a shard that grows is searched for logs that are no longer needed.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// All logs. A log that nothing was taken from for its span is dropped.
#[derive(Default)]
pub struct Logs {
    shards: [RwLock<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Dimension, Arc<Entry>>,
    next_sweep: u64,
}

struct Entry {
    /// [`Log::free_at`] of the log. It decreases only when something is taken back, so a refusal by it is right, or was right a
    /// moment ago.
    free_at: AtomicU64,
    log: Mutex<Log>,
}

impl Logs {
    /// Takes one admission from every dimension, or, if one of them is used up, from none. A dimension that is given twice
    /// counts once.
    ///
    /// # Errors
    /// Returns an error if a dimension is used up: the one that is used up for the longest time.
    ///
    /// # Panics
    /// If there are more than [`Dimensions::MOST`].
    pub fn admit(&self, dimensions: &[Dimension], now: Moment) -> Result<(), OverLimit> {
        assert!(dimensions.len() <= Dimensions::MOST, "a call must not have more than eight dimensions");
        let mut slots: [Option<(usize, Arc<Entry>)>; Dimensions::MOST] = Default::default();
        for (slot, (index, dimension)) in slots.iter_mut().zip(dimensions.iter().enumerate()) {
            *slot = Some((index, self.entry(dimension, now)));
        }
        let slots = &mut slots[..dimensions.len()];
        let free = slots.iter().flatten().map(|(index, entry)| (*index, entry.free_at.load(Ordering::Relaxed)));
        refuse(free, dimensions, now)?;

        slots.sort_unstable_by_key(|slot| slot.as_ref().map(|(index, _)| dimensions[*index]));
        let mut logs: [Option<(usize, &Entry, MutexGuard<'_, Log>)>; Dimensions::MOST] = Default::default();
        let mut previous: Option<&Entry> = None;
        for (log, (index, entry)) in logs.iter_mut().zip(slots.iter().flatten()) {
            if previous.is_some_and(|previous| std::ptr::eq(previous, &**entry)) {
                continue;
            }
            *log = Some((*index, entry, entry.log.lock()));
            previous = Some(entry);
        }
        let free = logs.iter().flatten().map(|(index, _, log)| (*index, log.free_at().as_nanos()));
        refuse(free, dimensions, now)?;
        for (_, entry, log) in logs.iter_mut().flatten() {
            log.take(now);
            entry.free_at.store(log.free_at().as_nanos(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes back what [`Logs::admit`] took at `taken`, once for each time it was taken. What others were admitted meanwhile
    /// stays as it is, and so does the bound.
    pub fn take_back(&self, dimensions: &[Dimension], taken: Moment) {
        for (n, dimension) in dimensions.iter().enumerate() {
            if dimensions[..n].contains(dimension) {
                continue;
            }
            // A log that was dropped held nothing that still counts.
            let entry = self.shards[shard(dimension.key)].read().entries.get(dimension).cloned();
            if let Some(entry) = entry {
                let mut log = entry.log.lock();
                log.take_back(taken);
                entry.free_at.store(log.free_at().as_nanos(), Ordering::Relaxed);
            }
        }
    }

    fn entry(&self, dimension: &Dimension, now: Moment) -> Arc<Entry> {
        let shard = &self.shards[shard(dimension.key)];
        if let Some(entry) = shard.read().entries.get(dimension) {
            return entry.clone();
        }
        let mut shard = shard.write();
        if shard.next_sweep <= now.as_nanos() {
            shard.next_sweep = (now + SWEEP_EVERY).as_nanos();
            // Clones are made only under this shard's lock, so a log without clones is not in use.
            shard.entries.retain(|_, entry| Arc::strong_count(entry) > 1 || !entry.log.lock().is_idle(now));
        }
        shard.entries.entry(*dimension).or_insert_with(|| Arc::new(Entry::new(dimension))).clone()
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().entries.len()).sum()
    }
}

impl Entry {
    fn new(dimension: &Dimension) -> Self {
        let log = Log::new(dimension.rate);
        Self { free_at: AtomicU64::new(log.free_at().as_nanos()), log: Mutex::new(log) }
    }
}

/// The shard of a key. Fingerprints are evenly distributed.
fn shard(key: LimitKey) -> usize {
    match key {
        LimitKey::Tool { identity, tool } => identity.shard(SHARDS) ^ tool.shard(SHARDS),
        LimitKey::Identity(id) | LimitKey::RequestAllowance(id) | LimitKey::Pool(id) => id.shard(SHARDS),
        LimitKey::Global => 0,
    }
}

/// Refuses by the dimension that is free last, if that is after `now`. One that admits nothing is never free, and names its span.
fn refuse(free: impl Iterator<Item = (usize, u64)>, dimensions: &[Dimension], now: Moment) -> Result<(), OverLimit> {
    match free.max_by_key(|(_, free_at)| *free_at) {
        Some((dimension, free_at)) if free_at > now.as_nanos() => {
            let rate = dimensions[dimension].rate;
            let until_free = Duration::from_nanos(free_at - now.as_nanos());
            Err(OverLimit { dimension, retry_after: if rate.requests == 0 { rate.per } else { until_free } })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
