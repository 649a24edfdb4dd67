//! By which names a server's documents are written and mounted, from what is found of them in the cluster: the rules are those of
//! [`DocumentNames`], and this collects what they need.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use portcullis_crds::{NamespacedName, condition::Reason, contract::Version};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::{
    corrections::{Child, Corrections},
    fetch::{Fetched, child_name},
    object_write::Read,
};
use crate::{
    build::{
        BuiltKind, CONFIG_MAP, DEPLOYMENT, DocumentName, DocumentNames, FoundDocuments, FoundNames, SECRET,
        config_map_name, credentials_secret_name,
    },
    cluster::{
        ObjectRef,
        events::EventDraft,
        object::{ObservedPod, OwnedObject, ServerObject},
        ownership::belongs_to,
    },
    controller::{
        context::{Context, ReconcileKey},
        queue::Lane,
    },
    sync::lock,
};

/// The annotation of a document whose name pods have to leave: there was an immutable object of that name.
pub const ANNOTATION: &str = "portcullis.dev/was-immutable";
/// How long the policy waits for what has to be read.
const PROMPT: Duration = Duration::from_secs(1);

/// The names of a server's documents, and what was read to know them.
pub struct Naming {
    pub names: DocumentNames,
    /// The Secrets that were read: that of the current name, and maybe the other one.
    pub secrets: Vec<(NamespacedName, Read)>,
    /// The documents that are or were immutable, or may have been, and that pods have to leave.
    pub left: BTreeSet<String>,
    /// The documents of the name that is no longer used.
    pub unused: Vec<(&'static BuiltKind, Value)>,
}

/// One document of one name.
enum Document {
    /// It could not be read.
    Unknown,
    Absent,
    Foreign,
    Ours {
        was_immutable: bool,
        value: Value,
    },
}

/// Both documents of one name.
struct Pair {
    policy: Document,
    credentials: Document,
    secret: (NamespacedName, Read),
}

/// What is known of a server's pods and Deployment.
struct Mounts {
    pods: BTreeSet<DocumentName>,
    /// Whether the server has a Deployment.
    is_deployed: bool,
    deployment: Option<DocumentName>,
    has_replicas: bool,
}

impl Document {
    fn is_ours(&self) -> bool {
        matches!(self, Self::Ours { .. })
    }

    fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

impl Pair {
    /// A Secret that cannot be read is taken for what it was.
    fn is_usable(&self) -> bool {
        self.policy.is_ours() && (self.credentials.is_ours() || !self.credentials.is_known())
    }

