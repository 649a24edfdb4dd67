//! One limit: a sliding log, grouped so that it never holds more than 1,024 times.
//!
//! Admissions are numbered, and every `g` of them form a group, of which only the last one's time is kept. A new group may
//! open once the group `M = floor(N / g)` before it is at least `per` old, so no span of `per` touches more than `M` groups.
//! For N up to 1,024 a group is one admission and the log is exact; above, at most 0.1% of N are lost.
//!
//! An admission can be taken back, as if it had not been made. Above 1,024 only while its group is the newest; later it stays
//! used.
//!
//! A log can be continued with another rate, which then counts what was admitted before. For a rate that admits no more than the
//! one before, that is exact. Admissions beyond those that a rate needs are kept in a short history, whose older part is coarse:
//! several admissions count as made at the time of the last of them, so that the next rate admits rather too few than too many.

use std::{collections::VecDeque, time::Duration};

use crate::limiter::{dimension::Rate, moment::Moment};

/// How many times a log holds at most.
const MOST_GROUPS: u32 = 1024;
/// How many entries the history has at most.
const MOST_HISTORY: usize = 64;

#[derive(Debug)]
pub(super) struct Log {
    per: u64,
    group_size: u32,
    most_groups: usize,
    /// The last admission of each group that still counts; the newest group is at the back, and may be open.
    groups: VecDeque<u64>,
    /// Admissions in the newest group.
    in_newest: u32,
    /// All that was taken at this time or later is in the newest group.
    newest_from: u64,
    /// When the group that was dropped last ceases to count: no admission is allowed before, even if some were taken back.
    floor: u64,
    /// What is no longer in `groups`: the time of the last of some admissions, and their number.
    history: Vec<(u64, u64)>,
}

