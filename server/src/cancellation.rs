//! Cancellation of a call by its caller, and the calls that can be cancelled.
//!
//! A call is cancelled by the identity that made it, and within its session alone: whoever guesses ids cancels nothing of others.

use std::{
    collections::{HashMap, hash_map},
    future::poll_fn,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::Poll,
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use portcullis_crds::schema::Number;

use crate::fingerprint::Fingerprint;

const SHARDS: usize = 16;

/// Whether a call was cancelled. A call that ends without having waited takes no memory for it.
#[derive(Debug)]
pub struct Cancellation(Option<OnceLock<Arc<Canceller>>>);

/// Cancels the call that has the [`Cancellation`] of the same pair.
#[derive(Debug, Default)]
pub struct Canceller {
    is_cancelled: AtomicBool,
    /// The call, if it waits where it can be cancelled.
    call: AtomicWaker,
}

impl Cancellation {
    /// For a call that its caller cannot cancel.
    pub const fn never() -> Self {
        Self(None)
    }

    /// For a call that can be cancelled while it is [registered](WaitingCalls::register).
    pub const fn once_registered() -> Self {
        Self(Some(OnceLock::new()))
    }

    /// For a call that is cancelled by the other one of the pair.
    pub fn pair() -> (Arc<Canceller>, Self) {
        let canceller = Arc::<Canceller>::default();
        (canceller.clone(), Self(Some(canceller.into())))
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().and_then(OnceLock::get).is_some_and(|canceller| canceller.is_cancelled.load(SeqCst))
    }

    /// Waits until the call is cancelled. Only the call itself waits for it, and once at a time.
    pub async fn cancelled(&self) {
        let Some(canceller) = self.canceller() else { return std::future::pending().await };
        poll_fn(|cx| {
            // Before the look, so that no cancellation is missed.
            canceller.call.register(cx.waker());
            if canceller.is_cancelled.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn canceller(&self) -> Option<&Arc<Canceller>> {
        self.0.as_ref().map(|canceller| canceller.get_or_init(Arc::default))
    }
}

impl Canceller {
    pub fn cancel(&self) {
        self.is_cancelled.store(true, SeqCst);
        self.call.wake();
    }
}

/// The id of a request, as the JSON value that it is: `1` is `1.0`, and is not `"1"`.
#[derive(Clone, Debug, PartialEq)]
pub enum RequestId {
    Text(Box<str>),
    Number(Number),
}

/// What distinguishes the session ids of this server from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionNumber(pub [u8; 16]);

/// The calls that wait and that their callers may cancel. There are no more of them than calls in flight.
#[derive(Default)]
pub struct WaitingCalls([Mutex<HashMap<Fingerprint, Vec<WaitingCall>>>; SHARDS]);

struct WaitingCall {
    session: Option<SessionNumber>,
    id: RequestId,
    canceller: Arc<Canceller>,
}

/// A call that can be cancelled until this is dropped.
#[must_use = "the call can be cancelled only while this is held"]
pub struct Registered<'a> {
    calls: &'a WaitingCalls,
    identity: Fingerprint,
    canceller: Arc<Canceller>,
}

impl WaitingCalls {
    /// Lets the caller of a call cancel it; `None` if it never can.
    pub fn register(
        &self,
        identity: Fingerprint,
        session: Option<SessionNumber>,
        id: RequestId,
        cancellation: &Cancellation,
    ) -> Option<Registered<'_>> {
        let canceller = cancellation.canceller()?;
        let call = WaitingCall { session, id, canceller: canceller.clone() };
        self.0[identity.shard(SHARDS)].lock().entry(identity).or_default().push(call);
        Some(Registered { calls: self, identity, canceller: canceller.clone() })
    }

    /// Cancels the request of an identity that has this id in its session. Without a session nobody knows whose ids they are (agents
    /// that share a key may all count from 1), so that it is cancelled only if it is the only one of its identity with this id.
    pub fn cancel(&self, identity: Fingerprint, session: Option<SessionNumber>, id: &RequestId) {
        let shard = self.0[identity.shard(SHARDS)].lock();
        let mut found = shard.get(&identity).into_iter().flatten().filter(|call| call.id == *id);
        if session.is_some() {
            found.filter(|call| call.session == session).for_each(|call| call.canceller.cancel());
        } else if let (Some(only), None) = (found.next(), found.next())
            && only.session.is_none()
        {
            only.canceller.cancel();
        }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|shard| shard.lock().is_empty())
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut shard = self.calls.0[self.identity.shard(SHARDS)].lock();
        let hash_map::Entry::Occupied(mut calls) = shard.entry(self.identity) else { return };
        calls.get_mut().retain(|call| !Arc::ptr_eq(&call.canceller, &self.canceller));
        if calls.get().is_empty() {
            calls.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_call_is_cancelled_by_its_canceller_alone() {
        let (canceller, cancellation) = Cancellation::pair();
        assert_eq!((cancellation.cancelled().now_or_never(), cancellation.is_cancelled()), (None, false));
        canceller.cancel();
        drop(canceller);
        cancellation.cancelled().await;
        assert!(cancellation.is_cancelled());
        let (canceller, cancellation) = Cancellation::pair();
        drop(canceller);
        assert_eq!(cancellation.cancelled().now_or_never(), None);
        for cancellation in [Cancellation::never(), Cancellation::once_registered()] {
            assert_eq!((cancellation.cancelled().now_or_never(), cancellation.is_cancelled()), (None, false));
        }
    }

    #[tokio::test]
    async fn a_call_that_waits_is_woken() {
        let (canceller, cancellation) = Cancellation::pair();
        let waiting = tokio::spawn(async move { cancellation.cancelled().await });
        tokio::task::yield_now().await;
        canceller.cancel();
        waiting.await.unwrap();
    }

    /// A call of the identity `one` in `session` with this id.
    fn registered<'a>(
        calls: &'a WaitingCalls,
        session: Option<u8>,
        id: &RequestId,
    ) -> (Cancellation, Option<Registered<'a>>) {
        let cancellation = Cancellation::once_registered();
        let registered = calls.register(one(), session.map(number), id.clone(), &cancellation);
        (cancellation, registered)
    }

    fn one() -> Fingerprint {
        Fingerprint::of(&["one"])
    }

    fn number(n: u8) -> SessionNumber {
        SessionNumber([n; 16])
    }

    fn text(text: &str) -> RequestId {
        RequestId::Text(text.into())
    }

    #[test]
    fn a_call_is_cancelled_by_its_identity_its_session_and_its_id_together() {
        let integer = RequestId::Number(Number::Integer(1));
        let other = Fingerprint::of(&["other"]);
        for (identity, of_call, of_notification, id, is_cancelled) in [
            (one(), Some(7), Some(7), text("1"), true),
            (one(), None, None, text("1"), true),
            (other, Some(7), Some(7), text("1"), false),
            (other, None, None, text("1"), false),
            (one(), Some(7), Some(8), text("1"), false),
            (one(), Some(7), None, text("1"), false),
            (one(), None, Some(7), text("1"), false),
            (one(), Some(7), Some(7), text("2"), false),
            (one(), Some(7), Some(7), integer.clone(), false),
        ] {
            let calls = WaitingCalls::default();
            let (cancellation, registered) = registered(&calls, of_call, &text("1"));
            calls.cancel(identity, of_notification.map(number), &id);
            assert_eq!(cancellation.is_cancelled(), is_cancelled, "{of_call:?} {of_notification:?} {id:?}");
            assert!(!calls.is_empty());
            drop(registered);
            assert!(calls.is_empty());
        }
    }

    #[test]
    fn without_a_session_an_id_that_several_calls_have_cancels_none_of_them() {
        for other in [None, Some(7)] {
            let calls = WaitingCalls::default();
            let (first, _registered) = registered(&calls, None, &text("1"));
            let (second, again) = registered(&calls, other, &text("1"));
            calls.cancel(one(), None, &text("1"));
            assert!(!first.is_cancelled() && !second.is_cancelled());
            drop(again);
            calls.cancel(one(), None, &text("1"));
            assert!(first.is_cancelled() && !second.is_cancelled());
        }
    }

    #[test]
    fn a_call_that_cannot_be_cancelled_is_not_registered() {
        let calls = WaitingCalls::default();
        assert!(calls.register(one(), None, text("1"), &Cancellation::never()).is_none());
        assert!(calls.is_empty());
    }
}
