//! Whether the request of a call was sent. Until then the call can be withdrawn: then it is never sent.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

const WAITS: u8 = 0;
const SENT: u8 = 1;
const WITHDRAWN: u8 = 2;

/// Whether a call waits, was sent or was withdrawn. Clones share it.
#[derive(Clone, Default)]
pub struct Sent(Arc<AtomicU8>);

/// The call was withdrawn.
#[derive(Debug, thiserror::Error)]
#[error("the call was withdrawn")]
pub struct Withdrawn;

impl Sent {
    /// Counts the call as sent, unless it was withdrawn; returns whether it may be sent.
    pub fn send(&self) -> bool {
        self.0.compare_exchange(WAITS, SENT, SeqCst, SeqCst) != Err(WITHDRAWN)
    }

    /// Withdraws the call, unless it was sent; returns whether it was not.
    pub fn withdraw(&self) -> bool {
        self.0.compare_exchange(WAITS, WITHDRAWN, SeqCst, SeqCst).is_ok()
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
