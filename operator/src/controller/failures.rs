//! How long to wait after a failure, and whether it is worth a warning.
//!
//! What may pass is tried again soon. What would be refused again is tried less and less often, unless it holds back something that
//! was taken away from a client. An object that changed, or that fails in a way that it has not failed in yet, starts over.

use std::{collections::HashMap, hash::Hash, sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::{backoff::Backoff, sync::lock};

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// How often a failure that stays the same is logged as a warning.
const REMIND: Duration = Duration::from_secs(600);
/// How many ways to fail are remembered of an object. One that fails in more ways slows down whatever comes next.
const MOST_TEXTS: usize = 8;

/// What failed.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Identifies the failure: the error in words.
    pub text: &'a str,
    /// The generation of the object whose reconcile failed.
    pub generation: Option<i64>,
    pub urgency: Urgency,
}

/// How long the next attempt may wait at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It may pass by itself.
    Passing,
    /// It would be refused again, and holds back a removal, or a key that has to be looked at.
    Removal,
    /// It would be refused again.
    Refused,
}

impl Urgency {
    fn longest(self) -> Duration {
        match self {
            Self::Passing => Duration::from_secs(10),
            Self::Removal => Duration::from_secs(20),
            Self::Refused => Duration::from_secs(300),
        }
    }
}

/// What is to be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    pub pause: Duration,
    /// How often it has failed like this.
    pub times: u32,
    /// Whether it is new, or was last logged long ago.
    pub is_news: bool,
}

/// The failures of each object since it was last reconciled without one.
#[derive(Debug)]
pub struct Failures<K>(Mutex<HashMap<K, Known>>);

#[derive(Debug)]
struct Known {
    generation: Option<i64>,
    /// Each way in which this generation failed.
    seen: Vec<Seen>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Seen {
    text: String,
    times: u32,
    logged_at: Instant,
}

impl<K> Default for Failures<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> Failures<K> {
    /// Counts a failure.
    pub fn failed(&self, key: &K, failure: Failure<'_>) -> Retry {
        let Failure { text, generation, urgency } = failure;
        let mut all = lock(&self.0);
        let known = all.entry(key.clone()).or_insert_with(|| Known::new(generation));
        if known.generation != generation {
            *known = Known::new(generation);
        }
        let (times, is_news) = known.count(text);
        known.backoff.bound(urgency.longest());
        Retry { pause: known.backoff.next_pause(), times, is_news }
    }

    pub fn succeeded(&self, key: &K) {
        lock(&self.0).remove(key);
    }
}

impl Known {
    fn new(generation: Option<i64>) -> Self {
        Self { generation, seen: Vec::new(), backoff: Backoff::new(FIRST, Urgency::Passing.longest()) }
    }

    /// Returns how often it failed in this way, and whether that is to be logged. A way that was not seen before starts the
    /// backoff over.
    fn count(&mut self, text: &str) -> (u32, bool) {
        let now = Instant::now();
        if let Some(seen) = self.seen.iter_mut().find(|seen| seen.text == text) {
            seen.times += 1;
            let is_due = now.duration_since(seen.logged_at) >= REMIND;
            if is_due {
                seen.logged_at = now;
            }
            return (seen.times, is_due);
        }
        match self.seen.len() < MOST_TEXTS {
            true => self.backoff.reset(),
            // Texts that are never the same start nothing over.
            false => drop(self.seen.remove(0)),
        }
        self.seen.push(Seen { text: text.to_owned(), times: 1, logged_at: now });
        (1, true)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn refused(text: &str, generation: i64) -> Failure<'_> {
        Failure { text, generation: Some(generation), urgency: Urgency::Refused }
    }

    /// How long an object that fails like this waits after this many failures.
    fn pause_after(failures: &Failures<&str>, times: usize, failure: Failure<'_>) -> Duration {
        (0..times).map(|_| failures.failed(&"crm", failure).pause).last().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_refusal_slows_down_to_minutes_and_a_removal_is_tried_every_few_seconds() {
        for (urgency, longest) in [(Urgency::Passing, 10), (Urgency::Removal, 20), (Urgency::Refused, 300)] {
            let failures = Failures::default();
            let failure = Failure { urgency, ..refused("quota", 1) };
            assert!(pause_after(&failures, 1, failure) <= FIRST);
            let pause = pause_after(&failures, 14, failure).as_secs_f64();
            assert!((f64::from(longest) / 2.0..=f64::from(longest)).contains(&pause), "{urgency:?}: {pause}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_edit_another_failure_and_a_success_start_over() {
        let failures = Failures::default();
        pause_after(&failures, 14, refused("quota", 1));
        assert!(pause_after(&failures, 1, refused("quota", 2)) <= FIRST);
        pause_after(&failures, 14, refused("quota", 2));
        assert!(pause_after(&failures, 1, refused("webhook", 2)) <= FIRST);
        pause_after(&failures, 14, refused("webhook", 2));
        failures.succeeded(&"crm");
        assert!(pause_after(&failures, 1, refused("webhook", 2)) <= FIRST);
    }

    /// Two parts of one reconcile that fail in turn must not start each other over.
    #[tokio::test(start_paused = true)]
    async fn failures_that_take_turns_slow_down_as_one_does_and_each_is_news_once() {
        for texts in [2, 50] {
            let failures = Failures::default();
            let mut retries = Vec::new();
            for n in 0..40 {
                retries.push(failures.failed(&"crm", refused(&format!("failure {}", n % texts), 1)));
            }
            assert!(retries.last().unwrap().pause >= Urgency::Refused.longest() / 2, "{texts}: {retries:?}");
        }
        let failures = Failures::default();
        let news = ["a", "b", "a", "b", "a"].map(|text| failures.failed(&"crm", refused(text, 1)).is_news);
        assert_eq!(news, [true, true, false, false, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_news_once_and_again_after_a_while() {
        let failures = Failures::default();
        let is_news = |text: &str| failures.failed(&"crm", refused(text, 1)).is_news;
        assert_eq!([is_news("a"), is_news("a"), is_news("b")], [true, false, true]);
        advance(REMIND).await;
        assert_eq!([is_news("b"), is_news("b")], [true, false]);
    }
}
