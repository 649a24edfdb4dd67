//! What one run of the operator remembers between reconciles. All of it can be lost: the cluster has what matters.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::Hash,
    sync::{Arc, Mutex},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{McpClientSpec, NamespacedName, client::McpClientStatus, server::McpServerStatus};
use tokio::time::Instant;

use super::{
    collect::Publications,
    polling::SeenSecret,
    server::{Changes, Child, Confirmation, Corrections, DocumentGate, Rest, Strangers},
};
use crate::{
    build::{DocumentName, PodSettings},
    cluster::events::EventDraft,
    credentials::{self, CredentialStatus, IssueRecord, IssuedCredential},
    object::Object,
    sync::lock,
    validate::{ClientOutcome, Published},
};

/// What a server's reconcile reports to one of its clients.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerReport {
    /// The client as the server saw it: what is said here is about no other state of it. `None` if it does not name the server.
    pub basis: Option<ReportBasis>,
    /// What became of the client's access; `None` if its spec no longer names the server, and not every pod has confirmed that.
    pub outcome: Option<ClientOutcome>,
    /// Whether the pods enforce what was decided about this client.
    pub confirmation: Confirmation,
}

/// What a report about a client is based on.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportBasis {
    uid: String,
    generation: Option<i64>,
    /// `None` if they could not be read.
    credentials: Option<Vec<IssuedCredential>>,
}

impl ReportBasis {
    pub fn new(client: &Object<McpClientSpec>, credentials: Option<Vec<IssuedCredential>>) -> Self {
        Self { uid: client.uid().to_owned(), generation: client.metadata.generation, credentials }
    }
}

/// What is remembered of one server.
#[derive(Debug, Default)]
pub struct ServerMemory {
    pub uid: String,
    /// Whether it was reported to its clients that it is being deleted.
    pub is_end_reported: bool,
    /// When this run first reconciled it.
    pub first_seen: Option<Instant>,
    /// What this run published last, each document as soon as it was written.
    pub published: Published,
    /// When this run published last, if not every pod has confirmed that yet.
    pub unconfirmed_since: Option<Instant>,
    /// What the pods have of the last spec that was valid, as far as that is known.
    pub pod_settings: Option<PodSettings>,
    /// What this run sent last.
    pub sent: Published,
    /// Through which the writes of each document pass, by the name of its object.
    pub gates: HashMap<String, Arc<DocumentGate>>,
    /// What a reconcile does after the documents.
    pub rest: Rest,
    /// The Secrets with its credentials.
    pub secrets: Vec<SeenSecret>,
    /// By which name its pods mount the documents.
    pub document_name: DocumentName,
    /// Whether there are no documents by the other name.
    pub is_other_name_unused: bool,
    /// Whether its credentials could not be written when they were last to be.
    pub is_secret_stuck: bool,
    pub publications: Publications,
    /// What the latest revisions of each document changed, by its object.
    pub changes: HashMap<Child, Changes>,
    /// The same with each revision that was sent since, and may be published whatever became of its answer.
    pub sent_changes: HashMap<Child, Changes>,
    /// Whether the pods were not told yet of what was published last.
    pub is_untold: bool,
    /// What is to be reported of a publication whose reconcile did nothing else.
    pub events: Vec<EventDraft>,
    /// A hash of what each object, by kind and name, was last to be: a further change of the live object is drift.
    pub desired: HashMap<Child, u64>,
    /// The UIDs of the objects that were found to be the server's, so that they stay so if another party takes their owner away.
    pub uids: LatestUids,
    pub strangers: Strangers,
    pub status_at: Option<Instant>,
    /// The status that this run wrote, or found to be right.
    pub status: Option<McpServerStatus>,
    /// Whether something that was taken away from a client is not in the cluster yet.
    pub holds_removal: bool,
    /// When drift was last corrected. That bounds how often an object is corrected that another party keeps changing.
    pub corrected_at: Option<Instant>,
    /// Which corrections were reported.
    pub corrections: Corrections,
    /// What was last reported to each client; `None` before the first report.
    pub reports: Option<HashMap<NamespacedName, ServerReport>>,
    /// The clients that wait for the first report.
    pub awaited_by: BTreeSet<NamespacedName>,
}

impl ServerMemory {
    /// A document was deleted, because nothing reads it by this name any longer.
    pub fn forget_document(&mut self, child: &Child) {
        self.desired.remove(child);
        self.changes.remove(child);
        self.sent_changes.remove(child);
    }

    /// Remembers a Secret with its credentials as it was read or written; it has no metadata if it does not exist.
    pub fn saw_secret(&mut self, name: &NamespacedName, metadata: Option<&ObjectMeta>) {
        self.secrets.retain(|seen| !seen.is_of(name));
        self.secrets.push(SeenSecret::new(name, metadata));
    }

