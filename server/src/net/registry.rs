//! All connections: how many there are, of whom, and which of them must go.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle};

use super::{
    bounds::Bounds,
    connection::{Doing, Pulse},
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
    pulse: Arc<Pulse>,
    task: Option<AbortHandle>,
    /// What it was seen doing, and the write that was seen waiting, each with the time of the first look at it.
    doing: (Doing, Instant),
    waiting: (Option<u64>, Instant),
}

impl Entry {
    /// Whether it has been at one thing for too long.
    fn is_overdue(&mut self, bounds: &Bounds, now: Instant) -> bool {
        let (doing, waiting) = (self.pulse.doing(), self.pulse.waiting_write());
        if self.doing.0 != doing {
            self.doing = (doing, now);
        }
        if self.waiting.0 != waiting {
            self.waiting = (waiting, now);
        }
        let is_doing_too_long = match doing {
            Doing::Answering => false,
            Doing::Hearing { .. } => now - self.doing.1 > bounds.headers_within,
            Doing::Idling { .. } => now - self.doing.1 > bounds.idle,
        };
        let stalled_since = [waiting.map(|_| self.waiting.1), self.pulse.oldest_unread()].into_iter().flatten().min();
        let is_stalled = stalled_since.is_some_and(|since| now.saturating_duration_since(since) > bounds.write_stall);
        is_doing_too_long || is_stalled
    }
}

/// A connection's place: given back when this is dropped.
pub(super) struct Place {
    connections: Connections,
    number: u64,
    peer: IpAddr,
    pub pulse: Arc<Pulse>,
}

impl Connections {
    /// How many there are now.
    pub fn count(&self) -> usize {
        self.0.registry.lock().open.len()
    }

    /// A place for one more connection of this peer, if the bounds allow it.
    pub(super) fn open(&self, peer: IpAddr, bounds: &Bounds) -> Option<Place> {
        let peer = peer.to_canonical();
        let registry = &mut *self.0.registry.lock();
        let of_peer = registry.peers.get(&peer).copied().unwrap_or(0);
        if registry.open.len() >= bounds.connections || of_peer >= bounds.connections_per_peer {
            return None;
        }
        registry.peers.insert(peer, of_peer + 1);
        registry.next += 1;
        let pulse = Arc::<Pulse>::default();
        let now = Instant::now();
        let entry = Entry { pulse: pulse.clone(), task: None, doing: (pulse.doing(), now), waiting: (None, now) };
        if registry.is_ending {
            pulse.end();
        }
        registry.open.insert(registry.next, entry);
        Some(Place { connections: self.clone(), number: registry.next, peer, pulse })
    }

    /// The task of a place, so that it can be ended by force.
    pub(super) fn runs(&self, number: u64, task: AbortHandle) {
        if let Some(entry) = self.0.registry.lock().open.get_mut(&number) {
            entry.task = Some(task);
        }
    }

    /// Looks at all pulses again and again, and cuts off whoever has been at one thing for too long.
    pub(super) async fn watch(&self, bounds: &Bounds) -> std::convert::Infallible {
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

    /// Lets every connection finish its requests; says whether all have within the time. The rest is cut off.
    pub(super) async fn end(&self, within: Duration) -> bool {
        {
            let mut registry = self.0.registry.lock();
            registry.is_ending = true;
            registry.open.values().for_each(|entry| entry.pulse.end());
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

impl Place {
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

impl Drop for Place {
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
