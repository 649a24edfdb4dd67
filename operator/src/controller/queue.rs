//! What is to be reconciled, and when: one entry for each key, the earliest time wins, and no key is worked on twice at once.
//!
//! There are two lanes, each with bounds of its own for all keys and for those of one namespace: a namespace that begins to hang
//! takes room from others for a second, and none after that, and removals of access wait for nothing else. A key that is added
//! while it is worked on is given out again afterwards, so that no change is lost.

mod lane;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard},
};

use tokio::{
    sync::{Notify, watch},
    time::{Duration, Instant},
};

use crate::{metrics::LaneState, sync::lock};
pub use lane::Lane;
use lane::{LANES, Waiting};

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
    /// In the order of [`LANES`].
    lanes: [Waiting<K>; 2],
    by_key: HashMap<K, (Instant, Lane)>,
    in_progress: HashMap<K, InProgress>,
}

#[derive(Debug)]
struct InProgress {
    since: Instant,
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
    room: Arc<Room<K>>,
}

/// Room in a lane. It is taken until this is dropped: a request that goes on after the work on its key was given up keeps it.
#[derive(Debug)]
pub struct Room<K: Key> {
    lane: Lane,
    namespace: String,
    begun: Instant,
    queue: Arc<Queue<K>>,
}

impl<K: Key> Default for Queue<K> {
    fn default() -> Self {
        let lanes = LANES.map(Waiting::new);
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
        for lane in LANES {
            let waiting = &mut inner.lanes[lane as usize];
            let key = match waiting.next(now) {
                Ok(key) => key,
                Err(at) => {
                    later = [later, at].into_iter().flatten().min();
                    continue;
                }
            };
            waiting.begin(key.namespace(), now);
            if let Some((at, _)) = inner.by_key.remove(&key) {
                inner.lanes[lane as usize].remove(at, &key);
            }
            let preempted = Arc::new(Notify::new());
            let work = InProgress { since: now, again: None, preempted: Arc::clone(&preempted) };
            inner.in_progress.insert(key.clone(), work);
            drop(inner);
            let room = Room { lane, namespace: key.namespace().to_owned(), begun: now, queue: Arc::clone(self) };
            return Ok(WorkItem {
                key,
                lane,
                room: Arc::new(room),
                preempted,
                can_be_given_up: watch::Sender::new(lane != Lane::Removals),
            });
        }
        Err(later)
    }

    /// The lanes, for the metrics.
    pub fn lanes(&self) -> Vec<(Lane, LaneState)> {
        let (now, inner) = (Instant::now(), self.lock());
        LANES.into_iter().zip(inner.lanes.iter().map(|waiting| waiting.state(now))).collect()
    }

    /// For how long a key has been due that could have been given out.
    pub fn overdue(&self) -> Duration {
        let (now, inner) = (Instant::now(), self.lock());
        let since = inner.lanes.iter().filter_map(Waiting::overdue_since).min();
        since.map(|since| now.duration_since(since)).unwrap_or_default()
    }

    /// For how long the oldest of the keys that are worked on has been worked on.
    pub fn longest_work(&self) -> Duration {
        let (now, inner) = (Instant::now(), self.lock());
        let since = inner.in_progress.values().map(|work| work.since).min();
        since.map(|since| now.duration_since(since)).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K>> {
        lock(&self.inner)
    }
}

impl<K: Key> WorkItem<K> {
    /// The room that the work takes.
    pub fn room(&self) -> Arc<Room<K>> {
        Arc::clone(&self.room)
    }

    /// Room in the lane of all else, for what goes on beside a removal. It is taken even if there is none.
    pub fn room_of_rest(&self) -> Arc<Room<K>> {
        if self.lane == Lane::Others {
            return self.room();
        }
        let (queue, begun) = (Arc::clone(&self.room.queue), Instant::now());
        let namespace = self.key.namespace().to_owned();
        queue.lock().lanes[Lane::Others as usize].begin(&namespace, begun);
        Arc::new(Room { lane: Lane::Others, namespace, begun, queue })
    }

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
        let queue = &self.room.queue;
        let again = queue.lock().in_progress.remove(&self.key).and_then(|work| work.again);
        if let Some((at, lane)) = again {
            queue.add_at(self.key.clone(), at, lane);
        }
    }
}

impl<K: Key> Drop for Room<K> {
    fn drop(&mut self) {
        self.queue.lock().lanes[self.lane as usize].end(&self.namespace, self.begun, Instant::now());
        self.queue.changed.notify_one();
    }
}

#[cfg(test)]
mod tests;
