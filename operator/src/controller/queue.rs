//! What is to be reconciled, and when: one entry for each key, the earliest time wins, and no key is worked on twice at once.
//!
//! There are two lanes, each with a bound of its own for all keys and for those of one namespace: what hangs in a namespace delays
//! no other one, and removals of access wait for nothing else. A key that is added while it is worked on is given out again
//! afterwards, so that no change is lost.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    sync::{Notify, watch},
    time::{Duration, Instant},
};

use crate::sync::lock;

/// After a panic a key is left alone this long: the same input would panic again.
const AFTER_PANIC: Duration = Duration::from_secs(30);

/// What is worked on at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Publications that take access away.
    Removals,
    Others,
}

impl Lane {
    const ALL: [Self; 2] = [Self::Removals, Self::Others];

    /// How many keys are worked on at once, and how many of one namespace.
    fn bounds(self) -> (usize, usize) {
        match self {
            Self::Removals => (64, 4),
            Self::Others => (64, 8),
        }
    }
}

/// What can be scheduled.
pub trait Key: Ord + Hash + Clone {
    fn namespace(&self) -> &str;
}

#[derive(Debug)]
pub struct Queue<K> {
    inner: Mutex<Inner<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner<K> {
    /// In the order of [`Lane::ALL`].
    lanes: [Waiting<K>; 2],
    by_key: HashMap<K, (Instant, Lane)>,
    in_progress: HashMap<K, InProgress>,
}

/// The keys of one lane that are not worked on.
#[derive(Debug)]
struct Waiting<K> {
    lane: Lane,
    by_namespace: HashMap<String, BTreeSet<(Instant, K)>>,
    /// The first time of each namespace that is within its bound.
    first: BTreeSet<(Instant, String)>,
    first_of: HashMap<String, Instant>,
    running: usize,
    running_in: HashMap<String, usize>,
}

#[derive(Debug)]
struct InProgress {
    /// When it is to be given out again.
    again: Option<(Instant, Lane)>,
    preempted: Arc<Notify>,
}

/// A key that was given out; the work on it is over when this is dropped.
#[derive(Debug)]
pub struct WorkItem<K: Key> {
    pub key: K,
    pub lane: Lane,
    /// Notified when a removal is scheduled for the key.
    preempted: Arc<Notify>,
    /// Whether the rest of the work can be given up for a removal.
    can_be_given_up: watch::Sender<bool>,
    queue: Arc<Queue<K>>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        let lanes = Lane::ALL.map(|lane| Waiting {
            lane,
            by_namespace: HashMap::new(),
            first: BTreeSet::new(),
            first_of: HashMap::new(),
            running: 0,
            running_in: HashMap::new(),
        });
        let inner = Inner { lanes, by_key: HashMap::new(), in_progress: HashMap::new() };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }
}

impl<K: Key> Queue<K> {
    /// Schedules the key for that time, or leaves it at an earlier one. A removal stays one.
    pub fn add_at(&self, key: K, at: Instant, lane: Lane) {
        let mut inner = self.lock();
        if let Some(work) = inner.in_progress.get_mut(&key) {
            work.again = Some(work.again.map_or((at, lane), |known| (known.0.min(at), known.1.min(lane))));
            if lane == Lane::Removals {
                work.preempted.notify_one();
            }
            return;
        }
        let known = inner.by_key.get(&key).copied();
        let next = known.map_or((at, lane), |known| (known.0.min(at), known.1.min(lane)));
        if known == Some(next) {
            return;
        }
        if let Some((at, lane)) = known {
            inner.lanes[lane as usize].remove(at, &key);
        }
        inner.lanes[next.1 as usize].insert(next.0, key.clone());
        inner.by_key.insert(key, next);
        drop(inner);
        self.changed.notify_one();
    }

    pub fn add(&self, key: K) {
        self.add_at(key, Instant::now(), Lane::Others);
    }

