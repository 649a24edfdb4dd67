//! Polls the Secrets that the operator made. They are not watched: a right to watch Secrets cannot be held to these.
//!
//! Each is asked for its version only, at a bounded rate for all of them together; whatever differs from what a reconcile last read
//! or wrote starts that reconcile, and nothing else does. That it may not be read is such an answer, too: the reconcile of a client
//! need not be repeated for it.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_crds::NamespacedName;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::{debug, error};

use super::{
    context::{Context, ReconcileKey},
    queue::Lane,
};
use crate::{
    backoff::spread,
    cluster::{Error, ObjectRef},
    metrics::Task,
    supervise::{Progress, caught},
    sync::lock,
};

/// How often each Secret is polled, as long as there are not too many of them.
const POLL: Duration = Duration::from_secs(30);
/// The time between two polls: at most 40 a second, so that 1,200 Secrets are polled every 30 s, and 10,000 every 250 s.
const PACE: Duration = Duration::from_millis(25);
/// How many requests may be without an answer.
const AT_ONCE: usize = 8;
/// How long the poller may wait for one of them: each has a timeout.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// A Secret as it was last read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSecret {
    name: NamespacedName,
    version: Version,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Version {
    Missing,
    /// Its UID and resourceVersion.
    Is(Option<String>, Option<String>),
    /// It may not be read: there is nothing to do before that changes.
    Refused,
    /// It could not be read.
    Unknown,
}

impl SeenSecret {
    pub fn new(name: &NamespacedName, metadata: Option<&ObjectMeta>) -> Self {
        let version = |metadata: &ObjectMeta| Version::Is(metadata.uid.clone(), metadata.resource_version.clone());
        Self { name: name.clone(), version: metadata.map_or(Version::Missing, version) }
    }

    pub fn unread(name: &NamespacedName, error: &Error) -> Self {
        let version = if error.is_permanent() { Version::Refused } else { Version::Unknown };
        Self { name: name.clone(), version }
    }

    pub fn is_of(&self, name: &NamespacedName) -> bool {
        self.name == *name
    }

    fn is_as_before(&self, before: &Self) -> bool {
        self == before && self.version != Version::Unknown
    }
}

/// Has the Secrets of a client or server polled, once they were read.
pub fn schedule(context: &Context, key: ReconcileKey) {
    context.polls.add_at(key, Instant::now() + spread(POLL), Lane::Others);
}

/// Polls, for ever. After a panic of the poller itself all are polled; one in a poll concerns only that one.
pub async fn poll_secrets(context: Arc<Context>, progress: Progress, is_again: bool) {
    if is_again {
        context.keys().into_iter().for_each(|key| schedule(&context, key));
    }
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut polls = JoinSet::new();
    loop {
        progress.within(LONGEST_WAIT);
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        progress.waits();
        let item = context.polls.next().await;
        progress.within(LONGEST_WAIT);
        while polls.try_join_next().is_some() {}
        let context = Arc::clone(&context);
        polls.spawn(async move {
            if let Err(why) = caught(poll(&context, &item.key)).await {
                error!(
                    server = item.key.server(),
                    client = item.key.client(),
                    error = why,
                    "a poll of Secrets failed; it is tried again"
                );
                context.supervisor.metrics().restarted(Task::SecretPoll);
                schedule(&context, item.key.clone());
            }
            drop((item, permit));
        });
        sleep(PACE).await;
    }
}

/// Polls the Secrets of one client or server. One that no longer exists is not polled again.
pub(super) async fn poll(context: &Context, key: &ReconcileKey) {
    #[cfg(test)]
    crate::supervise::faults::point(&format!("poll of {key}"));
    let Some(secrets) = secrets(context, key) else { return };
    for seen in secrets {
        let secret = ObjectRef::of::<Secret>(seen.name.clone());
        let found = match context.cluster.read_metadata(&secret).await {
            Ok(found) => SeenSecret::new(&seen.name, found.as_ref()),
            Err(error) => {
                debug!(server = key.server(), client = key.client(), %error, "a Secret cannot be polled");
                SeenSecret::unread(&seen.name, &error)
            }
        };
        if !found.is_as_before(&seen) {
            context.queue.add_at(key.clone(), Instant::now(), Lane::Removals);
        }
    }
    schedule(context, key.clone());
}

/// The Secrets of a client or server; `None` if it no longer exists.
fn secrets(context: &Context, key: &ReconcileKey) -> Option<Vec<SeenSecret>> {
    match key {
        ReconcileKey::Client(name) => {
            context.clients.get(name)?;
            Some(lock(&*context.of_clients.known(name)?).secrets.values().flatten().cloned().collect())
        }
        ReconcileKey::Server(name) => {
            context.servers.get(name)?;
            Some(lock(&*context.of_servers.known(name)?).secrets.clone())
        }
    }
}
