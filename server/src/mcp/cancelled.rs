//! `notifications/cancelled` of the revisions up to 2025-11-25 (specification, Cancellation). In 2026-07-28 a caller that speaks HTTP
//! cancels by closing the response, and the notification means nothing.

use portcullis_crds::schema::Number;

use super::session;
use crate::{
    cancellation::{RequestId, WaitingCalls},
    guard::Caller,
    protocol::{
        era::Era,
        request::Request,
        strict::{self, Json, Node},
    },
};

/// Cancels the call that a notification names, if it is one of the caller's. Whatever else it names is ignored: the call may have
/// ended meanwhile.
pub(super) fn notified(waiting: &WaitingCalls, caller: Caller<'_>, notification: &Request<'_>) {
    if notification.era != Era::Handshake || notification.message.method != "notifications/cancelled" {
        return;
    }
    if let Some(id) = notification.message.param("requestId").and_then(request_id) {
        waiting.cancel(caller.identity.fingerprint, session::number(notification), &id);
    }
}

/// The id of a request, as it was written.
pub(super) fn id(written: &str) -> Option<RequestId> {
    strict::parse(written.as_bytes()).ok().as_ref().and_then(request_id)
}

fn request_id(node: &Node<'_>) -> Option<RequestId> {
    match &node.value {
        Json::String(text) => Some(RequestId::Text((**text).into())),
        Json::Number(digits) => Number::parse(digits).map(RequestId::Number),
        _ => None,
    }
}