    fn documents(&self) -> [&Document; 2] {
        [&self.policy, &self.credentials]
    }
}

/// Finds out by which names the documents are to be written and mounted.
pub async fn find(context: &Context, server: &ServerObject, pods: &[Arc<ObservedPod>]) -> Naming {
    let name = server.object.namespaced_name();
    let until = Instant::now() + PROMPT;
    let mounts = mounts(context, server, pods);
    let memory = context.of_servers.of(&name);
    let (last, is_other_unused) = {
        let memory = lock(&memory);
        let is_same = memory.uid == server.object.uid();
        if is_same { (memory.document_name, memory.is_other_name_unused) } else { Default::default() }
    };
    let mut current = mounts.deployment.unwrap_or(last);
    let mut pair = read(context, server, current, mounts.is_deployed, until).await;
    let is_sound =
        pair.documents().iter().all(|it| matches!(it, Document::Ours { was_immutable: false, .. } | Document::Unknown));
    let is_other_seen = mounts.pods.contains(&current.other())
        || context.owned.get(&CONFIG_MAP.object, &policy_name(&name, current.other())).is_some();
    let mut other = None;
    if is_other_seen || (mounts.is_deployed && (!is_sound || !is_other_unused)) {
        let found = read(context, server, current.other(), true, until).await;
        // Whatever the Deployment says, pods do not mount what is not there, or not the server's.
        if !pair.is_usable() && found.is_usable() {
            current = current.other();
            other = Some(std::mem::replace(&mut pair, found));
        } else {
            other = Some(found);
        }
    }
    let found = |of: DocumentName| {
        let pair = if of == current { Some(&pair) } else { other.as_ref() };
        pair.map_or_else(FoundDocuments::default, |pair| mounts.found(of, pair))
    };
    let found = FoundNames { base: found(DocumentName::Base), alternate: found(DocumentName::Alternate) };
    let wait = lock(&memory).corrections.wait(&child(&name), &Default::default(), Instant::now());
    let names = DocumentNames::choose(current, &found, wait.is_none());
    if let (Some(wait), true) = (wait, names != DocumentNames::choose(current, &found, true)) {
        context.queue.add_at(ReconcileKey::Server(name.clone()), Instant::now() + wait, Lane::Others);
    }
    let is_unused = names.written.len() == 1 && mounts.deployment == Some(current);
    let is_gone = other.as_ref().is_none_or(|it| it.documents().iter().all(|it| it.is_known() && !it.is_ours()));
    {
        let mut memory = lock(&memory);
        memory.document_name = names.mounted;
        memory.is_other_name_unused = is_unused && is_gone && (other.is_some() || is_other_unused);
    }
    let is_left = |of: &(DocumentName, &Pair)| names.left.contains(&of.0);
    let pairs = [Some((current, &pair)), other.as_ref().map(|other| (current.other(), other))];
    let left =
        pairs.into_iter().flatten().filter(is_left).flat_map(|(of, pair)| mounts.left(&name, of, pair)).collect();
    let mut secrets = vec![pair.secret];
    let mut unused = Vec::new();
    if let Some(Pair { policy, credentials, secret }) = other {
        secrets.push(secret);
        for (kind, document) in [(&SECRET, credentials), (&CONFIG_MAP, policy)] {
            match document {
                Document::Ours { value, .. } if is_unused => unused.push((kind, value)),
                _ => {}
            }
        }
    }
    Naming { names, secrets, left, unused }
}

impl Mounts {
    fn found(&self, name: DocumentName, pair: &Pair) -> FoundDocuments {
        FoundDocuments {
            are_mounted: self.pods.contains(&name) || (self.deployment == Some(name) && self.has_replicas),
            were_immutable: pair.documents().iter().any(|document| self.was_immutable(name, document)),
            exist: pair.documents().iter().all(|document| document.is_ours()),
        }
    }

    fn was_immutable(&self, name: DocumentName, document: &Document) -> bool {
        match document {
            Document::Ours { was_immutable, .. } => *was_immutable,
            // Nobody knows what it was before it was deleted.
            Document::Absent => self.pods.contains(&name) && self.deployment == Some(name),
            Document::Unknown | Document::Foreign => false,
        }
    }

