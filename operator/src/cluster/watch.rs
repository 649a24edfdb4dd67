//! Keeps one store like the cluster, for as long as the operator runs.
//!
//! Whatever goes wrong is tried again with a growing pause, and meanwhile the store keeps what it has: an error is never an
//! empty list.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use kube::{
    Api,
    core::DynamicObject,
    runtime::watcher::{self, Event, watcher},
};
use tracing::{debug, warn};

use super::{
    backoff::Backoff,
    error::plain,
    store::{Change, Store, Stored},
};

/// After so many seconds the API server ends a watch, and it is taken up where it was.
pub const LASTS: u32 = 60;

/// What to watch.
#[derive(Clone, Debug)]
pub struct Watch {
    pub api: Api<DynamicObject>,
    /// The plural, for the log.
    pub resource: &'static str,
    pub label_selector: Option<String>,
}

impl Watch {
    /// Feeds `store` for ever; `changed` hears of each change after the store has it.
    pub async fn run<V: Stored>(
        self,
        store: Arc<Store<V>>,
        view: impl Fn(DynamicObject) -> Option<V>,
        changed: impl Fn(Change<V>),
    ) {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        loop {
            let error = self.until_lost(&store, &view, &changed, &mut backoff).await;
            let pause = backoff.next_pause();
            let (error, hint) = (said(&error), hint(&error));
            warn!(resource = self.resource, error, retry_in = ?pause, "cannot watch {}{hint}", self.resource);
            tokio::time::sleep(pause).await;
        }
    }

    /// Lists and watches until the list is worth nothing any more.
    ///
    /// kube-runtime lists again only where a running watch says 410; where a watch *starts* with it, or fails again and
    /// again, it would ask for the same version for ever. So each such error ends this, and the next round begins with a list.
    async fn until_lost<V: Stored>(
        &self,
        store: &Store<V>,
        view: &impl Fn(DynamicObject) -> Option<V>,
        changed: &impl Fn(Change<V>),
        backoff: &mut Backoff,
    ) -> watcher::Error {
        let selector = self.label_selector.clone();
        let config = watcher::Config { label_selector: selector, timeout: Some(LASTS), ..watcher::Config::default() };
        let mut events = watcher(self.api.clone(), config).boxed();
        let mut list = Vec::new();
        loop {
            let event = match events.next().await {
                Some(Ok(event)) => event,
                // A stream that broke is taken up where it was; the version is known to be good until a start is refused.
                Some(Err(error @ (watcher::Error::WatchFailed(_) | watcher::Error::WatchError(_)))) => {
                    debug!(resource = self.resource, error = said(&error), "the watch broke; it goes on");
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
                    store.replace(std::mem::take(&mut list)).into_iter().for_each(changed);
                }
                Event::Apply(object) => {
                    backoff.reset();
                    view(object).and_then(|object| store.see(object)).into_iter().for_each(changed);
                }
                Event::Delete(object) => {
                    view(object).and_then(|object| store.remove(&object)).into_iter().for_each(changed);
                }
            }
        }
    }
}

/// What went wrong, in the API server's words where it had any.
fn said(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => plain(error),
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}

/// What a person can do about it.
fn hint(error: &watcher::Error) -> &'static str {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return "";
    };
    match status.code {
        404 => {
            ": its CustomResourceDefinition is missing; `portcullis-operator crds | kubectl apply --server-side -f -` installs it"
        }
        403 => ": the operator's account may not; see operator/rbac.yaml",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
