//! The only table from a refusal to an HTTP response: its status, its headers and its body.
//!
//! Refusals that precede the message are answered with a plain `{"error": …}`; refusals of a message are JSON-RPC error
//! objects, because clients look for the reason there.

use std::borrow::Cow;

use http::{HeaderValue, Response, StatusCode, header};

use super::response;
use crate::{
    identity,
    net::{BodyRefusal, OverBudget, ResponseBody},
    protocol::{json, refusal::Refusal},
};

/// Why an HTTP request is refused before its message is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpRefusal {
    NoPolicy,
    ForeignHost,
    ForeignOrigin,
    UnknownPath,
    MethodNotAllowed {
        /// The methods that are allowed, as the `Allow` header lists them.
        allow: &'static str,
    },
    NotAcceptable,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyTooSlow,
    /// Its chunks are malformed, or it ended too early.
    BodyBroken,
    /// Too much of earlier answers is unread.
    Unread,
}

/// After how many seconds a caller may retry while no policy is loaded, or too much is unread.
const UNAVAILABLE_RETRY_SECONDS: u64 = 1;
/// After how many seconds a caller may retry that has too many bodies or streams at once.
const BUDGET_RETRY_SECONDS: u64 = 1;

impl HttpRefusal {
    pub fn status(self) -> StatusCode {
        match self {
            Self::BodyBroken => StatusCode::BAD_REQUEST,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::NoPolicy | Self::Unread => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn message(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoPolicy => "No policy is loaded yet",
            Self::ForeignHost => "The Host header does not name this server",
            Self::ForeignOrigin => "Requests from web pages are not served",
            Self::UnknownPath => "Not found; MCP is served at /mcp with an API key and without OAuth",
            Self::MethodNotAllowed { allow } => {
                return Cow::Owned(format!("Method not allowed; use {}", allow.replace(", ", " or ")));
            }
            Self::NotAcceptable => "The response is application/json; the Accept header must allow it",
            Self::UnsupportedMediaType => "The body must be application/json, without a content encoding",
            Self::BodyTooLarge => "The body is too large",
            Self::BodyTooSlow => "The body was received too slowly",
            Self::BodyBroken => "The body is malformed or incomplete",
            Self::Unread => "Too much of earlier answers is unread; nothing was done",
        })
    }
}

/// The response to a refusal of HTTP.
pub fn refuse(refusal: HttpRefusal) -> Response<ResponseBody> {
    let mut response = plain(refusal.status(), &refusal.message());
    match refusal {
        HttpRefusal::NoPolicy | HttpRefusal::Unread => {
            response.headers_mut().insert(header::RETRY_AFTER, UNAVAILABLE_RETRY_SECONDS.into());
        }
        HttpRefusal::MethodNotAllowed { allow } => {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        _ => {}
    }
    response
}

/// The response to a caller that is not a client.
pub fn refuse_caller(refusal: identity::Refusal<'_>) -> Response<ResponseBody> {
    let status = match refusal {
        identity::Refusal::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
        identity::Refusal::ClientRefused { .. } => StatusCode::FORBIDDEN,
    };
    plain(status, refusal.message())
}

/// Says to a caller that is not authenticated how to be: what a 401 must have (RFC 9110, section 15.5.2).
pub fn challenge(response: &mut Response<ResponseBody>, challenge: &str) {
    // The names and words that it is made of are always a valid header.
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
}

/// The response to a refusal of a message, with its JSON-RPC response.
pub fn refuse_message(refusal: &Refusal, response: String) -> Response<ResponseBody> {
    let mut response = response::json(message_status(refusal), response.into());
    response.body_mut().refusal();
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The refusal of a request whose body was not read: that of a message if the caller can retry.
///
/// # Errors
/// Returns the refusal of HTTP if it cannot.
pub fn refuse_body(refusal: BodyRefusal) -> Result<Refusal, HttpRefusal> {
    match refusal {
        BodyRefusal::OverShare => Ok(Refusal::OverLimit { seconds: BUDGET_RETRY_SECONDS }),
        BodyRefusal::Overloaded => Ok(Refusal::Overloaded),
        BodyRefusal::TooLarge => Err(HttpRefusal::BodyTooLarge),
        BodyRefusal::TooSlow => Err(HttpRefusal::BodyTooSlow),
        BodyRefusal::Broken => Err(HttpRefusal::BodyBroken),
    }
}

/// The refusal of a request whose stream cannot be opened.
pub fn refuse_stream(over: OverBudget) -> Refusal {
    match over {
        OverBudget::OfIdentity => Refusal::OverLimit { seconds: BUDGET_RETRY_SECONDS },
        OverBudget::OfAll => Refusal::Overloaded,
    }
}

/// The status of a refusal of a message. Within a session, 404 would mean that the session has ended.
pub fn message_status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::ToolDenied { .. }
        | Refusal::InvalidParams(_)
        | Refusal::InvalidArguments(_)
        | Refusal::UnknownMethod { in_session: true } => StatusCode::OK,
        Refusal::Json(_)
        | Refusal::Malformed(_)
        | Refusal::HeaderMismatch(_)
        | Refusal::NotOfSession { .. }
        | Refusal::EnvelopeMissing(_)
        | Refusal::UnsupportedVersion { .. } => StatusCode::BAD_REQUEST,
        Refusal::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Refusal::ClientRefused(_) => StatusCode::FORBIDDEN,
        Refusal::UnknownMethod { in_session: false } | Refusal::SessionNotFound => StatusCode::NOT_FOUND,
        Refusal::OverLimit { .. } => StatusCode::TOO_MANY_REQUESTS,
        Refusal::AuditUnavailable | Refusal::LimitsUnavailable | Refusal::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn plain(status: StatusCode, message: &str) -> Response<ResponseBody> {
    response::json(status, format!(r#"{{"error":{}}}"#, json::string(message)).into())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::audit::record::AuthFailure;

    async fn read(response: Response<ResponseBody>) -> (u16, Vec<(String, String)>, String) {
        let (parts, body) = response.into_parts();
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        let mut headers: Vec<_> = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        headers.retain(|(name, _)| name != "content-type");
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), headers, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn refusals_before_the_message_are_plain_and_refusals_of_a_message_are_json_rpc_errors() {
        let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(
            read(refuse(HttpRefusal::MethodNotAllowed { allow: "GET, HEAD" })).await,
            (405, header("allow", "GET, HEAD"), r#"{"error":"Method not allowed; use GET or HEAD"}"#.into())
        );
        assert_eq!(
            read(refuse(HttpRefusal::NoPolicy)).await,
            (503, header("retry-after", "1"), r#"{"error":"No policy is loaded yet"}"#.into())
        );
        assert_eq!(
            read(refuse(HttpRefusal::Unread)).await,
            (
                503,
                header("retry-after", "1"),
                r#"{"error":"Too much of earlier answers is unread; nothing was done"}"#.into()
            )
        );
        let unauthenticated =
            identity::Refusal::Unauthenticated { message: "Invalid API key", reason: AuthFailure::UnknownKey };
        assert_eq!(read(refuse_caller(unauthenticated)).await, (401, vec![], r#"{"error":"Invalid API key"}"#.into()));
        let over = Refusal::OverLimit { seconds: 7 };
        assert_eq!(
            read(refuse_message(&over, over.response(Some("1")))).await,
            (429, header("retry-after", "7"), over.response(Some("1")))
        );
    }

    #[test]
    fn an_unknown_method_does_not_end_a_session() {
        for (in_session, status) in [(true, 200), (false, 404)] {
            assert_eq!(message_status(&Refusal::UnknownMethod { in_session }).as_u16(), status);
        }
    }
}
