//! Streamable HTTP at `/mcp`: revisions 2025-03-26 to 2025-11-25, with sessions, and 2026-07-28, without.
//!
//! A request passes host and origin, identity, headers, body, JSON and era, in that order, so that nothing is parsed for a
//! caller that is not identified. Answers are one JSON object each; no stream is opened, and GET, which would need one, is
//! answered 405, as the specification allows.

pub(crate) mod answer;
mod methods;

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

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
    audit::record::{AuthFailed, AuthFailure, ClientRefusal, Record},
    config::{Client, ClientState, Known, Snapshot, Store},
    guard::{Caller, Guard},
    identity::{self, Presented, presented},
    metrics::{AuthOutcome, Metrics},
    net::{self, BodyBounds, BodyBudget, BodyRefusal},
    protocol::{message::Message, refusal::Refusal, strict},
};

/// Where it is served, and the route that records name.
pub const PATH: &str = "/mcp";
/// How often the use of one key is recorded, in seconds: once a call would double the log.
const AUTH_SUCCESS_EVERY: u64 = 60;
/// When a caller may try again that has too many bodies on their way: they end within seconds.
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
    pub async fn respond(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let response = self.answer(request, peer).await;
        self.metrics.responded(response.status().as_u16());
        response
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        // One snapshot from here to the end.
        let Some(snapshot) = self.store.current() else { return refuse(HttpRefusal::NoPolicy) };
        let (parts, body) = request.into_parts();
        let is_addressed = check_host(&parts, &snapshot).and_then(|()| check_origin(&parts.headers));
        if let Err(refusal) = is_addressed.and_then(|()| check_method(&parts.method)) {
            return refuse(refusal);
        }
        let caller = match self.identified(&snapshot, presented(&parts.headers), peer) {
            Ok(caller) => caller,
            Err(refusal) => return refuse_caller(refusal),
        };
        if let Err(refusal) = check_media_types(&parts.headers) {
            return refuse(refusal);
        }
        let mut share = self.bodies.share(caller.client.identity);
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

    fn identified<'s>(
        &self,
        snapshot: &'s Snapshot,
        presented: Presented,
        peer: SocketAddr,
    ) -> Result<Caller<'s>, identity::Refusal> {
        let failed = |reason, refusal| {
            self.metrics.authenticated(AuthOutcome::Failed);
            self.guard.audit.stranger(&AuthFailed { peer: peer.ip(), route: PATH, reason });
            Err(refusal)
        };
        let key = match presented {
            Presented::Nothing => return failed(AuthFailure::Missing, identity::Refusal::ApiKeyRequired),
            Presented::Ambiguous => return failed(AuthFailure::Ambiguous, identity::Refusal::InvalidApiKey),
            Presented::Key(digest) => match snapshot.key(&digest) {
                Some(key) => key,
                None => return failed(AuthFailure::UnknownKey, identity::Refusal::InvalidApiKey),
            },
        };
        match active(key) {
            Ok(client) => {
                let caller = Caller { snapshot, client, key };
                self.record_success(caller);
                Ok(caller)
            }
            Err(refusal) => {
                self.metrics.authenticated(AuthOutcome::Refused);
                let record = Record::ClientRefused { client: key.id.as_str(), key_id: Some(&key.key_id), refusal };
                // The answer is a refusal either way.
                let _ = self.guard.audit.record(&record, snapshot.overflow);
                Err(identity::Refusal::ClientNotRecognised)
            }
        }
    }

    /// Records that a key was used, when it is seen first and then once a minute.
    fn record_success(&self, caller: Caller<'_>) {
        use std::sync::atomic::Ordering::Relaxed;
        self.metrics.authenticated(AuthOutcome::Success);
        let now = self.guard.clock.now().as_nanos() / 1_000_000_000 + 1;
        let recorded = &caller.key.recorded;
        let last = recorded.load(Relaxed);
        let is_due = last == 0 || now >= last + AUTH_SUCCESS_EVERY;
        if is_due && recorded.compare_exchange(last, now, Relaxed, Relaxed).is_ok() {
            let record = Record::AuthSuccess { who: caller.who() };
            if self.guard.audit.record(&record, caller.snapshot.overflow).is_err() {
                // Not written, so it is due again.
                recorded.store(0, Relaxed);
            }
        }
    }

    fn malformed(&self, caller: Caller<'_>, refusal: Refusal, id: Option<&str>) -> Response<Full<Bytes>> {
        let refusal = self.counted(caller, refusal);
        refuse_message(&refusal, id)
    }

    /// A refusal of a caller who is known: it draws on the allowance for other requests, and is recorded.
    fn counted(&self, caller: Caller<'_>, refusal: Refusal) -> Refusal {
        if let Err(over) = self.guard.other(caller) {
            return over;
        }
        let status = message_status(&refusal).as_u16();
        let record = Record::RequestRefused { who: caller.who(), status, code: refusal.code() };
        match self.guard.audit.record(&record, caller.snapshot.overflow) {
            Ok(()) => refusal,
            Err(_) => Refusal::AuditUnavailable,
        }
    }
}

fn check_method(method: &Method) -> Result<(), HttpRefusal> {
    if *method == Method::POST { Ok(()) } else { Err(HttpRefusal::MethodNotAllowed { allow: "POST" }) }
}

fn active(key: &Known) -> Result<&Client, ClientRefusal> {
    let client = key.client.as_deref().ok_or(ClientRefusal::NotRecognised)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    match client.state(now) {
        ClientState::Active => Ok(client),
        ClientState::Suspended => Err(ClientRefusal::Suspended),
        ClientState::Expired => Err(ClientRefusal::Expired),
    }
}
