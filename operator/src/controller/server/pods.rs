//! A server's pods: what they are to serve, and what they report to serve.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{
    contract::{PublishedCredentials, PublishedPolicy},
    server::McpServerStatus,
};

use super::{
    changes::{Behind, Changes},
    fetch::Fetched,
    names,
    standing::{self, Standing},
};
use crate::{
    build::{CONFIG_MAP, SECRET},
    cluster::{object::ObservedPod, pod_trouble::PodTrouble},
    controller::context::Context,
    probe::{LAG, LeftRevisions, Occasion, Restored, Revisions},
    sync::lock,
    validate::Published,
};

/// How long an answer of a pod is waited for before the pod is reported without one.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// A pod, and what is known about it.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    /// Whether it is no longer one of those that are to be. What it serves counts until it is gone, and only against what is said.
    pub is_leaving: bool,
    pub is_ready: bool,
    pub is_running: bool,
    pub trouble: Option<PodTrouble>,
    pub serves: Option<Revisions>,
    /// Whether its answer is still waited for.
    pub is_awaited: bool,
    /// The clients whose access it does not serve as it is published.
    pub behind: Behind,
    /// For how long it could have served what is published; `None` if it does.
    pub behind_for: Option<Duration>,
    /// How long until it is no longer in doubt that it serves what is published; `None` if that is not in doubt.
    pub doubtful_for: Option<Duration>,
}

impl Pod {
    /// Whether the policy has to be in force on it: it takes calls, or took some and may take more. One that is leaving may have
    /// taken some, whether or not it answered since.
    pub fn counts(&self) -> bool {
        self.is_ready || (self.is_running && (self.is_leaving || self.serves.is_some()))
    }

    pub fn is_lagging(&self) -> bool {
        self.counts() && self.behind_for.is_some_and(|behind_for| behind_for >= LAG)
    }

    /// How long until it lags, if it is behind and does not lag yet, or until nothing is in doubt.
    pub fn lags_in(&self) -> Option<Duration> {
        let lags_in = LAG.checked_sub(self.behind_for?).filter(|left| !left.is_zero());
        lags_in.into_iter().chain(self.doubtful_for).min()
    }
}

/// Makes the pods take up what is published, which is returned: what this run wrote, or found.
pub fn follow(context: &Context, fetched: &Fetched, occasion: Occasion) -> Published {
    let memory = context.of_servers.of(&fetched.name);
    let mut published = fetched.input.published.clone();
    published.update(lock(&memory).published.clone());
    // A policy counts at once, even while it is not known what is published of the credentials.
    let revisions = Revisions {
        policy: published.policy.as_ref().map(|policy| policy.revision.to_string()),
        credentials: published.credentials.as_ref().map(|credentials| credentials.revision.to_string()),
    };
    if revisions != Revisions::default() {
        let restored = restored(fetched.server.status.as_ref());
        let pods: Vec<Arc<ObservedPod>> = own(context, fetched).map(|(pod, _)| pod).collect();
        let doubtful_until = lock(&memory).changes.values().filter_map(Changes::doubtful_until).max();
        context.prober.follow(&fetched.name, &revisions, doubtful_until, occasion, &pods, &restored);
    }
    published
}

/// The revisions that pods are to serve.
fn revisions((policy, credentials): (&PublishedPolicy, &PublishedCredentials)) -> Revisions {
    Revisions { policy: Some(policy.revision.to_string()), credentials: Some(credentials.revision.to_string()) }
}

/// The pods that are the server's own and have not ended, and whether each is leaving.
fn own(context: &Context, fetched: &Fetched) -> impl Iterator<Item = (Arc<ObservedPod>, bool)> {
    let live = fetched.pods.iter().filter(|pod| !pod.has_ended);
    live.filter_map(|pod| match standing::of(context, fetched, pod) {
        Standing::Foreign => None,
        standing => Some((Arc::clone(pod), standing != Standing::Ours)),
    })
}

