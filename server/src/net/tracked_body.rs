//! The body of a response while it is sent: its request is in flight until its end.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::{ResponseBody, activity::RequestInFlight, piece::Piece};

/// Bytes of an answer that hyper is given at once, and holds back at most. What is not larger is sent as it is by HTTP/1.
pub const PIECE: usize = 16 * 1024;

/// A response body and its request.
///
/// The body is sent in pieces, so that its progress can be observed: hyper asks for a piece only when the peer took almost everything
/// before the last one. On HTTP/2 a whole body and each message of a stream end with a piece of one byte, which hyper keeps until the
/// peer's windows were open for the rest. A stream waits for its peer only from a message until hyper asks for the next one, and from
/// its end until that was written. The peer may close its windows again: the request is in flight until the last piece was written.
pub(super) struct TrackedBody {
    body: ResponseBody,
    /// What is left of the last frame.
    rest: Bytes,
    /// On HTTP/2 the last piece gets it.
    request: Option<RequestInFlight>,
    is_http2: bool,
    /// On HTTP/1 small answers and streams wait in the socket alone.
    in_pieces: bool,
}

impl TrackedBody {
    pub(super) fn new(mut body: ResponseBody, mut request: RequestInFlight) -> Self {
        body.attach(&request.activity);
        let is_whole = !body.is_stream();
        let is_http2 = request.is_http2;
        let in_pieces = is_http2 || (is_whole && body.size_hint().lower() > PIECE as u64);
        if in_pieces && is_whole {
            request.wait(true);
        }
        Self { body, rest: Bytes::new(), request: Some(request), is_http2, in_pieces }
    }

    /// The next frame of the body becomes the rest. Returns whether there is one.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut of_stream = self.request.as_mut().filter(|_| self.body.is_stream());
        of_stream.iter_mut().for_each(|request| request.taken());
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        of_stream.iter_mut().for_each(|request| request.wait(false));
        let Some(Ok(frame)) = frame else { return Poll::Ready(false) };
        self.rest = frame.into_data().unwrap_or_default();
        Poll::Ready(true)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.rest.is_empty() && !ready!(self.poll_rest(cx)) {
            return Poll::Ready(None);
        }
        let length = match self.rest.len() {
            length @ 2..=PIECE if self.is_http2 => length - 1,
            length => length.min(PIECE),
        };
        self.request.iter().for_each(|request| request.progress(length));
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
        if bytes.is_some() && !this.is_end_stream() {
            return Poll::Ready(bytes.map(|bytes| Ok(Frame::data(Piece::new(bytes, None)))));
        }
        let request = this.request.take_if(|request| request.is_http2);
        let account = this.body.take_account();
        // A stream of HTTP/2 ends with a piece of no bytes, behind all that was not written yet.
        let Some(bytes) = bytes.or_else(|| request.is_some().then(Bytes::new)) else {
            account.written();
            return Poll::Ready(None);
        };
        Poll::Ready(Some(Ok(Frame::data(Piece::new(bytes, Some(account.with(request)))))))
    }

    fn is_end_stream(&self) -> bool {
        self.request.is_none() || (self.rest.is_empty() && self.body.is_end_stream())
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
