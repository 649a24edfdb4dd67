//! One built object: it is compared with what is in the cluster, written if it differs, and what came of that is remembered, whether
//! or not anybody still waits for it.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use portcullis_crds::{NamespacedName, condition::Reason};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    changes::{self, Changes},
    corrections::{Child, InVain, changed_by},
    fetch::{Fetched, child_name, read_late},
    names, publication,
};
use crate::{
    build::{BuiltObject, SECRET},
    cluster::{
        Error, ObjectRef,
        apply::{Applied, Correction, DesiredObject},
        events::EventDraft,
        kind::Retrieval,
        received::ReceivedObject,
    },
    controller::{
        context::{Context, ReconcileKey},
        queue::Lane,
    },
    sync::lock,
    validate::ServerPlan,
};

/// How often a document is tried to be written when each time another party's write got ahead, each time with the object as it was just
/// read. A party that writes all the time gets ahead of some, and hardly of all.
pub const ATTEMPTS: usize = 64;

/// What was read for this reconcile; `None` if the object was not.
pub type Read = Option<Result<Option<ReceivedObject>, Error>>;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is not in the cluster, and is not to be created.
    Absent,
    /// It is in the cluster as it was planned; whether it had to be written.
    InPlace { is_new: bool },
    /// It stays for now as others changed it.
    PutBackLater,
}

/// An object that is to be as it was built.
pub struct ObjectWrite {
    pub context: Arc<Context>,
    pub fetched: Arc<Fetched>,
    pub plan: Arc<ServerPlan>,
    pub object: BuiltObject,
    pub read: Read,
}

impl ObjectWrite {
    pub fn name(&self) -> NamespacedName {
        child_name(&self.fetched.name, self.object.name().to_owned())
    }

    /// Makes it so. A write of a document replaces only the version that it was made for, however often that takes another attempt:
    /// one that was given up may still reach the API server, after a later one.
    ///
    /// # Errors
    /// Returns an error if the object cannot be read, belongs to somebody else, or cannot be written.
    pub async fn run(mut self) -> Result<Written, Error> {
        let live = self.live().await?;
        if self.fetched.server.is_terminating() && live.is_none() {
            return Ok(Written::Absent);
        }
        let mut uid = live.as_ref().and_then(|live| live["metadata"]["uid"].as_str()).map(str::to_owned);
        let changes = publication::changes(&self.context, &self.fetched, &self.plan, &self.object, live.as_ref());
        let memory = self.context.of_servers.of(&self.fetched.name);
        let (child, hash) = (self.child(), hash(&self.object.value));
        let desired_before = lock(&memory).desired.get(&child).copied();
        // That pods need not leave a document any longer is not somebody else's change.
        let is_left = self.fetched.left.contains(self.object.name());
        let is_as_before = desired_before == Some(hash) && (is_left || !live.as_ref().is_some_and(names::is_marked));
        let desired = self.desired(changes.as_ref());
        let difference = live.as_ref().filter(|_| is_as_before).and_then(|live| desired.difference(live));
        if let (Some(live), true, false) = (&live, difference.is_some(), self.object.kind.is_document) {
            // Somebody changes it again each time.
            let now = Instant::now();
            let wait = lock(&memory).corrections.wait(&child, &desired.privileges(live), now);
            if let Some(wait) = wait {
                let server = ReconcileKey::Server(self.fetched.name.clone());
                self.context.queue.add_at(server, now + wait, Lane::Others);
                return Ok(Written::PutBackLater);
            }
        }
        if !is_as_before {
            // What is being sent may have its effect whatever becomes of the answer. A change of it is not somebody else's.
            lock(&memory).desired.remove(&child);
        }
        if let Some((fields, by)) = difference {
            lock(&memory).corrections.sending(&child, format!("{fields}{}", changed_by(&by)));
        }
        let (context, fetched) = (Arc::clone(&self.context), Arc::clone(&self.fetched));
        let before = changes
            .as_ref()
            .and_then(|changes| publication::sending(&context, &fetched, &self.plan, &self.object, changes));
        let applied = self.write(desired.clone(), live).await.inspect_err(|error| {
            // What was refused had no effect.
            if error.is_refused() {
                let mut memory = lock(&memory);
                memory.corrections.take_sent(&child);
                memory.desired.extend(desired_before.map(|hash| (child.clone(), hash)));
                drop(memory);
                before
                    .into_iter()
                    .for_each(|before| publication::refused(&context, &fetched, &self.plan, &self.object, before));
            }
        })?;
        let kind = &self.object.kind.object;
        if let Some(changes) = changes {
            lock(&memory).changes.insert(child.clone(), changes);
        }
        let is_new = !matches!(applied, Applied::Unchanged);
        lock(&memory).desired.insert(child.clone(), hash);
        self.report(&child, is_as_before, &desired, &applied);
        let contested = self.contested(&applied);
        if let Some(written) = applied.written() {
            uid.clone_from(&written.metadata.uid);
            if kind.kind == SECRET.object.kind {
                lock(&memory).saw_secret(&self.name(), Some(&written.metadata));
            }
            self.context.written(kind, written);
        }
        if let Some(uid) = uid {
            lock(&memory).uids.add(uid);
        }
        contested.map_or(Ok(Written::InPlace { is_new }), Err)
    }

