//! The HTTP client of all backends: pooled connections, and requests that are sent once.

use std::{sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error},
    rt::{TokioExecutor, TokioTimer},
};

use rustls::ClientConfig;
use tower_service::Service;

use super::{body, request::Rendered, response};
use crate::backend::{
    address::AddressPolicy,
    breaker::Breaker,
    common::CALLS,
    credentials::Outgoing,
    dial::{DialError, Dialer},
    establish::{BoxedError, Establish},
    failure::Failure,
    origin::Origin,
    output::Output,
    places::Places,
    sent::{Sent, SentBody},
};
use crate::{fingerprint::Fingerprint, net::Budget};

/// How long an idle connection is kept: less than the five seconds after which common servers close theirs, because a request
/// that meets a closing connection fails and is not sent again.
const IDLE: Duration = Duration::from_secs(4);
/// The most bytes of a response that a connection reads before they are taken, and of its head.
const READ: usize = 64 * 1024;
/// Whose call it is. The values are this server's own or were checked: no argument and no header of a caller gets there.
const CLIENT_ID: HeaderName = HeaderName::from_static("x-portcullis-client-id");
/// W3C Trace Context, sections 3.2 and 3.3.
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// Makes clients. Clones share what all of them have in common.
#[derive(Clone)]
pub struct HttpClients {
    tls: ClientConfig,
    addresses: AddressPolicy,
    places: Places,
    received: Budget,
}

type Connector = Establish<HttpsConnector<Dialer>>;

/// The client of one backend. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<Connector, SentBody>,
    connector: Connector,
    received: Budget,
}

impl HttpClients {
    /// # Errors
    /// Returns an error if TLS is not available, which it is in every build of this crate.
    pub fn new(addresses: AddressPolicy, places: Places) -> Result<Self, rustls::Error> {
        // The provider is named, because a program in which another crate brings a second one has no default.
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self { tls: tls.with_webpki_roots().with_no_client_auth(), addresses, places, received: body::budget() })
    }

    /// The bytes of responses that are being received.
    pub fn received(&self) -> &Budget {
        &self.received
    }

    /// A client that reports to the breaker whether connections can be made.
    pub fn client(&self, breaker: Arc<Breaker>) -> HttpClient {
        let places = self.places.of_backend();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(Dialer::new(self.addresses, places.clone()));
        let most_idle = CALLS.min(places.most_idle());
        let connector = Establish::new(connector, breaker, places);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(most_idle)
            .http1_max_buf_size(READ)
            // Only a request of which no byte was written gets another connection: one that was still queued when its pooled
            // connection turned out to be closed.
            .retry_canceled_requests(true)
            .build(connector.clone());
        HttpClient { client, connector, received: self.received.clone() }
    }
}

impl HttpClient {
    /// Whether a connection could be opened now, as far as this server is concerned.
    pub(super) fn has_place(&self) -> bool {
        !self.connector.places().are_taken()
    }

    /// Opens a connection, and closes it.
    pub(super) async fn connect(&self, uri: Uri) -> Result<(), BoxedError> {
        self.connector.clone().call(uri).await.map(drop)
    }

    /// Sends the request of a call, once, and reads the response, which counts for `identity`. `backend` is its name in the log.
    pub(super) async fn call(
        &self,
        backend: &str,
        (rendered, outgoing): (Rendered, &Outgoing),
        sent: Sent,
        identity: Fingerprint,
    ) -> Result<Output, Failure> {
        let origin = sent.take_origin();
        let headers = outgoing.of_call(origin.as_ref().map(|origin| &origin.client)).await?;
        let is_enclosing = matches!(rendered.method, Method::POST | Method::PUT | Method::PATCH);
        let mut request = Request::builder()
            .method(rendered.method)
            .uri(rendered.uri)
            .header(header::ACCEPT, "application/json, */*;q=0.5")
            .header(header::ACCEPT_ENCODING, "gzip");
        if let Some(Origin { client, trace }) = origin {
            request = request.header(CLIENT_ID, client.as_str()).header(TRACEPARENT, trace.parent());
            if let Some(state) = trace.state() {
                request = request.header(TRACESTATE, state);
            }
        }
        if let Some(body) = &rendered.body {
            request = request.header(header::CONTENT_TYPE, &*body.media_type);
        }
        let body = rendered.body.map(|body| body.bytes).unwrap_or_default();
        if is_enclosing && body.is_empty() {
            // The library states no length of a body that is empty, and common servers want one (RFC 9110 section 8.6).
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        let mut request = request.body(sent.clone().body(body)).map_err(|_| Failure::Unreachable)?;
        let (redaction, token) = headers.put(request.headers_mut());
        let response = self.send(request).await.map_err(|error| {
            tracing::warn!(backend, error = reason(&error), "a backend could not be reached");
            match dial_error(&error) {
                Some(DialError::NoPlace) => Failure::Busy,
                _ if error.is_connect() => Failure::Unreachable,
                _ => Failure::Broken,
            }
        })?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(token) = token
        {
            token.refused();
        }
        sent.responded(response.status());
        response::read(response, self.received.share(identity), &redaction).await
    }

    /// Sends a request, and waits for the head of the response.
    pub async fn send(&self, mut request: Request<SentBody>) -> Result<Response<Incoming>, Error> {
        request.headers_mut().entry(header::USER_AGENT).or_insert(HeaderValue::from_static(USER_AGENT));
        self.client.request(request).await
    }
}

/// Why there is no response, in words of this server: those of libraries may quote what was sent.
fn reason(error: &Error) -> String {
    dial_error(error).map_or_else(|| "the connection broke".to_owned(), ToString::to_string)
}

fn dial_error(error: &Error) -> Option<&DialError> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(dial) = error.downcast_ref::<DialError>() {
            return Some(dial);
        }
        source = error.source();
    }
    None
}
