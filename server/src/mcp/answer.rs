//! What a message leads to: an answer, or a call that has to be waited for. JSON-RPC responses as text.

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;

use crate::{
    cancellation::SessionNumber,
    guard::{Delivery, Prepared},
    protocol::{era::Era, refusal::Refusal},
};

/// How many messages may wait for one stream.
const QUEUED: usize = 64;

/// JSON-RPC messages, one after another.
pub type Messages = BoxStream<'static, Bytes>;

/// The answer to a message.
pub enum Answer {
    /// The request has a result.
    Result {
        /// The JSON-RPC response, in pieces: a large result is not copied.
        response: Vec<Bytes>,
        /// The id of a new session, to be handed out with the response.
        session: Option<String>,
        /// What a call holds until the response was delivered or given up.
        delivery: Option<Box<Delivery>>,
    },
    /// The request is refused; it was counted and recorded.
    Refusal {
        refusal: Refusal,
        /// The JSON-RPC response.
        response: String,
    },
    /// There is no response: a notification was accepted, or the caller cancelled the request.
    Accepted,
    /// Messages, of which the last is the response. Only given if the carrier accepts streams. Nothing takes effect before
    /// the messages are polled, so that a transport can still refuse the request.
    Stream {
        /// The id of the request, as it was written.
        id: String,
        messages: Messages,
    },
}

/// What the first half of a request leads to.
pub enum Begun<'s> {
    Answer(Answer),
    Pending(Pending<'s>),
}

/// A request that has to wait for its answer, with everything that the answer needs.
pub enum Pending<'s> {
    ToolCall(Box<PendingCall<'s>>),
}

/// A prepared call.
pub struct PendingCall<'s> {
    /// The id of the request, as it was written.
    pub(super) id: String,
    pub(super) era: Era,
    pub(super) session: Option<SessionNumber>,
    pub(super) prepared: Prepared<'s>,
}

impl Pending<'_> {
    /// Whether the request goes on if its connection breaks: up to 2025-11-25 that is no cancellation (specification, Transports,
    /// Sending Messages to the Server), and in 2026-07-28 it is the only one.
    pub fn outlives_connection(&self) -> bool {
        match self {
            Self::ToolCall(call) => call.era == Era::Handshake,
        }
    }
}

/// A queue of messages: a sender waits while it is full, and the stream ends when all senders are dropped.
pub fn queue() -> (mpsc::Sender<Bytes>, Messages) {
    let (sender, mut receiver) = mpsc::channel(QUEUED);
    (sender, stream::poll_fn(move |cx| receiver.poll_recv(cx)).boxed())
}

impl Answer {
    /// The refusal of the request with this id.
    pub(super) fn refusal(refusal: Refusal, id: Option<&str>) -> Self {
        let response = refusal.response(id);
        Self::Refusal { refusal, response }
    }

    /// The result of the request with this id. `result` is a JSON object.
    pub(super) fn result(id: &str, result: &str) -> Self {
        let mut response = begin_result(id, result.len());
        response.push_str(result);
        response.push('}');
        Self::Result { response: vec![response.into()], session: None, delivery: None }
    }
}

/// A response up to its result, with room for `length` bytes of it. The result and one closing brace are to follow.
pub(super) fn begin_result(id: &str, length: usize) -> String {
    let mut response = String::with_capacity(length + id.len() + 48);
    response.push_str(r#"{"jsonrpc":"2.0","id":"#);
    response.push_str(id);
    response.push_str(r#","result":"#);
    response
}