/// The server's own pods, with what they report.
pub fn pods(context: &Context, fetched: &Fetched, published: &Published, now: Timestamp) -> Vec<Pod> {
    let memory = context.of_servers.of(&fetched.name);
    let changes = |pod: &ObservedPod| {
        let name = names::of_pod(pod, &fetched.name).first().copied().unwrap_or(fetched.names.mounted);
        let (policy, credentials) =
            (names::policy_name(&fetched.name, name).name, names::credentials_name(&fetched.name, name).name);
        let memory = lock(&memory);
        let of = |kind, name| memory.changes.get(&(kind, name)).cloned().unwrap_or_default();
        DocumentChanges { policy: of(CONFIG_MAP.object.kind, policy), credentials: of(SECRET.object.kind, credentials) }
    };
    let target = published.both().map(revisions);
    let pod = |(pod, is_leaving): (Arc<ObservedPod>, bool)| {
        let changes = changes(&pod);
        let report = context.prober.report(&pod.uid);
        let is_awaited = report.as_ref().is_some_and(|report| {
            pod.admin.is_some() && !report.is_asked && report.followed_since.elapsed() < FIRST_ANSWER
        });
        let (serves, left) = report.map(|report| (report.serves, report.left)).unwrap_or_default();
        let (behind, since) = match &target {
            Some(target) => changes.since(target, serves.as_ref(), &left, now),
            None => (Behind::Anybody, None),
        };
        let is_served = target.is_some() && serves == target;
        let is_doubtful = is_served && since.is_some();
        let since = since.max(pod.running_since).unwrap_or(now);
        Pod {
            name: pod.name.name.clone(),
            is_leaving,
            is_ready: pod.is_ready,
            is_running: pod.is_running,
            trouble: pod.trouble.clone(),
            doubtful_for: is_doubtful.then(|| changes.doubtful_for(now)).flatten(),
            behind_for: (!is_served || is_doubtful)
                .then(|| Duration::try_from(now.duration_since(since)).unwrap_or_default()),
            serves,
            is_awaited,
            behind,
        }
    };
    own(context, fetched).map(pod).collect()
}

/// What the latest revisions of both documents changed.
struct DocumentChanges {
    policy: Changes,
    credentials: Changes,
}

impl DocumentChanges {
    /// Whose access a pod does not serve as it is published, and since when it could. A pod that has never reported may serve
    /// anything; when it could have is when it was started. One that serves what is published may have that from before, in `left`
    /// is what it served before.
    fn since(
        &self,
        target: &Revisions,
        serves: Option<&Revisions>,
        left: &LeftRevisions,
        now: Timestamp,
    ) -> (Behind, Option<Timestamp>) {
        let Some(serves) = serves else { return (Behind::Anybody, None) };
        let one = |changes: &Changes, target: &Option<String>, served: &Option<String>, left| match served == target {
            true => changes.doubt(left, now).map_or((Behind::Nobody, None), |(behind, since)| (behind, Some(since))),
            false => changes.since(served.as_deref()),
        };
        let (policy, since) = one(&self.policy, &target.policy, &serves.policy, left.policy.as_ref());
        let (credentials, also_since) =
            one(&self.credentials, &target.credentials, &serves.credentials, left.credentials.as_ref());
        let earliest = [since, also_since].into_iter().flatten().min();
        (policy.and(credentials), earliest)
    }

    /// How long until a pod that serves what is published serves it for sure.
    fn doubtful_for(&self, now: Timestamp) -> Option<Duration> {
        let until = [&self.policy, &self.credentials].into_iter().filter_map(Changes::doubtful_until).max()?;
        Duration::try_from(until.duration_since(now)).ok()
    }
}

/// What an earlier run wrote into the status about the pods. It stands for a pod that does not answer.
fn restored(status: Option<&McpServerStatus>) -> Restored {
    let pods = status.and_then(|status| status.pods.as_ref()).into_iter().flat_map(|pods| &pods.revisions);
    let serves = pods.filter(|pod| pod.policy_revision.is_some()).map(|pod| {
        let revisions =
            Revisions { policy: pod.policy_revision.clone(), credentials: pod.credentials_revision.clone() };
        (pod.pod.clone(), revisions)
    });
    Restored { serves: serves.collect() }
}

#[cfg(test)]
mod tests;
