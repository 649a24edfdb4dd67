//! All connections: how many there are of each peer, and which of them have to be closed.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use super::{
    Bounds,
    activity::{Activity, ConnectionState},
    socket::LINGER,
};

/// At a stop: how long a connection may have no complete head of a request before it is closed. Whoever was not told may be sending
/// one.
const REQUEST_AT_STOP: Duration = Duration::from_millis(500);
/// How long a connection that is to be closed may take to end by itself, which on HTTP/2 needs an answer of the peer.
const CLOSE: Duration = LINGER.saturating_add(Duration::from_millis(500));
/// At a stop: how long a peer may leave the rest of an answer unread.
const UNREAD_AT_STOP: Duration = Duration::from_secs(10);
/// How long the tasks of connections that were cut off may take to end.
const CUT_OFF: Duration = Duration::from_secs(1);
/// How often a stop inspects the connections that are left.
const INSPECT_AT_STOP: Duration = Duration::from_millis(20);

/// How many connections with many streams a network may have, beside those of one peer address.
const WIDE_OF_NETWORK: usize = 4;
/// How often strangers are looked for whose connections can be closed.
const MAKE_ROOM: Duration = Duration::from_millis(10);

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
    /// The connections of each peer address and of each network.
    groups: HashMap<Group, HashSet<u64>>,
    is_draining: bool,
    is_ending: bool,
    /// Whether nothing is served any more.
    is_aborted: bool,
    /// When idle connections of strangers were last closed to make room.
    made_room: Option<Instant>,
}

impl Registry {
    /// Once seven eighths of the connections are open, those that have been idle for longest and that no identified caller has used
    /// are closed, up to an eighth: strangers must not keep callers out by doing nothing.
    fn make_room(&mut self, bounds: &Bounds, now: Instant) {
        let most = bounds.connections;
        let is_recent = self.made_room.is_some_and(|last| now.saturating_duration_since(last) < MAKE_ROOM);
        if self.open.len() < most - most / 8 || is_recent {
            return;
        }
        self.made_room = Some(now);
        let mut idle: Vec<_> =
            self.open.values_mut().filter_map(|entry| Some((entry.idle_since(bounds, now)?, entry))).collect();
        idle.retain(|(_, entry)| entry.activity.is_strangers());
        idle.sort_by_key(|(since, _)| *since);
        idle.iter().take((most / 8).max(1)).for_each(|(_, entry)| entry.abort());
    }

    /// Whether a group may have one more connection. If it has all, the one that has been idle for longest ends: of those that no
    /// identified caller uses at once, or of the others in order, which makes room for a later one. Many callers may share the
    /// address of a proxy or a node, and one of them must not keep the others out by doing nothing.
    fn has_room_for(&mut self, group: Group, most: usize, bounds: &Bounds, now: Instant) -> bool {
        let Some(numbers) = self.groups.get(&group).filter(|numbers| numbers.len() >= most) else { return true };
        let mut closing = 0;
        let longest_idle = numbers.iter().filter_map(|number| {
            let entry = self.open.get_mut(number)?;
            let since = entry.idle_since(bounds, now)?;
            let closes = entry.closes_since().filter(|_| !entry.activity.is_strangers());
            if closes.is_some_and(|closes| now.saturating_duration_since(closes) < CLOSE) {
                closing += 1;
                return None;
            }
            Some((!entry.activity.is_strangers() && closes.is_none(), since, *number))
        });
        let Some((is_in_order, _, number)) = longest_idle.min() else { return false };
        let entry = self.open.get_mut(&number).expect("a connection of a peer must be open");
        if !is_in_order {
            entry.abort();
            let peer = entry.peer;
            self.free(number, peer);
        } else if closing < (most / 8).max(1) {
            entry.activity.drain();
            entry.close(CLOSE, now);
        }
        !is_in_order
    }

    /// A connection takes no room any more.
    fn free(&mut self, number: u64, peer: IpAddr) {
        self.open.remove(&number);
        for group in Group::of(peer) {
            if let Some(numbers) = self.groups.get_mut(&group) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.groups.remove(&group);
                }
            }
        }
    }
}

