//! Step four: makes each built object what it should be, and deletes what is no longer built.
//!
//! A failure holds up the objects that need the one that failed, and nothing else.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use portcullis_crds::condition::Reason;
use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    changes,
    fetch::{Fetched, LiveObjects, child_name, read_late},
    publication,
};
use crate::{
    build::{BuiltKind, BuiltObject, CONFIG_MAP, SECRET},
    cluster::{
        Error, ObjectRef,
        apply::{Applied, DesiredObject, prune},
        events::EventDraft,
        kind::Retrieval,
        store::Stored,
    },
    controller::{
        context::{Context, ReconcileKey},
        polling::SeenSecret,
        queue::{Lane, WorkItem},
    },
    sync::lock,
    validate::{Published, ServerPlan},
};

/// What became of the built objects.
#[derive(Default)]
pub struct Outcome {
    /// The first write that failed.
    pub problem: Option<Error>,
    /// Whether a document was written.
    pub is_published: bool,
    /// Whether each document is in the cluster as it was planned.
    pub is_policy_in_place: bool,
    pub are_credentials_in_place: bool,
    pub events: Vec<EventDraft>,
}

/// Writes the documents, then everything else, each object only if it differs. While the server is being deleted only its
/// documents are kept up to date, and nothing is created. In the lane of removals only the documents are written.
pub async fn apply(
    context: &Context,
    fetched: &Fetched,
    live: LiveObjects,
    plan: &ServerPlan,
    built: Vec<BuiltObject>,
    work: &WorkItem<ReconcileKey>,
) -> Outcome {
    let Some(documents) = &plan.documents else { return Outcome::default() };
    let mut writer = Writer { context, fetched, plan, live, missing: BTreeSet::new(), outcome: Outcome::default() };
    // A document that is given up while it is sent could arrive after the next one.
    work.can_be_given_up(false);
    for object in built.iter().filter(|object| object.kind.is_document) {
        writer.put(object).await;
    }
    let written = Published {
        policy: writer.is_in_place(&CONFIG_MAP).then(|| (&documents.policy).into()),
        credentials: writer.is_in_place(&SECRET).then(|| (&documents.credentials).into()),
    };
    writer.outcome.is_policy_in_place = written.policy.is_some();
    writer.outcome.are_credentials_in_place = written.credentials.is_some();
    let event = publication::remember(context, fetched, written, writer.outcome.is_published);
    writer.outcome.events.extend(event);
    work.can_be_given_up(true);
    if fetched.server.is_terminating() || work.lane == Lane::Removals {
        return writer.outcome;
    }
    for object in built.iter().filter(|object| !object.kind.is_document) {
        writer.put(object).await;
    }
    // It is unknown what an invalid spec no longer wants.
    if plan.findings.is_empty() {
        writer.prune(&built).await;
    }
    writer.outcome
}

struct Writer<'a> {
    context: &'a Context,
    fetched: &'a Fetched,
    plan: &'a ServerPlan,
    live: LiveObjects,
    /// The kinds of which an object is not in place.
    missing: BTreeSet<&'static str>,
    outcome: Outcome,
}

