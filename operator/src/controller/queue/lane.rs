//! One lane: which of its keys is next, within bounds for all of them and for those of one namespace.
//!
//! Work that does not end keeps its room from others. So a namespace in which work took long is counted apart from then on: what
//! hangs takes room from other namespaces for a second, and whatever hangs there later takes none.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio::time::{Duration, Instant};

use super::Key;
pub use crate::metrics::Lane;
use crate::metrics::LaneState;

/// In the order of their numbers.
pub(super) const LANES: [Lane; 2] = [Lane::Removals, Lane::Others];

/// From this age on, work is taken to hang.
pub(super) const HANGS: Duration = Duration::from_secs(1);
/// For how long a namespace is counted apart after work hung in it.
const APART: Duration = Duration::from_secs(60);
/// How many namespaces are remembered to be apart before those are looked for that no longer are.
const REMEMBERED: usize = 1000;

/// With which namespaces one is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pool {
    Prompt,
    /// Work hung there lately.
    Slow,
}

impl Pool {
    const ALL: [Self; 2] = [Self::Prompt, Self::Slow];

    /// How many keys are worked on at once before another one is begun, and how many of one namespace. A hanging request costs
    /// little but its connection.
    fn bounds(self, lane: Lane) -> (usize, usize) {
        match (self, lane) {
            (Self::Prompt, Lane::Removals) => (64, 4),
            (Self::Prompt, Lane::Others) => (64, 8),
            (Self::Slow, _) => (512, 32),
        }
    }
}

/// The keys of one lane that are not worked on, and how many are.
#[derive(Debug)]
pub(super) struct Waiting<K> {
    lane: Lane,
    by_namespace: HashMap<String, BTreeSet<(Instant, K)>>,
    /// In the order of [`Pool::ALL`].
    pools: [Namespaces; 2],
    place_of: HashMap<String, (Pool, Place)>,
    running_in: HashMap<String, usize>,
    /// When the work was begun that takes room from others, and how much at that time.
    begun: BTreeMap<(Instant, String), usize>,
    /// The namespaces that are counted apart, and until when.
    apart: HashMap<String, Instant>,
    /// Until when all that a namespace may have was worked on, while it has more.
    full_until: HashMap<String, Instant>,
}

/// The namespaces of a pool that are within their bound and have a key.
#[derive(Debug, Default)]
struct Namespaces {
    /// By their earliest time.
    later: BTreeSet<(Instant, String)>,
    /// Those whose earliest time has come, the one first in which the fewest keys are worked on.
    due: BTreeSet<(usize, Instant, String)>,
    /// How many keys of this pool are worked on.
    running: usize,
    /// Until when those were all that may be.
    full_until: Option<Instant>,
}

/// Where a namespace is in its pool.
#[derive(Clone, Copy, Debug)]
enum Place {
    Later(Instant),
    Due(usize, Instant),
}

impl Namespaces {
    fn insert(&mut self, namespace: &str, place: Place) {
        match place {
            Place::Later(at) => self.later.insert((at, namespace.to_owned())),
            Place::Due(running, at) => self.due.insert((running, at, namespace.to_owned())),
        };
    }

    fn remove(&mut self, namespace: &str, place: Place) {
        match place {
            Place::Later(at) => self.later.remove(&(at, namespace.to_owned())),
            Place::Due(running, at) => self.due.remove(&(running, at, namespace.to_owned())),
        };
    }
}

impl<K: Key> Waiting<K> {
    pub fn new(lane: Lane) -> Self {
        Self {
            lane,
            by_namespace: HashMap::new(),
            pools: Default::default(),
            place_of: HashMap::new(),
            running_in: HashMap::new(),
            begun: BTreeMap::new(),
            apart: HashMap::new(),
            full_until: HashMap::new(),
        }
    }

    /// The key that is to be worked on now, or when one may be. A namespace in which less is worked on comes before one in which more
    /// is, and otherwise the earlier time before the later.
    pub fn next(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        self.set_apart(now);
        let mut later: Option<Instant> = None;
        for pool in Pool::ALL {
            while let Some((at, namespace)) = self.pools[pool as usize].later.first().cloned()
                && at <= now
            {
                self.place(&namespace, |running| Place::Due(running, at));
            }
            let namespaces = &self.pools[pool as usize];
            if namespaces.running >= pool.bounds(self.lane).0 {
                continue;
            }
            if let Some((_, _, namespace)) = namespaces.due.first() {
                let keys = self.by_namespace.get(namespace).and_then(BTreeSet::first);
                return Ok(keys.expect("a namespace that is due must have a key").1.clone());
            }
            later = [later, namespaces.later.first().map(|(at, _)| *at)].into_iter().flatten().min();
        }
        let oldest = self.begun.keys().next().filter(|_| !self.by_namespace.is_empty());
        let aged = oldest.map(|(begun, _)| *begun + HANGS);
        Err([later, aged].into_iter().flatten().min())
    }

    /// Since when a key could have been given out: it was due, and there was room for it.
    pub fn overdue_since(&self) -> Option<Instant> {
        let pools = Pool::ALL.into_iter().zip(&self.pools);
        let open = pools.filter(|(pool, namespaces)| namespaces.running < pool.bounds(self.lane).0);
        let first = |namespaces: &Namespaces| {
            let due = namespaces.due.iter().map(|(_, at, namespace)| (*at, namespace));
            let all = due.chain(namespaces.later.iter().map(|(at, namespace)| (*at, namespace)));
            let since = all.map(|(at, namespace)| self.full_until.get(namespace).map_or(at, |until| at.max(*until)));
            since.min().map(|since| namespaces.full_until.map_or(since, |until| since.max(until)))
        };
        open.filter_map(|(_, namespaces)| first(namespaces)).min()
    }

