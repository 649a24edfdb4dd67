//! What is to be reconciled, and when: one entry a key, the earliest time wins, and no key twice at once.
//!
//! A key that is added while it is being worked on is given out again afterwards, so no change is lost.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

/// After a panic in its work a key rests this long: the same input would panic again.
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
    taken: HashSet<K>,
}

/// A key that was given out; its work is over when this is dropped.
#[derive(Debug)]
pub struct WorkItem<K: Ord + Hash + Clone> {
    pub key: K,
    queue: Arc<Queue<K>>,
}

impl<K: Ord + Hash + Clone> Default for Queue<K> {
    fn default() -> Self {
        let inner = Inner { by_time: BTreeSet::new(), by_key: HashMap::new(), taken: HashSet::new() };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }
}

impl<K: Ord + Hash + Clone> Queue<K> {
    /// Has the key worked on at that time, or earlier where it was wanted earlier.
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

    /// The next key whose time has come and that nobody works on; waits for it. One caller at a time.
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

    /// Takes what is due, or says when something will be.
    fn due(&self, now: Instant) -> Result<K, Option<Instant>> {
        let mut inner = self.lock();
        let first = inner.by_time.iter().find(|(_, key)| !inner.taken.contains(key)).cloned();
        match first {
            Some((at, key)) if at <= now => {
                inner.by_time.remove(&(at, key.clone()));
                inner.by_key.remove(&key);
                inner.taken.insert(key.clone());
                Ok(key)
            }
            later => Err(later.map(|(at, _)| at)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Ord + Hash + Clone> Drop for WorkItem<K> {
    fn drop(&mut self) {
        self.queue.lock().taken.remove(&self.key);
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
    async fn the_earliest_time_wins_and_keys_come_in_order_of_time() {
        let queue = Arc::new(Queue::default());
        let start = Instant::now();
        queue.add_at("late", start + seconds(3));
        queue.add_at("moved", start + seconds(9));
        queue.add_at("moved", start + seconds(2));
        queue.add_at("moved", start + seconds(5));
        queue.add("now");
        let mut given = Vec::new();
        for _ in 0..3 {
            let taken = queue.next().await;
            given.push((taken.key, start.elapsed().as_secs()));
        }
        assert_eq!(given, [("now", 0), ("moved", 2), ("late", 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_during_its_work_comes_again_afterwards_and_not_before() {
        let queue = Arc::new(Queue::default());
        queue.add("a");
        let first = queue.next().await;
        queue.add("a");
        assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "no key twice at once");
        drop(first);
        assert_eq!(queue.next().await.key, "a");
        assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "and once only");
    }
}
