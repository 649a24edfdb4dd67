//! Whether something is healthy, and how long it took to find out.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde::{Serialize, Serializer};
use tokio::{sync::Mutex, time::Instant};

/// How long a check may take.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long the result of a check is used.
const FRESH: Duration = Duration::from_secs(2);

/// The three words of `/health`, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Healthy,
    /// Calls are served, with something missing.
    Degraded,
    Unhealthy,
}

/// The result of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub status: Status,
    /// How long the check took, in milliseconds.
    #[serde(rename = "latencyMs", serialize_with = "millis")]
    pub latency: Duration,
}

/// The result of the last check of a backend.
#[derive(Default)]
pub(super) struct HealthCache(Arc<Mutex<Option<(Instant, Check)>>>);

impl Check {
    /// A check that takes no time.
    pub fn immediate(status: Status) -> Self {
        Self { status, latency: Duration::ZERO }
    }
}

impl HealthCache {
    /// The last result, if it is fresh, otherwise that of `check`. There is one check at a time, and a check that has begun
    /// ends and counts even if nobody waits for it any more: callers cannot make the server check a backend more often.
    pub async fn get_or_check(&self, check: BoxFuture<'static, Option<bool>>) -> Check {
        let mut last = self.0.clone().lock_owned().await;
        if let Some((at, result)) = *last
            && at.elapsed() < FRESH
        {
            return result;
        }
        let running = tokio::spawn(async move {
            let began = Instant::now();
            let status = match tokio::time::timeout(TIMEOUT, check).await.unwrap_or(Some(false)) {
                Some(true) => Status::Healthy,
                Some(false) => Status::Unhealthy,
                // Nothing new is known.
                None => last.map_or(Status::Healthy, |(_, last)| last.status),
            };
            let result = Check { status, latency: began.elapsed() };
            *last = Some((Instant::now(), result));
            result
        });
        running.await.unwrap_or_else(|_| Check::immediate(Status::Unhealthy))
    }
}

fn millis<S: Serializer>(latency: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn callers_that_leave_do_not_cause_another_check() {
        let cache = HealthCache::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let check = || {
            let begun = begun.clone();
            async move {
                begun.fetch_add(1, SeqCst);
                pending().await
            }
            .boxed()
        };
        for _ in 0..20 {
            let _ = tokio::time::timeout(Duration::from_millis(20), cache.get_or_check(check())).await;
        }
        assert_eq!(cache.get_or_check(check()).await.status, Status::Unhealthy);
        assert_eq!(begun.load(SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_finds_nothing_out_changes_nothing() {
        let cache = HealthCache::default();
        for (found, expected) in [
            (None, Status::Healthy),
            (Some(false), Status::Unhealthy),
            (None, Status::Unhealthy),
            (Some(true), Status::Healthy),
            (None, Status::Healthy),
        ] {
            assert_eq!(cache.get_or_check(std::future::ready(found).boxed()).await.status, expected);
            tokio::time::advance(FRESH).await;
        }
    }
}
