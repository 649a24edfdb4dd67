//! A log for each dimension in use, found by its key.
//!
//! A call locks the logs of its dimensions in one fixed order, checks all of them and then takes from all or none. Each log also
//! publishes, without its lock, when it is next free, so that a flood of refused calls takes no lock at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::log::Log;
use crate::{
    hash::HashMap,
    limiter::{
        dimension::{Dimension, Dimensions, LimitKey, Rate},
        moment::Moment,
        store::OverLimit,
    },
};

const SHARDS: usize = 16;
/// How often a shard that grows is searched for logs that are no longer needed.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// For how long a key is kept at least, so that another rate with a longer span counts what was admitted.
const KEPT: Duration = Duration::from_secs(3600);
/// A rate that was not asked for so long, while others of its key were, is no longer in force.
const RETIRED_AFTER: Duration = Duration::from_secs(60);
/// How exact the times are at which rates were asked for.
const ASKED_EVERY: Duration = Duration::from_secs(1);
/// The most rates of a key that are kept: those of two policies are in force at once while requests of the earlier one end.
const MOST_RATES: usize = 16;

/// All logs. What is not used for a long time is dropped.
#[derive(Default)]
pub struct Logs {
    shards: [RwLock<Shard>; SHARDS],
}

#[derive(Default)]
struct Shard {
    entries: HashMap<Dimension, Arc<Entry>>,
    keys: HashMap<LimitKey, Arc<KeyLogs>>,
    next_sweep: u64,
}

/// One rate of a key.
struct Entry {
    key: Arc<KeyLogs>,
    /// [`Log::free_at`] of the log. It decreases only when something is taken back, so a refusal by it is right, or was right a
    /// moment ago.
    free_at: Arc<AtomicU64>,
    /// When it was last asked for, about.
    asked: AtomicU64,
}

/// The logs of one key, one for each rate. Each admission is in all of them, whichever rate admitted it, so that a rate that
/// changes does not begin anew.
#[derive(Default)]
struct KeyLogs {
    logs: Mutex<Vec<RateLog>>,
    asked: AtomicU64,
}

struct RateLog {
    rate: Rate,
    log: Log,
    free_at: Arc<AtomicU64>,
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
        let mut keys: [Option<MutexGuard<'_, Vec<RateLog>>>; Dimensions::MOST] = Default::default();
        let mut free = [0; Dimensions::MOST];
        let mut locked: Option<(usize, &KeyLogs)> = None;
        for (n, (index, entry)) in slots.iter().flatten().enumerate() {
            let place = match locked {
                Some((place, key)) if std::ptr::eq(key, &*entry.key) => place,
                _ => {
                    keys[n] = Some(entry.key.logs.lock());
                    locked = Some((n, &entry.key));
                    n
                }
            };
            let logs = keys[place].as_mut().expect("the logs of a key must be locked");
            free[*index] = find(logs, dimensions[*index].rate, &entry.free_at).log.free_at().as_nanos();
        }
        refuse(free[..dimensions.len()].iter().copied().enumerate(), dimensions, now)?;
        for log in keys.iter_mut().flatten().flat_map(|logs| logs.iter_mut()) {
            log.log.take(now);
            log.publish();
        }
        Ok(())
    }

    /// The dimension that is used up for the longest time, if one is. Takes no lock.
    pub fn used_up(&self, dimensions: &[Dimension], now: Moment) -> Option<OverLimit> {
        let free = dimensions.iter().map(|it| self.entry(it, now).free_at.load(Ordering::Relaxed));
        refuse(free.enumerate(), dimensions, now).err()
    }

    /// Takes back what [`Logs::admit`] took at `taken`, once for each time it was taken. What others were admitted meanwhile
    /// stays as it is, and so does the bound.
    pub fn take_back(&self, dimensions: &[Dimension], taken: Moment) {
        for (n, dimension) in dimensions.iter().enumerate() {
            if dimensions[..n].iter().any(|earlier| earlier.key == dimension.key) {
                continue;
            }
            // A key that was dropped held nothing that still counts.
            let key = self.shards[shard(dimension.key)].read().keys.get(&dimension.key).cloned();
            if let Some(key) = key {
                for log in &mut *key.logs.lock() {
                    log.log.take_back(taken);
                    log.publish();
                }
            }
        }
    }

