//! Keeps one store up to date with the cluster, for as long as the operator runs.
//!
//! Whatever fails is tried again after a growing pause. Meanwhile the store keeps what it has: an error is never an empty
//! list.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::AsyncBufReadExt;
use kube::{
    api::{ListParams, WatchParams},
    core::{ApiResource, Status, request},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{debug, error, warn};

use super::{
    client::{Cluster, SILENCE, WATCH, requests_in},
    error::{message, outline},
    presence::Presence,
    received::ReceivedObject,
    scope::Scope,
    store::{Change, Store, Stored},
};
use crate::{
    backoff::Backoff,
    metrics::{self, ApiVerb, Task, WatchRestart},
    supervise::{Progress, Supervisor, TaskName, caught_call},
};

/// How many objects are requested at once.
const PAGE: u32 = 500;
/// A watch that ends earlier than this did not end by its time.
const ON_TIME: Duration = Duration::from_secs(WATCH as u64 - 1);
/// A watch of which nothing was heard for this long is stuck: no request of it may take half as long.
const STUCK: Duration = Duration::from_secs(2 * SILENCE.as_secs() + 30);
/// After a watch that lasted this long the next one begins with little delay.
const RELIABLE: Duration = Duration::from_secs(5);

/// What to watch.
#[derive(Clone)]
pub struct Watch {
    pub cluster: Cluster,
    pub resource: ApiResource,
    pub scope: Scope,
    pub label_selector: Option<String>,
    /// Whether the cluster has the kind, if it may lack it.
    pub presence: Option<Arc<Presence>>,
    progress: Progress,
}

/// One page of a list, whose objects are not read yet.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// One event of a watch (Kubernetes API, WatchEvent), whose object is not read yet.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// Why only a new list helps.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("{}", message(.0))]
    Api(#[from] kube::Error),
    #[error("the connection broke: {0}")]
    Broken(#[from] std::io::Error),
    #[error("the API server ended the watch early")]
    EndedEarly,
    #[error("the resourceVersions went backwards: the cluster was restored")]
    Restored,
    #[error("the API server does not answer")]
    Silent(#[from] tokio::time::error::Elapsed),
    #[error("the answer is not one of the API: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl Lost {
    /// The same without the words of others.
    fn outline(&self) -> &'static str {
        match self {
            Self::Api(error) => outline(error),
            Self::Broken(_) => "the connection broke",
            Self::EndedEarly => "the API server ended the watch early",
            Self::Restored => "the cluster was restored",
            Self::Silent(_) => "the API server does not answer",
            Self::Unreadable(_) => "the answer is not one of the API",
        }
    }

    fn reason(&self) -> WatchRestart {
        match self {
            Self::Api(_) => WatchRestart::Refused,
            Self::Broken(_) | Self::EndedEarly | Self::Silent(_) => WatchRestart::Broken,
            Self::Restored => WatchRestart::Restored,
            Self::Unreadable(_) => WatchRestart::Unreadable,
        }
    }
}

impl Watch {
    /// A watch of all objects of a kind that every cluster has.
    pub fn new(cluster: &Cluster, supervisor: &Supervisor, resource: ApiResource, scope: Scope) -> Self {
        let progress = supervisor.progress(name(&resource, &scope));
        progress.is_unready("not listed yet");
        Self { cluster: cluster.clone(), resource, scope, label_selector: None, presence: None, progress }
    }

    /// Of those only with this label, if any.
    pub fn of_label(self, label_selector: Option<String>) -> Self {
        Self { label_selector, ..self }
    }

    /// The cluster may lack the kind.
    pub fn if_served(self, presence: Option<Arc<Presence>>) -> Self {
        Self { presence, ..self }
    }

    pub fn name(&self) -> TaskName {
        name(&self.resource, &self.scope)
    }

    /// Feeds `store` for ever; `changed` is called with each change after it is in the store. What `view` refuses is left out. If
    /// this is called again, after a panic, it is unknown which changes were passed on: every object is.
    pub async fn run<V: Stored>(
        self,
        store: Arc<Store<V>>,
        is_again: bool,
        view: impl Fn(ReceivedObject) -> Option<V>,
        changed: impl Fn(Change<V>),
    ) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut is_doubtful = is_again;
        loop {
            if let Some(presence) = &self.presence {
                self.progress.waits();
                self.progress.is_ready();
                presence.served().await;
            }
            let lost = self.until_lost(&store, &view, &changed, &mut is_doubtful, &mut backoff).await;
            let Err(lost) = lost;
            self.progress.is_unready(lost.outline());
            self.cluster.metrics().watch_restarted(metrics::ApiResource::of(&self.resource.plural), lost.reason());
            let pause = backoff.next_pause();
            let resource = &self.resource.plural;
            if self.presence.is_some() && status_code(&lost) == Some(404) {
                debug!(resource, "the cluster no longer has the kind");
                store.replace(&self.scope, store.begin_list(), Vec::new()).into_iter().for_each(&changed);
            } else if lost.reason() == WatchRestart::Broken {
                debug!(resource, error = %lost, "the watch broke; everything is listed again");
            } else {
                warn!(resource, error = %lost, retryIn = ?pause, "cannot watch {resource}{}", hint(&lost));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Lists and watches until only a new list helps.
    ///
    /// A watch is resumed where it ended only if its time was over. After anything else the API server may have another history
    /// than before: after etcd was restored, it would silently wait until the versions reach the one that it is asked for.
    async fn until_lost<V: Stored>(
        &self,
        store: &Store<V>,
        view: &impl Fn(ReceivedObject) -> Option<V>,
        changed: &impl Fn(Change<V>),
        is_doubtful: &mut bool,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, Lost> {
        let start = store.begin_list();
        let (version, list) = self.list().await?;
        let list = list.into_iter().filter_map(|object| self.viewed(view, object)).collect();
        store.replace(&self.scope, start, list).into_iter().for_each(changed);
        if std::mem::take(is_doubtful) {
            let all = store.all().into_iter().filter(|object| self.scope.contains(&object.namespaced_name()));
            all.for_each(|object| changed(Change { old: None, new: Some(object) }));
        }
        #[cfg(test)]
        crate::supervise::faults::point(&self.name().to_string());
        let mut position = Position::new(version);
        loop {
            let started = Instant::now();
            let ended = self.follow(&mut position, store, view, changed).await;
            if started.elapsed() > RELIABLE {
                backoff.reset();
            }
            ended?;
            if started.elapsed() < ON_TIME {
                return Err(Lost::EndedEarly);
            }
            position.advance(self.current_version().await?.as_deref())?;
        }
    }

    /// All objects, and the version of the list.
    async fn list(&self) -> Result<(String, Vec<ReceivedObject>), Lost> {
        let requests = requests_in(&self.resource, &self.scope);
        let mut parameters = ListParams { label_selector: self.label_selector.clone(), ..ListParams::default() };
        parameters.limit = Some(PAGE);
        let mut objects = Vec::new();
        loop {
            let text = self.text(requests.list(&parameters)).await?;
            let Page { metadata, items } = serde_json::from_str(&text)?;
            objects.extend(items.into_iter().flatten().filter_map(|item| self.received(item)));
            match metadata.next.filter(|next| !next.is_empty()) {
                Some(next) => parameters.continue_token = Some(next),
                None => return Ok((metadata.resource_version.unwrap_or_default(), objects)),
            }
        }
    }

    /// The version that the cluster is at.
    async fn current_version(&self) -> Result<Option<String>, Lost> {
        let label_selector = self.label_selector.clone();
        let parameters = ListParams { label_selector, limit: Some(1), ..ListParams::default() };
        let request = requests_in(&self.resource, &self.scope).list_metadata(&parameters);
        let text = self.text(request).await?;
        let Page { metadata, .. } = serde_json::from_str(&text)?;
        Ok(metadata.resource_version)
    }

    /// Watches from a position on, until the time of the watch is over.
    async fn follow<V: Stored>(
        &self,
        position: &mut Position,
        store: &Store<V>,
        view: &impl Fn(ReceivedObject) -> Option<V>,
        changed: &impl Fn(Change<V>),
    ) -> Result<(), Lost> {
        let label_selector = self.label_selector.clone();
        let parameters =
            WatchParams { label_selector, timeout: Some(WATCH), bookmarks: true, ..WatchParams::default() };
        let requests = requests_in(&self.resource, &self.scope);
        let request = requests.watch(&parameters, &position.version);
        self.progress.within(STUCK);
        let lines = self.cluster.lines(&self.resource.plural, request);
        let mut lines = tokio::time::timeout(SILENCE, lines).await??;
        self.progress.is_ready();
        let mut line = String::new();
        loop {
            line.clear();
            self.progress.within(STUCK);
            if lines.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let Event { kind, object } = serde_json::from_str(&line)?;
            if kind == "ERROR" {
                let status: Status = serde_json::from_str(object.get()).unwrap_or_default();
                return Err(kube::Error::Api(status.boxed()).into());
            }
            let Some(received) = self.received(object) else { continue };
            position.advance(received.metadata.resource_version.as_deref())?;
            match kind {
                "ADDED" | "MODIFIED" => {
                    self.viewed(view, received).and_then(|object| store.event(object)).into_iter().for_each(changed);
                }
                "DELETED" => {
                    let object = self.viewed(view, received);
                    object.and_then(|object| store.remove(&object)).into_iter().for_each(changed);
                }
                // A bookmark carries a version only.
                _ => {}
            }
        }
    }

    /// The answer to a list.
    async fn text(&self, request: Result<http::Request<Vec<u8>>, request::Error>) -> Result<String, Lost> {
        self.progress.within(STUCK);
        let text = self.cluster.text(ApiVerb::List, &self.resource.plural, request);
        Ok(tokio::time::timeout(SILENCE, text).await??)
    }

    fn received(&self, object: &RawValue) -> Option<ReceivedObject> {
        let received = ReceivedObject::parse(object.get());
        let report = |error: &serde_json::Error| {
            self.skip();
            warn!(resource = self.resource.plural, %error, "an object has no metadata");
        };
        received.inspect_err(report).ok()
    }

    /// What is kept of an object. If that panics it concerns this object only, which is left out.
    fn viewed<V>(&self, view: &impl Fn(ReceivedObject) -> Option<V>, received: ReceivedObject) -> Option<V> {
        let (namespace, name) = (received.metadata.namespace.clone(), received.metadata.name.clone());
        let viewed = caught_call(|| {
            #[cfg(test)]
            crate::supervise::faults::point(&format!("view of {}", name.as_deref().unwrap_or_default()));
            view(received)
        });
        let viewed = viewed.unwrap_or_else(|why| {
            error!(
                resource = self.resource.plural,
                namespace,
                name,
                error = why,
                "an object cannot be read; it is left out"
            );
            self.cluster.metrics().restarted(Task::Change);
            None
        });
        if viewed.is_none() {
            self.skip();
        }
        viewed
    }

    fn skip(&self) {
        self.cluster.metrics().skipped(metrics::ApiResource::of(&self.resource.plural));
    }
}

fn name(resource: &ApiResource, scope: &Scope) -> TaskName {
    let of = match scope {
        Scope::All => resource.plural.clone(),
        Scope::Namespace(namespace) => format!("{} in {namespace}", resource.plural),
    };
    TaskName::new(Task::Watch, of)
}

/// The version from which a watch goes on.
struct Position {
    version: String,
}

impl Position {
    fn new(version: String) -> Self {
        Self { version }
    }

    /// Moves on to the version of an event. Versions are numbers that grow (Kubernetes API concepts, "Resource versions").
    fn advance(&mut self, version: Option<&str>) -> Result<(), Lost> {
        let number = |version: &str| version.parse::<u64>().unwrap_or_default();
        let Some(version) = version else { return Ok(()) };
        if number(version) < number(&self.version) {
            return Err(Lost::Restored);
        }
        version.clone_into(&mut self.version);
        Ok(())
    }
}

/// The HTTP status that refused a list, or the start of a watch.
fn status_code(lost: &Lost) -> Option<u16> {
    match lost {
        Lost::Api(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// What a person can do about it.
fn hint(lost: &Lost) -> &'static str {
    match status_code(lost) {
        Some(404) => {
            ": its CustomResourceDefinition is missing; install it with `portcullis-operator crds | kubectl apply --server-side --force-conflicts -f -`"
        }
        Some(403) => ": the operator's account lacks the right; `portcullis-operator rbac` prints what it needs",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
