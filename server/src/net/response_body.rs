//! The body of a response: whole, or a live stream.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, Sleep};

use super::{
    Share, StreamBounds,
    activity::{Activity, RequestInFlight},
};
use crate::fingerprint::Fingerprint;

/// The body of every response.
pub struct ResponseBody {
    kind: Kind,
    account: Account,
    identity: Option<Fingerprint>,
    is_counted: bool,
    is_refusal: bool,
    if_refused: Option<Box<dyn FnOnce() + Send>>,
}

/// Who answers for the bytes of a body.
#[derive(Default)]
pub(super) struct Account {
    held: Option<Box<dyn Held>>,
    /// What few bodies have has memory of its own, because each body is moved several times on its way.
    share: Option<Box<Share>>,
    /// On HTTP/2, whose peer may leave the last piece unread after the task of its stream has ended.
    _request: Option<RequestInFlight>,
}

/// What is held until a body was written. If it is dropped before, the body was given up.
pub trait Held: Send {
    /// The last byte was written.
    fn written(&mut self);
}

enum Kind {
    /// Pieces that are not empty.
    Whole(VecDeque<Bytes>),
    Stream(Box<LiveStream>),
}

/// What a stop does to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStop {
    /// It ends at once: it would not end by itself.
    Ends,
    /// It is the answer to a call, which is finished as every call in flight is.
    Finishes,
}

/// A body that is sent piece by piece, as its pieces become available.
///
/// While it has nothing to send it is alive, not stalled: a keep-alive is sent from time to time. It ends with its pieces, after
/// its longest life, or at a stop, as [`AtStop`] says.
pub struct LiveStream {
    pieces: BoxStream<'static, Bytes>,
    keep_alive: Bytes,
    next_keep_alive: Interval,
    longest_life: Pin<Box<Sleep>>,
    at_stop: AtStop,
    stopped: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl LiveStream {
    /// A stream of `pieces`. `keep_alive` means nothing to the peer.
    pub fn new(
        pieces: BoxStream<'static, Bytes>,
        keep_alive: &'static [u8],
        at_stop: AtStop,
        bounds: &StreamBounds,
    ) -> Self {
        let mut next_keep_alive = tokio::time::interval(bounds.keep_alive);
        next_keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        next_keep_alive.reset();
        Self {
            pieces,
            keep_alive: Bytes::from_static(keep_alive),
            next_keep_alive,
            longest_life: Box::pin(tokio::time::sleep(bounds.longest_life)),
            at_stop,
            stopped: None,
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let is_stopped = self.stopped.as_mut().is_some_and(|stopped| stopped.as_mut().poll(cx).is_ready());
        if is_stopped || self.longest_life.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(piece) = Pin::new(&mut self.pieces).poll_next(cx) {
            self.next_keep_alive.reset();
            return Poll::Ready(piece);
        }
        self.next_keep_alive.poll_tick(cx).map(|_| Some(self.keep_alive.clone()))
    }
}

impl Account {
    /// The request ends with the account.
    pub(super) fn with(self, request: Option<RequestInFlight>) -> Self {
        Self { _request: request, ..self }
    }

    /// The last byte was written.
    pub(super) fn written(self) {
        self.held.into_iter().for_each(|mut held| held.written());
    }
}

impl ResponseBody {
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self::pieces(vec![bytes.into()])
    }

    /// A body of several pieces, so that large ones need not be copied together.
    pub fn pieces(mut pieces: Vec<Bytes>) -> Self {
        pieces.retain(|piece| !piece.is_empty());
        Self::new(Kind::Whole(pieces.into()))
    }

    /// A stream with its place among those that are open, which is given back when the stream was written or given up.
    pub fn stream(stream: LiveStream, slot: Share) -> Self {
        let mut body = Self::new(Kind::Stream(Box::new(stream)));
        body.taken_from(slot);
        body
    }

    fn new(kind: Kind) -> Self {
        Self {
            kind,
            account: Account::default(),
            identity: None,
            is_counted: false,
            is_refusal: false,
            if_refused: None,
        }
    }

    /// Holds something until the body was written or given up.
    pub fn holding(&mut self, held: Box<dyn Held>) {
        self.account.held = Some(held);
    }

    /// The bytes of the body were taken from a budget; they are given back when the body was written or given up.
    pub fn taken_from(&mut self, share: Share) {
        self.account.share = Some(Box::new(share));
    }

    /// The answer is for a caller that is identified: its connection is not a stranger's.
    pub fn for_identified(&mut self, identity: Fingerprint) {
        self.identity = Some(identity);
    }

    /// The caller that the answer is for; `None` for a stranger.
    pub(super) fn identity(&self) -> Option<Fingerprint> {
        self.identity
    }

    /// The answer is counted when it is known which one is sent.
    pub fn counted(&mut self) {
        self.is_counted = true;
    }

    pub(super) fn is_counted(&self) -> bool {
        self.is_counted
    }

    /// The answer is a refusal, whatever its status, and was recorded with that.
    pub fn refusal(&mut self) {
        self.is_refusal = true;
    }

    pub(super) fn is_refusal(&self) -> bool {
        self.is_refusal
    }

    /// What is to be done if a refusal is sent instead, because there is no room for the body.
    pub fn if_refused(&mut self, record: impl FnOnce() + Send + 'static) {
        self.if_refused = Some(Box::new(record));
    }

    /// A refusal is sent instead.
    pub(super) fn refused(&mut self) {
        self.if_refused.take().into_iter().for_each(|record| record());
    }

    /// Whether whoever made the body answers for its bytes.
    pub(super) fn is_accounted(&self) -> bool {
        self.account.held.is_some() || self.account.share.is_some()
    }

    /// What is held until the body was written or given up.
    pub(super) fn take_account(&mut self) -> Account {
        std::mem::take(&mut self.account)
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream(_))
    }

    /// Sets the connection that the body is sent on, so that its stop can end a stream.
    pub(super) fn attach(&mut self, activity: &Arc<Activity>) {
        if let Kind::Stream(stream) = &mut self.kind
            && stream.at_stop == AtStop::Ends
        {
            let activity = activity.clone();
            stream.stopped = Some(Box::pin(async move { activity.stopped().await }));
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.kind {
            Kind::Whole(pieces) => Poll::Ready(pieces.pop_front().map(|piece| Ok(Frame::data(piece)))),
            Kind::Stream(stream) => stream.poll_piece(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Whole(pieces) => pieces.is_empty(),
            Kind::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Whole(pieces) => SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum()),
            Kind::Stream(_) => SizeHint::default(),
        }
    }
}
