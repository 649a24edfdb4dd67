//! One pod: what it is to serve, and what it reports.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::NamespacedName;
use tokio::time::Instant;

/// A pod that does not serve what was published this long ago lags.
pub const LAG: Duration = Duration::from_secs(120);

/// The longest that a pod may still take up something that was replaced: kubelet refreshes volumes every 60 to 90 s. Times of
/// publications are whole seconds.
pub const SETTLED: Duration = Duration::from_secs(91);

/// The revisions of the two documents that a pod serves, or is to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub policy: Option<String>,
    pub credentials: Option<String>,
}

impl ProbeTarget {
    pub fn is_doubtful(&self) -> bool {
        self.doubtful_until.is_some_and(|until| Timestamp::now() < until)
    }
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
    /// What it served before that.
    pub left: LeftRevisions,
    answered_at: Option<Timestamp>,
}

/// What a pod served of each document before what it serves now, as far as it answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeftRevisions {
    pub policy: Option<Left>,
    pub credentials: Option<Left>,
}

/// A revision that a pod no longer serves, and when it last said that it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    pub revision: String,
    pub seen_at: Timestamp,
}

impl PodReport {
    pub fn new(serves: Option<Revisions>) -> Self {
        let (left, followed_since) = (LeftRevisions::default(), Instant::now());
        Self { serves, is_asked: false, followed_since, left, answered_at: None }
    }

    /// Takes note of an answer, or that there was none. Returns whether that is new.
    pub fn note(&mut self, answer: Option<Revisions>, now: Timestamp) -> bool {
        let is_first = !std::mem::replace(&mut self.is_asked, true);
        let Some(answer) = answer else { return is_first };
        let is_new = self.serves.as_ref() != Some(&answer);
        if let (Some(served), Some(seen_at)) = (&self.serves, self.answered_at) {
            let left = |served: &Option<String>, answer| {
                let revision = served.clone().filter(|_| served != answer)?;
                Some(Left { revision, seen_at })
            };
            let LeftRevisions { policy, credentials } = &mut self.left;
            *policy = left(&served.policy, &answer.policy).or(policy.take());
            *credentials = left(&served.credentials, &answer.credentials).or(credentials.take());
        }
        self.serves = Some(answer);
        self.answered_at = Some(now);
        is_first || is_new
    }
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
    /// Until when it is asked again although it serves them.
    pub doubtful_until: Option<Timestamp>,
    /// How many publications the pod has been followed through. Just after one it cannot be current, and is nudged before it is
    /// queried.
    pub publications: u64,
    /// How often it was doubtful whether the pod still serves what it reported.
    pub checks: u64,
}
