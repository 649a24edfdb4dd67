//! Counts equal records: the first ten of a second are written one by one, and the rest of that second as one with a `count`.

use std::{collections::HashMap, time::Instant};

use super::record::Event;

const EACH: u32 = 10;
/// How many different records are counted in one second; further ones are written one by one, as long as there is room.
const MOST_KINDS: usize = 4_096;
/// How many records of unauthenticated callers are written one by one in one second.
const MOST_UNAUTHENTICATED: u32 = 64;

pub(super) struct Tally {
    second: Instant,
    /// By event (in its order) and body.
    counts: [HashMap<Box<[u8]>, Count>; Event::ALL.len()],
    kinds: usize,
    holding: bool,
    unauthenticated: u32,
}

#[derive(Default)]
struct Count {
    written: u32,
    held: u64,
}

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TallyDecision {
    Write,
    /// It was counted, and will be written together with others.
    Held,
}

impl Default for Tally {
    fn default() -> Self {
        Self { second: Instant::now(), counts: Default::default(), kinds: 0, holding: false, unauthenticated: 0 }
    }
}

impl Tally {
    /// Whether the second is over.
    pub(super) fn is_due(&self) -> bool {
        self.kinds > 0 && self.second.elapsed().as_secs() >= 1
    }

    /// Whether counts have to be written when the second is over.
    pub(super) fn is_holding(&self) -> bool {
        self.holding
    }

    /// Returns the counts that were held, each with its event and body, and begins a new second.
    pub(super) fn drain(&mut self) -> Vec<(Event, Box<[u8]>, u64)> {
        let mut drained = Vec::new();
        for (event, counts) in Event::ALL.iter().zip(&mut self.counts) {
            let held = counts.drain().filter(|(_, count)| count.held > 0);
            drained.extend(held.map(|(body, count)| (*event, body, count.held)));
        }
        drained.sort_unstable();
        (self.second, self.kinds, self.holding, self.unauthenticated) = (Instant::now(), 0, false, 0);
        drained
    }

    pub(super) fn count(&mut self, event: Event, body: &[u8]) -> TallyDecision {
        let Some(count) = self.find(event, body, MOST_KINDS) else {
            return TallyDecision::Write;
        };
        if count.written < EACH {
            count.written += 1;
            return TallyDecision::Write;
        }
        count.held += 1;
        self.holding = true;
        TallyDecision::Held
    }

    /// Counts a record of an unauthenticated caller: `Write` if it may be written with its address.
    pub(super) fn count_unauthenticated(&mut self, has_room: bool, body: &[u8], anonymous: &[u8]) -> TallyDecision {
        if has_room && self.unauthenticated < MOST_UNAUTHENTICATED {
            self.unauthenticated += 1;
            return self.count(Event::AuthFailed, body);
        }
        self.hold(Event::AuthFailed, anonymous, 1);
        TallyDecision::Held
    }

    /// Keeps a count for later. There are few kinds of these: routes and reasons.
    pub(super) fn hold(&mut self, event: Event, body: &[u8], more: u64) {
        if let Some(count) = self.find(event, body, usize::MAX) {
            count.held += more;
            self.holding = true;
        }
    }

    fn find(&mut self, event: Event, body: &[u8], most: usize) -> Option<&mut Count> {
        let counts = &mut self.counts[event as usize];
        if !counts.contains_key(body) {
            if self.kinds >= most {
                return None;
            }
            self.kinds += 1;
            counts.insert(body.into(), Count::default());
        }
        counts.get_mut(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_equal_records_are_written_and_the_rest_is_counted() {
        let mut tally = Tally::default();
        let written = (0..25).filter(|_| tally.count(Event::AuthSuccess, b"a") == TallyDecision::Write).count();
        assert_eq!(written, 10);
        assert_eq!(tally.count(Event::AuthSuccess, b"b"), TallyDecision::Write);
        assert_eq!(tally.count(Event::RequestRefused, b"a"), TallyDecision::Write);
        assert!(tally.is_holding());
        assert_eq!(tally.drain(), [(Event::AuthSuccess, (*b"a").into(), 15)]);
        assert!(!tally.is_holding());
        assert_eq!(tally.count(Event::AuthSuccess, b"a"), TallyDecision::Write);
    }

    #[test]
    fn many_unauthenticated_callers_become_one_record_without_addresses() {
        let mut tally = Tally::default();
        let bodies = (0..10_000).map(|n: u32| n.to_string());
        let written = bodies
            .filter(|body| tally.count_unauthenticated(true, body.as_bytes(), b"any") == TallyDecision::Write)
            .count();
        assert_eq!(written, 64);
        assert_eq!(tally.drain(), [(Event::AuthFailed, (*b"any").into(), 10_000 - 64)]);
    }

    #[test]
    fn memory_is_bounded_when_no_two_records_are_equal() {
        let mut tally = Tally::default();
        assert!((0..10_000_u32).all(|n| tally.count(Event::AuthSuccess, &n.to_le_bytes()) == TallyDecision::Write));
        assert_eq!(tally.kinds, MOST_KINDS);
    }
}
