//! One operator writes at a time: it holds a Lease (coordination.k8s.io/v1), and renews it for as long as it runs.
//!
//! A second one is refused as soon as it is clear that the holder lives. A holder that is known to be gone is succeeded at once, so that
//! an operator that was killed or replaced is back without a pause; any other one once its term is over. Who cannot renew does not
//! write from the end of its term on ([`Term::fence`]) and goes on trying, because nobody else can be helped by its end. Who was
//! succeeded by another one ends. Who is refused the Lease itself goes on without it ([`trouble`]): a revocation must not wait for it.

mod holder;
mod liveness;
mod record;
mod term;
mod trouble;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::{api::coordination::v1::Lease as LeaseObject, jiff::Timestamp};
use portcullis_crds::NamespacedName;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, error, info, warn};

pub use self::{holder::Holder, term::Term};

use crate::{
    cluster::{Cluster, Error, ObjectRef},
    metrics::{Metrics, Task},
    supervise::{Progress, Supervisor},
    sync::lock,
};
use holder::Liveness;
use liveness::liveness;
use record::Record;
use term::Moment;
use trouble::{Failed, Trouble, hint};

/// The name of the Lease.
pub const NAME: &str = "portcullis-operator";
/// The namespace of the Lease, if none is named. It does not depend on where an operator runs, so that all of a cluster share it.
pub const NAMESPACE: &str = "portcullis-system";

/// How long a holder that does not renew stays the holder.
const TERM: Duration = Duration::from_secs(15);
/// How often it renews.
const RENEW: Duration = Duration::from_secs(5);
/// How long before the end of its term it begins no write: one that was sent may take a while.
const MARGIN: Duration = Duration::from_secs(2);
/// The pause after a request that failed.
const AGAIN: Duration = Duration::from_secs(1);
/// How often a Lease of somebody else is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// The longest that one request may take.
const REQUEST: Duration = Duration::from_secs(3);
/// The pause after somebody else changed it.
const CHANGED: Duration = Duration::from_millis(100);

/// Another operator holds the Lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("another operator runs against this cluster: {0}; run one at a time")]
    Held(String),
    #[error("another operator took over: {0}; this one stops")]
    Lost(String),
}

/// The Lease, and who this process is.
pub struct Lease {
    cluster: Cluster,
    object: ObjectRef,
    /// Whether the namespace is created if the cluster lacks it.
    creates_namespace: bool,
    holder: Holder,
    term: Term,
    /// The version of the Lease that this process wrote or saw last.
    version: Mutex<Option<String>>,
    progress: Progress,
    metrics: Metrics,
    lost: watch::Sender<Option<Refused>>,
}

impl Lease {
    /// `cluster` must admit every write; `term` is when others may.
    pub fn new(
        cluster: Cluster,
        namespace: Option<String>,
        holder: Holder,
        term: Term,
        supervisor: &Supervisor,
    ) -> Self {
        let creates_namespace = namespace.is_none();
        let namespace = namespace.unwrap_or_else(|| NAMESPACE.to_owned());
        let name = NamespacedName { namespace, name: NAME.to_owned() };
        let progress = supervisor.progress(Task::Lease);
        progress.is_unready("not held yet");
        Self {
            cluster,
            object: ObjectRef::of::<LeaseObject>(name),
            creates_namespace,
            holder,
            term,
            version: Mutex::default(),
            progress,
            metrics: supervisor.metrics().clone(),
            lost: watch::Sender::new(None),
        }
    }

    /// Waits until this process holds the Lease, or has to go on without it.
    ///
    /// # Errors
    /// Returns an error once it is clear that another one holds it and lives.
    pub async fn acquire(&self) -> Result<(), Refused> {
        let (mut seen, mut trouble) = (None, Trouble::default());
        loop {
            let began = Instant::now();
            let pause = match self.look(&mut seen).await {
                Ok(Step::Held) => {
                    info!(lease = %self.object, holder = self.holder.identity, "this operator holds the Lease");
                    return Ok(());
                }
                Ok(Step::Refused(who)) => return Err(Refused::Held(who)),
                Ok(Step::Wait) => self.waits(&mut trouble),
                Err(failed) => self.failed(&failed, &mut trouble, began),
            };
            if self.term.is_without() {
                return Ok(());
            }
            sleep(pause).await;
        }
    }

    /// Looks at the Lease once, and takes it if that is possible. `seen` is what was first seen of its holder.
    async fn look(&self, seen: &mut Seen) -> Result<Step, Failed> {
        match self.read().await? {
            Some(record) => self.judge(record, seen).await,
            None => self.create().await,
        }
    }

