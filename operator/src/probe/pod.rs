//! One pod: what it is to serve, and what it reports.

use std::time::Duration;

use portcullis_crds::NamespacedName;
use tokio::time::Instant;

/// A pod that does not serve what was published this long ago lags.
pub const LAG: Duration = Duration::from_secs(120);

/// The revisions of the two documents that a pod serves, or is to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub policy: Option<String>,
    pub credentials: Option<String>,
}

impl Revisions {
    /// Whether a pod that serves `others` serves these. A document whose revision is not known does not count.
    pub fn are_in(&self, others: &Self) -> bool {
        let is_in = |one: &Option<String>, other: &Option<String>| one.is_none() || one == other;
        is_in(&self.policy, &others.policy) && is_in(&self.credentials, &others.credentials)
    }
}

/// What is known about one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodReport {
    /// What it last reported to serve; `None` before its first answer.
    pub serves: Option<Revisions>,
    /// Whether it was asked since it is followed, with or without an answer.
    pub is_asked: bool,
    pub followed_since: Instant,
}

/// One pod, and what it is to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeTarget {
    pub server: NamespacedName,
    pub pod: NamespacedName,
    pub uid: String,
    /// The address and port of its admin port.
    pub admin: Option<(String, u16)>,
    /// A process that was restarted is queried again.
    pub restarts: i32,
    /// kubelet no longer refreshes the files of a pod that is being deleted: a nudge would be in vain.
    pub is_terminating: bool,
    pub revisions: Revisions,
    /// How many publications the pod has been followed through. Just after one it cannot be current, and is nudged before it is
    /// queried.
    pub publications: u64,
    /// How often it was doubtful whether the pod still serves what it reported.
    pub checks: u64,
}
