//! Tokens by the client credentials grant of OAuth 2.0 (RFC 6749 section 4.4), each kept until shortly before it expires.
//!
//! One request is in flight for all calls that wait, and it goes on if they leave. A failure is remembered for a while, so that an
//! endpoint that is down is not flooded. Neither a token nor a text of the endpoint is ever printed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use portcullis_crds::check::TokenRequest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::secrets::SecretFile;
use crate::backend::{http::HttpClient, sent::Sent};

/// How long the endpoint may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The most bytes of its response.
const MAX_RESPONSE: usize = 64 * 1024;
/// The most bytes of a token: what servers commonly accept in all headers together.
const MAX_TOKEN: usize = 16 * 1024;
/// How long a token is valid if the endpoint does not say it.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// A token is replaced after this time, whatever the endpoint says.
const LONGEST_LIFETIME: Duration = Duration::from_secs(3600);
/// A token is replaced so long before it expires, because a call takes time; but it is used for most of its lifetime.
const MARGIN: Duration = Duration::from_secs(30);
/// The pause after a failure. Each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A token that the backend refuses is replaced at once, but no more often than this: a backend that refuses every token must not
/// cause a request for each call.
const REPLACED_AT_MOST: Duration = Duration::from_secs(30);

/// The tokens for one backend.
pub struct TokenSource {
    request: TokenRequest,
    secret: Arc<SecretFile>,
    client: HttpClient,
    state: Arc<Mutex<State>>,
    has_failed: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    token: Option<Held>,
    failure: Option<Failed>,
    replaced: Option<Instant>,
}

/// A token that was granted.
struct Held {
    token: Arc<SecretString>,
    /// When another one is asked for.
    renewed: Instant,
    expires: Instant,
}

struct Failed {
    why: String,
    pause: Duration,
    until: Instant,
}

/// A token, and for how long it is valid.
struct Fetched {
    token: SecretString,
    lifetime: Duration,
}

impl TokenSource {
    pub fn new(request: TokenRequest, secret: Arc<SecretFile>, client: HttpClient) -> Self {
        Self { request, secret, client, state: Arc::default(), has_failed: Arc::default() }
    }

    /// Whether there may be no token, now or after the one that is in use.
    pub fn is_impaired(&self) -> bool {
        self.has_failed.load(Relaxed) || !self.secret.is_current()
    }

    /// A token that is valid for a while.
    ///
    /// # Errors
    /// Returns an error that says why there is none, without a text of the endpoint.
    pub async fn token(self: &Arc<Self>) -> Result<Arc<SecretString>, String> {
        let mut state = self.state.clone().lock_owned().await;
        let now = Instant::now();
        if let Some(held) = &state.token
            && now < held.renewed
        {
            return Ok(held.token.clone());
        }
        if let Some(failed) = &state.failure
            && now < failed.until
        {
            return state.valid(now).ok_or_else(|| failed.why.clone());
        }
        let source = self.clone();
        // In a task of its own: a call that leaves must not take the token from those that wait.
        let fetching = tokio::spawn(async move {
            let fetched = match timeout(WITHIN, source.fetch()).await {
                Ok(fetched) => fetched,
                Err(_) => Err("the token endpoint did not respond within 10 s".to_owned()),
            };
            source.has_failed.store(fetched.is_err(), Relaxed);
            state.take(fetched, Instant::now())
        });
        fetching.await.unwrap_or_else(|_| Err("the request for a token failed unexpectedly".to_owned()))
    }

    /// The backend refused a token: the next call gets another one. The call itself is not repeated.
    pub fn refused(&self, token: &Arc<SecretString>) {
        // While another one is asked for there is nothing to do.
        let Ok(mut state) = self.state.try_lock() else { return };
        let is_held = state.token.as_ref().is_some_and(|held| Arc::ptr_eq(&held.token, token));
        let is_due = state.replaced.is_none_or(|replaced| replaced.elapsed() >= REPLACED_AT_MOST);
        if is_held && is_due {
            state.token = None;
            state.replaced = Some(Instant::now());
        }
    }

