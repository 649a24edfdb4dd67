//! Makes each pod take up what was published, and keeps what each pod reports to serve.
//!
//! kubelet refreshes the volumes of a pod when the pod object changes, best effort. So an annotation of the pod is changed
//! ("nudge") until the pod itself reports that it serves the target. A pod that serves it is left alone: while nothing
//! changes, nothing is written.

mod follow;
mod pod;
mod query;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool},
};

use k8s_openapi::jiff::Timestamp;
use portcullis_crds::NamespacedName;
use tokio::{
    sync::{Semaphore, watch},
    task::{AbortHandle, JoinSet},
};

pub use pod::{LAG, Left, LeftRevisions, PodReport, Revisions, SETTLED};

use crate::{
    cluster::{Cluster, object::ObservedPod},
    metrics::Task,
    supervise::{Supervisor, TaskName},
    sync::lock,
};
use follow::Permits;
use pod::ProbeTarget;

/// How many pods are queried at once, of those that answer soon and of the others.
const CONCURRENT_QUERIES: usize = 64;
/// How many namespaces' permits are kept before those that are unused are looked for.
const REMEMBERED_NAMESPACES: usize = 1000;
/// How many of them in one namespace: pods that do not answer delay those of no other.
const CONCURRENT_IN_NAMESPACE: usize = 16;

/// What an earlier run of the operator knew about a server's pods, from the server's status.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// By the name of the pod.
    pub serves: HashMap<String, Revisions>,
}

/// Why a server's pods are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Something was published just now, so that none of them can serve it yet.
    Published,
    /// Somebody else may have replaced what was published: each of them is asked again.
    InDoubt,
    /// Nothing of that: those that are current are left alone.
    Routine,
}

/// Follows all pods of all servers.
pub struct Prober {
    cluster: Cluster,
    supervisor: Supervisor,
    of_prompt: Arc<Semaphore>,
    /// For the pods that let a query wait.
    of_slow: Arc<Semaphore>,
    /// The permits of each namespace that has pods.
    of_namespace: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Called with the name of a server when one of its pods reports something new.
    on_report: Arc<dyn Fn(NamespacedName) + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the UID of the pod.
    pods: HashMap<String, Probe>,
    tasks: JoinSet<()>,
}

/// One pod that is followed; its task ends with this value.
struct Probe {
    server: NamespacedName,
    target: watch::Sender<ProbeTarget>,
    report: Arc<Mutex<PodReport>>,
    task: AbortHandle,
}

impl Prober {
    pub fn new(
        cluster: Cluster,
        supervisor: Supervisor,
        on_report: impl Fn(NamespacedName) + Send + Sync + 'static,
    ) -> Self {
        let [of_prompt, of_slow] = [(); 2].map(|()| Arc::new(Semaphore::new(CONCURRENT_QUERIES)));
        let on_report = Arc::new(on_report);
        Self {
            cluster,
            supervisor,
            of_prompt,
            of_slow,
            of_namespace: Mutex::default(),
            on_report,
            state: Mutex::default(),
        }
    }

    /// Sets what the pods of a server are to serve, and which pods there are. Until `doubtful_until` a pod that serves it is asked
    /// again, because it may take up something else that was published before.
    pub fn follow(
        &self,
        server: &NamespacedName,
        revisions: &Revisions,
        doubtful_until: Option<Timestamp>,
        occasion: Occasion,
        pods: &[Arc<ObservedPod>],
        restored: &Restored,
    ) {
        let mut state = self.lock();
        while state.tasks.try_join_next().is_some() {}
        let uids: HashSet<&str> = pods.iter().map(|pod| pod.uid.as_str()).collect();
        state.pods.retain(|uid, probe| probe.server != *server || uids.contains(uid.as_str()));
        for pod in pods {
            match state.pods.get(&pod.uid).filter(|probe| !probe.task.is_finished()) {
                Some(probe) => probe.retarget(pod, revisions, doubtful_until, occasion),
                None => {
                    let probe = self.start(&mut state.tasks, server, pod, (revisions, doubtful_until), restored);
                    state.pods.insert(pod.uid.clone(), probe);
                }
            }
        }
    }

    /// Stops following the pods of a server that no longer exists.
    pub fn forget(&self, server: &NamespacedName) {
        self.lock().pods.retain(|_, probe| probe.server != *server);
    }

    /// What is known about a pod.
    pub fn report(&self, uid: &str) -> Option<PodReport> {
        self.lock().pods.get(uid).map(|probe| lock(&probe.report).clone())
    }

    fn start(
        &self,
        tasks: &mut JoinSet<()>,
        server: &NamespacedName,
        pod: &ObservedPod,
        (revisions, doubtful_until): (&Revisions, Option<Timestamp>),
        restored: &Restored,
    ) -> Probe {
        let target = ProbeTarget {
            server: server.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            admin: pod.admin.clone(),
            restarts: pod.restarts,
            is_terminating: pod.is_terminating,
            revisions: revisions.clone(),
            doubtful_until,
            publications: 0,
            checks: 0,
        };
        let serves = restored.serves.get(&pod.name.name).cloned();
        let report = Arc::new(Mutex::new(PodReport::new(serves)));
        let (sender, targets) = watch::channel(target);
        let follower = follow::Follower {
            cluster: self.cluster.clone(),
            permits: Permits {
                of_namespace: self.permits_of(&server.namespace),
                of_prompt: Arc::clone(&self.of_prompt),
                of_slow: Arc::clone(&self.of_slow),
            },
            on_report: Arc::clone(&self.on_report),
            report: Arc::clone(&report),
            nudges: follow::nudges_so_far(pod.sync.as_deref()).into(),
            is_slow: AtomicBool::new(false),
        };
        let (supervisor, name) = (self.supervisor.clone(), TaskName::new(Task::Follower, pod.name.to_string()));
        let follower = Arc::new(follower);
        let task = tasks.spawn(async move {
            // It looks at its target from the start, so that after a panic nothing is missed.
            supervisor.run(name, || Arc::clone(&follower).run(targets.clone())).await;
        });
        Probe { server: server.clone(), target: sender, report, task }
    }

    /// Those of namespaces without pods are dropped, once there are many.
    fn permits_of(&self, namespace: &str) -> Arc<Semaphore> {
        let mut all = lock(&self.of_namespace);
        if all.len() > REMEMBERED_NAMESPACES {
            all.retain(|_, permits| Arc::strong_count(permits) > 1);
        }
        let new = || Arc::new(Semaphore::new(CONCURRENT_IN_NAMESPACE));
        Arc::clone(all.entry(namespace.to_owned()).or_insert_with(new))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Probe {
    fn retarget(
        &self,
        pod: &ObservedPod,
        revisions: &Revisions,
        doubtful_until: Option<Timestamp>,
        occasion: Occasion,
    ) {
        self.target.send_if_modified(|target| {
            let next = ProbeTarget {
                admin: pod.admin.clone(),
                restarts: pod.restarts,
                is_terminating: pod.is_terminating,
                revisions: revisions.clone(),
                doubtful_until,
                publications: target.publications + u64::from(occasion == Occasion::Published),
                checks: target.checks + u64::from(occasion == Occasion::InDoubt),
                ..target.clone()
            };
            let is_modified = next != *target;
            *target = next;
            is_modified
        });
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
