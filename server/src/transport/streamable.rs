//! Streamable HTTP at `/mcp`: revisions 2025-03-26 to 2025-11-25, with sessions, and 2026-07-28, without.
//!
//! A request passes host and origin, identity, headers, body and message, in that order, so that nothing is parsed for a caller
//! that is not identified. No stream can be opened with GET, which is answered 405, as the specification allows.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use super::{
    endpoints::Endpoints,
    error::{HttpRefusal, message_status, refuse, refuse_body, refuse_caller, refuse_message},
    request_headers::{check_host, check_media_types, check_origin},
    response,
};
use crate::{
    guard::Caller,
    identity::Presented,
    mcp::{Answer, Begun},
    net::{self, ConnectionFacts},
    protocol::{
        headers::{Header, RequestHeaders},
        refusal::Refusal,
        request::Carrier,
    },
};

/// Where it is served, and the route that records name.
pub const PATH: &str = "/mcp";
const SESSION: &str = "mcp-session-id";

/// A POST to `/mcp`, beside its message.
struct Post<'a>(&'a HeaderMap);

impl Carrier for Post<'_> {
    fn headers(&self) -> &dyn RequestHeaders {
        self.0
    }

    fn session(&self) -> Header<'_> {
        RequestHeaders::get(self.0, SESSION)
    }

    fn status(&self, refusal: &Refusal) -> Option<u16> {
        Some(message_status(refusal).as_u16())
    }
}

/// Answers a request to `/mcp`, and counts the answer.
pub async fn respond(
    endpoints: &Endpoints,
    request: Request<Incoming>,
    connection: &ConnectionFacts,
) -> Response<Full<Bytes>> {
    let response = answer(endpoints, request, connection).await;
    endpoints.metrics.responded(response.status().as_u16());
    response
}

async fn answer(
    endpoints: &Endpoints,
    request: Request<Incoming>,
    connection: &ConnectionFacts,
) -> Response<Full<Bytes>> {
    let Endpoints { store, mcp, body: bounds, bodies, .. } = endpoints;
    // The request is served by this snapshot from start to end.
    let Some(snapshot) = store.current() else { return refuse(HttpRefusal::NoPolicy) };
    let (parts, body) = request.into_parts();
    let is_addressed = check_host(&parts, &snapshot).and_then(|()| check_origin(&parts.headers));
    if let Err(refusal) = is_addressed.and_then(|()| check_method(&parts.method)) {
        return refuse(refusal);
    }
    let presented = Presented { headers: &parts.headers, connection };
    let identity = match mcp.guard.authenticate(&snapshot, &presented, (connection.peer.ip(), PATH)) {
        Ok(identity) => identity,
        Err(refusal) => return refuse_caller(refusal),
    };
    let caller = Caller { snapshot: &snapshot, identity: &identity };
    if let Err(refusal) = check_media_types(&parts.headers) {
        return refuse(refusal);
    }
    let mut share = bodies.share(identity.fingerprint);
    let post = Post(&parts.headers);
    let begun = match net::read_body(body, bounds, &mut share).await {
        Ok(body) => mcp.begin(caller, &body, &post),
        Err(refusal) => match refuse_body(refusal) {
            Ok(refusal) => Begun::Answer(mcp.refusal(caller, &post, refusal, None)),
            Err(refusal) => return refuse(refusal),
        },
    };
    // While a call waits, only what it needs is kept: bodies are far larger than that.
    drop((parts, share));
    match begun {
        Begun::Answer(answer) => encode(answer),
        Begun::Pending(pending) => encode(mcp.finish(caller, pending).await),
    }
}

fn encode(answer: Answer) -> Response<Full<Bytes>> {
    match answer {
        Answer::Result { response, session } => {
            let mut response = response::json(StatusCode::OK, response);
            // A sealed session id is base64, and so always a valid header.
            if let Some(session) = session.and_then(|session| HeaderValue::try_from(session).ok()) {
                response.headers_mut().insert(SESSION, session);
            }
            response
        }
        Answer::Refusal { refusal, response } => refuse_message(&refusal, response),
        Answer::Accepted => response::empty(StatusCode::ACCEPTED),
    }
}

fn check_method(method: &Method) -> Result<(), HttpRefusal> {
    if *method == Method::POST { Ok(()) } else { Err(HttpRefusal::MethodNotAllowed { allow: "POST" }) }
}
