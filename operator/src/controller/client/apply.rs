//! Step four: each credential is kept if its Secret contains one and created if not, and the client's servers learn of it. What is
//! no longer in its Secret, or was revoked, is taken from the servers before anything takes its place.

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use portcullis_crds::{McpClient, NamespacedName};
use tracing::info;

use super::fetch::{self, Fetched, FetchedSecret, NamedCredential};
use crate::{
    build::SECRET,
    cluster::{
        Error, ObjectRef,
        apply::DesiredObject,
        events::EventDraft,
        object::ClientObject,
        ownership::{NotOwned, is_controlled_by},
    },
    controller::{
        context::{Context, ReconcileKey},
        polling::{self, SeenSecret},
    },
    credentials::{
        self, CredentialKind, CredentialStatus, IssueRecord, IssuedCredential, KINDS, Plan, Revocation, plan,
    },
    random,
    sync::lock,
};

/// What became of one of the client's credentials.
pub struct Applied {
    pub kind: &'static CredentialKind,
    /// [`Error::NotOwned`] if the Secret's name is taken by an object that is not the client's.
    pub result: Result<CredentialStatus, Error>,
}

/// Returns what became of each credential that the client has: none if its spec requests none, or has never been decoded. What is
/// known was passed on to the client's servers, whatever failed.
pub async fn apply(context: &Context, fetched: Fetched) -> Vec<Applied> {
    let Fetched { client, secrets, is_decoded } = fetched;
    take_away_removed(context, &client);
    note_unreadable(context, &client, &secrets);
    let mut all = Vec::new();
    for secret in secrets {
        let kind = secret.named.kind;
        all.push(Applied { kind, result: apply_secret(context, &client, secret, is_decoded).await });
    }
    polling::schedule(context, ReconcileKey::Client(client.object.namespaced_name()));
    all
}

/// Keeps why a Secret cannot be read, and has the client's servers say so: at once if it would be refused again, and otherwise if it
/// fails again.
fn note_unreadable(context: &Context, client: &ClientObject, secrets: &[FetchedSecret]) {
    let name = client.object.namespaced_name();
    let memory = context.of_clients.of(&name);
    let had_failed = lock(&memory).has_failed;
    let errors = secrets.iter().filter_map(|secret| secret.live.as_ref().err());
    let now = errors.filter(|error| had_failed || error.is_permanent()).map(ToString::to_string).next();
    let before = std::mem::replace(&mut lock(&memory).of_client(client.object.uid()).unreadable, now.clone());
    if before != now {
        for server in context.index.servers(&name) {
            context.queue.add(ReconcileKey::Server(server));
        }
    }
}

/// Takes from the client's servers what can be known without its Secrets: a credential that its spec no longer requests, and one that
/// was revoked. It waits for no read.
pub fn take_away_known(context: &Context, client: &ClientObject) {
    take_away_removed(context, client);
    for NamedCredential { kind, revocation, .. } in fetch::named(client) {
        take_away_unread(context, client, kind, &revocation);
    }
}

/// Takes from the client's servers what is no longer in its Secret, or was revoked.
pub fn take_away(context: &Context, fetched: &Fetched) {
    for FetchedSecret { named: NamedCredential { kind, revocation, .. }, live, former } in &fetched.secrets {
        let Ok(live) = live else { continue };
        let metadata = &fetched.client.object.metadata;
        if !matches!(plan(kind, metadata, revocation, live.as_ref()), Plan::Keep { .. }) {
            unlearn(context, &fetched.client, kind, revocation, former.as_ref());
        }
    }
}

/// A credential that the spec no longer requests is refused. If the spec cannot be read, it is unknown which those are.
fn take_away_removed(context: &Context, client: &ClientObject) {
    let Some(requested) = client.object.credentials() else { return };
    for kind in KINDS {
        if !credentials::requested(requested).any(|requested| requested.kind.field == kind.field) {
            learn(context, client, kind, Vec::new());
        }
    }
}

