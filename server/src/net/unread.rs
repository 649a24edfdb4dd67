//! The bytes of answers on HTTP/2 that nobody else accounts for: an answer waits there for as long as its peer likes, while others
//! of its connection go on.

use bytes::Bytes;
use http::Response;
use hyper::body::Body;

use super::{Bounds, Budget, ResponseBody};
use crate::fingerprint::Fingerprint;

/// About what is kept of a stream of HTTP/2 beside the bytes of its answer.
const OF_A_STREAM: usize = 4 * 1024;
/// Refusals of answers have as much again divided by this.
const REFUSALS: usize = 8;

/// The budgets of these bytes. Strangers take nothing from callers that are identified. Clones share them.
#[derive(Clone)]
pub(super) struct Unread {
    strangers: Room,
    identified: Room,
}

#[derive(Clone)]
struct Room {
    answers: Budget,
    /// For what is sent instead of an answer.
    refusals: Budget,
}

impl Room {
    fn new(of_one: usize, of_all: usize) -> Self {
        Self { answers: Budget::new(of_one, of_all), refusals: Budget::new(of_one / REFUSALS, of_all / REFUSALS) }
    }
}

impl Unread {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self {
            strangers: Room::new(bounds.unread_of_one, bounds.unread_of_strangers),
            identified: Room::new(bounds.unread_of_one, bounds.unread_of_identified),
        }
    }

    /// Takes the bytes of an answer from the budget of its caller, or of its peer's address. If that has too little left, a success
    /// becomes a refusal: nothing but an effect would need more, and those are accounted for. If there is no room for that either,
    /// only the head is sent, which no window of HTTP/2 holds back. What is a refusal already keeps its status.
    pub(super) fn account(
        &self,
        mut response: Response<ResponseBody>,
        peer: Fingerprint,
        refusal: impl FnOnce() -> Response<ResponseBody>,
    ) -> Response<ResponseBody> {
        let (room, whose) = match response.body().identity() {
            Some(identity) => (&self.identified, identity),
            None => (&self.strangers, peer),
        };
        if has_room(&room.answers, whose, response.body_mut()) {
            return response;
        }
        if response.status().is_success() && !response.body().is_refusal() {
            response.body_mut().refused();
            response = refusal();
        }
        if !has_room(&room.refusals, whose, response.body_mut()) {
            *response.body_mut() = ResponseBody::whole(Bytes::new());
        }
        response
    }
}

/// Takes the bytes of a body from a budget, if somebody has to. Returns whether there was room for it.
fn has_room(budget: &Budget, whose: Fingerprint, body: &mut ResponseBody) -> bool {
    if body.is_accounted() || body.is_stream() || body.is_end_stream() {
        return true;
    }
    let bytes = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut share = budget.share(whose);
    let has_room = share.grow(bytes.saturating_add(OF_A_STREAM)).is_ok();
    if has_room {
        body.taken_from(share);
    }
    has_room
}