    async fn judge(&self, record: Record, seen: &mut Seen) -> Result<Step, Failed> {
        let first = match seen.take() {
            Some((first, at)) if first.holder == record.holder => (first, at),
            _ => (record.clone(), Instant::now()),
        };
        let is_renewed = first.0.renewed != record.renewed;
        let is_over = first.1.elapsed() >= record.term();
        *seen = Some(first);
        // A request of this process may have been carried out without an answer.
        let is_own = record.holder.as_ref() == Some(&self.holder.identity);
        match (&record.holder, self.liveness(&record).await) {
            _ if is_own => self.take(&record).await,
            (None, _) | (_, Liveness::Gone) => self.take(&record).await,
            _ if is_renewed => Ok(Step::Refused(self.described(&record))),
            (_, Liveness::Lives) if !record.is_over(Timestamp::now()) => Ok(Step::Refused(self.described(&record))),
            _ if is_over => self.take(&record).await,
            _ => Ok(Step::Wait),
        }
    }

    /// Renews the Lease, for ever, or until another one took it. Without the Lease, it is asked for as at the start.
    pub async fn keep(self: Arc<Self>) {
        let (mut seen, mut trouble) = (None, Trouble::default());
        let mut pause = if self.term.is_of_lease() { RENEW } else { AGAIN };
        loop {
            self.progress.within((REQUEST + RENEW) * 4);
            sleep(pause).await;
            #[cfg(test)]
            crate::supervise::faults::point(&format!("lease of {}", self.holder.identity));
            let (began, requested, is_without) = (Instant::now(), self.term.now(), self.term.is_without());
            let is_held = self.term.is_of_lease();
            let attempt = if is_held { self.renew(&mut seen).await } else { self.look(&mut seen).await };
            pause = match attempt {
                Ok(Step::Held) => {
                    if !is_held {
                        info!(lease = %self.object, "this operator can have the Lease now, and holds it");
                    }
                    (seen, trouble) = (None, Trouble::default());
                    RENEW
                }
                Ok(Step::Refused(who)) => {
                    self.term.end();
                    self.progress.waits();
                    self.lost.send_replace(Some(Refused::Lost(who)));
                    return std::future::pending().await;
                }
                Ok(Step::Wait) if is_without => LOOK,
                Ok(Step::Wait) => self.waits(&mut trouble),
                // If the API server does not answer, another one may take the Lease meanwhile: it is as if it could not be renewed.
                Err(failed) if is_without => {
                    if failed.is_refusal {
                        self.term.go_without(requested, TERM - MARGIN);
                    }
                    RENEW
                }
                Err(failed) => self.failed(&failed, &mut trouble, began),
            };
        }
    }

    /// Returns the pause before it is looked again whether the holder lives.
    fn waits(&self, trouble: &mut Trouble) -> Duration {
        trouble.is_over();
        self.progress.is_unready("held by another operator");
        LOOK
    }

    /// Says why an attempt failed, and goes on without the Lease if it is refused. Returns the pause before the next attempt.
    fn failed(&self, failed: &Failed, trouble: &mut Trouble, began: Instant) -> Duration {
        let error = &failed.error;
        if trouble.note(failed, began) {
            self.go_without(error);
            return AGAIN;
        }
        if error.is_conflict() {
            return CHANGED;
        }
        self.progress.is_unready(error.outline());
        if trouble.warns() {
            warn!(%error, lease = %self.object, "the Lease cannot be had{}", hint(error));
        }
        AGAIN
    }

    /// Revocations go on, whatever keeps the Lease away.
    fn go_without(&self, error: &Error) {
        error!(
            %error, lease = %self.object,
            "this operator goes on WITHOUT its Lease, which the API server refuses: see to it that no other one runs against this cluster{}",
            hint(error)
        );
        *lock(&self.version) = None;
        self.term.go_without(self.term.now(), TERM - MARGIN);
        self.metrics.without_lease(true);
        self.progress.notes(Some("the API server refuses it; this operator goes on without it"));
        self.progress.is_ready();
    }

    /// Renews once. If that fails it is looked at what became of the Lease. Once another one holds it nothing is written any more: this
    /// one was succeeded, or the cluster was restored from a backup in which an earlier operator holds it, as `seen` will show.
    async fn renew(&self, seen: &mut Seen) -> Result<Step, Failed> {
        let requested = self.term.now();
        let version = lock(&self.version).clone();
        let patch = json!({
            "metadata": {"resourceVersion": version},
            "spec": {"holderIdentity": self.holder.identity, "renewTime": record::now()},
        });
        let failed = match self.written("renewing", patch, requested).await {
            Ok(step) => return Ok(step),
            Err(failed) => failed,
        };
        let Some(record) = self.read().await? else { return self.create().await };
        if record.holder.as_ref() == Some(&self.holder.identity) {
            lock(&self.version).clone_from(&record.version);
            return Err(failed);
        }
        self.term.end();
        warn!(
            holder = self.described(&record),
            "this operator no longer holds the Lease; it writes nothing without it"
        );
        self.judge(record, seen).await
    }