    fn child(&self) -> Child {
        child(&self.object)
    }

    fn desired(&self, changes: Option<&Changes>) -> DesiredObject {
        let mut value = self.object.value.clone();
        if let Some(changes) = changes {
            value["metadata"]["annotations"][changes::ANNOTATION] = changes.text().into();
        }
        if self.fetched.left.contains(self.object.name()) && self.object.kind.is_document {
            value["metadata"]["annotations"][names::ANNOTATION] = "true".into();
        }
        let memory = self.context.of_servers.of(&self.fetched.name);
        let desired = DesiredObject::new(&self.object.kind.object, value).known(lock(&memory).uids.all());
        let desired = desired.guarded(self.object.kind.guards);
        if self.object.kind.is_document { desired.document(names::ANNOTATION) } else { desired }
    }

    async fn write(&self, desired: DesiredObject, mut live: Option<Value>) -> Result<Applied, Error> {
        let (cluster, kind) = (&self.context.cluster, &self.object.kind.object);
        let (desired, attempts) = match self.object.kind.is_document {
            true => (desired.fenced(true), ATTEMPTS),
            false => (desired, 1),
        };
        let mut applied = desired.apply(cluster, live.take()).await;
        for _ in 1..attempts {
            if !applied.as_ref().is_err_and(Error::is_conflict) {
                return applied;
            }
            // It is read again.
            applied = desired.apply(cluster, None).await;
        }
        if applied.as_ref().is_err_and(Error::is_conflict) {
            self.context.look(kind, &self.name()).await;
        }
        applied
    }

    /// The object as it was last seen, or as it was read for this reconcile.
    async fn live(&mut self) -> Result<Option<Value>, Error> {
        let (kind, name) = (&self.object.kind.object, self.name());
        if kind.retrieval != Retrieval::OnDemand {
            return Ok(self.context.owned.get(kind, &name).map(|object| object.value()));
        }
        let read = match self.read.take() {
            Some(read) => read,
            None => {
                let secret = ObjectRef { resource: kind.resource(), name };
                read_late(&self.context, &self.fetched, &secret).await
            }
        };
        let read = read.inspect_err(|error| {
            warn!(server = %self.fetched.name, %error, "{} cannot be read; all else is written without it", kind.kind);
        })?;
        Ok(read.map(|read| read.value()).transpose()?)
    }

    /// Reports what was written. It is drift, and not a change of the operator's own, if what was desired before is what is desired
    /// now, or if it is nothing that an edit of the spec could bring about.
    fn report(&self, child: &Child, is_as_before: bool, desired: &DesiredObject, applied: &Applied) {
        let (kind, name) = child;
        let memory = self.context.of_servers.of(&self.fetched.name);
        let mut memory = lock(&memory);
        let now = Instant::now();
        let put_back = match applied {
            Applied::Unchanged => match memory.corrections.unchanged(child) {
                Some(sent) => Some(format!("Put back {kind} {name}: {sent}")),
                None => return,
            },
            Applied::Created(_) => is_as_before.then(|| format!("Put back {kind} {name}: it had been deleted")),
            Applied::Patched(Correction { object, fields, by, is_addition, remains })
                if is_as_before || *is_addition =>
            {
                memory.corrections.take_sent(child);
                let in_vain = remains.as_deref().map(|fields| InVain {
                    fields,
                    privileges: object.value().map(|live| desired.privileges(&live)).unwrap_or_default(),
                });
                let contested = memory.corrections.corrected(child, fields, by, in_vain, now);
                memory.events.extend(contested.map(|words| EventDraft::warning(Reason::DriftContested, words)));
                let is_put_back = remains.is_none();
                is_put_back.then(|| format!("Put back {kind} {name}: {fields}{}", changed_by(by)))
            }
            Applied::Patched(_) => None,
        };
        let Some(put_back) = put_back else {
            info!(server = %self.fetched.name, kind, name, "written");
            return;
        };
        memory.corrected_at = Some(now);
        if let Some(report) = memory.corrections.report(put_back, now) {
            info!(server = %self.fetched.name, "{report}");
            memory.events.push(EventDraft::warning(Reason::DriftCorrected, report));
        }
    }

    /// A document whose content was changed on the way is not in place: pods read something else than was planned.
    fn contested(&self, applied: &Applied) -> Option<Error> {
        let Applied::Patched(Correction { object: written, remains: Some(fields), .. }) = applied else { return None };
        let live = written.value().unwrap_or_default();
        let is_content = ["data", "binaryData"].iter().any(|field| live.get(field) != self.object.value.get(field));
        let (kind, name) = self.child();
        let is_lost = self.object.kind.is_document && is_content;
        is_lost.then(|| Error::Contested { object: format!("{kind} {name}"), fields: fields.clone() })
    }
}

pub fn child(object: &BuiltObject) -> Child {
    (object.kind.object.kind, object.name().to_owned())
}

fn hash(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
