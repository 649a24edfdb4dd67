//! How far a call has come at its backend. Until its request was sent it can be withdrawn: then it is never sent. Once the backend
//! has responded with a status, that says what became of the call, even if the rest of the response never comes. It also tells
//! the request whose call it is, because a request is prepared before its call has an id.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::origin::Origin;

// Any other value is the status of the response, which is at least 100.
const WAITS: u16 = 0;
const SENT: u16 = 1;
const WITHDRAWN: u16 = 2;

/// Whether a call waits, was sent or was withdrawn, or with which status the backend responded. Clones share it.
#[derive(Clone, Default)]
pub struct Sent(Arc<State>);

#[derive(Default)]
struct State {
    stage: AtomicU16,
    origin: Mutex<Option<Origin>>,
}

/// The call was withdrawn.
#[derive(Debug, thiserror::Error)]
#[error("the call was withdrawn")]
pub struct Withdrawn;

impl Sent {
    /// Says whose call it is, before it is sent.
    pub fn set_origin(&self, origin: Origin) {
        *self.0.origin.lock() = Some(origin);
    }

    /// Takes what [`Sent::set_origin`] left for the request.
    pub fn take_origin(&self) -> Option<Origin> {
        self.0.origin.lock().take()
    }

    /// Counts the call as sent, unless it was withdrawn; returns whether it may be sent.
    pub fn send(&self) -> bool {
        self.0.stage.compare_exchange(WAITS, SENT, SeqCst, SeqCst) != Err(WITHDRAWN)
    }

    /// Withdraws the call, unless it was sent; returns whether it was not.
    pub fn withdraw(&self) -> bool {
        self.0.stage.compare_exchange(WAITS, WITHDRAWN, SeqCst, SeqCst).is_ok()
    }

    /// The backend responded with this status.
    pub fn responded(&self, status: StatusCode) {
        self.0.stage.store(status.as_u16(), SeqCst);
    }

    /// With which status the backend responded, if it did.
    pub fn status(&self) -> Option<StatusCode> {
        StatusCode::from_u16(self.0.stage.load(SeqCst)).ok()
    }

    /// The body of the request.
    pub fn body(self, body: Bytes) -> SentBody {
        SentBody { body: Full::new(body), sent: self }
    }
}

/// A body that is asked for when its request is written to a connection. If the call was withdrawn, it breaks off before anything
/// of the request is flushed.
pub struct SentBody {
    body: Full<Bytes>,
    sent: Sent,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = Withdrawn;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Withdrawn>>> {
        if !self.sent.send() {
            return Poll::Ready(Some(Err(Withdrawn)));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.sent.send() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.sent.send() { self.body.size_hint() } else { SizeHint::default() }
    }
}
