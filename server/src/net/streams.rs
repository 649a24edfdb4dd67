//! The streams of HTTP/2, each of which is a task that can be given up.

use std::{
    future::Future,
    sync::{Arc, Weak},
};

use futures::future::{AbortHandle, Abortable};
use hyper::rt::Executor;

tokio::task_local! {
    static OWN: Arc<AbortHandle>;
}

/// Runs the streams of HTTP/2. A stream whose peer opens no window is not asked for more, so that its answer cannot end it: it is
/// reset by dropping it.
#[derive(Clone, Copy)]
pub(super) struct Streams;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let (handle, registration) = AbortHandle::new_pair();
        tokio::spawn(OWN.scope(handle.into(), Abortable::new(stream, registration)));
    }
}

/// What gives up the stream that is running, until its task has ended; nothing on HTTP/1.
pub(super) fn own() -> Weak<AbortHandle> {
    OWN.try_with(Arc::downgrade).unwrap_or_default()
}