impl Log {
    pub(super) fn new(rate: Rate) -> Self {
        let group_size = rate.requests.div_ceil(MOST_GROUPS).max(1);
        Self {
            per: u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX),
            group_size,
            most_groups: (rate.requests / group_size) as usize,
            groups: VecDeque::new(),
            in_newest: group_size,
            newest_from: 0,
            floor: 0,
            history: Vec::new(),
        }
    }

    /// A log of this rate that counts what `self` counted.
    pub(super) fn continued(&self, rate: Rate) -> Self {
        let mut log = Self::new(rate);
        let newest = self.groups.len().checked_sub(1);
        let groups = self.groups.iter().enumerate().map(|(n, time)| {
            let count = if Some(n) == newest { self.in_newest } else { self.group_size };
            (*time, u64::from(count))
        });
        for (time, count) in self.history.iter().copied().chain(groups) {
            log.add(time, count);
        }
        log
    }

    /// How well a log of this rate can be continued from this one: the admissions that it knows, then their resolution.
    pub(super) fn fitness(&self, rate: Rate) -> impl Ord + use<> {
        let known = u64::from(rate.requests).min(self.capacity());
        (known, std::cmp::Reverse(self.group_size), self.capacity())
    }

    fn capacity(&self) -> u64 {
        self.most_groups as u64 * u64::from(self.group_size)
    }

    /// When the next admission is allowed. It increases when one is taken, and decreases only when one is taken back.
    pub(super) fn free_at(&self) -> Moment {
        let is_open = self.in_newest < self.group_size;
        Moment::from_nanos(if self.most_groups == 0 {
            u64::MAX
        } else if is_open || self.groups.len() < self.most_groups {
            self.floor
        } else {
            self.groups.front().map_or(0, |oldest| oldest.saturating_add(self.per))
        })
    }

    /// Takes an admission, whether or not [`Log::free_at`] is after `now`: another rate of the same key may have admitted it.
    ///
    /// Callers read the clock before they hold the lock, so `now` may be before the last admission. The times that are kept
    /// never decrease: the bound then holds for the times of the callers as well as for those that are kept.
    pub(super) fn take(&mut self, now: Moment) {
        let last = self.groups.back().copied().or(self.history.last().map(|(time, _)| *time));
        self.add(last.map_or(now.as_nanos(), |last| now.as_nanos().max(last)), 1);
    }

    /// Adds admissions at a time that is not before any other.
    fn add(&mut self, time: u64, count: u64) {
        let counted = count.min(self.capacity());
        if counted < count {
            // More than a span may have: everything before is out of `groups`.
            while self.drop_oldest() {}
            self.remember(time, count - counted);
        }
        let mut rest = counted;
        while rest > 0 {
            if self.in_newest == self.group_size {
                if self.groups.len() == self.most_groups {
                    self.drop_oldest();
                }
                self.newest_from = self.groups.back().map_or(time, |last| time.max(last + 1));
                self.groups.push_back(time);
                self.in_newest = 0;
            } else if let Some(newest) = self.groups.back_mut() {
                *newest = time;
            }
            let added = rest.min(u64::from(self.group_size - self.in_newest));
            self.in_newest += u32::try_from(added).unwrap_or(u32::MAX);
            rest -= added;
        }
    }

    /// Moves the oldest group to the history; returns whether there was one.
    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.groups.pop_front() else { return false };
        let count = if self.groups.is_empty() {
            std::mem::replace(&mut self.in_newest, self.group_size)
        } else {
            self.group_size
        };
        self.remember(oldest, u64::from(count));
        true
    }

    fn remember(&mut self, time: u64, count: u64) {
        self.floor = time.saturating_add(self.per);
        if self.history.len() == MOST_HISTORY {
            let merged = self.history.chunks(2).map(|pair| (pair[pair.len() - 1].0, pair.iter().map(|(_, n)| n).sum()));
            self.history = merged.collect();
        }
        self.history.push((time, count));
    }

    /// Takes back what was taken at `at`, if it can be told from what others took; otherwise it stays used.
    pub(super) fn take_back(&mut self, at: Moment) {
        if self.group_size > 1 {
            if at.as_nanos() >= self.newest_from {
                self.in_newest = self.in_newest.saturating_sub(1);
            }
        } else if let Ok(place) = self.groups.binary_search(&at.as_nanos()) {
            self.groups.remove(place);
        }
    }

    /// Whether nothing was taken for the span of the rate, nor for `kept`.
    pub(super) fn is_idle(&self, now: Moment, kept: Duration) -> bool {
        let last = self.groups.back().copied().max(self.history.last().map(|(time, _)| *time));
        last.is_none_or(|last| {
            (Moment::from_nanos(last.saturating_add(self.per)).max(Moment::from_nanos(last) + kept)) <= now
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(requests: u32, per: u64) -> Log {
        Log::new(Rate { requests, per: Duration::from_nanos(per) })
    }

    fn admit(log: &mut Log, now: u64) -> bool {
        let now = Moment::from_nanos(now);
        let is_free = log.free_at() <= now;
        if is_free {
            log.take(now);
        }
        is_free
    }

    #[test]
    fn a_client_that_paces_itself_exactly_is_never_refused() {
        for requests in [1, 2, 10, 1024] {
            let mut log = log(requests, u64::from(requests) * 100);
            assert!((0..5_000).all(|n| admit(&mut log, n * 100)), "{requests}");
        }
    }

    #[test]
    fn a_burst_is_admitted_up_to_the_limit_and_no_further() {
        for (requests, expected) in
            [(0, 0), (1, 1), (10, 10), (1024, 1024), (1025, 1024), (10_000, 10_000), (99_999, 99_960)]
        {
            let mut log = log(requests, 1_000);
            let admitted = (0..requests + 10).filter(|_| admit(&mut log, 5)).count();
            assert_eq!(admitted, expected, "{requests}");
            assert!(log.groups.len() <= 1024);
            assert!(!admit(&mut log, 1_004));
            assert_eq!(admit(&mut log, 1_005), expected > 0);
        }
    }

    #[test]
    fn grouping_loses_less_than_one_in_a_thousand() {
        for requests in (1025..1_000_000).step_by(997) {
            let log = log(requests, 1);
            let kept = log.group_size as usize * log.most_groups;
            let lost = requests as usize - kept;
            assert!(lost * 1_000 <= requests as usize, "{requests}: {lost}");
        }
    }
}
