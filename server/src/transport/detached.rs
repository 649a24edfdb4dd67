//! Calls that go on after their connections.
//!
//! Up to 2025-11-25 a connection that breaks does not cancel a call. A request is answered in the task of its connection, which costs
//! nothing; it is handed to a task of its own only if it is dropped there while its call waits. There it keeps all its bounds: its
//! place among the calls in flight, its timeout, its bytes. A stop waits for it as for any other call.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use parking_lot::Mutex;
use tokio::{runtime::Handle, task::JoinSet};

thread_local! {
    /// Whether the request that was polled last on this thread waits for a call that outlives its connection.
    static OUTLIVES: Cell<bool> = const { Cell::new(false) };
}

/// The calls whose connections are gone. Clones share them.
#[derive(Clone)]
pub struct DetachedCalls(Arc<Mutex<Option<JoinSet<()>>>>);

impl Default for DetachedCalls {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }
}

impl DetachedCalls {
    /// Lets a call go on, unless the server has ended its calls.
    fn run<F: Future<Output: Send> + Send + 'static>(&self, call: Pin<Box<F>>) {
        let Ok(runtime) = Handle::try_current() else { return };
        if let Some(calls) = &mut *self.0.lock() {
            while calls.try_join_next().is_some() {}
            calls.spawn_on(async move { drop(call.await) }, &runtime);
        }
    }

    /// Waits until all have ended, or until `cut_off`: then the rest is dropped. Returns whether all ended by themselves. None is let
    /// go on any more.
    pub async fn end(&self, cut_off: impl Future) -> bool {
        let Some(mut calls) = self.0.lock().take() else { return true };
        let have_ended = tokio::select! {
            biased;
            () = async { while calls.join_next().await.is_some() {} } => true,
            _ = cut_off => false,
        };
        calls.shutdown().await;
        have_ended
    }
}

/// A call was polled that outlives its connection. While it waits, the [`Answering`] that it is part of goes on if it is dropped.
pub(super) fn outliving<T>(polled: Poll<T>) -> Poll<T> {
    OUTLIVES.set(polled.is_pending());
    polled
}

/// The answering of a request.
pub struct Answering<F: Future<Output: Send> + Send + 'static> {
    /// `None` once it was answered.
    answering: Option<Pin<Box<F>>>,
    outlives: bool,
    detached: DetachedCalls,
}

impl<F: Future<Output: Send> + Send + 'static> Answering<F> {
    pub(super) fn new(answering: F, detached: DetachedCalls) -> Self {
        Self { answering: Some(Box::pin(answering)), outlives: false, detached }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for Answering<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // If this poll panics, there is nothing to go on with.
        self.outlives = false;
        OUTLIVES.set(false);
        let answering = self.answering.as_mut().expect("a request must not be polled once it was answered");
        let polled = answering.as_mut().poll(cx);
        if polled.is_ready() {
            self.answering = None;
        } else {
            self.outlives = OUTLIVES.get();
        }
        polled
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Answering<F> {
    fn drop(&mut self) {
        if let Some(answering) = self.answering.take_if(|_| self.outlives) {
            self.detached.run(answering);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn},
        pin::pin,
        time::Duration,
    };

    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    /// A request that waits for a signal, in a call that outlives it or not, and then sends one.
    fn request(
        detached: &DetachedCalls,
        outlives: bool,
    ) -> (Answering<impl Future<Output = ()> + Send + 'static + use<>>, oneshot::Sender<()>, oneshot::Receiver<()>)
    {
        let (go_on, waits) = oneshot::channel();
        let (ended, end) = oneshot::channel();
        let answering = async move {
            tokio::task::yield_now().await;
            let mut waits = pin!(waits);
            let _ = poll_fn(|cx| {
                let polled = waits.as_mut().poll(cx);
                if outlives { outliving(polled) } else { polled }
            })
            .await;
            let _ = ended.send(());
        };
        (Answering::new(answering, detached.clone()), go_on, end)
    }

    async fn begun<F: Future<Output = ()> + Send + 'static>(request: &mut Answering<F>) {
        for _ in 0..2 {
            assert!(futures::poll!(&mut *request).is_pending());
        }
    }

    #[tokio::test]
    async fn a_request_that_is_dropped_goes_on_if_its_call_outlives_it() {
        let detached = DetachedCalls::default();
        for (outlives, is_ended) in [(true, true), (false, false)] {
            let (mut request, go_on, end) = request(&detached, outlives);
            begun(&mut request).await;
            drop(request);
            let _ = go_on.send(());
            assert_eq!(end.await.is_ok(), is_ended, "{outlives}");
        }
        let (mut request, go_on, end) = request(&detached, true);
        assert!(futures::poll!(&mut request).is_pending());
        drop(request);
        drop(go_on);
        assert!(end.await.is_err(), "its call has not begun");
        assert!(detached.end(pending::<()>()).await);
    }

    #[tokio::test]
    async fn a_request_that_was_answered_leaves_nothing() {
        let detached = DetachedCalls::default();
        let (mut request, go_on, end) = request(&detached, true);
        begun(&mut request).await;
        go_on.send(()).unwrap();
        (&mut request).await;
        drop(request);
        assert_eq!(end.now_or_never(), Some(Ok(())));
        assert_eq!(detached.0.lock().as_ref().map(JoinSet::len), Some(0));
    }

    #[tokio::test]
    async fn the_end_waits_for_calls_that_go_on_until_they_are_cut_off() {
        let detached = DetachedCalls::default();
        let (mut request, go_on, end) = request(&detached, true);
        begun(&mut request).await;
        drop(request);
        let (all_ended, ()) = tokio::join!(detached.end(pending::<()>()), async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            go_on.send(()).unwrap();
        });
        assert!(all_ended && end.await.is_ok());
        assert!(detached.end(pending::<()>()).await);

        let detached = DetachedCalls::default();
        let (mut request, _go_on, end) = self::request(&detached, true);
        begun(&mut request).await;
        drop(request);
        assert!(!detached.end(async {}).await);
        assert!(end.now_or_never().expect("its task was dropped").is_err());
        let (mut request, _go_on, end) = self::request(&detached, true);
        begun(&mut request).await;
        drop(request);
        assert!(end.now_or_never().expect("none goes on any more").is_err());
    }

    #[tokio::test]
    async fn calls_that_have_ended_are_forgotten_with_the_next_one() {
        let detached = DetachedCalls::default();
        for _ in 0..10 {
            let (mut request, go_on, end) = request(&detached, true);
            begun(&mut request).await;
            drop(request);
            go_on.send(()).unwrap();
            end.await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(detached.0.lock().as_ref().is_some_and(|calls| calls.len() <= 2));
    }
}
