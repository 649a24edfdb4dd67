//! Streamable HTTP at `/mcp`: revisions 2025-03-26 to 2025-11-25, with sessions, and 2026-07-28, without.
//!
//! A request passes host and origin, identity, headers, body, JSON and era, in that order, so that nothing is parsed for a
//! caller that is not identified. Answers are one JSON object each; no stream is opened, and GET, which would need one, is
//! answered 405, as the specification allows.

pub(crate) mod answer;
mod methods;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use self::methods::Next;
use super::{
    error::{HttpRefusal, message_status, refuse, refuse_caller, refuse_message},
    request_headers::{check_host, check_media_types, check_origin},
};
use crate::{
    config::Store,
    guard::{Caller, Guard},
    identity::Presented,
    metrics::Metrics,
    net::{self, BodyBounds, BodyBudget, BodyRefusal, ConnectionFacts},
    protocol::{message::Message, refusal::Refusal, strict},
};

/// Where it is served, and the route that records name.
pub const PATH: &str = "/mcp";
/// After how many seconds a caller may retry that is sending too many bodies at once: they end within seconds.
const BODIES_RETRY_SECONDS: u64 = 1;

/// The endpoint.
pub struct Streamable {
    pub store: Arc<Store>,
    pub guard: Guard,
    pub metrics: Metrics,
    pub body: BodyBounds,
    pub bodies: BodyBudget,
}

impl Streamable {
    pub async fn respond(&self, request: Request<Incoming>, connection: &ConnectionFacts) -> Response<Full<Bytes>> {
        let response = self.answer(request, connection).await;
        self.metrics.responded(response.status().as_u16());
        response
    }

    async fn answer(&self, request: Request<Incoming>, connection: &ConnectionFacts) -> Response<Full<Bytes>> {
        // One snapshot from here to the end.
        let Some(snapshot) = self.store.current() else { return refuse(HttpRefusal::NoPolicy) };
        let (parts, body) = request.into_parts();
        let is_addressed = check_host(&parts, &snapshot).and_then(|()| check_origin(&parts.headers));
        if let Err(refusal) = is_addressed.and_then(|()| check_method(&parts.method)) {
            return refuse(refusal);
        }
        let presented = Presented { headers: &parts.headers, connection };
        let identity = match self.guard.authenticate(&snapshot, &presented, (connection.peer.ip(), PATH)) {
            Ok(identity) => identity,
            Err(refusal) => return refuse_caller(refusal),
        };
        let caller = Caller { snapshot: &snapshot, identity: &identity };
        if let Err(refusal) = check_media_types(&parts.headers) {
            return refuse(refusal);
        }
        let mut share = self.bodies.share(identity.fingerprint);
        let body = match net::read_body(body, &self.body, &mut share).await {
            Ok(body) => body,
            Err(BodyRefusal::TooLarge) => return refuse(HttpRefusal::BodyTooLarge),
            Err(BodyRefusal::TooSlow) => return refuse(HttpRefusal::BodyTooSlow),
            Err(BodyRefusal::Broken) => return refuse(HttpRefusal::BodyBroken),
            Err(BodyRefusal::OverShare) => {
                return self.malformed(caller, Refusal::OverLimit { seconds: BODIES_RETRY_SECONDS }, None);
            }
            Err(BodyRefusal::Overloaded) => return self.malformed(caller, Refusal::Overloaded, None),
        };
        let next = self.read(caller, &body, &parts.headers);
        // While a call waits, nothing is kept of what was sent but what the call needs: bodies are larger than that by far.
        drop((parts, body, share));
        match next {
            Next::Answer(answer) => answer,
            Next::Call(call) => self.call(caller, call).await,
        }
    }

    /// Everything from the body to what may wait.
    fn read<'s>(&self, caller: Caller<'s>, body: &[u8], headers: &HeaderMap) -> Next<'s> {
        let message = match strict::parse(body) {
            Ok(node) => Message::read(node),
            Err(refusal) => return Next::Answer(self.malformed(caller, Refusal::Json(refusal), None)),
        };
        match message {
            Ok(message) => self.serve(caller, message, headers),
            Err(malformed) => Next::Answer(self.malformed(caller, Refusal::Malformed(malformed.why), malformed.id)),
        }
    }

    fn malformed(&self, caller: Caller<'_>, refusal: Refusal, id: Option<&str>) -> Response<Full<Bytes>> {
        let refusal = self.counted(caller, refusal);
        refuse_message(&refusal, id)
    }

    fn counted(&self, caller: Caller<'_>, refusal: Refusal) -> Refusal {
        let status = message_status(&refusal).as_u16();
        self.guard.refuse(caller, refusal, status)
    }
}

fn check_method(method: &Method) -> Result<(), HttpRefusal> {
    if *method == Method::POST { Ok(()) } else { Err(HttpRefusal::MethodNotAllowed { allow: "POST" }) }
}
