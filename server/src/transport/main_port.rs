//! The main port: one line for each path, one file for each endpoint.

use std::{
    future::{Future, ready},
    sync::Arc,
};

use futures::{FutureExt, future::Either};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;

use super::{
    endpoints::Endpoints,
    error::{self, HttpRefusal},
    health,
    request_headers::check_origin,
    streamable,
};
use crate::{
    health::Health,
    net::{self, ConnectionFacts, ResponseBody},
    protocol::era,
};

/// The port that MCP and `/health` are served on.
pub struct MainPort {
    pub endpoints: Endpoints,
    pub health: Arc<Health>,
}

impl net::Handler for MainPort {
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        connection: Arc<ConnectionFacts>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send {
        match request.uri().path() {
            streamable::PATH | streamable::PATH_WITH_SLASH => streamable::respond(self, request, connection),
            health::PATH => Either::Right(async move { self.health(&request).await }.boxed()),
            _ => Either::Right(ready(error::refuse(HttpRefusal::UnknownPath)).boxed()),
        }
    }

    fn is_cancelled_by_closing(&self, headers: &HeaderMap) -> bool {
        era::is_cancelled_by_closing(headers)
    }

    fn overloaded(&self) -> Response<ResponseBody> {
        error::refuse(HttpRefusal::Unread)
    }

    fn count(&self, status: StatusCode) {
        self.endpoints.metrics.responded(status.as_u16());
    }
}

impl MainPort {
    /// Health is not reported to web pages. Load balancers address a pod by whatever they know it by.
    async fn health(&self, request: &Request<Incoming>) -> Response<ResponseBody> {
        match check_origin(request.headers()).and_then(|()| health::check_method(request.method())) {
            Err(refusal) => error::refuse(refusal),
            Ok(()) => health::respond(&self.health).await,
        }
    }
}