/// A Secret that cannot be read changes nothing: whatever was known of it stays, unless it was revoked.
async fn apply_secret(
    context: &Context,
    client: &ClientObject,
    secret: FetchedSecret,
    may_create: bool,
) -> Result<CredentialStatus, Error> {
    see(context, client, secret.named.kind, secret.seen());
    let FetchedSecret { named: NamedCredential { kind, secret: name, revocation, .. }, live, former } = secret;
    let live = live.inspect_err(|_| take_away_unread(context, client, kind, &revocation))?;
    let (issued, record, is_new) = match plan(kind, &client.object.metadata, &revocation, live.as_ref()) {
        Plan::Keep { issued, record } => (issued, record, false),
        plan => {
            unlearn(context, client, kind, &revocation, former.as_ref());
            let created = match may_create {
                true => create(context, client, kind, &name, &revocation, live, plan).await,
                false => Err(Error::InvalidSpec),
            };
            let (issued, record) = created.inspect_err(|error| {
                let is_in_former = matches!(former, Ok(Some(_)) | Err(_)) && !matches!(error, Error::NotOwned(_));
                if !is_in_former {
                    learn(context, client, kind, Vec::new());
                }
            })?;
            (issued, Some(record), true)
        }
    };
    let status = CredentialStatus {
        secret_name: name.name,
        id: issued.id().to_owned(),
        issued_at: record.as_ref().map(|record| Time(record.at)),
    };
    let memory = context.of_clients.of(&client.object.namespaced_name());
    {
        let mut memory = lock(&memory);
        let memory = memory.of_client(client.object.uid());
        memory.records.insert(kind.field, record);
        memory.credentials.insert(kind.field, status.clone());
    }
    learn(context, client, kind, vec![issued]);
    if is_new {
        let message = format!("{} {} is in Secret {}", kind.noun, status.id, status.secret_name);
        let event = EventDraft::normal(kind.issued, message);
        context.events.write::<McpClient>(&client.object.metadata, &[event]).await;
    }
    if let Some(former) = former? {
        delete_former(context, client, former).await?;
    }
    Ok(status)
}

/// What was issued is no longer in its Secret, or was revoked: the servers refuse it from now on, whether or not a new credential can
/// be created. One that is still in the former Secret stays until the new one exists, and so does one that may be.
fn unlearn(
    context: &Context,
    client: &ClientObject,
    kind: &CredentialKind,
    revocation: &Revocation,
    former: Result<&Option<Secret>, &Error>,
) {
    let Ok(former) = former else { return take_away_unread(context, client, kind, revocation) };
    match plan(kind, &client.object.metadata, revocation, former.as_ref()) {
        Plan::Keep { issued, .. } => learn(context, client, kind, vec![issued]),
        // The first policy of a new client is published once, with its key.
        _ if was_issued(context, client, kind) => learn(context, client, kind, Vec::new()),
        _ => {}
    }
}

/// What was revoked is refused even while its Secret cannot be read: when it was issued is known from the last time, or from the
/// status. If nothing is known about it, whatever is revoked may be it.
fn take_away_unread(context: &Context, client: &ClientObject, kind: &CredentialKind, revocation: &Revocation) {
    let memory = context.of_clients.of(&client.object.namespaced_name());
    let record = lock(&memory).of_client(client.object.uid()).records.get(kind.field).cloned();
    let status = client.status.as_ref().and_then(kind.status);
    let is_revoked = match (record, status) {
        (Some(record), _) => revocation.revokes(record.as_ref()),
        (None, Some(issued)) => revocation.revokes_issued_at(issued.issued_at.map(|at| at.0)),
        (None, None) => revocation.revokes(None),
    };
    if is_revoked {
        learn(context, client, kind, Vec::new());
    }
}