    async fn fetch(&self) -> Result<Fetched, String> {
        let TokenRequest { url, client_id, secret, audience, scopes } = &self.request;
        let value = self.secret.value().ok_or_else(|| format!("{secret} has no value that can be used"))?;
        // RFC 6749 section 2.3.1: both are encoded as in a form before they are joined.
        let basic = format!("{}:{}", encoded(client_id), encoded(value.expose_secret()));
        let authorization = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(basic)));
        let mut authorization = authorization.map_err(|_| "the client secret cannot be sent".to_owned())?;
        authorization.set_sensitive(true);
        let mut body = "grant_type=client_credentials".to_owned();
        if let Some(audience) = audience {
            body.push_str(&format!("&audience={}", encoded(audience)));
        }
        if !scopes.is_empty() {
            body.push_str(&format!("&scope={}", encoded(&scopes.join(" "))));
        }
        let request = Request::post(url.clone())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::AUTHORIZATION, authorization)
            .body(Sent::default().body(Bytes::from(body)))
            .map_err(|_| "the token endpoint cannot be asked".to_owned())?;
        let unreachable = |_| "the token endpoint could not be reached".to_owned();
        let response = self.client.send(request).await.map_err(unreachable)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(format!("the token endpoint responded with status {}", status.as_u16()));
        }
        let body = Limited::new(response.into_body(), MAX_RESPONSE).collect().await;
        let body =
            body.map_err(|_| "the response of the token endpoint is incomplete or larger than 64 KiB".to_owned())?;
        granted(&body.to_bytes()).map_err(|why| format!("the response of the token endpoint {why}"))
    }
}

impl State {
    /// The token, if it has not expired.
    fn valid(&self, now: Instant) -> Option<Arc<SecretString>> {
        self.token.as_ref().filter(|held| now < held.expires).map(|held| held.token.clone())
    }

    /// Takes what the endpoint granted, or that it granted nothing: then the token that there is serves until it expires.
    fn take(&mut self, fetched: Result<Fetched, String>, now: Instant) -> Result<Arc<SecretString>, String> {
        match fetched {
            Ok(Fetched { token, lifetime }) => {
                let token = Arc::new(token);
                let renewed = now + lifetime.saturating_sub(MARGIN.min(lifetime / 5));
                self.token = Some(Held { token: token.clone(), renewed, expires: now + lifetime });
                self.failure = None;
                Ok(token)
            }
            Err(why) => {
                tracing::warn!(why, "a token for a backend was not granted");
                let pause = self.failure.as_ref().map_or(FIRST_PAUSE, |last| LONGEST_PAUSE.min(last.pause * 2));
                self.failure = Some(Failed { why: why.clone(), pause, until: now + pause });
                self.valid(now).ok_or(why)
            }
        }
    }
}

/// A token response (RFC 6749 section 5.1).
fn granted(body: &[u8]) -> Result<Fetched, &'static str> {
    let response: Value = serde_json::from_slice(body).map_err(|_| "is not JSON")?;
    let token = response["access_token"].as_str().ok_or("has no access_token")?;
    if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has an access_token that no header can have");
    }
    if !response["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err("has another token_type than bearer");
    }
    let seconds = match &response["expires_in"] {
        Value::Null => None,
        Value::String(text) => Some(text.parse::<f64>().ok()),
        number => Some(number.as_f64()),
    };
    let lifetime = match seconds {
        None => DEFAULT_LIFETIME,
        Some(Some(seconds)) if seconds >= 0.0 => Duration::from_secs_f64(seconds.min(LONGEST_LIFETIME.as_secs_f64())),
        Some(_) => return Err("has an expires_in that is no number of seconds"),
    };
    Ok(Fetched { token: SecretString::from(token), lifetime })
}

