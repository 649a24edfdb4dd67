//! Nudge and confirm: has each pod take up what was published, and knows what each pod serves (OPERATOR.md, "Publish,
//! nudge, confirm").
//!
//! kubelet looks at a pod's volumes when the pod object changes, best effort; so an annotation is changed until the pod
//! itself says that it serves the target. A pod that serves it is left alone: nothing is written while nothing changes.

mod ask;
mod follow;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    task::AbortHandle,
    time::Instant,
};

use crate::{
    cluster::{Cluster, object::ObservedPod},
    validate::NamespacedName,
};

/// After this long without the published documents a pod lags.
pub const LAG: Duration = Duration::from_secs(120);
/// How many pods are asked at once.
const QUESTIONS: usize = 64;

/// The revisions of the two documents that a pod serves, or should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revisions {
    pub policy: Option<String>,
    pub credentials: Option<String>,
}

/// What is known of one pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodReport {
    /// What it last said it serves; none where it has not answered yet.
    pub serves: Option<Revisions>,
    /// Since when it has not served what it should; none while it does.
    pub behind_since: Option<Instant>,
}

/// What an earlier run of the operator knew of a pod, from the server's status.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    pub serves: HashMap<String, Revisions>,
    /// For how long pods had not been all current.
    pub behind_for: Duration,
}

/// Asks all pods of all servers.
pub struct Prober {
    cluster: Cluster,
    permits: Arc<Semaphore>,
    /// Hears the name of a server of which a pod has something new to say.
    news: Arc<dyn Fn(NamespacedName) + Send + Sync>,
    pods: Mutex<HashMap<String, Probe>>,
}

/// One pod that is followed; ends with its value.
struct Probe {
    server: NamespacedName,
    job: watch::Sender<ProbeTarget>,
    known: Arc<Mutex<PodReport>>,
    task: AbortHandle,
}

/// What one pod is to be brought to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ProbeTarget {
    server: NamespacedName,
    pod: NamespacedName,
    uid: String,
    admin: Option<(String, u16)>,
    /// A process that was started again is asked again.
    restarts: i32,
    target: Revisions,
    /// Grows with each publication that this pod lived through: then it can't be current, and is nudged unasked.
    publications: u64,
}

impl Prober {
    pub fn new(cluster: Cluster, news: impl Fn(NamespacedName) + Send + Sync + 'static) -> Self {
        let permits = Arc::new(Semaphore::new(QUESTIONS));
        Self { cluster, permits, news: Arc::new(news), pods: Mutex::default() }
    }

    /// Says what a server's pods are to serve, and which pods there are. `is_published`: just now, so none can serve it yet.
    pub fn follow(
        &self,
        server: &NamespacedName,
        target: &Revisions,
        is_published: bool,
        pods: &[Arc<ObservedPod>],
        restored: &Restored,
    ) {
        let mut all = self.lock();
        let live: HashSet<&str> = pods.iter().filter(|pod| !pod.is_terminating).map(|pod| pod.uid.as_str()).collect();
        all.retain(|uid, probe| probe.server != *server || live.contains(uid.as_str()));
        for pod in pods.iter().filter(|pod| !pod.is_terminating) {
            match all.get(&pod.uid) {
                Some(probe) => probe.retarget(pod, target, is_published),
                None => {
                    all.insert(pod.uid.clone(), self.start(server, pod, target, restored));
                }
            }
        }
    }

    /// Forgets a server that is gone.
    pub fn forget(&self, server: &NamespacedName) {
        self.lock().retain(|_, probe| probe.server != *server);
    }

    /// What is known of a pod.
    pub fn known(&self, uid: &str) -> Option<PodReport> {
        self.lock().get(uid).map(|probe| lock(&probe.known).clone())
    }

    fn start(&self, server: &NamespacedName, pod: &ObservedPod, target: &Revisions, restored: &Restored) -> Probe {
        let job = ProbeTarget {
            server: server.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            admin: pod.admin.clone(),
            restarts: pod.restarts,
            target: target.clone(),
            publications: 0,
        };
        let now = Instant::now();
        let serves = restored.serves.get(&pod.name.name).cloned();
        let behind_since = match &serves {
            Some(serves) if serves == target => None,
            Some(_) => Some(now.checked_sub(restored.behind_for).unwrap_or(now)),
            None => Some(now),
        };
        let known = Arc::new(Mutex::new(PodReport { serves, behind_since }));
        let (sender, jobs) = watch::channel(job);
        let follower = follow::Follower {
            cluster: self.cluster.clone(),
            permits: Arc::clone(&self.permits),
            news: Arc::clone(&self.news),
            known: Arc::clone(&known),
            attempt: follow::attempt_of(pod.sync.as_deref()),
        };
        let task = tokio::spawn(follower.run(jobs)).abort_handle();
        Probe { server: server.clone(), job: sender, known, task }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Probe>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe {
    fn retarget(&self, pod: &ObservedPod, target: &Revisions, is_published: bool) {
        self.job.send_if_modified(|job| {
            let mut next =
                ProbeTarget { admin: pod.admin.clone(), restarts: pod.restarts, target: target.clone(), ..job.clone() };
            if is_published {
                next.publications += 1;
            }
            let is_modified = next != *job;
            *job = next;
            is_modified
        });
        let mut known = lock(&self.known);
        if known.serves.as_ref() == Some(target) {
            known.behind_since = None;
        } else {
            known.behind_since.get_or_insert_with(Instant::now);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