    /// The documents of a pair that were immutable.
    fn left(&self, server: &NamespacedName, name: DocumentName, pair: &Pair) -> Vec<String> {
        let named = [(policy_name(server, name), &pair.policy), (credentials_name(server, name), &pair.credentials)];
        let left = named.into_iter().filter(|(_, document)| self.was_immutable(name, document));
        left.map(|(object, _)| object.name).collect()
    }
}

fn mounts(context: &Context, server: &ServerObject, pods: &[Arc<ObservedPod>]) -> Mounts {
    let name = server.object.namespaced_name();
    let is_mounted = |document: &DocumentName| {
        let mounts = |pod: &Arc<ObservedPod>| !pod.has_ended && of_pod(pod, &name).contains(document);
        pods.iter().any(mounts)
    };
    let memory = context.of_servers.of(&name);
    let is_ours = |live: &Arc<OwnedObject>| {
        live.owner_uid() == Some(server.object.uid()) || lock(&memory).uids.contains(live.uid())
    };
    let live = context.owned.get(&DEPLOYMENT.object, &name).filter(is_ours).map(|live| live.value());
    Mounts {
        pods: DocumentName::ALL.into_iter().filter(is_mounted).collect(),
        is_deployed: live.is_some(),
        deployment: live.as_ref().and_then(|live| DocumentName::in_deployment(&name.name, live)),
        has_replicas: live.is_some_and(|live| live["spec"]["replicas"] != 0),
    }
}

/// Whether an object is marked as one of a name that pods have to leave.
pub fn is_marked(object: &Value) -> bool {
    object.pointer("/metadata/annotations").is_some_and(|annotations| annotations.get(ANNOTATION).is_some())
}

/// By which names a pod mounts the policy of a server, of any version of the contract.
pub fn of_pod(pod: &ObservedPod, server: &NamespacedName) -> Vec<DocumentName> {
    let mounts = |name: &DocumentName| {
        let mut versions = Version::WRITTEN.iter();
        versions.any(|version| pod.config_maps.contains(&config_map_name(&server.name, *version, *name)))
    };
    DocumentName::ALL.into_iter().filter(mounts).collect()
}

/// The ConfigMap of the policy that is read by this name.
pub fn policy_name(server: &NamespacedName, name: DocumentName) -> NamespacedName {
    child_name(server, config_map_name(&server.name, Version::CURRENT, name))
}

/// The Secret of the credentials that are read by this name.
pub fn credentials_name(server: &NamespacedName, name: DocumentName) -> NamespacedName {
    child_name(server, credentials_secret_name(&server.name, Version::CURRENT, name))
}

/// Reads both documents of one name. A ConfigMap that somebody relabelled is not in the store.
async fn read(context: &Context, server: &ServerObject, name: DocumentName, is_expected: bool, until: Instant) -> Pair {
    let server_name = server.object.namespaced_name();
    let known = lock(&context.of_servers.of(&server_name)).uids.all();
    let document = |value: Option<Value>| match value {
        None => Document::Absent,
        Some(value) if !belongs_to(server.object.uid(), &known, &value) => Document::Foreign,
        Some(value) => {
            let was_immutable = value["immutable"] == true || is_marked(&value);
            Document::Ours { was_immutable, value }
        }
    };
    let read = async |object: &ObjectRef| timeout_at(until, context.cluster.read(object)).await.ok();
    let parsed = |read: &Read| match read {
        Some(Ok(found)) => found.as_ref().map(|found| found.value()).transpose().map_or(Document::Unknown, document),
        Some(Err(_)) | None => Document::Unknown,
    };
    let secret = ObjectRef { resource: SECRET.object.resource(), name: credentials_name(&server_name, name) };
    let policy = ObjectRef { resource: CONFIG_MAP.object.resource(), name: policy_name(&server_name, name) };
    let stored = context.owned.get(&CONFIG_MAP.object, &policy.name).map(|stored| stored.value());
    let read_secret = read(&secret).await;
    let policy = match stored {
        None if is_expected => parsed(&read(&policy).await),
        stored => document(stored),
    };
    Pair { policy, credentials: parsed(&read_secret), secret: (secret.name, read_secret) }
}

/// Whether pods may read this document now.
pub fn is_read(fetched: &Fetched, document: &str) -> bool {
    of_document(fetched, document).is_none_or(|name| fetched.names.is_read(name))
}

fn of_document(fetched: &Fetched, document: &str) -> Option<DocumentName> {
    let server = &fetched.name.name;
    let is_it = |name: &DocumentName| {
        let mut versions = Version::WRITTEN.iter();
        versions.any(|version| {
            config_map_name(server, *version, *name) == document
                || credentials_secret_name(server, *version, *name) == document
        })
    };
    DocumentName::ALL.into_iter().find(is_it)
}

/// What is contested if the documents are made immutable again and again.
fn child(server: &NamespacedName) -> Child {
    ("ConfigMap or Secret of", server.name.clone())
}

/// Counts a move. Returns what is said once the documents are made immutable again each time.
fn count(corrections: &mut Corrections, server: &NamespacedName, now: Instant) -> Option<String> {
    corrections.corrected(&child(server), "immutable", &BTreeSet::new(), None, now)
}

/// Takes note that the Deployment mounts the documents by their other name from now on.
pub fn moved(context: &Context, fetched: &Fetched) {
    let (server, now) = (&fetched.name, Instant::now());
    let why = format!(
        "{} or {} was immutable or deleted, and a kubelet may not notice what replaces it: the pods are replaced by ones that mount {} and {}",
        policy_name(server, fetched.names.current).name,
        credentials_name(server, fetched.names.current).name,
        policy_name(server, fetched.names.mounted).name,
        credentials_name(server, fetched.names.mounted).name,
    );
    let memory = context.of_servers.of(server);
    let mut memory = lock(&memory);
    let contested = count(&mut memory.corrections, server, now);
    memory.events.extend(contested.map(|words| EventDraft::warning(Reason::DriftContested, words)));
    if let Some(report) = memory.corrections.report(why, now) {
        info!(%server, "{report}");
        memory.events.push(EventDraft::warning(Reason::DriftCorrected, report));
    }
}

#[cfg(test)]
mod tests;
