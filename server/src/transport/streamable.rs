//! Streamable HTTP at `/mcp`: revisions 2025-03-26 to 2025-11-25, with sessions, and 2026-07-28, without.
//!
//! A request is answered with one JSON object, or with a stream of messages if its method has more to send than a response.
//! It passes host and origin, identity, headers, body and message, in that order, so that nothing is parsed for a caller
//! that is not identified. No stream can be opened with GET: it is answered 405, as the specification allows.

use std::{
    future::{Future, poll_fn, ready},
    pin::pin,
    sync::Arc,
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Either},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;

use super::{
    detached::{Answering, outliving},
    endpoints::Endpoints,
    error::{
        HttpRefusal, challenge, message_status, refuse, refuse_body, refuse_caller, refuse_message, refuse_stream,
    },
    events,
    main_port::MainPort,
    request_headers::{accepts_events, check_host, check_media_types, check_origin},
    response,
};
use crate::{
    config::Snapshot,
    guard::{Caller, Turn, Via},
    identity::Presented,
    mcp::{Answer, Begun, Mcp},
    net::{self, AtStop, ConnectionFacts, OverBudget, PIECE, ResponseBody},
    protocol::{
        headers::{Header, RequestHeaders},
        request::Carrier,
    },
};

/// The path, and the route that audit records name.
pub const PATH: &str = "/mcp";
/// The same, as people configure it.
pub const PATH_WITH_SLASH: &str = "/mcp/";
static SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The size up to which a request is read at once, in bytes.
const SMALL: usize = 8 * 1024;

/// The headers of a POST to `/mcp`, which carry everything beside its message.
struct Post<'a> {
    headers: &'a HeaderMap,
    session: Header<'a>,
}

impl Carrier for Post<'_> {
    fn headers(&self) -> &dyn RequestHeaders {
        self.headers
    }

    fn session(&self) -> Header<'_> {
        self.session
    }

    fn accepts_stream(&self) -> bool {
        accepts_events(self.headers)
    }
}

/// Answers a request to `/mcp`. The answer is counted as it is sent.
pub fn respond(
    port: Arc<MainPort>,
    request: Request<Incoming>,
    connection: Arc<ConnectionFacts>,
) -> Either<
    Answering<impl Future<Output = Response<ResponseBody>> + Send + 'static>,
    BoxFuture<'static, Response<ResponseBody>>,
> {
    let Some(snapshot) = port.endpoints.mcp.guard.store.current() else { return refused(HttpRefusal::NoPolicy) };
    let is_addressed = check_host(&request, &snapshot).and_then(|()| check_origin(request.headers()));
    if let Err(refusal) = is_addressed.and_then(|()| check_method(request.method())) {
        return refused(refusal);
    }
    let detached = port.endpoints.detached.clone();
    // The rest of the head shares the memory that it was received in, which is far more.
    let (Parts { headers, .. }, body) = request.into_parts();
    // In memory of its own, which goes on without the connection if it has to, and which a stream whose answer is only waiting to be
    // read does not keep.
    let answering = async move {
        let mut response = answer_addressed(&port.endpoints, &snapshot, (headers, body), &connection).await;
        if response.status() == StatusCode::UNAUTHORIZED {
            challenge(&mut response, snapshot.challenge());
        }
        response.body_mut().counted();
        response
    };
    Either::Left(Answering::new(answering, detached))
}

/// A request is refused before anything of it is looked at.
fn refused<F>(refusal: HttpRefusal) -> Either<F, BoxFuture<'static, Response<ResponseBody>>> {
    let mut response = refuse(refusal);
    response.body_mut().counted();
    Either::Right(ready(response).boxed())
}

/// Answers a request that is for this server.
async fn answer_addressed(
    endpoints: &Endpoints,
    snapshot: &Snapshot,
    (headers, body): (HeaderMap, Incoming),
    connection: &ConnectionFacts,
) -> Response<ResponseBody> {
    let presented = Presented { headers: &headers, connection };
    let status = |refusal: &_| Some(message_status(refusal).as_u16());
    let via = Via { peer: connection.peer.ip(), route: PATH, status };
    let identity = match endpoints.mcp.guard.authenticate(snapshot, &presented, via) {
        Ok(identity) => identity,
        Err(refusal) => return refuse_caller(refusal),
    };
    let caller = Caller { snapshot, identity: &identity, via };
    let mut response = answer_caller(endpoints, caller, headers, body).await;
    // Its access may have ended meanwhile.
    if !matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        response.body_mut().for_identified(identity.fingerprint);
    }
    response
}