/// What connections are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Group {
    Peer(IpAddr),
    /// The first 64 bits of addresses of IPv6. On the internet one host has them all, but a cluster may take them for all its pods.
    Network(u128),
}

impl Group {
    /// The groups of a connection of this peer.
    fn of(peer: IpAddr) -> impl Iterator<Item = Self> {
        let network = match peer {
            IpAddr::V6(address) => Some(Self::Network(address.to_bits() >> 64)),
            IpAddr::V4(_) => None,
        };
        [Self::Peer(peer)].into_iter().chain(network)
    }

    /// How many connections it may have, and how many of them with many streams.
    fn bounds(self, bounds: &Bounds) -> (usize, usize) {
        match self {
            Self::Peer(_) => (bounds.connections_per_peer, bounds.wide_connections),
            Self::Network(_) => (bounds.connections_per_network, bounds.wide_connections * WIDE_OF_NETWORK),
        }
    }
}

struct Entry {
    peer: IpAddr,
    activity: Arc<Activity>,
    task: Option<AbortHandle>,
    /// The last observed state, and the last observed write that waited, each with the time of its first observation.
    state: (ConnectionState, Instant),
    waiting: (Option<u64>, Instant),
    /// The state in which the connection was told to close, and when.
    closing: Option<(ConnectionState, Instant)>,
}

impl Entry {
    fn observe(&mut self, now: Instant) -> (ConnectionState, Option<u64>) {
        let (state, waiting) = (self.activity.state(), self.activity.waiting_write());
        if self.state.0 != state {
            self.state = (state, now);
        }
        if self.waiting.0 != waiting {
            self.waiting = (waiting, now);
        }
        (state, waiting)
    }

    /// Closes a connection that has been idle for too long, and cuts off one whose state, or one write, has lasted for too long.
    fn close_if_overdue(&mut self, bounds: &Bounds, now: Instant) {
        let (state, waiting) = self.observe(now);
        let lasted = now.saturating_duration_since(self.state.1);
        let is_stalled = self.activity.give_up_slow(bounds.write_stall, bounds.least_rate, now)
            || waiting.is_some() && now - self.waiting.1 > bounds.write_stall;
        match state {
            _ if is_stalled => self.abort(),
            ConnectionState::ReadingHead { .. } if lasted > bounds.headers_within => self.abort(),
            ConnectionState::Idle { .. } if lasted > bounds.idle => {
                self.activity.drain();
                self.close(CLOSE, now);
            }
            _ => {}
        }
    }

    /// At a stop: closes a connection that has no request.
    fn close_at_stop(&mut self, now: Instant) {
        let (state, waiting) = self.observe(now);
        let lasted = now.saturating_duration_since(self.state.1);
        if state != ConnectionState::Answering && lasted >= REQUEST_AT_STOP {
            self.close(if waiting.is_some() { UNREAD_AT_STOP } else { CLOSE }, now);
        }
    }

    /// Closes a connection if nothing happens on it before, and cuts it off if it does not end within the time.
    fn close(&mut self, within: Duration, now: Instant) {
        let (state, _) = self.state;
        match self.closing {
            Some((closing, since)) if closing == state => {
                if now.saturating_duration_since(since) >= within {
                    self.abort();
                }
            }
            _ => {
                self.closing = Some((state, now));
                self.activity.close(state);
            }
        }
    }

    /// Since when a connection that was told to close could have done so.
    fn closes_since(&self) -> Option<Instant> {
        self.closing.and_then(|(state, since)| (state == self.state.0).then_some(since))
    }

    /// Since when a connection has no request, if that is long enough to close it. One of a stranger may also have half a head, or
    /// requests that only wait for it to read their answers.
    fn idle_since(&mut self, bounds: &Bounds, now: Instant) -> Option<Instant> {
        let (state, waiting) = self.observe(now);
        let is_strangers = self.activity.is_strangers();
        let since = match state {
            ConnectionState::Answering if is_strangers => self.activity.unread_since()?,
            ConnectionState::ReadingHead { .. } if is_strangers => self.state.1,
            ConnectionState::Idle { .. } if is_strangers || waiting.is_none() => self.state.1,
            _ => return None,
        };
        (now.saturating_duration_since(since) >= bounds.least_idle).then_some(since)
    }

