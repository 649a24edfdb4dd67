//! A server's pods: what they are to serve, and what they report to serve.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::{
    contract::{PublishedCredentials, PublishedPolicy},
    server::McpServerStatus,
};

use super::fetch::Fetched;
use crate::{
    cluster::object::ObservedPod,
    controller::context::Context,
    probe::{LAG, Restored, Revisions},
    sync::lock,
    validate::Published,
};

/// A pod, and what is known about it.
#[derive(Clone, Debug)]
pub struct Pod {
    pub name: String,
    pub is_ready: bool,
    pub is_running: bool,
    pub serves: Option<Revisions>,
    /// For how long it has not served its target; `None` while it does.
    pub behind_for: Option<Duration>,
}

impl Pod {
    /// Whether the policy has to be in force on it: it takes calls, or took some and may take more.
    pub fn counts(&self) -> bool {
        self.is_ready || (self.is_running && self.serves.is_some())
    }

    pub fn is_lagging(&self) -> bool {
        self.counts() && self.behind_for.is_some_and(|behind_for| behind_for >= LAG)
    }

    /// How long until it lags, if it is behind and does not lag yet.
    pub fn lags_in(&self) -> Option<Duration> {
        LAG.checked_sub(self.behind_for?).filter(|left| !left.is_zero())
    }
}

/// Makes the pods take up what is published, which is returned. `is_published`: just now.
pub fn follow(context: &Context, fetched: &Fetched, is_published: bool) -> Published {
    let memory = context.of_servers.of(&fetched.name);
    let published = lock(&memory).published.clone();
    if let Some(documents) = published.both() {
        let restored = restored(fetched.server.status.as_ref());
        let target = revisions(documents);
        context.prober.follow(&fetched.name, &target, is_published, &fetched.pods, &restored);
    }
    published
}

/// The revisions that pods are to serve.
fn revisions((policy, credentials): (&PublishedPolicy, &PublishedCredentials)) -> Revisions {
    Revisions { policy: Some(policy.revision.to_string()), credentials: Some(credentials.revision.to_string()) }
}

/// The pods that run, with what they report.
pub fn pods(context: &Context, fetched: &Fetched) -> Vec<Pod> {
    let live = fetched.pods.iter().filter(|pod| !pod.is_terminating);
    let pod = |pod: &Arc<ObservedPod>| {
        let report = context.prober.report(&pod.uid);
        Pod {
            name: pod.name.name.clone(),
            is_ready: pod.is_ready,
            is_running: pod.is_running,
            serves: report.as_ref().and_then(|report| report.serves.clone()),
            behind_for: match report {
                Some(report) => report.behind_since.map(|since| since.elapsed()),
                None => Some(Duration::ZERO),
            },
        }
    };
    live.map(pod).collect()
}

/// What an earlier run wrote into the status about the pods. It stands until the pods themselves have answered.
fn restored(status: Option<&McpServerStatus>) -> Restored {
    let Some(status) = status else { return Restored::default() };
    let pods = status.pods.iter().flat_map(|pods| &pods.revisions).filter(|pod| pod.policy_revision.is_some());
    let serves = pods.map(|pod| {
        let revisions =
            Revisions { policy: pod.policy_revision.clone(), credentials: pod.credentials_revision.clone() };
        (pod.pod.clone(), revisions)
    });
    let synced = status.conditions.iter().find(|it| it.type_ == "PolicySynced" && it.status != "True");
    let behind_for = synced.map(|it| Timestamp::now().duration_since(it.last_transition_time.0)).unwrap_or_default();
    Restored { serves: serves.collect(), behind_for: Duration::try_from(behind_for).unwrap_or_default() }
}
