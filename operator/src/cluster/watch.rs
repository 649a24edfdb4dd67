//! Keeps one store up to date with the cluster, for as long as the operator runs.
//!
//! Whatever fails is tried again after a growing pause. Meanwhile the store keeps what it has: an error is never an empty
//! list.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    core::{ApiResource, DynamicObject},
    runtime::watcher::{self, Event, watcher},
};
use tracing::{debug, warn};

use super::{
    backoff::Backoff,
    client::{Cluster, WATCH},
    error::message,
    presence::Presence,
    scope::Scope,
    store::{Change, Store, Stored},
};

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

impl Watch {
    /// Feeds `store` for ever; `changed` is called with each change after it is in the store. What `view` refuses is left out.
    pub async fn run<V: Stored>(
        self,
        store: Arc<Store<V>>,
        view: impl Fn(DynamicObject) -> Option<V>,
        changed: impl Fn(Change<V>),
    ) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            if let Some(presence) = &self.presence {
                presence.served().await;
            }
            let error = self.until_lost(&store, &view, &changed, &mut backoff).await;
            let pause = backoff.next_pause();
            let resource = &self.resource.plural;
            if self.presence.is_some() && status_code(&error) == Some(404) {
                debug!(resource, "the cluster no longer has the kind");
                store.replace(&self.scope, Vec::new()).into_iter().for_each(&changed);
            } else {
                let (error, hint) = (error_message(&error), hint(&error));
                warn!(resource, error, retry_in = ?pause, "cannot watch {resource}{hint}");
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Lists and watches until only a new list helps.
    ///
    /// kube-runtime lists again only if a running watch reports 410. If a watch *starts* with it, or fails again and again, it
    /// would ask for the same version for ever. So each such error ends this, and the next round begins with a list.
    async fn until_lost<V: Stored>(
        &self,
        store: &Store<V>,
        view: &impl Fn(DynamicObject) -> Option<V>,
        changed: &impl Fn(Change<V>),
        backoff: &mut Backoff,
    ) -> watcher::Error {
        let label_selector = self.label_selector.clone();
        let config = watcher::Config { label_selector, timeout: Some(WATCH), ..watcher::Config::default() };
        let mut events = watcher(self.cluster.api_of(&self.resource, &self.scope), config).boxed();
        let mut list = Vec::new();
        loop {
            let event = match events.next().await {
                Some(Ok(event)) => event,
                // A stream that broke is resumed: its resourceVersion is valid until the start of a watch is refused.
                Some(Err(error @ (watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_)))) => {
                    debug!(
                        resource = self.resource.plural,
                        error = error_message(&error),
                        "the watch broke; it is resumed"
                    );
                    tokio::time::sleep(backoff.next_pause()).await;
                    continue;
                }
                Some(Err(error)) => return error,
                None => return watcher::Error::NoResourceVersion,
            };
            match event {
                Event::Init => list.clear(),
                Event::InitApply(object) => list.extend(view(object)),
                Event::InitDone => {
                    backoff.reset();
                    store.replace(&self.scope, std::mem::take(&mut list)).into_iter().for_each(changed);
                }
                Event::Apply(object) => {
                    backoff.reset();
                    view(object).and_then(|object| store.update(object)).into_iter().for_each(changed);
                }
                Event::Delete(object) => {
                    view(object).and_then(|object| store.remove(&object)).into_iter().for_each(changed);
                }
            }
        }
    }
}

/// The API server's own message, if it sent one.
fn error_message(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => message(error),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// The HTTP status that refused a list, or the start of a watch.
fn status_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}

/// What a person can do about it.
fn hint(error: &watcher::Error) -> &'static str {
    match status_code(error) {
        Some(404) => {
            ": its CustomResourceDefinition is missing; install it with `portcullis-operator crds | kubectl apply --server-side -f -`"
        }
        Some(403) => ": the operator's account lacks the right; see operator/rbac.yaml",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