    fn abort(&self) {
        self.task.iter().for_each(AbortHandle::abort);
    }
}

/// The slot of one connection: freed when this is dropped.
pub(super) struct Slot {
    connections: Connections,
    number: u64,
    peer: IpAddr,
    is_wide: bool,
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
        let (registry, now) = (&mut *self.0.registry.lock(), Instant::now());
        if registry.is_aborted {
            return None;
        }
        registry.make_room(bounds, now);
        let mut groups = Group::of(peer);
        let has_room = groups.all(|group| registry.has_room_for(group, group.bounds(bounds).0, bounds, now));
        if registry.open.len() >= bounds.connections || !has_room {
            return None;
        }
        registry.next += 1;
        let mut is_wide = true;
        for group in Group::of(peer) {
            let numbers = registry.groups.entry(group).or_default();
            is_wide &= numbers.len() < group.bounds(bounds).1;
            numbers.insert(registry.next);
        }
        let activity = Arc::<Activity>::default();
        let state = (activity.state(), now);
        let entry = Entry { peer, activity: activity.clone(), task: None, state, waiting: (None, now), closing: None };
        if registry.is_ending {
            activity.end();
        } else if registry.is_draining {
            activity.drain();
        }
        registry.open.insert(registry.next, entry);
        Some(Slot { connections: self.clone(), number: registry.next, peer, is_wide, activity })
    }

    /// Sets the task of a slot, so that it can be aborted.
    pub(super) fn set_task(&self, number: u64, task: AbortHandle) {
        let registry = &mut *self.0.registry.lock();
        if registry.is_aborted {
            task.abort();
        }
        if let Some(entry) = registry.open.get_mut(&number) {
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
                entry.close_if_overdue(bounds, now);
            }
        }
    }

    /// Tells every peer that its next request belongs on another connection: each answer of HTTP/1 says `Connection: close`, and
    /// connections of HTTP/2 get GOAWAY. Nothing is closed that a peer could be sending a request on.
    pub fn drain(&self) {
        let mut registry = self.0.registry.lock();
        registry.is_draining = true;
        registry.open.values().for_each(|entry| entry.activity.drain());
    }

    /// Lets every connection finish its requests, and closes those that have none; returns whether all requests were finished
    /// within the time. The rest is cut off.
    pub async fn end(&self, within: Duration) -> bool {
        let began = Instant::now();
        let mut all_finished = true;
        {
            let mut registry = self.0.registry.lock();
            (registry.is_draining, registry.is_ending) = (true, true);
            registry.open.values().for_each(|entry| entry.activity.end());
        }
        loop {
            let changed = self.0.changed.notified();
            let now = Instant::now();
            {
                let open = &mut self.0.registry.lock().open;
                let lasted = now.saturating_duration_since(began);
                // A call that is cut off records its end when its task is dropped.
                if open.is_empty() || lasted >= within + CUT_OFF {
                    return all_finished;
                }
                if lasted >= within {
                    all_finished &= open.values().all(|entry| entry.activity.state() != ConnectionState::Answering);
                    open.values().for_each(Entry::abort);
                }
                open.values_mut().for_each(|entry| entry.close_at_stop(now));
            }
            let _ = tokio::time::timeout(INSPECT_AT_STOP, changed).await;
        }
    }

    /// Cuts off every connection with its requests, and those that are accepted from now on.
    pub fn abort(&self) {
        let mut registry = self.0.registry.lock();
        registry.is_aborted = true;
        registry.open.values().for_each(Entry::abort);
    }
}

impl Slot {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The address that the connection counts for.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether it is one of the few connections of its peer that may have many streams.
    pub(super) fn is_wide(&self) -> bool {
        self.is_wide
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let registry = &mut *self.connections.0.registry.lock();
        registry.free(self.number, self.peer);
        if registry.is_ending && registry.open.is_empty() {
            self.connections.0.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