    /// Waits for the next key that is due, not worked on, and within the bounds. For one caller at a time.
    pub async fn next(self: &Arc<Self>) -> WorkItem<K> {
        loop {
            let changed = self.changed.notified();
            let wait_until = match self.due(Instant::now()) {
                Ok(item) => return item,
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
    fn due(self: &Arc<Self>, now: Instant) -> Result<WorkItem<K>, Option<Instant>> {
        let mut inner = self.lock();
        let mut later: Option<Instant> = None;
        for lane in Lane::ALL {
            match inner.lanes[lane as usize].first() {
                Some((at, key)) if at <= now => {
                    let waiting = &mut inner.lanes[lane as usize];
                    waiting.remove(at, &key);
                    waiting.count(key.namespace(), 1);
                    inner.by_key.remove(&key);
                    let preempted = Arc::new(Notify::new());
                    let work = InProgress { again: None, preempted: Arc::clone(&preempted) };
                    inner.in_progress.insert(key.clone(), work);
                    return Ok(WorkItem {
                        key,
                        lane,
                        preempted,
                        can_be_given_up: watch::Sender::new(lane != Lane::Removals),
                        queue: Arc::clone(self),
                    });
                }
                Some((at, _)) => later = Some(later.map_or(at, |known| known.min(at))),
                None => {}
            }
        }
        Err(later)
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        lock(&self.inner)
    }
}

impl<K: Key> Waiting<K> {
    /// The earliest key of a namespace that is within its bound.
    fn first(&self) -> Option<(Instant, K)> {
        if self.running >= self.lane.bounds().0 {
            return None;
        }
        let (_, namespace) = self.first.first()?;
        self.by_namespace.get(namespace)?.first().cloned()
    }

    fn insert(&mut self, at: Instant, key: K) {
        let namespace = key.namespace().to_owned();
        self.by_namespace.entry(namespace.clone()).or_default().insert((at, key));
        self.refresh(&namespace);
    }

    fn remove(&mut self, at: Instant, key: &K) {
        let namespace = key.namespace();
        if let Some(keys) = self.by_namespace.get_mut(namespace) {
            keys.remove(&(at, key.clone()));
            if keys.is_empty() {
                self.by_namespace.remove(namespace);
            }
        }
        self.refresh(namespace);
    }

    /// Counts the start or the end of work in a namespace.
    fn count(&mut self, namespace: &str, change: isize) {
        let running = self.running_in.entry(namespace.to_owned()).or_default();
        *running = running.saturating_add_signed(change);
        if *running == 0 {
            self.running_in.remove(namespace);
        }
        self.running = self.running.saturating_add_signed(change);
        self.refresh(namespace);
    }

    fn refresh(&mut self, namespace: &str) {
        if let Some(at) = self.first_of.remove(namespace) {
            self.first.remove(&(at, namespace.to_owned()));
        }
        let is_within = self.running_in.get(namespace).is_none_or(|running| *running < self.lane.bounds().1);
        let first = self.by_namespace.get(namespace).and_then(BTreeSet::first);
        if let Some((at, _)) = first.filter(|_| is_within) {
            self.first.insert((*at, namespace.to_owned()));
            self.first_of.insert(namespace.to_owned(), *at);
        }
    }
}

impl<K: Key> WorkItem<K> {
    /// Sets whether the work can be given up for a removal from here on. Removals themselves begin with no.
    pub fn can_be_given_up(&self, is_possible: bool) {
        self.can_be_given_up.send_replace(is_possible);
    }

    /// Returns once the work can be given up, and is to be: a removal waits for it.
    pub async fn given_up(&self) {
        self.preempted.notified().await;
        // The sender is part of this value.
        let _ = self.can_be_given_up.subscribe().wait_for(|is_possible| *is_possible).await;
    }
}

impl<K: Key> Drop for WorkItem<K> {
    fn drop(&mut self) {
        let mut inner = self.queue.lock();
        let again = inner.in_progress.remove(&self.key).and_then(|work| work.again);
        inner.lanes[self.lane as usize].count(self.key.namespace(), -1);
        drop(inner);
        if let Some((at, lane)) = again {
            self.queue.add_at(self.key.clone(), at, lane);
        }
        if std::thread::panicking() {
            self.queue.add_at(self.key.clone(), Instant::now() + AFTER_PANIC, Lane::Others);
        }
        self.queue.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Key for &'static str {
        /// What is before the slash.
        fn namespace(&self) -> &str {
            self.split('/').next().unwrap_or_default()
        }
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_time_wins_and_keys_are_given_out_in_the_order_of_their_times() {
        let queue = Arc::new(Queue::default());
        let start = Instant::now();
        queue.add_at("late", start + seconds(3), Lane::Others);
        queue.add_at("moved", start + seconds(9), Lane::Others);
        queue.add_at("moved", start + seconds(2), Lane::Others);
        queue.add_at("moved", start + seconds(5), Lane::Others);
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

    /// All keys that are due, taken and kept.
    async fn take(queue: &Arc<Queue<&'static str>>) -> Vec<WorkItem<&'static str>> {
        let mut items = Vec::new();
        while let Ok(item) = tokio::time::timeout(seconds(1), queue.next()).await {
            items.push(item);
        }
        items
    }

    fn keys(items: &[WorkItem<&'static str>]) -> Vec<&'static str> {
        items.iter().map(|item| item.key).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_whose_work_hangs_holds_a_share_and_delays_no_other_and_no_removal() {
        let queue = Arc::new(Queue::default());
        for key in [
            "noisy/1", "noisy/2", "noisy/3", "noisy/4", "noisy/5", "noisy/6", "noisy/7", "noisy/8", "noisy/9",
            "noisy/x",
        ] {
            queue.add(key);
        }
        let mut hanging = take(&queue).await;
        assert_eq!(hanging.len(), Lane::Others.bounds().1);
        queue.add("quiet/a");
        queue.add_at("noisy/x", Instant::now(), Lane::Removals);
        let more = take(&queue).await;
        assert_eq!(keys(&more), ["noisy/x", "quiet/a"], "its own removal does not wait for it either");
        drop(hanging.remove(0));
        assert_eq!(keys(&take(&queue).await), ["noisy/9"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_removal_preempts_the_work_on_its_key_and_nothing_else_does() {
        let queue = Arc::new(Queue::default());
        queue.add("a/a");
        let item = queue.next().await;
        queue.add("a/a");
        assert!(tokio::time::timeout(seconds(1), item.given_up()).await.is_err());
        queue.add_at("a/a", Instant::now(), Lane::Removals);
        item.can_be_given_up(false);
        assert!(tokio::time::timeout(seconds(1), item.given_up()).await.is_err());
        queue.add_at("a/a", Instant::now(), Lane::Removals);
        item.can_be_given_up(true);
        assert!(tokio::time::timeout(seconds(1), item.given_up()).await.is_ok());
        drop(item);
        let item = queue.next().await;
        assert_eq!((item.key, item.lane), ("a/a", Lane::Removals));
        assert!(tokio::time::timeout(seconds(60), queue.next()).await.is_err(), "once");
    }
}
