//! How long to wait after a failure, and whether it is worth a warning.
//!
//! What may pass is tried again soon. What would be refused again is tried less and less often, unless it holds back something that
//! was taken away from a client. An object that changed, or that fails in another way, starts over.

use std::{collections::HashMap, hash::Hash, sync::Mutex, time::Duration};

use tokio::time::Instant;

use crate::{backoff::Backoff, sync::lock};

/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// How often a failure that stays the same is logged as a warning.
const REMIND: Duration = Duration::from_secs(600);

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
    text: String,
    generation: Option<i64>,
    urgency: Urgency,
    backoff: Backoff,
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
        let now = Instant::now();
        let mut all = lock(&self.0);
        let is_same = |known: &&mut Known| {
            known.text == failure.text && (known.generation, known.urgency) == (failure.generation, failure.urgency)
        };
        if let Some(known) = all.get_mut(key).filter(is_same) {
            let is_news = now.duration_since(known.logged_at) >= REMIND;
            if is_news {
                known.logged_at = now;
            }
            known.times += 1;
            return Retry { pause: known.backoff.next_pause(), times: known.times, is_news };
        }
        let Failure { text, generation, urgency } = failure;
        let mut backoff = Backoff::new(FIRST, urgency.longest());
        let pause = backoff.next_pause();
        let known = Known { text: text.to_owned(), generation, urgency, backoff, times: 1, logged_at: now };
        all.insert(key.clone(), known);
        Retry { pause, times: 1, is_news: true }
    }

    pub fn succeeded(&self, key: &K) {
        lock(&self.0).remove(key);
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

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_news_once_and_again_after_a_while() {
        let failures = Failures::default();
        let is_news = |text: &str| failures.failed(&"crm", refused(text, 1)).is_news;
        assert_eq!([is_news("a"), is_news("a"), is_news("b")], [true, false, true]);
        advance(REMIND).await;
        assert_eq!([is_news("b"), is_news("b")], [true, false]);
    }
}
