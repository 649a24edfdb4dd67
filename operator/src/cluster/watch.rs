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
    core::{ApiResource, Status},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::{debug, warn};

use super::{
    backoff::Backoff,
    client::{Cluster, WATCH, requests_in},
    error::message,
    presence::Presence,
    received::ReceivedObject,
    scope::Scope,
    store::{Change, Store, Stored},
};

/// How many objects are requested at once.
const PAGE: u32 = 500;
/// A watch that ends earlier than this did not end by its time.
const ON_TIME: Duration = Duration::from_secs(WATCH as u64 - 1);
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
    #[error("the answer is not one of the API: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl Watch {
    /// Feeds `store` for ever; `changed` is called with each change after it is in the store. What `view` refuses is left out.
    pub async fn run<V: Stored>(
        self,
        store: Arc<Store<V>>,
        view: impl Fn(ReceivedObject) -> Option<V>,
        changed: impl Fn(Change<V>),
    ) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            if let Some(presence) = &self.presence {
                presence.served().await;
            }
            let Err(lost) = self.until_lost(&store, &view, &changed, &mut backoff).await;
            let pause = backoff.next_pause();
            let resource = &self.resource.plural;
            if self.presence.is_some() && status_code(&lost) == Some(404) {
                debug!(resource, "the cluster no longer has the kind");
                store.replace(&self.scope, store.begin_list(), Vec::new()).into_iter().for_each(&changed);
            } else if matches!(lost, Lost::EndedEarly | Lost::Broken(_)) {
                debug!(resource, %lost, "the watch broke; everything is listed again");
            } else {
                warn!(resource, error = %lost, retry_in = ?pause, "cannot watch {resource}{}", hint(&lost));
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
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, Lost> {
        let start = store.begin_list();
        let (version, list) = self.list().await?;
        store.replace(&self.scope, start, list.into_iter().filter_map(view).collect()).into_iter().for_each(changed);
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
            let text = self.cluster.text(requests.list(&parameters)).await?;
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
        let text = self.cluster.text(request).await?;
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
        let mut lines = self.cluster.lines(requests.watch(&parameters, &position.version)).await?;
        let mut line = String::new();
        loop {
            line.clear();
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
                    view(received).and_then(|object| store.event(object)).into_iter().for_each(changed);
                }
                "DELETED" => view(received).and_then(|object| store.remove(&object)).into_iter().for_each(changed),
                // A bookmark carries a version only.
                _ => {}
            }
        }
    }

    fn received(&self, object: &RawValue) -> Option<ReceivedObject> {
        let received = ReceivedObject::parse(object.get());
        received.inspect_err(|error| warn!(resource = self.resource.plural, %error, "an object has no metadata")).ok()
    }
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
            ": its CustomResourceDefinition is missing; install it with `portcullis-operator crds | kubectl apply --server-side -f -`"
        }
        Some(403) => ": the operator's account lacks the right; see operator/rbac.yaml",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
