//! What is to be reconciled, and when: one entry for each key, the earliest time wins, and no key is worked on twice at once.
//!
//! A key that is added while it is worked on is given out again afterwards, so that no change is lost.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use crate::sync::lock;

/// After a panic a key is left alone this long: the same input would panic again.
const AFTER_PANIC: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct Queue<K> {
    inner: Mutex<Inner<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: HashMap<K, Instant>,
    in_progress: HashSet<K>,
}

/// A key that was given out; the work on it is over when this is dropped.
#[derive(Debug)]
pub struct WorkItem<K: Ord + Hash + Clone> {
    pub key: K,
    queue: Arc<Queue<K>>,
}

impl<K: Ord + Hash + Clone> Default for Queue<K> {
    fn default() -> Self {
        let inner = Inner { by_time: BTreeSet::new(), by_key: HashMap::new(), in_progress: HashSet::new() };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }
}

impl<K: Ord + Hash + Clone> Queue<K> {
    /// Schedules the key for that time, or leaves it at an earlier one.
    pub fn add_at(&self, key: K, at: Instant) {
        let mut inner = self.lock();
        match inner.by_key.get(&key).copied() {
            Some(known) if known <= at => return,
            Some(known) => inner.by_time.remove(&(known, key.clone())),
            None => false,
        };
        inner.by_time.insert((at, key.clone()));
        inner.by_key.insert(key, at);
        drop(inner);
        self.changed.notify_one();
    }

    pub fn add(&self, key: K) {
        self.add_at(key, Instant::now());
    }

    /// Waits for the next key that is due and not worked on. For one caller at a time.
    pub async fn next(self: &Arc<Self>) -> WorkItem<K> {
        loop {
            let changed = self.changed.notified();
            let wait_until = match self.due(Instant::now()) {
                Ok(key) => return WorkItem { key, queue: Arc::clone(self) },
                Err(at) => at,
            };
            match wait_until {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
                None => changed.await,
            }
        }
    }

    /// Takes the key that is due, or returns when one will be.
    fn due(&self, now: Instant) -> Result<K, Option<Instant>> {
        let mut inner = self.lock();
        let first = inner.by_time.iter().find(|(_, key)| !inner.in_progress.contains(key)).cloned();
        match first {
            Some((at, key)) if at <= now => {
                inner.by_time.remove(&(at, key.clone()));
                inner.by_key.remove(&key);
                inner.in_progress.insert(key.clone());
                Ok(key)
            }
            later => Err(later.map(|(at, _)| at)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        lock(&self.inner)
    }
}

impl<K: Ord + Hash + Clone> Drop for WorkItem<K> {
    fn drop(&mut self) {
        self.queue.lock().in_progress.remove(&self.key);
        if std::thread::panicking() {
            self.queue.add_at(self.key.clone(), Instant::now() + AFTER_PANIC);
        }
        self.queue.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_wins_and_keys_are_given_out_in_the_order_of_their_times() {
        let queue = Arc::new(Queue::default());
        let start = Instant::now();
        queue.add_at("late", start + seconds(3));
        queue.add_at("moved", start + seconds(9));
        queue.add_at("moved", start + seconds(2));
        queue.add_at("moved", start + seconds(5));
        queue.add("now");
        let mut given = Vec::new();
        for _ in 0..3 {
            let item = queue.next().await;
            given.push((item.key, start.elapsed().as_secs()));
        }
        assert_eq!(given, [("now", 0), ("moved", 2), ("late", 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_added_during_its_work_is_given_out_again_afterwards() {
        let queue = Arc::new(Queue::default());
        queue.add("a");
        let first = queue.next().await;
        queue.add("a");
        assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "not while it is worked on");
        drop(first);
        assert_eq!(queue.next().await.key, "a");
        assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "once");
    }
}