/// Answers a caller that is identified.
async fn answer_caller(
    endpoints: &Endpoints,
    caller: Caller<'_>,
    headers: HeaderMap,
    body: Incoming,
) -> Response<ResponseBody> {
    let Endpoints { mcp, body: bounds, bodies, .. } = endpoints;
    if let Err(refusal) = check_media_types(&headers) {
        return refuse_unread(mcp, caller, refusal);
    }
    let mut share = bodies.share(caller.identity.fingerprint);
    let (current, again);
    let (caller, begun) = match net::read_body(body, bounds, &mut share, || size_of_head(&headers)).await {
        Ok(body) => {
            let _turn = match body.len() {
                ..=SMALL => None,
                _ => Some(Box::pin(turn_to_read(mcp, caller)).await),
            };
            // The caller decides how long its body takes. Its message is served by the policy that is in force now.
            current = mcp.guard.outdated(caller);
            again = match current.as_deref().map(|snapshot| mcp.guard.authenticate_again(snapshot, caller)).transpose()
            {
                Ok(again) => again,
                Err(refusal) => return refuse_caller(refusal),
            };
            let caller = caller.renewed(again.as_deref());
            let session = RequestHeaders::get(&headers, &SESSION);
            (caller, mcp.begin(caller, &body, &Post { headers: &headers, session }))
        }
        Err(refusal) => match refuse_body(refusal) {
            Ok(refusal) => (caller, Begun::Answer(mcp.refusal(caller, refusal, None))),
            Err(refusal) => return refuse_unread(mcp, caller, refusal),
        },
    };
    // While a call waits, only what it needs is kept: heads and bodies are far larger than that.
    drop((headers, share));
    let answer = match begun {
        Begun::Answer(answer) => answer,
        Begun::Pending(pending) => {
            let outlives = pending.outlives_connection();
            let mut call = pin!(mcp.finish(caller, pending));
            poll_fn(|cx| {
                let polled = call.as_mut().poll(cx);
                if outlives { outliving(polled) } else { polled }
            })
            .await
        }
    };
    encode(endpoints, caller, answer)
}

fn encode(endpoints: &Endpoints, caller: Caller<'_>, answer: Answer) -> Response<ResponseBody> {
    match answer {
        Answer::Result { response, session, delivery } => {
            // A call took the bytes of its answer before it was made; what is small and no call is bounded with its connection.
            let mut share = None;
            let bytes = response.iter().map(Bytes::len).sum::<usize>();
            if delivery.is_none() && bytes > PIECE {
                let share = share.insert(endpoints.mcp.guard.answers.budget.share(caller.identity.fingerprint));
                if let Err(over) = share.grow(bytes + PIECE) {
                    return refuse_for_room(endpoints, caller, over, None);
                }
                share.settle(bytes + PIECE);
            }
            let mut response = response::json_pieces(StatusCode::OK, response);
            let body = response.body_mut();
            match (share, delivery) {
                (_, Some(delivery)) => body.holding(delivery),
                (Some(share), None) => body.taken_from(share),
                (None, None) => {
                    let status = HttpRefusal::Unread.status().as_u16();
                    body.if_refused(endpoints.mcp.guard.refusal_once_sent(caller, status));
                }
            }
            // A sealed session id is base64, and so always a valid header.
            if let Some(session) = session.and_then(|session| HeaderValue::try_from(session).ok()) {
                response.headers_mut().insert(&SESSION, session);
            }
            response
        }
        Answer::Refusal { refusal, response } => refuse_message(&refusal, response),
        Answer::Accepted => response::empty(StatusCode::ACCEPTED),
        Answer::Stream { id, messages } => {
            let mut slot = endpoints.streams.share(caller.identity.fingerprint);
            match slot.grow(1) {
                Ok(()) => events::respond(messages, AtStop::Finishes, &endpoints.stream, slot),
                Err(over) => refuse_for_room(endpoints, caller, over, Some(&id)),
            }
        }
    }
}

/// Reading a large request keeps a thread busy for a millisecond. Many of them must not be in front of a small one.
async fn turn_to_read(mcp: &Mcp, caller: Caller<'_>) -> Turn {
    let turn = mcp.guard.readings.take(caller.identity.fingerprint).await;
    // What has become ready meanwhile comes first.
    tokio::task::yield_now().await;
    turn
}

/// About what a head takes in memory.
fn size_of_head(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 128).sum::<usize>() + 1024
}

/// The refusal of a request without an effect, for whose answer there is no room. It was counted before it was answered.
fn refuse_for_room(
    endpoints: &Endpoints,
    caller: Caller<'_>,
    over: OverBudget,
    id: Option<&str>,
) -> Response<ResponseBody> {
    let refusal = refuse_stream(over);
    let refusal = endpoints.mcp.guard.refuse_counted(caller, refusal);
    refuse_message(&refusal, refusal.response(id))
}

/// Refuses a request of a known caller whose message is not read.
fn refuse_unread(mcp: &Mcp, caller: Caller<'_>, refusal: HttpRefusal) -> Response<ResponseBody> {
    match mcp.guard.refuse_unread(caller, refusal.status().as_u16()) {
        Ok(()) => refuse(refusal),
        Err(other) => refuse_message(&other, other.response(None)),
    }
}

fn check_method(method: &Method) -> Result<(), HttpRefusal> {
    if *method == Method::POST { Ok(()) } else { Err(HttpRefusal::MethodNotAllowed { allow: "POST" }) }
}

#[cfg(test)]
mod tests;
