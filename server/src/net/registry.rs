//! All connections: how many there are of each peer, and which of them have to be closed.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    Bounds,
    activity::{Activity, ConnectionState},
};

/// The connections of this process. Clones share them.
#[derive(Clone, Default)]
pub struct Connections(Arc<Shared>);

#[derive(Default)]
struct Shared {
    registry: Mutex<Registry>,
    changed: Notify,
}

#[derive(Default)]
struct Registry {
    next: u64,
    open: HashMap<u64, Entry>,
    peers: HashMap<IpAddr, usize>,
    is_ending: bool,
}

struct Entry {
    activity: Arc<Activity>,
    task: Option<AbortHandle>,
    /// The last observed state, and the last observed write that waited, each with the time of its first observation.
    state: (ConnectionState, Instant),
    waiting: (Option<u64>, Instant),
}

impl Entry {
    /// Whether one state, or one write, has lasted for too long.
    fn is_overdue(&mut self, bounds: &Bounds, now: Instant) -> bool {
        let (state, waiting) = (self.activity.state(), self.activity.waiting_write());
        if self.state.0 != state {
            self.state = (state, now);
        }
        if self.waiting.0 != waiting {
            self.waiting = (waiting, now);
        }
        let lasts_too_long = match state {
            ConnectionState::Answering => false,
            ConnectionState::ReadingHead { .. } => now - self.state.1 > bounds.headers_within,
            ConnectionState::Idle { .. } => now - self.state.1 > bounds.idle,
        };
        let stalled_since =
            [waiting.map(|_| self.waiting.1), self.activity.oldest_unread()].into_iter().flatten().min();
        let is_stalled = stalled_since.is_some_and(|since| now.saturating_duration_since(since) > bounds.write_stall);
        lasts_too_long || is_stalled
    }
}

/// The slot of one connection: freed when this is dropped.
pub(super) struct Slot {
    connections: Connections,
    number: u64,
    peer: IpAddr,
    pub activity: Arc<Activity>,
}

impl Connections {
    /// How many connections are open.
    pub fn count(&self) -> usize {
        self.0.registry.lock().open.len()
    }

    /// A slot for one more connection of this peer, if the bounds allow it.
    pub(super) fn open(&self, peer: IpAddr, bounds: &Bounds) -> Option<Slot> {
        let peer = peer.to_canonical();
        let registry = &mut *self.0.registry.lock();
        let of_peer = registry.peers.get(&peer).copied().unwrap_or(0);
        if registry.open.len() >= bounds.connections || of_peer >= bounds.connections_per_peer {
            return None;
        }
        registry.peers.insert(peer, of_peer + 1);
        registry.next += 1;
        let activity = Arc::<Activity>::default();
        let now = Instant::now();
        let entry =
            Entry { activity: activity.clone(), task: None, state: (activity.state(), now), waiting: (None, now) };
        if registry.is_ending {
            activity.end();
        }
        registry.open.insert(registry.next, entry);
        Some(Slot { connections: self.clone(), number: registry.next, peer, activity })
    }

    /// Sets the task of a slot, so that it can be aborted.
    pub(super) fn set_task(&self, number: u64, task: AbortHandle) {
        if let Some(entry) = self.0.registry.lock().open.get_mut(&number) {
            entry.task = Some(task);
        }
    }

    /// Inspects all connections from time to time, and closes those that are overdue.
    pub(super) async fn close_overdue(&self, bounds: &Bounds) -> std::convert::Infallible {
        let shortest = bounds.headers_within.min(bounds.idle).min(bounds.write_stall);
        let mut tick =
            tokio::time::interval((shortest / 16).clamp(Duration::from_millis(10), Duration::from_millis(500)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now = Instant::now();
            for entry in self.0.registry.lock().open.values_mut() {
                if entry.is_overdue(bounds, now)
                    && let Some(task) = &entry.task
                {
                    task.abort();
                }
            }
        }
    }

    /// Lets every connection finish its requests; returns whether all did within the time. The rest is cut off.
    pub(super) async fn end(&self, within: Duration) -> bool {
        {
            let mut registry = self.0.registry.lock();
            registry.is_ending = true;
            registry.open.values().for_each(|entry| entry.activity.end());
        }
        let all_gone = async {
            loop {
                let changed = self.0.changed.notified();
                if self.count() == 0 {
                    return;
                }
                changed.await;
            }
        };
        let all_finished = tokio::time::timeout(within, all_gone).await.is_ok();
        for entry in self.0.registry.lock().open.values() {
            entry.task.iter().for_each(AbortHandle::abort);
        }
        all_finished
    }
}

impl Slot {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let registry = &mut *self.connections.0.registry.lock();
        registry.open.remove(&self.number);
        if let Some(count) = registry.peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                registry.peers.remove(&self.peer);
            }
        }
        if registry.is_ending && registry.open.is_empty() {
            self.connections.0.changed.notify_one();
        }
    }
}
