//! Step four: writes what was built, each object by itself, and remembers what was published.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use portcullis_crds::condition::Reason;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    build::{self, Objects},
    cluster::{
        Error,
        apply::{Applied, DesiredObject},
        events::EventDraft,
        kind::ObjectKind,
        object::OwnedObject,
        store::Store,
    },
    controller::{
        context::Context,
        fetch::{self, Fetched, LiveCredentials},
        memory::lock,
    },
    validate::{NamespacedName, Published, ServerPlan},
};

/// What the writes came to.
#[derive(Default)]
pub struct Outcome {
    /// The first that failed.
    pub problem: Option<Error>,
    pub is_published: bool,
    pub events: Vec<EventDraft>,
}

/// Step four: what pods need comes before the pods; a failure stops what depends on it and nothing else.
pub async fn apply(
    context: &Context,
    fetched: &Fetched,
    live: LiveCredentials,
    plan: &ServerPlan,
    objects: Option<Objects>,
) -> Outcome {
    let mut outcome = Outcome::default();
    let (Some(objects), Some(documents)) = (objects, &plan.documents) else { return outcome };
    let children = &context.children;
    let credentials = match live {
        Ok(live) => put(context, fetched, &mut outcome, &build::SECRET, &objects.credentials, Live::Read(live)).await,
        Err(error) => {
            warn!(server = %fetched.name, %error, "the credentials cannot be read; the policy is published without them");
            outcome.problem = Some(error);
            false
        }
    };
    let policy =
        put(context, fetched, &mut outcome, &build::CONFIG_MAP, &objects.policy, Live::Seen(&children.config_maps))
            .await;
    let written = Published {
        policy: policy.then(|| (&documents.policy).into()),
        credentials: credentials.then(|| (&documents.credentials).into()),
    };
    published(context, fetched, written, &mut outcome);
    if fetched.server.is_terminating() {
        return outcome;
    }
    let account = put(
        context,
        fetched,
        &mut outcome,
        &build::SERVICE_ACCOUNT,
        &objects.service_account,
        Live::Seen(&children.service_accounts),
    )
    .await;
    put(context, fetched, &mut outcome, &build::SERVICE, &objects.service, Live::Seen(&children.services)).await;
    // A pod would mount whatever has the names of its documents.
    if let (true, true, true, Some(deployment)) = (policy, credentials, account, &objects.deployment) {
        put(context, fetched, &mut outcome, &build::DEPLOYMENT, deployment, Live::Seen(&children.deployments)).await;
    }
    outcome
}

/// Where the live object is known from.
enum Live<'a> {
    Seen(&'a Store<OwnedObject>),
    Read(Option<Value>),
}

/// Writes one object, and remembers what became of it. Whether it is as it should be now.
async fn put<K: Serialize + kube::ResourceExt>(
    context: &Context,
    fetched: &Fetched,
    outcome: &mut Outcome,
    kind: &ObjectKind,
    object: &K,
    live: Live<'_>,
) -> bool {
    let (store, live) = match live {
        Live::Seen(store) => {
            let child = store.get(&fetch::child_name(&fetched.name, object.name_any()));
            (Some(store), child.map(|child| child.value()))
        }
        Live::Read(live) => (None, live),
    };
    // Of a server that is going, what its pods still read is kept right, and nothing is made.
    if fetched.server.is_terminating() && live.is_none() {
        return false;
    }
    let applied = match serde_json::to_value(object) {
        Ok(value) => DesiredObject::new(kind, value).apply(&context.cluster, live).await,
        Err(error) => Err(error.into()),
    };
    match applied {
        Ok(applied) => {
            remember(context, fetched, outcome, kind.kind, object, &applied);
            if let (Some(store), Some(written)) = (store, applied.written()) {
                store.update(written.into());
            }
            true
        }
        Err(error) => {
            if error.is_conflict() {
                info!(server = %fetched.name, %error, "changed under us; looking again");
            }
            outcome.problem.get_or_insert(error);
            false
        }
    }
}

/// Tells drift from a change of our own: what was wanted before is what is wanted now, and yet had to be written.
fn remember(
    context: &Context,
    fetched: &Fetched,
    outcome: &mut Outcome,
    kind: &'static str,
    object: &impl Serialize,
    applied: &Applied,
) {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(object).unwrap_or_default().hash(&mut hasher);
    let wanted = hasher.finish();
    let memory = context.of_servers.of(&fetched.name);
    let before = lock(&memory).wanted.insert(kind, wanted);
    if matches!(kind, "Secret" | "ConfigMap") && *applied != Applied::Unchanged {
        outcome.is_published = true;
    }
    let what = match applied {
        Applied::Unchanged => return,
        Applied::Created(_) => "was gone and was made again".to_owned(),
        Applied::Patched { field, .. } => format!("was not as it should be in {field}, and was put back"),
    };
    if before == Some(wanted) {
        info!(server = %fetched.name, kind, "{what}");
        lock(&memory).put_back_at = Some(Instant::now());
        let note = format!("{kind} {what}");
        outcome.events.push(EventDraft::warning(Reason::DriftCorrected, note));
    } else {
        info!(server = %fetched.name, kind, "written");
    }
}

/// Remembers the documents that are as they should be now, and whose access the pods have yet to learn of. Each counts by
/// itself: what clients had is what was written last, also where the other document could not be.
fn published(context: &Context, fetched: &Fetched, written: Published, outcome: &mut Outcome) {
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    if outcome.is_published {
        memory.pending.extend(changed_clients(&fetched.name, &fetched.input.published, &written));
        memory.published_at = Some(Instant::now());
        let before = fetched.input.published.policy.as_ref().map(|policy| &policy.revision);
        if let Some(policy) = &written.policy {
            let (revision, clients) = (&policy.revision, policy.clients.len());
            info!(server = %fetched.name, %revision, clients, "published");
            if before != Some(revision) {
                let note = format!("policy {} with {clients} clients", revision.short());
                outcome.events.push(EventDraft::normal(Reason::PolicyPublished, note));
            }
        }
    }
    memory.published.update(written);
}

/// The clients of which either document says something else than before.
fn changed_clients(server: &NamespacedName, before: &Published, written: &Published) -> BTreeSet<NamespacedName> {
    let known: BTreeMap<_, _> =
        before.policy.iter().flat_map(|policy| &*policy.clients).map(|client| (&client.id, client)).collect();
    let policy = written.policy.iter().flat_map(|policy| &*policy.clients);
    let policy = policy.filter(|client| known.get(&client.id) != Some(client));
    let keys: BTreeMap<_, _> =
        before.credentials.iter().flat_map(|it| &*it.clients).map(|client| (&client.id, client)).collect();
    let credentials = written.credentials.iter().flat_map(|it| &*it.clients);
    let credentials = credentials.filter(|client| keys.get(&client.id) != Some(client));
    let ids = policy.map(|client| &client.id).chain(credentials.map(|client| &client.id));
    ids.map(|id| id.resolve(&server.namespace)).collect()
}