    fn entry(&self, dimension: &Dimension, now: Moment) -> Arc<Entry> {
        let shard = &self.shards[shard(dimension.key)];
        if let Some(entry) = shard.read().entries.get(dimension) {
            entry.ask(now);
            return entry.clone();
        }
        let mut shard = shard.write();
        if shard.next_sweep <= now.as_nanos() {
            shard.next_sweep = (now + SWEEP_EVERY).as_nanos();
            shard.sweep(now);
        }
        shard.entry(dimension, now)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().entries.len()).sum()
    }
}

impl Shard {
    fn entry(&mut self, dimension: &Dimension, now: Moment) -> Arc<Entry> {
        if let Some(entry) = self.entries.get(dimension) {
            return entry.clone();
        }
        let key = self.keys.entry(dimension.key).or_default().clone();
        let free_at = Arc::default();
        find(&mut key.logs.lock(), dimension.rate, &free_at);
        let entry = Arc::new(Entry { key: key.clone(), free_at, asked: AtomicU64::new(0) });
        entry.ask(now);
        self.entries.insert(*dimension, entry.clone());
        if key.logs.lock().len() > MOST_RATES {
            self.drop_oldest_rate(dimension.key, &key);
        }
        entry
    }

    fn drop_oldest_rate(&mut self, key: LimitKey, logs: &KeyLogs) {
        let rates: Vec<Rate> = logs.logs.lock().iter().map(|log| log.rate).collect();
        let asked = |rate: &Rate| {
            let entry = self.entries.get(&Dimension { key, rate: *rate });
            entry.map_or(0, |entry| entry.asked.load(Ordering::Relaxed))
        };
        if let Some(oldest) = rates.into_iter().min_by_key(asked) {
            self.entries.remove(&Dimension { key, rate: oldest });
            logs.logs.lock().retain(|log| log.rate != oldest);
        }
    }

    /// Drops keys that were not used for long, and rates that are no longer in force.
    fn sweep(&mut self, now: Moment) {
        // Clones are made only under this shard's lock, so an entry without clones is not in use.
        self.entries.retain(|dimension, entry| {
            if Arc::strong_count(entry) > 1 {
                return true;
            }
            let mut logs = entry.key.logs.lock();
            let asked = Moment::from_nanos(entry.asked.load(Ordering::Relaxed));
            let is_retired = (asked + RETIRED_AFTER).as_nanos() <= entry.key.asked.load(Ordering::Relaxed);
            if is_retired && logs.len() > 1 {
                logs.retain(|log| log.rate != dimension.rate);
                return false;
            }
            !logs.iter().all(|log| log.log.is_idle(now, KEPT))
        });
        self.keys.retain(|_, key| Arc::strong_count(key) > 1);
    }
}

impl Entry {
    /// Remembers that it is in use. Most calls only read.
    fn ask(&self, now: Moment) {
        for asked in [&self.asked, &self.key.asked] {
            if (Moment::from_nanos(asked.load(Ordering::Relaxed)) + ASKED_EVERY).as_nanos() <= now.as_nanos() {
                asked.store(now.as_nanos(), Ordering::Relaxed);
            }
        }
    }
}

impl RateLog {
    fn publish(&self) {
        self.free_at.store(self.log.free_at().as_nanos(), Ordering::Relaxed);
    }
}

/// The log of a rate. If the key has none, it continues the best of the others.
fn find<'l>(logs: &'l mut Vec<RateLog>, rate: Rate, free_at: &Arc<AtomicU64>) -> &'l mut RateLog {
    let place = logs.iter().position(|log| log.rate == rate).unwrap_or_else(|| {
        let best = logs.iter().max_by_key(|log| log.log.fitness(rate));
        let log = best.map_or_else(|| Log::new(rate), |best| best.log.continued(rate));
        let log = RateLog { rate, log, free_at: free_at.clone() };
        log.publish();
        logs.push(log);
        logs.len() - 1
    });
    &mut logs[place]
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