impl Writer<'_> {
    fn is_in_place(&self, kind: &BuiltKind) -> bool {
        !self.missing.contains(kind.object.kind)
    }

    /// Makes one object what it should be, if all that it needs is in place.
    async fn put(&mut self, object: &BuiltObject) {
        let kind = object.kind;
        let is_possible = self.context.owned.is_served(&kind.object);
        let is_due = kind.needs.iter().all(|needed| !self.missing.contains(needed));
        let is_in_place = is_possible && is_due && self.write(object).await.unwrap_or_else(|error| self.failed(error));
        if !is_in_place {
            self.missing.insert(kind.object.kind);
        }
    }

    fn failed(&mut self, error: Error) -> bool {
        if error.is_conflict() {
            info!(server = %self.fetched.name, %error, "changed by another party at the same time; reconciling again");
        }
        self.outcome.problem.get_or_insert(error);
        false
    }

    /// Returns whether the object is in place.
    async fn write(&mut self, object: &BuiltObject) -> Result<bool, Error> {
        let live = self.live(object).await?;
        if self.fetched.server.is_terminating() && live.is_none() {
            return Ok(false);
        }
        let kind = &object.kind.object;
        let changes = publication::changes(self.context, self.fetched, self.plan, object, live.as_ref());
        let memory = self.context.of_servers.of(&self.fetched.name);
        let mut uid = live.as_ref().and_then(|live| live["metadata"]["uid"].as_str()).map(str::to_owned);
        let mut value = object.value.clone();
        if let Some(changes) = &changes {
            value["metadata"]["annotations"][changes::ANNOTATION] = changes.text().into();
        }
        let mut desired = DesiredObject::new(kind, value).known(lock(&memory).uids.clone());
        if object.kind.is_document {
            desired = desired.document();
        }
        let applied = match desired.apply(&self.context.cluster, live).await {
            Ok(applied) => applied,
            Err(error) => {
                if error.is_conflict() {
                    let name = child_name(&self.fetched.name, object.name().to_owned());
                    self.context.look(kind, &name).await;
                }
                return Err(error);
            }
        };
        if let Some(changes) = changes {
            lock(&memory).changes.insert(kind.kind, changes);
        }
        self.remember(object, &applied);
        if let Some(written) = applied.written() {
            uid.clone_from(&written.metadata.uid);
            if kind.kind == SECRET.object.kind {
                let name = child_name(&self.fetched.name, object.name().to_owned());
                lock(&memory).secret = Some(SeenSecret::new(&name, Some(&written.metadata)));
            }
            self.context.written(kind, written);
        }
        lock(&memory).uids.extend(uid);
        Ok(true)
    }

    /// The object as it was last seen, or as it was read for this reconcile.
    async fn live(&mut self, object: &BuiltObject) -> Result<Option<Value>, Error> {
        let kind = &object.kind.object;
        let name = child_name(&self.fetched.name, object.name().to_owned());
        if kind.retrieval != Retrieval::OnDemand {
            return Ok(self.context.owned.get(kind, &name).map(|object| object.value()));
        }
        let read = match self.live.take(kind, &name) {
            Some(read) => read,
            None => {
                let secret = ObjectRef { resource: kind.resource(), name };
                read_late(self.context, self.fetched, &secret).await
            }
        };
        let read = read.inspect_err(|error| {
            warn!(server = %self.fetched.name, %error, "{} cannot be read; all else is written without it", kind.kind);
        })?;
        Ok(read.map(|read| read.value()).transpose()?)
    }

    /// Tells drift from a change of the operator's own: what was desired before is what is desired now, and yet had to be
    /// written.
    fn remember(&mut self, object: &BuiltObject, applied: &Applied) {
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
        self.outcome.is_published |= object.kind.is_document;
        if before == Some(desired) {
            let now = Instant::now();
            let report = {
                let mut memory = lock(&memory);
                memory.corrected_at = Some(now);
                memory.corrections.report(format!("{kind} {} {what}", object.name()), now)
            };
            if let Some(report) = report {
                info!(server = %self.fetched.name, "{report}");
                self.outcome.events.push(EventDraft::warning(Reason::DriftCorrected, report));
            }
        } else {
            info!(server = %self.fetched.name, kind, name = object.name(), "written");
        }
    }

    /// Deletes the server's objects that are no longer built.
    async fn prune(&mut self, built: &[BuiltObject]) {
        let memory = self.context.of_servers.of(&self.fetched.name);
        let is_built = |kind: &str, name: &str| built.iter().any(|it| it.kind.object.kind == kind && it.name() == name);
        lock(&memory).desired.retain(|(kind, name), _| is_built(kind, name));
        for kind in self.context.kinds.iter().filter(|kind| kind.is_pruned).map(|kind| &kind.object) {
            for object in self.context.owned.of_server(kind, &self.fetched.name) {
                let is_ours = object.owner_uid() == Some(self.fetched.input.server.uid());
                if !is_ours || is_built(kind.kind, object.name()) {
                    continue;
                }
                match prune(&self.context.cluster, kind, &object.value()).await {
                    Ok(true) => {
                        info!(server = %self.fetched.name, kind = kind.kind, name = object.name(), "deleted");
                        self.context.look(kind, &object.namespaced_name()).await;
                    }
                    Ok(false) => {}
                    Err(error) => {
                        self.failed(error);
                    }
                }
            }
        }
    }
}
