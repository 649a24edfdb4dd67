//! The limits of this process: a log for each dimension in use, found by its key.
//!
//! A call locks the logs of its dimensions in one fixed order, looks at all of them and then takes from all or none. Each
//! log also shows, without its lock, from when on it is free, so that a flood of refused calls takes no lock at all.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::{Dimension, Moment, OverLimit, log::Log};

/// More than any call counts against: tool, identity (twice, with a ceiling's own span), pool, global.
const MOST_DIMENSIONS: usize = 8;
const SHARDS: usize = 16;
/// How often a shard that grows looks for logs that nobody needs.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// The limits of this process. A log that nothing was taken from for its span is dropped.
#[derive(Default)]
pub struct Limiter {
    shards: [RwLock<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Dimension, Arc<Entry>>,
    next_sweep: u64,
}

struct Entry {
    /// [`Log::free_at`] of the log. It grows, unless something is given back, so whoever is refused by it is refused rightly, or was
    /// a moment ago.
    free_at: AtomicU64,
    log: Mutex<Log>,
}

impl Limiter {
    /// Takes one admission from every dimension, or, if one of them is used up, from none. A dimension that is given twice
    /// counts once.
    ///
    /// # Errors
    /// The dimension that holds longest, and for how long.
    ///
    /// # Panics
    /// With more than eight dimensions.
    pub fn admit(&self, dimensions: &[Dimension], now: Moment) -> Result<(), OverLimit> {
        assert!(dimensions.len() <= MOST_DIMENSIONS, "a call must not have more than eight dimensions");
        let mut slots: [Option<(usize, Arc<Entry>)>; MOST_DIMENSIONS] = Default::default();
        for (slot, (index, dimension)) in slots.iter_mut().zip(dimensions.iter().enumerate()) {
            *slot = Some((index, self.entry(dimension, now)));
        }
        let slots = &mut slots[..dimensions.len()];
        let free = slots.iter().flatten().map(|(index, entry)| (*index, entry.free_at.load(Ordering::Relaxed)));
        refuse(free, dimensions, now)?;

        slots.sort_unstable_by_key(|slot| slot.as_ref().map(|(index, _)| dimensions[*index]));
        let mut logs: [Option<(usize, &Entry, MutexGuard<'_, Log>)>; MOST_DIMENSIONS] = Default::default();
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

    /// Gives back what [`Limiter::admit`] took at `taken`, because the call came to nothing: once for each time it was taken. What
    /// was allowed to others meanwhile stays as it is, and so does the bound.
    pub fn give_back(&self, dimensions: &[Dimension], taken: Moment) {
        for (n, dimension) in dimensions.iter().enumerate() {
            if dimensions[..n].contains(dimension) {
                continue;
            }
            // Nothing is lost with a log that is gone: whatever it held counts no more.
            let entry = self.shards[dimension.key.shard(SHARDS)].read().entries.get(dimension).cloned();
            if let Some(entry) = entry {
                let mut log = entry.log.lock();
                log.give_back(taken);
                entry.free_at.store(log.free_at().as_nanos(), Ordering::Relaxed);
            }
        }
    }

    fn entry(&self, dimension: &Dimension, now: Moment) -> Arc<Entry> {
        let shard = &self.shards[dimension.key.shard(SHARDS)];
        if let Some(entry) = shard.read().entries.get(dimension) {
            return entry.clone();
        }
        let mut shard = shard.write();
        if shard.next_sweep <= now.as_nanos() {
            shard.next_sweep = (now + SWEEP_EVERY).as_nanos();
            // Copies are made under this shard's lock only: a log without any is in nobody's hands, and nothing is lost.
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

/// Refuses by whichever dimension is free last, if that is after `now`. One that admits nothing is never free, and names its span.
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
