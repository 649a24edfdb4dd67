//! The main port: one line for each path, one file for each endpoint.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{
    endpoints::Endpoints,
    error::{self, HttpRefusal},
    health,
    request_headers::{check_host, check_origin},
    streamable,
};
use crate::{
    health::Health,
    net::{self, ConnectionFacts, ResponseBody},
};

/// The port that MCP and `/health` are served on.
pub struct MainPort {
    pub endpoints: Endpoints,
    pub health: Arc<Health>,
}

impl net::Handler for MainPort {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: &ConnectionFacts,
    ) -> Response<ResponseBody> {
        match request.uri().path() {
            streamable::PATH => streamable::respond(&self.endpoints, request, connection).await,
            health::PATH => self.health(request).await,
            _ => error::refuse(HttpRefusal::UnknownPath),
        }
    }

    fn overloaded(&self) -> Response<ResponseBody> {
        error::refuse(HttpRefusal::Unread)
    }

    fn count(&self, status: StatusCode) {
        self.endpoints.metrics.responded(status.as_u16());
    }
}

impl MainPort {
    /// Health is not reported to web pages, nor, once there is a policy, to requests that are addressed to another host.
    async fn health(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        let (parts, _) = request.into_parts();
        let checked = match self.endpoints.mcp.guard.store.current() {
            Some(snapshot) => check_host(&parts, &snapshot),
            None => Ok(()),
        };
        match checked.and_then(|()| check_origin(&parts.headers)) {
            Err(refusal) => error::refuse(refusal),
            Ok(()) if parts.method != Method::GET => error::refuse(HttpRefusal::MethodNotAllowed { allow: "GET" }),
            Ok(()) => health::respond(&self.health).await,
        }
    }
}
