//! What a message leads to, and JSON-RPC responses as text.

use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use tokio::sync::mpsc;

use crate::protocol::refusal::Refusal;

/// How many messages may wait for one stream.
const QUEUED: usize = 64;

/// JSON-RPC messages, one after another.
pub type Messages = BoxStream<'static, Bytes>;

/// The answer to a message.
pub enum Answer {
    /// The request has a result.
    Result {
        /// The JSON-RPC response.
        response: Bytes,
        /// The id of a new session, to be handed out with the response.
        session: Option<String>,
    },
    /// The request is refused; it was counted and recorded.
    Refusal {
        refusal: Refusal,
        /// The JSON-RPC response.
        response: String,
    },
    /// A notification was accepted.
    Accepted,
    /// Messages, of which the last is the response. Only given if the carrier accepts streams. Whatever is to happen once only
    /// happens when the messages are polled, so that a transport can still refuse the request.
    Stream {
        /// The id of the request, as it was written.
        id: String,
        messages: Messages,
    },
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
        Self::Result { response: response.into(), session: None }
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
