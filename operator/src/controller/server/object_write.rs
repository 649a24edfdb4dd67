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
    fetch::{Fetched, child_name, read_late},
    publication,
};
use crate::{
    build::{BuiltObject, SECRET},
    cluster::{
        Error, ObjectRef,
        apply::{Applied, DesiredObject},
        events::EventDraft,
        kind::Retrieval,
        received::ReceivedObject,
    },
    controller::{context::Context, polling::SeenSecret},
    sync::lock,
    validate::ServerPlan,
};

/// How often a write that another party's write got ahead of is tried again at once, with the object as it is by then.
pub const FENCED_ATTEMPTS: usize = 3;

/// What was read for this reconcile; `None` if the object was not.
pub type Read = Option<Result<Option<ReceivedObject>, Error>>;

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is not in the cluster, and is not to be created.
    Absent,
    /// It is in the cluster as it was planned; whether it had to be written.
    InPlace { is_new: bool },
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

    /// Makes it so. `before_unfenced` is called before a write of a document that would also replace what another one wrote meanwhile:
    /// somebody who writes all the time holds up no removal.
    ///
    /// # Errors
    /// Returns an error if the object cannot be read, belongs to somebody else, or cannot be written.
    pub async fn run(mut self, before_unfenced: impl FnOnce()) -> Result<Written, Error> {
        let live = self.live().await?;
        if self.fetched.server.is_terminating() && live.is_none() {
            return Ok(Written::Absent);
        }
        let mut uid = live.as_ref().and_then(|live| live["metadata"]["uid"].as_str()).map(str::to_owned);
        let changes = publication::changes(&self.context, &self.fetched, &self.plan, &self.object, live.as_ref());
        let desired = self.desired(changes.as_ref());
        let applied = self.write(desired, live, before_unfenced).await?;
        let memory = self.context.of_servers.of(&self.fetched.name);
        let kind = &self.object.kind.object;
        if let Some(changes) = changes {
            lock(&memory).changes.insert(kind.kind, changes);
        }
        let is_new = !matches!(applied, Applied::Unchanged);
        self.remember(&applied);
        if let Some(written) = applied.written() {
            uid.clone_from(&written.metadata.uid);
            if kind.kind == SECRET.object.kind {
                lock(&memory).secret = Some(SeenSecret::new(&self.name(), Some(&written.metadata)));
            }
            self.context.written(kind, written);
        }
        lock(&memory).uids.extend(uid);
        Ok(Written::InPlace { is_new })
    }

    fn desired(&self, changes: Option<&Changes>) -> DesiredObject {
        let mut value = self.object.value.clone();
        if let Some(changes) = changes {
            value["metadata"]["annotations"][changes::ANNOTATION] = changes.text().into();
        }
        let memory = self.context.of_servers.of(&self.fetched.name);
        let desired = DesiredObject::new(&self.object.kind.object, value).known(lock(&memory).uids.clone());
        if self.object.kind.is_document { desired.document() } else { desired }
    }

    async fn write(
        &self,
        desired: DesiredObject,
        mut live: Option<Value>,
        before_unfenced: impl FnOnce(),
    ) -> Result<Applied, Error> {
        let (cluster, kind) = (&self.context.cluster, &self.object.kind.object);
        if self.object.kind.is_document {
            let fenced = desired.clone().fenced(true);
            for _ in 0..FENCED_ATTEMPTS {
                match fenced.apply(cluster, live.take()).await {
                    Err(error) if error.is_conflict() => self.context.look(kind, &self.name()).await,
                    applied => return applied,
                }
            }
            before_unfenced();
        }
        let applied = desired.apply(cluster, live).await;
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

    /// Tells drift from a change of the operator's own: what was desired before is what is desired now, and yet had to be
    /// written.
    fn remember(&self, applied: &Applied) {
        let object = &self.object;
        let kind = object.kind.object.kind;
        let mut hasher = DefaultHasher::new();
        object.value.to_string().hash(&mut hasher);
        let desired = hasher.finish();
        let memory = self.context.of_servers.of(&self.fetched.name);
        let before = lock(&memory).desired.insert((kind, object.name().to_owned()), desired);
        let what = match applied {
            Applied::Unchanged => return,
            Applied::Created(_) => "was deleted, and was created again".to_owned(),
            Applied::Patched { field, .. } => format!("was changed in {field}, and was corrected"),
        };
        if before == Some(desired) {
            let now = Instant::now();
            let report = {
                let mut memory = lock(&memory);
                memory.corrected_at = Some(now);
                memory.corrections.report(format!("{kind} {} {what}", object.name()), now)
            };
            if let Some(report) = report {
                info!(server = %self.fetched.name, "{report}");
                lock(&memory).events.push(EventDraft::warning(Reason::DriftCorrected, report));
            }
        } else {
            info!(server = %self.fetched.name, kind, name = object.name(), "written");
        }
    }
}