/// As in `application/x-www-form-urlencoded`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b if b.is_ascii_alphanumeric() || b"*-._".contains(&b) => out.push(char::from(b)),
            b' ' => out.push('+'),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_grants_a_bearer_token_for_a_time() {
        let read = |body: &str| {
            granted(body.as_bytes()).map(|it| (it.token.expose_secret().to_owned(), it.lifetime.as_secs()))
        };
        let token = |lifetime| Ok(("t".to_owned(), lifetime));
        for (body, expected) in [
            (r#"{"access_token":"t","token_type":"Bearer","expires_in":600}"#, token(600)),
            (r#"{"access_token":"t","token_type":"bearer","expires_in":"100"}"#, token(100)),
            (r#"{"access_token":"t","token_type":"bearer"}"#, token(300)),
            (r#"{"access_token":"t","token_type":"bearer","expires_in":1e300}"#, token(3600)),
            (r#"{"access_token":"t","token_type":"bearer","expires_in":0}"#, token(0)),
            (
                r#"{"access_token":"t","token_type":"bearer","expires_in":-1}"#,
                Err("has an expires_in that is no number of seconds"),
            ),
            (r#"{"access_token":"t","token_type":"mac"}"#, Err("has another token_type than bearer")),
            (r#"{"access_token":"t"}"#, Err("has another token_type than bearer")),
            (r#"{"access_token":"a\r\nb","token_type":"bearer"}"#, Err("has an access_token that no header can have")),
            (r#"{"access_token":"","token_type":"bearer"}"#, Err("has an access_token that no header can have")),
            (r#"{"access_token":7,"token_type":"bearer"}"#, Err("has no access_token")),
            ("[]", Err("has no access_token")),
            ("<html>", Err("is not JSON")),
        ] {
            assert_eq!(read(body), expected, "{body}");
        }
        let long = format!(r#"{{"access_token":"{}","token_type":"bearer"}}"#, "t".repeat(MAX_TOKEN + 1));
        assert_eq!(read(&long), Err("has an access_token that no header can have"));
    }

    #[test]
    fn a_failure_is_remembered_for_longer_each_time_until_a_token_is_granted() {
        let (mut state, now) = (State::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let _ = state.take(Err("no".into()), now);
            pauses.extend(state.failure.as_ref().map(|failed| failed.pause.as_secs()));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        let token = SecretString::from("t");
        assert!(state.take(Ok(Fetched { token, lifetime: Duration::ZERO }), now).is_ok());
        assert!(state.failure.is_none());
    }

    #[test]
    fn a_token_is_replaced_before_it_expires_and_serves_until_then_if_there_is_no_other() {
        let (mut state, start) = (State::default(), Instant::now());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let granted = |token: &str, seconds| Fetched { token: token.into(), lifetime: Duration::from_secs(seconds) };
        let name = |token: Result<Arc<SecretString>, String>| token.map(|it| it.expose_secret().to_owned());
        assert_eq!(name(state.take(Ok(granted("a", 100)), start)), Ok("a".to_owned()));
        assert_eq!(state.token.as_ref().map(|held| held.renewed), Some(after(80)));
        assert_eq!(name(state.take(Err("down".into()), after(80))), Ok("a".to_owned()));
        assert_eq!(name(state.take(Err("down".into()), after(99))), Ok("a".to_owned()));
        assert_eq!(name(state.take(Err("down".into()), after(100))), Err("down".to_owned()));
        assert_eq!(name(state.take(Ok(granted("b", 3600)), after(101))), Ok("b".to_owned()));
        assert_eq!(state.token.as_ref().map(|held| held.renewed), Some(after(101 + 3570)));
    }

    #[test]
    fn client_id_and_secret_are_encoded_as_in_a_form() {
        assert_eq!(encoded("a b:c%ü*-._~+"), "a+b%3Ac%25%C3%BC*-._%7E%2B");
    }
}
