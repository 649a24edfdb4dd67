//! A REST service, asked over pooled connections.
//!
//! No redirect is followed and no proxy is used, so a request goes where the policy says or nowhere. An answer is bounded in
//! size and, with everything that leads to it, in time.

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use portcullis_crds::{BackendName, check::HttpTarget, contract};
use tokio::sync::{Mutex, Semaphore};

use super::{
    Check, Dialling, Failure, Rendered, Status,
    breaker::Breaker,
    dial::{DialError, Dialler},
};

/// Bytes of an answer.
const ANSWER: usize = 4 * 1024 * 1024;
/// Bytes of an error's words that a caller gets to see.
const ERROR_TEXT: usize = 4 * 1024;
/// Calls that one backend has at once.
const CALLS: usize = 256;
/// How long an idle connection is kept: less than the five seconds after which common servers close theirs, because a request
/// that meets a closing connection fails and is not sent again.
const IDLE: Duration = Duration::from_secs(4);
/// How long a look at a backend's health may take, and how long what it found holds.
const HEALTH_WITHIN: Duration = Duration::from_secs(1);
const HEALTH_HOLDS: Duration = Duration::from_secs(2);
const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// What asks all backends. Clones share its connections.
#[derive(Clone)]
pub struct HttpClient {
    client: Client<HttpsConnector<Dialler>, Full<Bytes>>,
    dialler: Dialler,
}

/// One backend, with all that outlives a policy: its breaker, its calls, its health.
pub struct HttpBackend {
    name: BackendName,
    spec: contract::HttpBackend,
    target: HttpTarget,
    breaker: Breaker,
    calls: Semaphore,
    health: Arc<Mutex<Option<(Instant, Check)>>>,
}

impl HttpClient {
    /// # Errors
    /// Where TLS cannot be had, which no build of this crate lacks.
    pub fn new(dialling: Dialling) -> Result<Self, rustls::Error> {
        let dialler = Dialler(dialling);
        // Named, because a program in which another crate brings a second provider has no default one.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .wrap_connector(dialler);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(CALLS)
            // Only a request of which no byte was written is given another connection: one that was still queued when its
            // pooled connection turned out to be closed.
            .retry_canceled_requests(true)
            .build(connector);
        Ok(Self { client, dialler })
    }
}

impl HttpBackend {
    pub fn new(name: BackendName, spec: contract::HttpBackend, target: HttpTarget) -> Self {
        Self { name, spec, target, breaker: Breaker::default(), calls: Semaphore::new(CALLS), health: Arc::default() }
    }

    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    pub fn spec(&self) -> &contract::HttpBackend {
        &self.spec
    }

    pub fn target(&self) -> &HttpTarget {
        &self.target
    }

    /// The body of a successful answer. Sent once, whatever happens.
    ///
    /// # Errors
    /// Whatever else happens.
    pub async fn ask(&self, client: &HttpClient, request: Rendered, within: Duration) -> Result<Bytes, Failure> {
        // The place comes first: a call without one must not be the one that may try a backend again.
        let _place = self.calls.try_acquire().map_err(|_| Failure::Busy)?;
        if !self.breaker.admits(Instant::now()) {
            return Err(Failure::Suspended);
        }
        let answer = match tokio::time::timeout(within, self.exchange(client, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Timeout(within)),
        };
        // All clients share the breaker, so that only what no caller can bring about opens it: no connection. Slow calls and
        // wrong answers can be asked for.
        match &answer {
            Err(Failure::Unreachable) => self.breaker.failed(Instant::now()),
            _ => self.breaker.succeeded(),
        }
        answer
    }

    async fn exchange(&self, client: &HttpClient, rendered: Rendered) -> Result<Bytes, Failure> {
        let mut request = Request::builder()
            .method(rendered.method)
            .uri(rendered.uri)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, USER_AGENT);
        if rendered.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(rendered.body.unwrap_or_default())).map_err(|_| Failure::Unreachable)?;
        let answer = client.client.request(request).await.map_err(|error| {
            tracing::warn!(backend = self.name(), reason = reason(&error), "a backend could not be reached");
            if error.is_connect() { Failure::Unreachable } else { Failure::Broken }
        })?;
        let status = answer.status();
        if status.is_success() {
            return read(answer.into_body(), ANSWER).await;
        }
        let text = read(answer.into_body(), ANSWER).await.unwrap_or_default();
        Err(Failure::Status { status: status.as_u16(), text: beginning(&text) })
    }

    /// How it is now, or was a moment ago. Whoever asks waits for the one look under way, and a look that began ends and holds
    /// although nobody waits for it anymore: how often the backend is asked is not up to those who ask.
    pub async fn health(self: &Arc<Self>, client: &HttpClient) -> Check {
        let mut last = self.health.clone().lock_owned().await;
        if let Some((at, check)) = *last
            && at.elapsed() < HEALTH_HOLDS
        {
            return check;
        }
        let (backend, client) = (self.clone(), client.clone());
        let look = tokio::spawn(async move {
            let check = backend.look(&client).await;
            *last = Some((Instant::now(), check));
            check
        });
        look.await.unwrap_or_else(|_| Check::at_once(Status::Unhealthy))
    }

    async fn look(&self, client: &HttpClient) -> Check {
        let from = Instant::now();
        let is_well = tokio::time::timeout(HEALTH_WITHIN, self.is_well(client)).await.unwrap_or(false);
        let status = if is_well { Status::Healthy } else { Status::Unhealthy };
        Check { status, latency: from.elapsed() }
    }

    async fn is_well(&self, client: &HttpClient) -> bool {
        if self.spec.health_path.is_none() {
            return client.dialler.dial(&self.target.health).await.is_ok();
        }
        let request = Request::builder()
            .method(Method::GET)
            .uri(self.target.health.clone())
            .header(header::USER_AGENT, USER_AGENT)
            .body(Full::default());
        let Ok(request) = request else { return false };
        match client.client.request(request).await {
            Ok(answer) => answer.status() < StatusCode::INTERNAL_SERVER_ERROR,
            Err(_) => false,
        }
    }
}

