//! Brings one pod to its target, again for each new one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tracing::debug;

use super::{PodReport, ProbeTarget, Revisions, ask::ask, lock};
use crate::{
    cluster::{Cluster, ObjectRef, object::SYNC_ANNOTATION},
    validate::NamespacedName,
};

/// When a pod is nudged, in seconds from the first time on; then it is left to kubelet, which looks every 60 to 90 s.
const NUDGES: [u64; 5] = [0, 1, 2, 4, 8];

pub(super) struct Follower {
    pub cluster: Cluster,
    pub permits: Arc<Semaphore>,
    pub news: Arc<dyn Fn(NamespacedName) + Send + Sync>,
    pub known: Arc<Mutex<PodReport>>,
    /// The number of the last nudge: the same value again would be no update.
    pub attempt: u64,
}

impl Follower {
    pub async fn run(mut self, mut jobs: watch::Receiver<ProbeTarget>) {
        let mut publications = 0;
        loop {
            let job = jobs.borrow_and_update().clone();
            let is_published = job.publications > publications;
            tokio::select! {
                () = self.bring(&job, is_published) => {
                    publications = job.publications;
                    if jobs.changed().await.is_err() {
                        return;
                    }
                }
                changed = jobs.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Returns once the pod serves its target, or has no address to be asked at.
    async fn bring(&mut self, job: &ProbeTarget, is_published: bool) {
        let Some((address, port)) = &job.admin else { return };
        let start = Instant::now();
        let mut nudging_since = None;
        let mut nudges = NUDGES.iter();
        let mut next_nudge = nudges.next();
        if is_published {
            nudging_since = Some(start);
            next_nudge = nudges.next();
            self.nudge(job).await;
            tokio::time::sleep(pause(Duration::ZERO)).await;
        }
        loop {
            if let Some(serves) = self.ask(address, *port, &job.uid).await {
                if self.note(job, serves) {
                    return;
                }
                // What it said proves that it has to be told; a pod that has said nothing may just be starting.
                nudging_since.get_or_insert_with(Instant::now);
            }
            if let (Some(since), Some(after)) = (nudging_since, next_nudge)
                && since.elapsed() >= Duration::from_secs(*after)
            {
                next_nudge = nudges.next();
                self.nudge(job).await;
            }
            tokio::time::sleep(pause(start.elapsed())).await;
        }
    }

    async fn ask(&self, address: &str, port: u16, uid: &str) -> Option<Revisions> {
        let _permit = self.permits.acquire().await.ok()?;
        ask(address, port, uid).await
    }

    /// Keeps what the pod said, and tells it on where it is new. Whether it is the target.
    fn note(&self, job: &ProbeTarget, serves: Revisions) -> bool {
        let is_current = serves == job.target;
        let is_news = {
            let mut known = lock(&self.known);
            let is_news = known.serves.as_ref() != Some(&serves) || (is_current && known.behind_since.is_some());
            known.serves = Some(serves);
            if is_current {
                known.behind_since = None;
            }
            is_news
        };
        if is_news {
            (self.news)(job.server.clone());
        }
        is_current
    }

    async fn nudge(&mut self, job: &ProbeTarget) {
        self.attempt += 1;
        let revision = job.target.policy.as_deref().unwrap_or_default();
        let value = format!("{}.{}", revision.get(..12).unwrap_or(revision), self.attempt);
        let metadata = json!({"uid": job.uid, "annotations": {SYNC_ANNOTATION: value}});
        let pod = ObjectRef::of::<Pod>(job.pod.clone());
        if let Err(error) = self.cluster.patch_metadata("nudging", &pod, metadata).await {
            // It will be asked and nudged again; one that is gone is no longer followed.
            debug!(%error, "a nudge did not arrive");
        }
    }
}

/// How long until the pod is asked again: often while an answer is due, seldom once only kubelet can help.
fn pause(waited: Duration) -> Duration {
    match waited.as_secs() {
        0 if waited.as_millis() < 500 => Duration::from_millis(50),
        0..30 => Duration::from_millis(250),
        30..150 => Duration::from_secs(1),
        _ => Duration::from_secs(5),
    }
}

/// The number of the last nudge, from the annotation's value.
pub(super) fn attempt_of(annotation: Option<&str>) -> u64 {
    annotation
        .and_then(|value| value.rsplit_once('.'))
        .and_then(|(_, attempt)| attempt.parse().ok())
        .unwrap_or_default()
}