    /// Waits until another operator took the Lease.
    pub async fn lost(&self) -> Refused {
        let mut lost = self.lost.subscribe();
        match lost.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(refused)) => refused.clone(),
            // The sender is part of this value, and it is waited for a value.
            _ => std::future::pending().await,
        }
    }

    /// Gives the Lease back, so that the next operator need not wait. Ends the term.
    pub async fn release(&self) {
        self.term.end();
        let Some(version) = lock(&self.version).take() else { return };
        let patch = json!({
            "metadata": {"resourceVersion": version, "annotations": {record::ANNOTATION: null}},
            "spec": {"holderIdentity": null, "renewTime": record::now()},
        });
        let object = &self.object;
        match timeout(REQUEST, self.cluster.merge("releasing", object, patch)).await {
            Ok(Ok(_)) => debug!(lease = %object, "released"),
            Ok(Err(error)) => debug!(%error, "the Lease was not released; it ends by itself"),
            Err(_) => debug!("the Lease was not released in time; it ends by itself"),
        }
    }

    async fn create(&self) -> Result<Step, Failed> {
        let (requested, object) = (self.term.now(), &self.object);
        let value = json!({
            "apiVersion": object.resource.api_version, "kind": object.resource.kind,
            "metadata": {
                "name": object.name.name, "namespace": object.name.namespace, "annotations": self.annotations(),
            },
            "spec": self.spec(0),
        });
        let create = || within(object, self.cluster.create(object, value.clone()));
        let created = match create().await {
            Err(error) if error.is_missing_namespace() && self.creates_namespace => {
                info!("the cluster lacks the namespace {NAMESPACE}, which is that of the Lease; creating it");
                let created = within(object, self.cluster.create_namespace(NAMESPACE)).await;
                created.or_else(|error| if error.is_conflict() { Ok(()) } else { Err(Failed::unwritten(error)) })?;
                create().await
            }
            created => created,
        };
        Ok(self.held(created.map_err(Failed::unwritten)?.metadata.resource_version, requested))
    }

    /// Takes the Lease from its last holder, unless it was changed meanwhile.
    async fn take(&self, record: &Record) -> Result<Step, Failed> {
        let requested = self.term.now();
        let patch = json!({
            "metadata": {"resourceVersion": record.version, "annotations": self.annotations()},
            "spec": self.spec(record.transitions.saturating_add(1)),
        });
        self.written("taking", patch, requested).await
    }

    async fn written(&self, doing: &str, patch: Value, requested: Moment) -> Result<Step, Failed> {
        let object = &self.object;
        let written = within(object, self.cluster.merge(doing, object, patch)).await.map_err(Failed::unwritten)?;
        Ok(self.held(written.metadata.resource_version, requested))
    }

    fn held(&self, version: Option<String>, requested: Moment) -> Step {
        *lock(&self.version) = version;
        self.term.begin(requested, TERM - MARGIN);
        self.metrics.without_lease(false);
        self.progress.notes(None);
        self.progress.is_ready();
        Step::Held
    }

    async fn read(&self) -> Result<Option<Record>, Failed> {
        let object = &self.object;
        let read = within(object, self.cluster.read(object)).await.map_err(Failed::unread)?;
        Ok(read.map(|lease| Record::new(&lease)))
    }

    async fn liveness(&self, record: &Record) -> Liveness {
        let Some(holder) = record.facts.as_ref() else { return Liveness::Unknown };
        timeout(REQUEST, liveness(&self.cluster, holder, &self.holder)).await.unwrap_or(Liveness::Unknown)
    }

    fn annotations(&self) -> Value {
        json!({record::ANNOTATION: json!(self.holder).to_string()})
    }

    fn spec(&self, transitions: i32) -> Value {
        let now = record::now();
        json!({
            "holderIdentity": self.holder.identity, "leaseDurationSeconds": TERM.as_secs(), "acquireTime": now,
            "renewTime": now, "leaseTransitions": transitions,
        })
    }

    /// Who holds the Lease, for people.
    fn described(&self, record: &Record) -> String {
        let who = match (&record.facts, &record.holder) {
            (Some(facts), _) => facts.to_string(),
            (None, Some(identity)) => identity.clone(),
            (None, None) => "nobody".to_owned(),
        };
        let since = record.acquired.as_deref().unwrap_or("an unknown time");
        format!("{who}, since {since} ({})", self.object)
    }
}

/// What was first seen of the holder of the Lease, and when.
type Seen = Option<(Record, Instant)>;

/// What became of an attempt.
#[derive(Debug)]
enum Step {
    Held,
    /// Another one holds it, and lives or may.
    Refused(String),
    /// It is not known yet whether the holder lives.
    Wait,
}

async fn within<T>(object: &ObjectRef, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let late = |_| Error::Timeout { doing: format!("asking for {object}"), after: REQUEST };
    timeout(REQUEST, request).await.map_err(late)?
}

#[cfg(test)]
mod tests;