    /// What was sent and is not what was published last, as far as it is known.
    pub fn unanswered(&self) -> Published {
        let Published { policy, credentials } = &self.sent;
        let published = &self.published;
        let is_other_policy =
            policy.as_ref().map(|it| &it.revision) != published.policy.as_ref().map(|it| &it.revision);
        let are_other_credentials =
            credentials.as_ref().map(|it| &it.revision) != published.credentials.as_ref().map(|it| &it.revision);
        Published {
            policy: policy.clone().filter(|_| is_other_policy),
            credentials: credentials.clone().filter(|_| are_other_credentials),
        }
    }
}

/// The UIDs that were added last: an object that is created again and again has another one each time.
#[derive(Debug, Default)]
pub struct LatestUids(Vec<String>);

impl LatestUids {
    /// More than a server has objects.
    const MOST: usize = 64;

    pub fn add(&mut self, uid: String) {
        self.0.retain(|known| *known != uid);
        self.0.push(uid);
        self.0.drain(..self.0.len().saturating_sub(Self::MOST));
    }

    pub fn contains(&self, uid: &str) -> bool {
        self.0.iter().any(|known| known == uid)
    }

    pub fn all(&self) -> BTreeSet<String> {
        self.0.iter().cloned().collect()
    }
}

/// What is remembered of one client.
#[derive(Debug, Default)]
pub struct ClientMemory {
    pub uid: String,
    /// What was issued to it of each kind of credential, by the kind's field; a kind is missing before it was first read.
    pub issued: BTreeMap<&'static str, Vec<IssuedCredential>>,
    /// The record of what was issued, by the kind's field, as it was last read or written; `None` if there is none.
    pub records: BTreeMap<&'static str, Option<IssueRecord>>,
    /// What its status is to say of each credential, by the kind's field, since that was last in force. The status may not say so yet.
    pub credentials: BTreeMap<&'static str, CredentialStatus>,
    /// The Secrets of each kind of credential, by the kind's field: that of now, and the former one.
    pub secrets: BTreeMap<&'static str, Vec<SeenSecret>>,
    /// Why one of its Secrets could not be read when it was last reconciled, in words.
    pub unreadable: Option<String>,
    /// Whether one of its credentials could not be read or created when it was last reconciled.
    pub has_failed: bool,
    pub status_at: Option<Instant>,
    /// The status that this run wrote, or found to be right.
    pub status: Option<McpClientStatus>,
    /// Since when it waits for pods to confirm its access.
    pub waiting_since: Option<Instant>,
    /// The servers that it no longer names, and whose pods have not all confirmed that.
    pub former_servers: BTreeSet<NamespacedName>,
}

impl ClientMemory {
    /// What is remembered of the client with this UID: nothing if it was another client's.
    pub fn of_client(&mut self, uid: &str) -> &mut Self {
        if self.uid != uid {
            uid.clone_into(&mut self.uid);
            self.issued.clear();
            self.records.clear();
            self.credentials.clear();
            self.secrets.clear();
            self.unreadable = None;
            self.status = None;
        }
        self
    }

    /// What was issued to the client; `None` if it was not read yet, or was issued to an earlier client of the same name.
    pub fn issued_to(&self, client: &Object<McpClientSpec>) -> Option<Vec<IssuedCredential>> {
        if self.uid != client.uid() {
            return None;
        }
        match client.credentials() {
            Some(requested) => {
                let kinds = credentials::requested(requested).map(|requested| requested.kind.field);
                let issued = kinds.map(|kind| self.issued.get(kind).cloned()).collect::<Option<Vec<_>>>()?;
                Some(issued.concat())
            }
            None if self.issued.is_empty() => None,
            None => Some(self.issued.values().flatten().cloned().collect()),
        }
    }
}

/// A value for each name, created when it is first used.
#[derive(Debug)]
pub struct Memories<K, V>(Mutex<HashMap<K, Arc<Mutex<V>>>>);

impl<K, V> Default for Memories<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone, V: Default> Memories<K, V> {
    pub fn of(&self, key: &K) -> Arc<Mutex<V>> {
        Arc::clone(lock(&self.0).entry(key.clone()).or_default())
    }

    pub fn known(&self, key: &K) -> Option<Arc<Mutex<V>>> {
        lock(&self.0).get(key).cloned()
    }

    pub fn forget(&self, key: &K) -> Option<Arc<Mutex<V>>> {
        lock(&self.0).remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_is_created_again_and_again_takes_no_room_from_those_that_are_seen_again() {
        let mut uids = LatestUids::default();
        for n in 0..1000 {
            uids.add(format!("created-{n}"));
            uids.add("kept".to_owned());
        }
        let expected: BTreeSet<String> = (937..1000).map(|n| format!("created-{n}")).chain(["kept".into()]).collect();
        assert_eq!(uids.all(), expected);
        assert!(uids.contains("kept") && uids.contains("created-937") && !uids.contains("created-936"));
    }
}