/// Whether the servers may have published a credential of the client.
fn was_issued(context: &Context, client: &ClientObject, kind: &CredentialKind) -> bool {
    let memory = context.of_clients.of(&client.object.namespaced_name());
    let memory = lock(&memory);
    let is_known = memory.uid == client.object.uid() && memory.issued.get(kind.field).is_some_and(|it| !it.is_empty());
    is_known || client.status.as_ref().and_then(kind.status).is_some()
}

/// Creates a credential, and writes it into the Secret.
async fn create(
    context: &Context,
    client: &ClientObject,
    kind: &CredentialKind,
    name: &NamespacedName,
    revocation: &Revocation,
    live: Option<Secret>,
    plan: Plan,
) -> Result<(IssuedCredential, IssueRecord), Error> {
    let metadata = &client.object.metadata;
    let object = ObjectRef::of::<Secret>(name.clone());
    let live = match (plan, live) {
        (Plan::NotOwned, _) => {
            let NamespacedName { namespace, name } = name.clone();
            return Err(Error::NotOwned(NotOwned { kind: SECRET.object.kind.to_owned(), namespace, name }));
        }
        (Plan::Wait, _) => return Err(Error::Terminating { object: object.to_string() }),
        (Plan::Recreate, Some(live)) => {
            context.cluster.delete(&object, &live.metadata.uid.unwrap_or_default()).await?;
            None
        }
        (_, live) => live,
    };
    let data = (kind.create)(random::bytes());
    let issued = (kind.read)(&data).expect("a credential must be read back as it was created");
    let record = IssueRecord::new(issued.id(), revocation, Timestamp::now());
    let secret = serde_json::to_value(credentials::secret(kind, metadata, &name.name, data, Some(&record)))?;
    let live = live.map(serde_json::to_value).transpose()?;
    let applied = DesiredObject::new(&SECRET.object, secret).fenced(true).apply(&context.cluster, live).await?;
    if let Some(written) = applied.written() {
        see(context, client, kind, vec![SeenSecret::new(name, Some(&written.metadata))]);
    }
    let (noun, id) = (kind.noun, issued.id());
    info!(client = %client.object.namespaced_name(), key = id, secret = name.name, "created a {noun}");
    Ok((issued, record))
}

/// Remembers the Secrets of a credential as they were last read or written.
fn see(context: &Context, client: &ClientObject, kind: &CredentialKind, seen: Vec<SeenSecret>) {
    let memory = context.of_clients.of(&client.object.namespaced_name());
    lock(&memory).of_client(client.object.uid()).secrets.insert(kind.field, seen);
}

/// Keeps what was issued, and has the client's servers publish it if it is new. What is taken away does not wait.
fn learn(context: &Context, client: &ClientObject, kind: &CredentialKind, issued: Vec<IssuedCredential>) {
    let name = client.object.namespaced_name();
    let memory = context.of_clients.of(&name);
    let before = lock(&memory).of_client(client.object.uid()).issued.insert(kind.field, issued.clone());
    if before.as_ref() != Some(&issued) {
        let is_published = || client.status.as_ref().and_then(kind.status);
        let takes_away = match before {
            Some(before) => before.iter().any(|it| !issued.contains(it)),
            // Of which nothing is known may be published.
            None => {
                issued.is_empty()
                    || is_published().is_some_and(|published| !issued.iter().any(|it| it.id() == published.id))
            }
        };
        for server in context.index.servers(&name) {
            context.publish_client(&name, server, !takes_away);
        }
    }
}

/// Deletes the Secret that contained the credential before, if it is the client's.
async fn delete_former(context: &Context, client: &ClientObject, former: Secret) -> Result<(), Error> {
    if !is_controlled_by(&former.metadata, &client.object.metadata) {
        return Ok(());
    }
    let name = NamespacedName::new(client.object.namespace(), former.metadata.name.unwrap_or_default());
    info!(client = %client.object.namespaced_name(), secret = name.name, "deleting the Secret of a former credential");
    let uid = former.metadata.uid.unwrap_or_default();
    context.cluster.delete(&ObjectRef::of::<Secret>(name), &uid).await
}
