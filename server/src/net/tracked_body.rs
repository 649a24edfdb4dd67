//! The body of a response while it is sent: its request is in flight until its end.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{
    ResponseBody,
    activity::{RequestInFlight, TooMuchUnread},
};

/// Bytes of an answer that HTTP/2 is given at once, and holds back at most.
pub(super) const PIECE: usize = 16 * 1024;

/// A response body and its request.
///
/// On HTTP/2 the body is sent in pieces, so that its progress can be observed: hyper asks for a piece only when the peer's windows
/// are open for everything before it. A whole body ends with a piece of one byte; when hyper asks for it, the peer has taken the
/// rest. A stream waits for its peer only from a message until hyper asks for the next one.
pub(super) struct TrackedBody {
    body: ResponseBody,
    /// What is left of the last frame.
    rest: Bytes,
    request: RequestInFlight,
    /// Bytes that may wait for the peer on the connection.
    most_unread: u64,
}

impl TrackedBody {
    /// # Errors
    /// Returns an error if the peer would leave more than `most_unread` bytes of this and other answers unread.
    pub(super) fn new(
        mut body: ResponseBody,
        mut request: RequestInFlight,
        most_unread: u64,
    ) -> Result<Self, TooMuchUnread> {
        body.attach(&request.activity);
        if request.is_http2 && !body.is_stream() {
            request.wait(body.size_hint().lower(), most_unread)?;
        }
        Ok(Self { body, rest: Bytes::new(), request, most_unread })
    }

    /// The next frame of the body becomes the rest. Returns whether there is one.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TooMuchUnread>> {
        let is_stream = self.body.is_stream();
        if is_stream {
            self.request.taken();
        }
        let Some(Ok(frame)) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(Ok(false)) };
        self.rest = frame.into_data().unwrap_or_default();
        if is_stream {
            self.request.wait(self.rest.len() as u64, self.most_unread)?;
        }
        Poll::Ready(Ok(true))
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = TooMuchUnread;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TooMuchUnread>>> {
        let this = &mut *self;
        if !this.request.is_http2 {
            return Pin::new(&mut this.body).poll_frame(cx).map_err(|never| match never {});
        }
        if this.rest.is_empty() && !ready!(this.poll_rest(cx))? {
            return Poll::Ready(None);
        }
        this.request.progress();
        let length = match this.rest.len() {
            length @ 2..=PIECE if !this.body.is_stream() => length - 1,
            length => length.min(PIECE),
        };
        // Copied, so that a piece which hyper still holds keeps no more memory than its own.
        let piece = Bytes::copy_from_slice(&this.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole.set_lower(hint.lower() + rest);
        whole
    }
}