    pub fn state(&self, now: Instant) -> LaneState {
        let due = self.by_namespace.values().map(|keys| keys.iter().take_while(|(at, _)| *at <= now).count());
        let first = self.by_namespace.values().filter_map(|keys| keys.first()).map(|(at, _)| *at).min();
        let oldest = first.map(|at| now.duration_since(at)).unwrap_or_default();
        let running = self.pools.iter().map(|namespaces| namespaces.running).sum();
        LaneState { depth: due.sum(), oldest, running }
    }

    pub fn insert(&mut self, at: Instant, key: K) {
        let namespace = key.namespace().to_owned();
        self.by_namespace.entry(namespace.clone()).or_default().insert((at, key));
        self.refresh(&namespace);
    }

    pub fn remove(&mut self, at: Instant, key: &K) {
        let namespace = key.namespace();
        if let Some(keys) = self.by_namespace.get_mut(namespace) {
            keys.remove(&(at, key.clone()));
            if keys.is_empty() {
                self.by_namespace.remove(namespace);
            }
        }
        self.refresh(namespace);
    }

    /// Counts the start of work in a namespace.
    pub fn begin(&mut self, namespace: &str, now: Instant) {
        *self.running_in.entry(namespace.to_owned()).or_default() += 1;
        let pool = self.pool(namespace);
        self.pools[pool as usize].running += 1;
        if pool == Pool::Prompt {
            *self.begun.entry((now, namespace.to_owned())).or_default() += 1;
        }
        self.refresh(namespace);
    }

    /// Counts the end of work in a namespace.
    pub fn end(&mut self, namespace: &str, begun: Instant, now: Instant) {
        self.set_apart(now);
        self.note_room(namespace, now);
        let pool = self.pool(namespace);
        self.pools[pool as usize].running -= 1;
        let running = self.running_in.get_mut(namespace).expect("what ends must have begun");
        *running -= 1;
        let is_last = *running == 0;
        if is_last {
            self.running_in.remove(namespace);
        }
        let begun_then = (begun, namespace.to_owned());
        if let Some(count) = self.begun.get_mut(&begun_then) {
            *count -= 1;
            if *count == 0 {
                self.begun.remove(&begun_then);
            }
        }
        match self.apart.get(namespace) {
            Some(_) if now.duration_since(begun) >= HANGS => {
                self.apart.insert(namespace.to_owned(), now + APART);
            }
            Some(until) if is_last && *until <= now => {
                self.apart.remove(namespace);
            }
            _ => {}
        }
        self.refresh(namespace);
    }

    /// Counts the namespaces apart in which work hangs.
    fn set_apart(&mut self, now: Instant) {
        while let Some((begun, namespace)) = self.begun.keys().next().cloned() {
            if begun + HANGS > now {
                return;
            }
            self.begun.retain(|(_, of), _| *of != namespace);
            if self.apart.len() >= REMEMBERED {
                self.forget_apart(now);
            }
            self.note_room(&namespace, now);
            self.apart.insert(namespace.clone(), now + APART);
            let running = self.running_in.get(&namespace).copied().unwrap_or_default();
            self.pools[Pool::Prompt as usize].running -= running;
            self.pools[Pool::Slow as usize].running += running;
            self.refresh(&namespace);
        }
    }

    /// Forgets the namespaces that are no longer to be counted apart. Each is found where it belongs from now on.
    fn forget_apart(&mut self, now: Instant) {
        let running_in = &self.running_in;
        let is_over = |namespace: &String, until: &mut Instant| *until <= now && !running_in.contains_key(namespace);
        let over: Vec<String> = self.apart.extract_if(is_over).map(|(namespace, _)| namespace).collect();
        over.iter().for_each(|namespace| self.refresh(namespace));
    }

    /// Called before there is more room for a namespace.
    fn note_room(&mut self, namespace: &str, now: Instant) {
        let pool = self.pool(namespace);
        let (most, most_of_one) = pool.bounds(self.lane);
        let running = self.running_in.get(namespace).copied().unwrap_or_default();
        if running >= most_of_one && self.by_namespace.contains_key(namespace) {
            self.full_until.insert(namespace.to_owned(), now);
        }
        let pool = &mut self.pools[pool as usize];
        if pool.running >= most {
            pool.full_until = Some(now);
        }
    }

    fn pool(&self, namespace: &str) -> Pool {
        if self.apart.contains_key(namespace) { Pool::Slow } else { Pool::Prompt }
    }

    /// Puts a namespace where it belongs after it changed. What is due is found by the next look.
    fn refresh(&mut self, namespace: &str) {
        let first = self.by_namespace.get(namespace).and_then(BTreeSet::first).map(|(at, _)| *at);
        match first {
            Some(at) => self.place(namespace, |_| Place::Later(at)),
            None => {
                self.full_until.remove(namespace);
                self.take_out(namespace);
            }
        }
    }

    /// Puts a namespace into this place, by how much is worked on in it, unless that is all it may.
    fn place(&mut self, namespace: &str, place: impl FnOnce(usize) -> Place) {
        self.take_out(namespace);
        let (pool, running) = (self.pool(namespace), self.running_in.get(namespace).copied().unwrap_or_default());
        if running < pool.bounds(self.lane).1 {
            let place = place(running);
            self.pools[pool as usize].insert(namespace, place);
            self.place_of.insert(namespace.to_owned(), (pool, place));
        }
    }

    fn take_out(&mut self, namespace: &str) {
        if let Some((pool, place)) = self.place_of.remove(namespace) {
            self.pools[pool as usize].remove(namespace, place);
        }
    }
}
