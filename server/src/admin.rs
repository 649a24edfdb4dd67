//! The admin port, for kubelet, Prometheus and the operator. It says how the server is and which revisions it serves, and
//! nothing else: whatever shares the pod's network may ask.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use portcullis_crds::policy::CONTRACT;
use serde_json::json;

use crate::{
    audit::Audit,
    config::Store,
    health::Health,
    metrics::{self, Live, Metrics},
    net::{self, Connections},
    protocol::error::Refusal,
    transport::streamable::answer,
};

/// The admin port.
pub struct Admin {
    pub store: Arc<Store>,
    pub health: Arc<Health>,
    pub metrics: Metrics,
    pub audit: Audit,
    /// Those of the main port.
    pub connections: Connections,
    pub stopping: Arc<AtomicBool>,
    pub pod_uid: Option<String>,
}

impl net::Handler for Admin {
    type Body = Full<Bytes>;

    async fn handle(self: Arc<Self>, request: Request<Incoming>, _: SocketAddr) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = answer::refusal(&Refusal::MethodNotAllowed, None);
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok"),
            "/readyz" if self.is_ready() => text(StatusCode::OK, "ok"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready"),
            "/health" => self.health.respond().await,
            "/metrics" => self.metrics(),
            "/policy" => answer::json(StatusCode::OK, self.policy().to_string().into()),
            _ => answer::refusal(&Refusal::UnknownPath, None),
        }
    }
}

impl Admin {
    /// A policy was once loaded, and the server is not stopping. All else shows in `/health`: what is wrong with every pod alike
    /// must not take all of them out.
    fn is_ready(&self) -> bool {
        self.store.current().is_some() && !self.stopping.load(Relaxed)
    }

    fn policy(&self) -> serde_json::Value {
        let snapshot = self.store.current();
        let condition = self.store.condition();
        json!({
            "policyRevision": snapshot.as_ref().map(|snapshot| &snapshot.revision),
            "credentialsRevision": snapshot.as_ref().and_then(|snapshot| snapshot.credentials_revision.as_ref()),
            "contract": CONTRACT,
            "podUid": self.pod_uid,
            "policyError": condition.policy_error,
            "credentialsError": condition.credentials_error,
        })
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let text = self.metrics.render(Live {
            connections: self.connections.count(),
            audit_blocked: self.audit.is_blocked(),
            audit_records_dropped: self.audit.dropped(),
        });
        let mut response = Response::new(Full::new(Bytes::from(text)));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
        response
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
