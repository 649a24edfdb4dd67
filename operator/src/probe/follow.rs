//! Brings one pod to its target, and again to each new one.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use portcullis_crds::NamespacedName;
use serde_json::json;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};
use tracing::debug;

use super::{
    pod::{PodReport, ProbeTarget, Revisions},
    query::query,
};
use crate::{
    cluster::{Cluster, ObjectRef, object::SYNC_ANNOTATION},
    sync::lock,
};

/// When a pod is nudged, in seconds after the first nudge. Then it is left to kubelet, which refreshes volumes every 60 to
/// 90 s.
const NUDGES: [u64; 5] = [0, 1, 2, 4, 8];
/// How long until a pod is asked again that serves its target and may take up something else.
const DOUBTFUL: Duration = Duration::from_secs(1);

/// The permits to query pods. Those that let queries wait share permits of their own, so that they take none from others.
#[derive(Clone, Debug)]
pub(super) struct Permits {
    pub of_namespace: Arc<Semaphore>,
    pub of_prompt: Arc<Semaphore>,
    pub of_slow: Arc<Semaphore>,
}

/// From this time on a query took long.
const SLOW: Duration = Duration::from_millis(500);

pub(super) struct Follower {
    pub cluster: Cluster,
    pub permits: Permits,
    pub on_report: Arc<dyn Fn(NamespacedName) + Send + Sync>,
    pub report: Arc<Mutex<PodReport>>,
    /// How often the pod was nudged. It is part of the annotation, for the same value again would not be an update.
    pub nudges: AtomicU64,
    /// Whether the last query took long.
    pub is_slow: AtomicBool,
}

impl Follower {
    /// Runs until the pod is no longer followed.
    pub async fn run(self: Arc<Self>, mut targets: watch::Receiver<ProbeTarget>) {
        let mut nudging = Nudging::default();
        loop {
            let target = targets.borrow_and_update().clone();
            nudging.aim(&target, Instant::now());
            tokio::select! {
                () = Arc::clone(&self).bring(&target, &mut nudging) => if targets.changed().await.is_err() {
                    return;
                },
                changed = targets.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }

    /// Returns once the pod serves the target for sure, or if it has no address.
    async fn bring(self: Arc<Self>, target: &ProbeTarget, nudging: &mut Nudging) {
        #[cfg(test)]
        crate::supervise::faults::point(&format!("follower of {}", target.pod));
        let Some((address, port)) = &target.admin else { return };
        let start = Instant::now();
        // Just after a publication it cannot be current.
        if nudging.is_due(Instant::now()) {
            self.nudge(target).await;
            tokio::time::sleep(pause(Duration::ZERO)).await;
        }
        loop {
            let answer = self.query(address, *port, &target.uid).await;
            let has_answered = answer.is_some();
            let is_current = self.note(target, answer);
            if has_answered {
                nudging.answered(is_current, Instant::now());
            }
            if is_current && !target.is_doubtful() {
                return;
            }
            if !is_current && nudging.is_due(Instant::now()) {
                self.nudge(target).await;
            }
            let pause = pause(start.elapsed());
            tokio::time::sleep(if is_current { pause.max(DOUBTFUL) } else { pause }).await;
        }
    }

    async fn query(&self, address: &str, port: u16, uid: &str) -> Option<Revisions> {
        let Permits { of_namespace, of_prompt, of_slow } = &self.permits;
        let of_pool = if self.is_slow.load(Relaxed) { of_slow } else { of_prompt };
        let _permits = (of_namespace.acquire().await.ok()?, of_pool.acquire().await.ok()?);
        let begun = Instant::now();
        let answer = query(address, port, uid).await;
        self.is_slow.store(begun.elapsed() >= SLOW, Relaxed);
        answer
    }

    /// Keeps what the pod reported, and passes it on if it is new. Returns whether it is the target.
    fn note(&self, target: &ProbeTarget, answer: Option<Revisions>) -> bool {
        let is_current = answer.as_ref().is_some_and(|answer| target.revisions.are_in(answer));
        let is_new = lock(&self.report).note(answer, Timestamp::now());
        if is_new {
            (self.on_report)(target.server.clone());
        }
        is_current
    }

    /// Nudges the pod, to the end even if its target changes meanwhile.
    async fn nudge(self: &Arc<Self>, target: &ProbeTarget) {
        if target.is_terminating {
            return;
        }
        let nudges = self.nudges.fetch_add(1, Relaxed) + 1;
        let revision = target.revisions.policy.as_deref().unwrap_or_default();
        let value = format!("{}.{}", revision.get(..12).unwrap_or(revision), nudges);
        let metadata = json!({"uid": target.uid, "annotations": {SYNC_ANNOTATION: value}});
        let pod = ObjectRef::of::<Pod>(target.pod.clone());
        let cluster = self.cluster.clone();
        let patch = async move {
            if let Err(error) = cluster.patch_metadata("nudging", &pod, metadata).await {
                // It will be queried and nudged again; a pod that was deleted is soon no longer followed.
                debug!(%error, "a nudge failed");
            }
        };
        let _ = tokio::spawn(patch).await;
    }
}

/// When the pod is nudged next. It does not begin again because something else about the target changes.
#[derive(Debug, Default)]
struct Nudging {
    publications: u64,
    revisions: Revisions,
    /// The first nudge; `None` before an answer proves that it is needed: a pod that has not answered may just be starting.
    since: Option<Instant>,
    nudges: usize,
    was_current: bool,
}

impl Nudging {
    fn aim(&mut self, target: &ProbeTarget, now: Instant) {
        let is_published = target.publications > self.publications;
        if is_published || target.revisions != self.revisions {
            let ProbeTarget { publications, revisions, .. } = target.clone();
            // One that has no address yet may start with what is published.
            let since = (is_published && target.admin.is_some()).then_some(now);
            *self = Self { publications, revisions, since, ..Self::default() };
        }
    }

    fn answered(&mut self, is_current: bool, now: Instant) {
        if self.was_current && !is_current {
            // It took up something else.
            self.since = None;
            self.nudges = 0;
        }
        self.was_current = is_current;
        if !is_current {
            self.since.get_or_insert(now);
        }
    }

    /// Whether the pod is to be nudged now. Then it counts as nudged.
    fn is_due(&mut self, now: Instant) -> bool {
        let next = self.since.zip(NUDGES.get(self.nudges)).map(|(since, after)| since + Duration::from_secs(*after));
        let is_due = next.is_some_and(|next| next <= now);
        self.nudges += usize::from(is_due);
        is_due
    }
}

/// How long until the pod is queried again: often while an answer is due, rarely once only kubelet can help.
fn pause(waited: Duration) -> Duration {
    match waited.as_secs() {
        0 if waited.as_millis() < 500 => Duration::from_millis(50),
        0..30 => Duration::from_millis(250),
        30..150 => Duration::from_secs(1),
        _ => Duration::from_secs(5),
    }
}

/// How often a pod was nudged, from the value of its annotation.
pub(super) fn nudges_so_far(annotation: Option<&str>) -> u64 {
    annotation.and_then(|value| value.rsplit_once('.')).and_then(|(_, nudges)| nudges.parse().ok()).unwrap_or_default()
}
