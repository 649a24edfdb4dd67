//! One limit: a sliding log, grouped so that it never holds more than 1,024 times.
//!
//! Admissions are numbered, and every `g` of them form a group, of which only the last one's time is kept. A new group may
//! open once the group `M = floor(N / g)` before it is at least `per` old, so no span of `per` touches more than `M` groups.
//! For N up to 1,024 a group is one admission and the log is exact; above, at most 0.1% of N are lost.
//!
//! An admission can be taken back, as if it had not been made. Above 1,024 only while its group is the newest; later it stays
//! used.

use std::collections::VecDeque;

use crate::limiter::{dimension::Rate, moment::Moment};

/// How many times a log holds at most.
const MOST_GROUPS: u32 = 1024;

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
        }
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

    /// Takes an admission. [`Log::free_at`] must not be after `now`.
    ///
    /// Callers read the clock before they hold the lock, so `now` may be before the last admission. The times that are kept
    /// never decrease: the bound then holds for the times of the callers as well as for those that are kept.
    pub(super) fn take(&mut self, now: Moment) {
        debug_assert!(self.free_at() <= now);
        let now = self.groups.back().map_or(now.as_nanos(), |last| now.as_nanos().max(*last));
        if self.in_newest < self.group_size {
            self.in_newest += 1;
            if let Some(newest) = self.groups.back_mut() {
                *newest = now;
            }
            return;
        }
        if self.groups.len() == self.most_groups
            && let Some(oldest) = self.groups.pop_front()
        {
            self.floor = oldest.saturating_add(self.per);
        }
        self.newest_from = self.groups.back().map_or(now, |last| now.max(last + 1));
        self.groups.push_back(now);
        self.in_newest = 1;
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

    /// Whether nothing that was taken still counts.
    pub(super) fn is_idle(&self, now: Moment) -> bool {
        self.groups.back().is_none_or(|last| last.saturating_add(self.per) <= now.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
