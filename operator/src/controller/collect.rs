//! When the changes of clients are published: the first at once, and what follows within a second together.
//!
//! A reconcile publishes every change that it finds, whatever started it. While changes are collected, one that was started by
//! anything else waits with them: the operator's own write of a policy starts one, and would end the collecting each time.

use tokio::time::{Duration, Instant};

/// After a publication, changes that may wait are collected for this long and then published together.
const COLLECT: Duration = Duration::from_secs(1);

/// The publications of one server.
#[derive(Debug, Default)]
pub struct Publications {
    /// When this run published last.
    last: Option<Instant>,
    /// When the changes are due that no reconcile has taken up yet.
    due: Option<Instant>,
}

impl Publications {
    pub fn last(&self) -> Option<Instant> {
        self.last
    }

    pub fn published(&mut self) {
        self.last = Some(Instant::now());
    }

    /// Takes note of a change. Returns when it is due: now, or if it may wait, together with what else changes within the second.
    pub fn changed(&mut self, may_wait: bool) -> Instant {
        let now = Instant::now();
        let at = match self.last {
            Some(last) if may_wait => now.max(last + COLLECT),
            // The first publication is in progress, and waits for no change.
            None if may_wait => return now + COLLECT / 2,
            _ => now,
        };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
        at
    }

    /// Returns how long a reconcile must wait because changes are being collected. `None` if it may start: it takes up all changes.
    pub fn wait(&mut self) -> Option<Duration> {
        let wait = self.due?.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero());
        if wait.is_none() {
            self.due = None;
        }
        wait
    }

    /// A reconcile that waits for nothing starts: it takes up all changes.
    pub fn taken_up(&mut self) {
        self.due = None;
    }

    /// A reconcile failed: what it took up is due again, and the next attempt does not wait for later changes.
    pub fn failed(&mut self) {
        self.due = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// The publications of a server that published some milliseconds ago.
    async fn published(ago: u64) -> Publications {
        let mut publications = Publications::default();
        publications.published();
        advance(millis(ago)).await;
        publications
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_change_is_due_at_once_and_is_not_waited_for() {
        let mut publications = published(5000).await;
        assert_eq!(publications.changed(true), Instant::now());
        assert_eq!(publications.wait(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn every_reconcile_waits_while_changes_are_collected() {
        let mut publications = published(200).await;
        assert_eq!(publications.wait(), None, "nothing is collected");
        publications.changed(true);
        assert_eq!(publications.wait(), Some(millis(800)));
        advance(millis(300)).await;
        publications.changed(true);
        assert_eq!(publications.wait(), Some(millis(500)), "a later change does not extend it");
        advance(millis(500)).await;
        assert_eq!(publications.wait(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_may_not_wait_ends_the_collecting_whatever_follows_it() {
        let mut publications = published(200).await;
        publications.changed(true);
        assert_eq!(publications.changed(false), Instant::now());
        publications.changed(true);
        assert_eq!(publications.wait(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_after_a_failure_waits_for_no_later_change() {
        let mut publications = published(200).await;
        publications.changed(false);
        assert_eq!(publications.wait(), None);
        publications.failed();
        publications.changed(true);
        assert_eq!(publications.wait(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_publication_waits_for_no_change() {
        let mut publications = Publications::default();
        assert_eq!(publications.changed(true), Instant::now() + millis(500));
        assert_eq!(publications.wait(), None);
    }
}
