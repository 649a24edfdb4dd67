//! One server's reconcile, in five steps: fetch, validate, build, apply, status.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ObjectReference},
    jiff::Timestamp,
};
use kube::core::{ApiResource, DynamicObject};
use portcullis_crds::{McpServer, condition::Reason, server::McpServerStatus};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    apply::{Applied, Wanted},
    context::{Context, Key},
    error::Error,
    events::{Happening, reference},
    fetch::{self, Fetched},
    memory::{Heard, ServerMemory, lock},
    seen::{Child, PodSeen},
    server_status::{self, Facts, Pod, revisions},
    status::{self, Saying, transitions},
    store::Store,
};
use crate::{
    build::{self, Objects},
    probe::{LAG, Restored, Revisions},
    validate::{self, Documents, NamespacedName, ServerPlan},
};

/// Secrets are not watched, so each server is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(600);
/// The status is written at most this often.
pub(super) const STATUS_PACE: Duration = Duration::from_secs(1);
/// Pods mostly confirm a publication within this time; only then is it worth a status that they have not.
const CONFIRMATION: Duration = Duration::from_millis(400);

/// Reconciles one server. Gives how long it may be left alone.
///
/// # Errors
/// The first write that failed; everything else was done nevertheless.
pub async fn reconcile(context: &Context, name: &NamespacedName) -> Result<Duration, Error> {
    let Some(fetched) = fetch::server(context, name).await? else {
        forget(context, name);
        return Ok(LOOK_AGAIN);
    };
    let plan = validate::server(&fetched.input);
    let objects = build::objects(&fetched.input.server, &plan, &context.settings);
    let outcome = apply(context, &fetched, &plan, objects).await;
    let again = report(context, &fetched, &plan, &outcome).await?;
    outcome.problem.map_or(Ok(again), Err)
}

/// What the writes came to.
#[derive(Default)]
struct Outcome {
    /// The first that failed.
    problem: Option<Error>,
    is_published: bool,
    happenings: Vec<Happening>,
}

/// Step four: what pods need comes before the pods; a failure stops what depends on it and nothing else.
async fn apply(context: &Context, fetched: &Fetched, plan: &ServerPlan, objects: Option<Objects>) -> Outcome {
    let mut outcome = Outcome::default();
    let (Some(objects), Some(documents)) = (objects, &plan.documents) else { return outcome };
    let children = &context.children;
    let credentials = match &fetched.credentials {
        Ok(live) => put(context, fetched, &mut outcome, "Secret", &objects.credentials, Live::Read(live.clone())).await,
        Err(_) => false,
    };
    let policy =
        put(context, fetched, &mut outcome, "ConfigMap", &objects.policy, Live::Seen(&children.config_maps)).await;
    if let Err(error) = &fetched.credentials {
        warn!(server = %fetched.name, %error, "the credentials cannot be read; the policy is published without them");
    }
    if policy && credentials {
        published(context, fetched, documents, &mut outcome);
    }
    let account = put(
        context,
        fetched,
        &mut outcome,
        "ServiceAccount",
        &objects.service_account,
        Live::Seen(&children.service_accounts),
    )
    .await;
    put(context, fetched, &mut outcome, "Service", &objects.service, Live::Seen(&children.services)).await;
    // A pod would mount whatever has the names of its documents.
    if let (true, true, true, Some(deployment)) = (policy, credentials, account, &objects.deployment) {
        put(context, fetched, &mut outcome, "Deployment", deployment, Live::Seen(&children.deployments)).await;
    }
    outcome
}

/// Where the live object is known from.
enum Live<'a> {
    Seen(&'a Store<Child>),
    Read(Option<Value>),
}

