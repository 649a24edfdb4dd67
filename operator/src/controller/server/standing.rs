//! Which pods are the server's own. Pods are found by their labels, and anybody who may create pods can give them these labels: a
//! pod counts only if its ReplicaSet belongs to the server's Deployment, by UID. One that mounts the server's policy counts against what
//! is said to be in force, whoever owns it.
//!
//! ReplicaSets are read by name when a pod names one that is not known, and not watched: they are as many as pod templates, and
//! hardly change.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::{
    api::apps::v1::ReplicaSet,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use portcullis_crds::NamespacedName;
use tokio::time::{Instant, timeout};

use crate::{
    build::{DEPLOYMENT, selector},
    cluster::{
        Error, ObjectRef,
        object::{ObservedPod, ReplicaSetRef},
        ownership::{controller, is_of_apps},
    },
    controller::context::Context,
    sync::lock,
};

use super::{fetch::Fetched, names};

/// What a pod with the server's labels is to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is one of those that are to be.
    Ours,
    /// It was one, or it is not known yet whether it is one. It can hold back that something is said to be in force, and it
    /// cannot bring about that it is.
    Leaving,
    /// It mounts the server's policy, so that it serves that, and counts as one that is leaving, and the Deployment has no part in it:
    /// somebody took its label away, so that its ReplicaSet released it, or made it like that.
    Stray,
    /// It is somebody else's, whatever its labels say.
    Foreign,
}

/// A ReplicaSet as it was read.
#[derive(Debug)]
pub struct SeenReplicaSet {
    /// `None` if it no longer exists: its pods will be garbage collected.
    metadata: Option<ObjectMeta>,
    read_at: Instant,
}

/// What is known of the pods that have a server's labels and may not be its own.
#[derive(Debug, Default)]
pub struct Strangers {
    /// By UID.
    replica_sets: HashMap<String, SeenReplicaSet>,
    /// By the UID of the pod: since when it is known to be foreign, and whether that was reported.
    foreign: HashMap<String, (Instant, bool)>,
}

/// How long what was read is used, if it makes the pods the server's own, and if it does not: the Deployment may adopt them.
const OURS_FOR: Duration = Duration::from_secs(60);
const OTHERS_FOR: Duration = Duration::from_secs(5);
/// How many ReplicaSets one reconcile reads, and how long it waits for them.
const READ_AT_ONCE: usize = 16;
const READ: Duration = Duration::from_secs(2);
/// How long a pod is foreign before that is said. One that lost its owner is adopted sooner.
const SETTLED: Duration = Duration::from_secs(2);

/// Reads the ReplicaSets of the pods that are not known, or no longer known for sure. Returns when the next ones are to be read, if
/// some are, and the first error: the pods of what could not be read are as they were known before, or [`Standing::Leaving`].
pub async fn read_owners(context: &Context, fetched: &Fetched) -> (Option<Duration>, Result<(), Error>) {
    let memory = context.of_servers.of(&fetched.name);
    let deployment = deployment(context, fetched);
    let named: HashMap<&String, &ReplicaSetRef> =
        fetched.pods.iter().filter_map(|pod| pod.replica_set.as_ref()).map(|it| (&it.uid, it)).collect();
    let due: Vec<ReplicaSetRef> = {
        let now = Instant::now();
        let strangers = &mut lock(&memory).strangers;
        strangers.replica_sets.retain(|uid, _| named.contains_key(uid));
        let is_due = |it: &&&ReplicaSetRef| {
            let seen = strangers.replica_sets.get(&it.uid);
            seen.is_none_or(|seen| now.duration_since(seen.read_at) >= seen.lasts(&fetched.name, deployment.as_ref()))
        };
        named.values().filter(is_due).map(|it| (*it).clone()).collect()
    };
    let again = (due.len() > READ_AT_ONCE).then_some(Duration::ZERO);
    let reads = due.into_iter().take(READ_AT_ONCE).map(|it| async move {
        let name = NamespacedName::new(&fetched.name.namespace, &*it.name);
        let object = ObjectRef::of::<ReplicaSet>(name);
        let late = || Error::Timeout { doing: format!("reading {object}"), after: READ };
        let read = timeout(READ, context.cluster.read_metadata(&object)).await.unwrap_or_else(|_| Err(late()));
        (it.uid, read)
    });
    let mut result = Ok(());
    for (uid, read) in join_all(reads).await {
        match read {
            Ok(found) => {
                let metadata = found.filter(|found| found.uid.as_ref() == Some(&uid));
                let seen = SeenReplicaSet { metadata, read_at: Instant::now() };
                lock(&memory).strangers.replica_sets.insert(uid, seen);
            }
            Err(error) => result = result.and(Err(error)),
        }
    }
    let is_unsure = fetched
        .pods
        .iter()
        .any(|pod| pod.replica_set.is_some() && !pod.is_terminating && of(context, fetched, pod) != Standing::Ours);
    (again.or(is_unsure.then_some(OTHERS_FOR)), result)
}

