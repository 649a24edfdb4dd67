//! The admin port, for kubelet, Prometheus and the operator. It reports the state of the server and the revisions that it
//! serves, and nothing else: every process in the pod's network may read it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use portcullis_crds::{contract::Version, exposition::Exposition};
use serde_json::json;

use super::{
    error::{self, HttpRefusal},
    health, response,
};
use crate::{
    audit::Audit,
    backend,
    config::Store,
    health::Health,
    metrics::{Live, Metrics},
    net::{self, Budget, ConnectionFacts, Connections, ResponseBody},
};

/// The port for probes, metrics and revisions.
pub struct AdminPort {
    pub store: Arc<Store>,
    pub health: Arc<Health>,
    pub metrics: Metrics,
    pub audit: Audit,
    /// The connections of the main port.
    pub connections: Connections,
    pub backends: backend::Factory,
    /// The budgets of bodies and of answers.
    pub bodies: Budget,
    pub answers: Budget,
    pub stopping: Arc<AtomicBool>,
    pub pod_uid: Option<String>,
}

impl net::Handler for AdminPort {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _: Arc<ConnectionFacts>) -> Response<ResponseBody> {
        if let Err(refusal) = health::check_method(request.method()) {
            return error::refuse(refusal);
        }
        match request.uri().path() {
            "/livez" => response::text(StatusCode::OK, "ok"),
            "/readyz" => match self.unready() {
                None => response::text(StatusCode::OK, "ok"),
                Some(reason) => response::text(StatusCode::SERVICE_UNAVAILABLE, reason),
            },
            health::PATH => health::respond(&self.health).await,
            "/metrics" => self.metrics(request.headers()),
            "/policy" => response::json(StatusCode::OK, self.policy().to_string().into()),
            _ => error::refuse(HttpRefusal::UnknownPath),
        }
    }

    fn overloaded(&self) -> Response<ResponseBody> {
        error::refuse(HttpRefusal::Unread)
    }
}

impl AdminPort {
    /// Why no more calls are to be sent: the server is stopping, or no policy was ever loaded. Everything else is left to
    /// `/health`: a fault that all pods share must not make all of them unready.
    fn unready(&self) -> Option<&'static str> {
        if self.stopping.load(Relaxed) {
            return Some("stopping");
        }
        match self.store.current() {
            Some(_) => None,
            None if self.store.errors().policy => Some("no policy is in force: the one in the file is refused"),
            None => Some("no policy is in force yet"),
        }
    }

    fn policy(&self) -> serde_json::Value {
        let snapshot = self.store.current();
        let errors = self.store.errors();
        json!({
            "policyRevision": snapshot.as_ref().and_then(|snapshot| snapshot.complete_revision.as_ref()),
            "clientsRevision": snapshot.as_ref().map(|snapshot| &snapshot.revision),
            "credentialsRevision": snapshot.as_ref().and_then(|snapshot| snapshot.complete_credentials_revision.as_ref()),
            "contract": Version::CURRENT.number(),
            "podUid": self.pod_uid,
            "policyError": errors.policy,
            "credentialsError": errors.credentials,
        })
    }

    fn metrics(&self, headers: &HeaderMap) -> Response<ResponseBody> {
        let text = self.metrics.render(Live {
            parts_refused: self.store.current().map_or(0, |snapshot| snapshot.refused.sum()),
            connections: self.connections.count(),
            backend_connections: self.backends.connections(),
            held_bytes: [self.bodies.held(), self.backends.received(), self.answers.held()],
            audit_blocked: self.audit.is_blocked(),
            audit_records_dropped: self.audit.dropped(),
        });
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        let Exposition { media_type, text } = Exposition::new(text, accept);
        let mut response = Response::new(ResponseBody::whole(text));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }
}
