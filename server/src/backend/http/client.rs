//! The HTTP client of all backends: pooled connections, and requests that are sent once.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};

use super::{request::Rendered, response};
use crate::backend::{
    address::AddressPolicy,
    common::CALLS,
    dial::{DialError, Dialer},
    failure::Failure,
    output::Output,
};

/// How long an idle connection is kept: less than the five seconds after which common servers close theirs, because a request
/// that meets a closing connection fails and is not sent again.
const IDLE: Duration = Duration::from_secs(4);
const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// A client. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<Dialer>, Full<Bytes>>,
    pub(super) dialer: Dialer,
}

impl HttpClient {
    /// # Errors
    /// Returns an error if TLS is not available, which it is in every build of this crate.
    pub fn new(addresses: AddressPolicy) -> Result<Self, rustls::Error> {
        let dialer = Dialer(addresses);
        // The provider is named, because a program in which another crate brings a second one has no default.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(dialer);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(CALLS)
            // Only a request of which no byte was written gets another connection: one that was still queued when its pooled
            // connection turned out to be closed.
            .retry_canceled_requests(true)
            .build(connector);
        Ok(Self { client, dialer })
    }

    /// Sends the request of a call, once, and reads the response. `backend` is its name in the log.
    pub(super) async fn call(&self, backend: &str, rendered: Rendered) -> Result<Output, Failure> {
        let mut request =
            Request::builder().method(rendered.method).uri(rendered.uri).header(header::ACCEPT, "application/json");
        if rendered.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(rendered.body.unwrap_or_default())).map_err(|_| Failure::Unreachable)?;
        let response = self.send(request).await.map_err(|error| {
            tracing::warn!(backend, reason = reason(&error), "a backend could not be reached");
            if error.is_connect() { Failure::Unreachable } else { Failure::Broken }
        })?;
        response::read(response).await
    }

    /// Sends a request, and waits for the head of the response.
    pub(super) async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        request.headers_mut().insert(header::USER_AGENT, header::HeaderValue::from_static(USER_AGENT));
        self.client.request(request).await
    }
}

/// Why there is no response, in words of this server: those of libraries may quote what was sent.
fn reason(error: &Error) -> String {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(dial) = error.downcast_ref::<DialError>() {
            return dial.to_string();
        }
        source = error.source();
    }
    "the connection broke".to_owned()
}