/// What a pod is to the server, as far as it is known.
pub fn of(context: &Context, fetched: &Fetched, pod: &ObservedPod) -> Standing {
    let deployment = deployment(context, fetched);
    let memory = context.of_servers.of(&fetched.name);
    let strangers = &lock(&memory).strangers;
    let seen = pod.replica_set.as_ref().map(|it| strangers.replica_sets.get(&it.uid));
    standing(pod, seen, &fetched.name, deployment.as_ref())
}

/// What is said of the pods that the Deployment has no part in, what of that is to be reported, and when one that is new will be
/// among them.
pub fn foreign(context: &Context, fetched: &Fetched) -> (Vec<String>, Vec<String>, Option<Duration>) {
    let live = fetched.pods.iter().filter(|pod| !pod.has_ended);
    let pods: Vec<_> = live.filter_map(|pod| Some((pod, of(context, fetched, pod).note(&pod.name.name)?))).collect();
    let memory = context.of_servers.of(&fetched.name);
    let known = &mut lock(&memory).strangers.foreign;
    let uids: HashSet<&String> = pods.iter().map(|(pod, _)| &pod.uid).collect();
    known.retain(|uid, _| uids.contains(uid));
    let (mut settled, mut news, mut again) = (Vec::new(), Vec::new(), None);
    let now = Instant::now();
    for (pod, note) in pods {
        let (since, is_reported) = known.entry(pod.uid.clone()).or_insert((now, false));
        match SETTLED.checked_sub(now.duration_since(*since)).filter(|left| !left.is_zero()) {
            Some(left) => again = Some(again.map_or(left, |again: Duration| again.min(left))),
            None => {
                if !std::mem::replace(is_reported, true) {
                    news.push(note.clone());
                }
                settled.push(note);
            }
        }
    }
    settled.sort_unstable();
    news.sort_unstable();
    (settled, news, again)
}

/// The Deployment of the server's name.
#[derive(Clone, Debug)]
struct Deployment {
    uid: String,
    is_ours: bool,
}

fn deployment(context: &Context, fetched: &Fetched) -> Option<Deployment> {
    let found = context.owned.get(&DEPLOYMENT.object, &fetched.name)?;
    let memory = context.of_servers.of(&fetched.name);
    let is_ours = found.owner_uid() == Some(fetched.input.server.uid()) || lock(&memory).uids.contains(found.uid());
    Some(Deployment { uid: found.uid().to_owned(), is_ours })
}

/// `seen` is the ReplicaSet that the pod names: `None` if it names none, `Some(None)` if that was not read yet.
fn standing(
    pod: &ObservedPod,
    seen: Option<Option<&SeenReplicaSet>>,
    server: &NamespacedName,
    deployment: Option<&Deployment>,
) -> Standing {
    let standing = match seen {
        None => Standing::Foreign,
        Some(None) => Standing::Leaving,
        Some(Some(seen)) => seen.standing(server, deployment),
    };
    match standing {
        Standing::Ours if pod.is_terminating => Standing::Leaving,
        Standing::Foreign if mounts_policy(pod, server) => Standing::Stray,
        standing => standing,
    }
}

fn mounts_policy(pod: &ObservedPod, server: &NamespacedName) -> bool {
    !names::of_pod(pod, server).is_empty()
}

impl Standing {
    /// What is said of a pod that the Deployment has no part in.
    fn note(self, pod: &str) -> Option<String> {
        match self {
            Self::Ours | Self::Leaving => None,
            Self::Stray => Some(format!(
                "pod {pod} mounts the policy of this server and does not belong to its Deployment: the Service may send calls to it, \
                 and what it serves counts until it is gone"
            )),
            Self::Foreign => Some(format!(
                "pod {pod} has the labels of this server and was not created for it: it is not asked what it serves, and the Service \
                 may send calls to it"
            )),
        }
    }
}

impl SeenReplicaSet {
    fn standing(&self, server: &NamespacedName, deployment: Option<&Deployment>) -> Standing {
        let Some(metadata) = &self.metadata else { return Standing::Leaving };
        let is_deployment = |owner: &OwnerReference| is_of_apps(owner) && owner.kind == "Deployment";
        match controller(metadata) {
            Some(owner) if is_deployment(owner) && owner.name == server.name => match deployment {
                Some(deployment) if deployment.uid == owner.uid && deployment.is_ours => Standing::Ours,
                Some(deployment) if deployment.uid == owner.uid => Standing::Foreign,
                // Of a Deployment that was deleted: it will be garbage collected.
                _ => Standing::Leaving,
            },
            Some(_) => Standing::Foreign,
            // The Deployment adopts it once there is one.
            None if is_selected(metadata, server) => Standing::Leaving,
            None => Standing::Foreign,
        }
    }

    /// How long it is taken to be as it was read.
    fn lasts(&self, server: &NamespacedName, deployment: Option<&Deployment>) -> Duration {
        match self.standing(server, deployment) {
            Standing::Ours => OURS_FOR,
            Standing::Leaving | Standing::Stray | Standing::Foreign => OTHERS_FOR,
        }
    }
}

fn is_selected(metadata: &ObjectMeta, server: &NamespacedName) -> bool {
    let has = |(name, value): (&String, &String)| metadata.labels.as_ref().and_then(|it| it.get(name)) == Some(value);
    selector(&server.name).iter().all(has)
}

#[cfg(test)]
mod tests;
