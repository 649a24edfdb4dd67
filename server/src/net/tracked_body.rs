//! The body of a response while it is sent: its request is in flight until its end.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{ResponseBody, activity::RequestInFlight};

/// Bytes of an answer that hyper is given at once, and holds back at most. What is not larger is sent as it is by HTTP/1.
pub const PIECE: usize = 16 * 1024;

/// A response body and its request.
///
/// The body is sent in pieces, so that its progress can be observed and that no more of it than a piece is copied: hyper asks for
/// a piece only when the peer took almost everything before it. On HTTP/2 a whole body ends with a piece of one byte; when hyper
/// asks for it, the peer's windows were open for the rest. A stream waits for its peer only from a message until hyper asks for
/// the next one.
pub(super) struct TrackedBody {
    body: ResponseBody,
    /// What is left of the last frame.
    rest: Bytes,
    request: RequestInFlight,
    /// On HTTP/1 small answers and streams wait in the socket alone.
    in_pieces: bool,
}

impl TrackedBody {
    pub(super) fn new(mut body: ResponseBody, mut request: RequestInFlight) -> Self {
        body.attach(&request.activity);
        let is_whole = !body.is_stream();
        let in_pieces = request.is_http2 || (is_whole && body.size_hint().lower() > PIECE as u64);
        if in_pieces && is_whole {
            request.wait(true);
        }
        Self { body, rest: Bytes::new(), request, in_pieces }
    }

    /// The next frame of the body becomes the rest. Returns whether there is one.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let is_stream = self.body.is_stream();
        if is_stream {
            self.request.taken();
        }
        let Some(Ok(frame)) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(false) };
        self.rest = frame.into_data().unwrap_or_default();
        if is_stream {
            self.request.wait(false);
        }
        Poll::Ready(true)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.rest.is_empty() && !ready!(self.poll_rest(cx)) {
            return Poll::Ready(None);
        }
        if !self.request.is_http2 {
            let piece = self.rest.split_to(self.rest.len().min(PIECE));
            self.request.progress(piece.len());
            return Poll::Ready(Some(piece));
        }
        ready!(self.request.activity.poll_queue(cx));
        let length = match self.rest.len() {
            length @ 2..=PIECE if !self.body.is_stream() => length - 1,
            length => length.min(PIECE),
        };
        self.request.progress(length);
        self.request.activity.queue(length);
        // Copied, so that a piece which hyper still holds keeps no more memory than its own.
        Poll::Ready(Some(Bytes::copy_from_slice(&self.rest.split_to(length))))
    }
}

impl Body for TrackedBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        let frame = if this.in_pieces {
            ready!(this.poll_piece(cx)).map(|piece| Ok(Frame::data(piece)))
        } else {
            ready!(Pin::new(&mut this.body).poll_frame(cx))
        };
        if frame.is_none() || this.is_end_stream() {
            this.body.written();
        }
        Poll::Ready(frame)
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