/// Writes one object, and remembers what became of it. Whether it is as it should be now.
async fn put<K: Serialize + kube::ResourceExt>(
    context: &Context,
    fetched: &Fetched,
    outcome: &mut Outcome,
    kind: &'static str,
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
    let applied = match Wanted::new(&context.api, object) {
        Ok(wanted) => wanted.apply(live).await,
        Err(error) => Err(error),
    };
    match applied {
        Ok(applied) => {
            remember(context, fetched, outcome, kind, object, &applied);
            if let (Some(store), Some(written)) = (store, applied.written()) {
                store.see(written.into());
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
        outcome.happenings.push(Happening { is_warning: true, reason: Reason::DriftCorrected, note });
    } else {
        info!(server = %fetched.name, kind, "written");
    }
}

/// Both documents are as they should be: remembers them, and whose access the pods have yet to learn of.
fn published(context: &Context, fetched: &Fetched, documents: &Documents, outcome: &mut Outcome) {
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    if outcome.is_published {
        let changed = changed_clients(fetched, documents);
        memory.pending.extend(changed);
        memory.published_at = Some(Instant::now());
        let (revision, clients) = (documents.policy.revision(), documents.policy.clients.len());
        info!(server = %fetched.name, revision, clients, "published");
        if fetched.input.published.policy.as_ref().is_none_or(|policy| policy.revision() != revision) {
            let note = format!("policy {} with {clients} clients", revision.get(..12).unwrap_or(revision));
            outcome.happenings.push(Happening { is_warning: false, reason: Reason::PolicyPublished, note });
        }
    }
    memory.published = Some(documents.clone());
}

/// The clients of which either document says something else than before.
fn changed_clients(fetched: &Fetched, documents: &Documents) -> BTreeSet<NamespacedName> {
    let before = &fetched.input.published;
    let full = |id: &str| {
        let (namespace, name) = id.split_once('/').unwrap_or((&fetched.name.namespace, id));
        NamespacedName { namespace: namespace.to_owned(), name: name.to_owned() }
    };
    let known: BTreeMap<_, _> =
        before.policy.iter().flat_map(|policy| &policy.clients).map(|client| (client.id.as_str(), client)).collect();
    let policy = documents.policy.clients.iter().filter(|client| known.get(client.id.as_str()) != Some(client));
    let keys: BTreeMap<_, _> =
        before.credentials.iter().flat_map(|it| &it.clients).map(|client| (client.id.as_str(), client)).collect();
    let credentials =
        documents.credentials.clients.iter().filter(|client| keys.get(client.id.as_str()) != Some(client));
    policy.map(|client| full(client.id.as_str())).chain(credentials.map(|client| full(client.id.as_str()))).collect()
}

/// Step five: pods are told and asked, clients hear what became of them, and the status says it all.
async fn report(context: &Context, fetched: &Fetched, plan: &ServerPlan, outcome: &Outcome) -> Result<Duration, Error> {
    let memory = context.of_servers.of(&fetched.name);
    let published = lock(&memory).published.clone();
    if let Some(documents) = &published {
        let restored = restored(fetched.server.status.as_ref());
        let target = revisions(documents);
        context.prober.follow(&fetched.name, &target, outcome.is_published, &fetched.pods, &restored);
    }
    let pods = pods(context, fetched);
    let deployment = context.children.deployments.get(&fetched.name);
    let deployment: Option<Deployment> = deployment.and_then(|child| serde_json::from_value(child.value()).ok());
    let spec = fetched.input.server.spec.as_ref().ok();
    let facts = Facts {
        server: &fetched.name,
        generation: fetched.input.server.metadata.generation,
        replicas: spec.map(|spec| spec.replicas),
        plan,
        published: published.as_ref(),
        // What somebody else wrote at the same moment is no problem: the next look settles it.
        problem: outcome.problem.as_ref().filter(|problem| !problem.is_conflict()),
        deployment: deployment.as_ref(),
        pods: &pods,
        previous: fetched.server.status.as_ref(),
        now: Timestamp::now(),
    };
    let wanted = server_status::status(&facts);
    tell_clients(context, fetched, plan, &server_status::synced(&facts));
    for happening in &outcome.happenings {
        context.events.tell(&about(fetched), happening).await;
    }
    let again = write(context, fetched, wanted).await?;
    let lagging_at =
        pods.iter().filter_map(|pod| LAG.checked_sub(pod.behind_for?)).filter(|left| !left.is_zero()).min();
    Ok(again.min(lagging_at.map_or(LOOK_AGAIN, |left| left + Duration::from_millis(100))))
}

fn pods(context: &Context, fetched: &Fetched) -> Vec<Pod> {
    let live = fetched.pods.iter().filter(|pod| !pod.is_ending);
    let pod = |pod: &Arc<PodSeen>| {
        let known = context.prober.known(&pod.uid);
        Pod {
            name: pod.name.name.clone(),
            is_ready: pod.is_ready,
            is_running: pod.is_running,
            serves: known.as_ref().and_then(|known| known.serves.clone()),
            behind_for: match known {
                Some(known) => known.behind_since.map(|since| since.elapsed()),
                None => Some(Duration::ZERO),
            },
        }
    };
    live.map(pod).collect()
}

/// What an earlier run wrote down about the pods: they are asked before anything is said anew.
fn restored(status: Option<&McpServerStatus>) -> Restored {
    let Some(status) = status else { return Restored::default() };
    let pods = status.pods.iter().flat_map(|pods| &pods.revisions).filter(|pod| pod.policy_revision.is_some());
    let serves = pods.map(|pod| {
        let revisions =
            Revisions { policy: pod.policy_revision.clone(), credentials: pod.credentials_revision.clone() };
        (pod.pod.clone(), revisions)
    });
    let synced = status.conditions.iter().find(|it| it.type_ == "PolicySynced" && it.status != "True");
    let behind_for = synced.map(|it| Timestamp::now().duration_since(it.last_transition_time.0)).unwrap_or_default();
    Restored { serves: serves.collect(), behind_for: Duration::try_from(behind_for).unwrap_or_default() }
}

/// Has each client say what became of it, where that is news to it.
fn tell_clients(context: &Context, fetched: &Fetched, plan: &ServerPlan, synced: &Saying) {
    let memory = context.of_servers.of(&fetched.name);
    let mut memory = lock(&memory);
    if synced.is_true() {
        memory.pending.clear();
    }
    let ServerMemory { pending, heard, .. } = &mut *memory;
    let now = plan.outcomes.iter().map(|(client, outcome)| {
        let is_pending = pending.contains(client);
        (client.clone(), Heard { outcome: Some(outcome.clone()), is_pending, synced: synced.clone() })
    });
    let now = now.collect();
    let before = std::mem::replace(heard, now);
    for (client, said) in heard.iter() {
        let is_news = before.get(client).is_none_or(|before| {
            let concerns = said.is_pending || before.is_pending || !before.synced.is_true() || !said.synced.is_true();
            before.outcome != said.outcome
                || before.is_pending != said.is_pending
                || (concerns && before.synced != said.synced)
        });
        if is_news {
            context.queue.add(Key::Client(client.clone()));
        }
    }
}

fn about(fetched: &Fetched) -> ObjectReference {
    reference::<McpServer>(&fetched.input.server.metadata)
}

/// Writes the status, if it says anything new and its time has come; else gives when that is.
async fn write(context: &Context, fetched: &Fetched, wanted: McpServerStatus) -> Result<Duration, Error> {
    if fetched.server.status.as_ref() == Some(&wanted) {
        return Ok(LOOK_AGAIN);
    }
    let memory = context.of_servers.of(&fetched.name);
    let (status_at, published_at) = {
        let memory = lock(&memory);
        (memory.status_at, memory.published_at)
    };
    let is_waiting = wanted.conditions.iter().any(|it| it.reason == Reason::Publishing.as_str());
    let not_before =
        [status_at.map(|at| at + STATUS_PACE), published_at.filter(|_| is_waiting).map(|at| at + CONFIRMATION)];
    let now = Instant::now();
    if let Some(at) = not_before.into_iter().flatten().max().filter(|at| *at > now) {
        return Ok(at - now);
    }
    lock(&memory).status_at = Some(now);
    let before = fetched.server.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let happenings = transitions(before, &wanted.conditions);
    let resource = ApiResource::erase::<McpServer>(&());
    let written: DynamicObject =
        status::write(&context.api, &resource, &fetched.input.server.metadata, &wanted).await?;
    context.servers.see(written.into());
    for happening in &happenings {
        context.events.tell(&about(fetched), happening).await;
    }
    Ok(LOOK_AGAIN)
}

/// The server is gone: nobody is asked any more, and its clients say so. Its objects are collected by their owner.
fn forget(context: &Context, name: &NamespacedName) {
    context.prober.forget(name);
    if context.of_servers.forget(name).is_some() {
        for client in context.index.clients(name) {
            context.queue.add(Key::Client(client));
        }
    }
}
