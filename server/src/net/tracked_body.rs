//! The body of a response while it is sent: its request is in flight until its end.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{ResponseBody, activity::RequestInFlight, piece::Piece, response_body::Account};

/// Bytes of an answer that hyper is given at once, and holds back at most. What is not larger is sent as it is by HTTP/1.
pub const PIECE: usize = 16 * 1024;

/// A response body and its request.
///
/// The body is sent in pieces, so that its progress can be observed: hyper asks for a piece only when the peer took almost everything
/// before the last one. On HTTP/2 a whole body ends with a piece of one byte, which hyper keeps until the peer's windows were open for
/// the rest. A stream waits for its peer only from a message until hyper asks for the next one.
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
        let length = match self.rest.len() {
            length @ 2..=PIECE if self.request.is_http2 && !self.body.is_stream() => length - 1,
            length => length.min(PIECE),
        };
        self.request.progress(length);
        Poll::Ready(Some(self.rest.split_to(length)))
    }
}

impl Body for TrackedBody {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        let this = &mut *self;
        let bytes = if this.in_pieces {
            ready!(this.poll_piece(cx))
        } else {
            let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
            frame.and_then(|Ok(frame)| frame.into_data().ok())
        };
        let account = (bytes.is_none() || this.is_end_stream()).then(|| this.body.take_account());
        let Some(bytes) = bytes else {
            account.into_iter().for_each(Account::written);
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(Frame::data(Piece::new(bytes, account)))))
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