/// A body of at most `max` bytes.
async fn read(mut body: Incoming, max: usize) -> Result<Bytes, Failure> {
    let declared = hyper::body::Body::size_hint(&body).lower();
    if declared > max as u64 {
        return Err(Failure::TooLarge);
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
        match &first {
            None => first = Some(data),
            Some(first) => {
                if rest.is_empty() {
                    rest.extend_from_slice(first);
                }
                if rest.len() + data.len() > max {
                    return Err(Failure::TooLarge);
                }
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(if rest.is_empty() { first.unwrap_or_default() } else { rest.freeze() })
}

/// As much of a text as a caller gets to see.
fn beginning(text: &[u8]) -> String {
    let cut = &text[..text.len().min(ERROR_TEXT)];
    String::from_utf8_lossy(cut).trim().to_owned()
}

/// Our own words about a connection that failed; others' may quote what was sent.
fn reason(error: &dyn Error) -> String {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(dial) = error.downcast_ref::<DialError>() {
            return dial.to_string();
        }
        source = error.source();
    }
    "the connection broke".to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[test]
    fn a_callers_share_of_an_errors_words_is_bounded() {
        let text = beginning("é".repeat(ERROR_TEXT).as_bytes());
        assert!(text.len() <= ERROR_TEXT + 3 && text.starts_with('é'));
        assert_eq!(beginning(b" no \xff "), "no \u{fffd}");
    }

    fn made(url: &str, health_path: Option<&str>) -> HttpBackend {
        let spec = contract::HttpBackend { url: url.into(), health_path: health_path.map(Into::into) };
        let target = HttpTarget::new(&spec).unwrap();
        HttpBackend::new("b".parse().unwrap(), spec, target)
    }

    #[test]
    fn health_is_asked_at_the_root_of_the_host() {
        let backend = |url: &str, health_path: Option<&str>| made(url, health_path).target.health.to_string();
        assert_eq!(backend("http://b:8080/v1", Some("/healthz?a=1")), "http://b:8080/healthz?a=1");
        assert_eq!(backend("https://[fd12::1]/v1", None), "https://[fd12::1]/");
    }

    #[tokio::test]
    async fn a_call_that_finds_no_place_does_not_take_the_one_that_may_try() {
        let client = HttpClient::new(Dialling::ServicesAndLoopback).unwrap();
        let backend = made("http://127.0.0.1:1", None);
        let a_while_ago = Instant::now() - Duration::from_secs(10);
        for _ in 0..10 {
            backend.breaker.failed(a_while_ago);
        }
        let ask = async || {
            let request = Rendered { method: Method::GET, uri: backend.target.health.clone(), body: None };
            backend.ask(&client, request, Duration::from_secs(5)).await
        };
        let all = backend.calls.acquire_many(u32::try_from(CALLS).unwrap()).await.unwrap();
        assert_eq!(ask().await, Err(Failure::Busy));
        drop(all);
        assert_eq!([ask().await, ask().await], [Err(Failure::Unreachable), Err(Failure::Suspended)]);
    }

    #[tokio::test]
    async fn callers_who_go_away_do_not_make_it_look_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let looks = Arc::new(AtomicUsize::new(0));
        let counter = looks.clone();
        tokio::spawn(async move {
            // It accepts, counts, and never answers.
            let mut silent = Vec::new();
            while let Ok(connection) = listener.accept().await {
                counter.fetch_add(1, Relaxed);
                silent.push(connection);
            }
        });
        let client = HttpClient::new(Dialling::ServicesAndLoopback).unwrap();
        let backend = Arc::new(made(&url, Some("/healthz")));
        for _ in 0..20 {
            let _ = tokio::time::timeout(Duration::from_millis(20), backend.health(&client)).await;
        }
        assert_eq!(backend.health(&client).await.status, Status::Unhealthy);
        assert_eq!(looks.load(Relaxed), 1);
    }
}
