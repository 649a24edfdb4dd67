//! Every refusal, and the only table of what each is on the wire: its status, its JSON-RPC code, its words.
//!
//! Those that come before a message was read are a plain `{"error": …}`; the others are JSON-RPC error objects, because
//! clients look for the reason there. No refusal repeats a value of the caller's but the name of the tool it asked for.

use std::borrow::Cow;

use http::StatusCode;

use super::strict;

/// Why a request is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    // -- before the body is read: plain
    NoPolicy,
    ForeignHost,
    ForeignOrigin,
    UnknownPath,
    MethodNotAllowed,
    ApiKeyRequired,
    InvalidApiKey,
    ClientNotRecognised,
    NotAcceptable,
    UnsupportedMediaType,
    BodyTooLarge,
    BodyTooSlow,
    /// Its chunks are none, or it ended too early.
    BodyBroken,
    // -- about the message: JSON-RPC errors
    Json(strict::Refusal),
    Malformed(&'static str),
    HeaderMismatch(&'static str),
    /// A request of the stateless era lacks what its `_meta` must hold.
    EnvelopeMissing(&'static str),
    UnsupportedVersion {
        requested: String,
    },
    UnknownMethod,
    /// As [`Refusal::UnknownMethod`], within a session: there, a 404 would say that the session is gone.
    UnknownMethodInSession,
    SessionNotFound,
    // -- about the call: JSON-RPC errors
    ToolDenied {
        name: String,
    },
    InvalidParams(Cow<'static, str>),
    OverLimit {
        seconds: u64,
    },
    /// The audit log cannot be written.
    Unavailable,
    /// The memory for bodies is used up.
    Overloaded,
}

/// The revisions that are served, newest first.
pub const SUPPORTED_VERSIONS: [&str; 4] = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"];
/// The seconds after which a caller may try again what cannot be served now.
const UNAVAILABLE_SECONDS: u64 = 1;

impl Refusal {
    /// The HTTP status. None but these, and 200 and 202, is ever sent by us; 400 and 431 may come from the HTTP layer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::ToolDenied { .. } | Self::InvalidParams(_) | Self::UnknownMethodInSession => StatusCode::OK,
            Self::BodyBroken
            | Self::Json(_)
            | Self::Malformed(_)
            | Self::HeaderMismatch(_)
            | Self::EnvelopeMissing(_)
            | Self::UnsupportedVersion { .. } => StatusCode::BAD_REQUEST,
            Self::ApiKeyRequired | Self::InvalidApiKey => StatusCode::UNAUTHORIZED,
            Self::ForeignOrigin | Self::ClientNotRecognised => StatusCode::FORBIDDEN,
            Self::UnknownPath | Self::UnknownMethod | Self::SessionNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::OverLimit { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::NoPolicy | Self::Unavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The JSON-RPC code (specification 2026-07-28, Base Protocol, Error Codes); `None` where the answer is plain. Ours
    /// lie outside of the range that JSON-RPC reserves, and are the status that says the same.
    pub fn code(&self) -> Option<i64> {
        Some(match self {
            Self::Json(strict::Refusal::NotUtf8 | strict::Refusal::Syntax | strict::Refusal::LoneSurrogate) => -32700,
            Self::Json(_) | Self::Malformed(_) | Self::SessionNotFound => -32600,
            Self::UnknownMethod | Self::UnknownMethodInSession => -32601,
            Self::EnvelopeMissing(_) | Self::ToolDenied { .. } | Self::InvalidParams(_) => -32602,
            Self::HeaderMismatch(_) => -32020,
            Self::UnsupportedVersion { .. } => -32022,
            Self::OverLimit { .. } => 429,
            Self::Unavailable | Self::Overloaded => 503,
            Self::NoPolicy
            | Self::ForeignHost
            | Self::ForeignOrigin
            | Self::UnknownPath
            | Self::MethodNotAllowed
            | Self::ApiKeyRequired
            | Self::InvalidApiKey
            | Self::ClientNotRecognised
            | Self::NotAcceptable
            | Self::UnsupportedMediaType
            | Self::BodyTooLarge
            | Self::BodyTooSlow
            | Self::BodyBroken => return None,
        })
    }

    /// The words.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NoPolicy => "No policy is loaded yet",
            Self::ForeignHost => "This server is not addressed by that host",
            Self::ForeignOrigin => "Requests from web pages are not served",
            Self::UnknownPath => "Not found; MCP is served at /mcp",
            Self::MethodNotAllowed => "Method not allowed; MCP is served by POST",
            Self::ApiKeyRequired => "API key required",
            Self::InvalidApiKey => "Invalid API key",
            Self::ClientNotRecognised => "Client not recognised",
            Self::NotAcceptable => "The answer is application/json; Accept must admit it",
            Self::UnsupportedMediaType => "The body must be application/json, without a content encoding",
            Self::BodyTooLarge => "The body is too large",
            Self::BodyTooSlow => "The body came too slowly",
            Self::BodyBroken => "The body is not what HTTP wants, or broke off",
            Self::Json(refusal) => return Cow::Owned(format!("Invalid JSON: {refusal}")),
            Self::Malformed(why) => return Cow::Owned(format!("Invalid request: {why}")),
            Self::HeaderMismatch(why) => return Cow::Owned(format!("Header mismatch: {why}")),
            Self::EnvelopeMissing(why) => return Cow::Owned(format!("Invalid params: {why}")),
            Self::UnsupportedVersion { .. } => "Unsupported protocol version",
            Self::UnknownMethod | Self::UnknownMethodInSession => "Method not found",
            Self::SessionNotFound => "Session not found; initialize again",
            Self::ToolDenied { name } => {
                return Cow::Owned(format!("Tool '{name}' is not permitted for this client"));
            }
            Self::InvalidParams(why) => return why.clone(),
            Self::OverLimit { seconds } => {
                return Cow::Owned(format!("Rate limit exceeded. Retry after {seconds} seconds."));
            }
            Self::Overloaded => "Too many large requests are on their way; nothing was done",
            Self::Unavailable => "The audit log cannot be written; nothing was done",
        })
    }

    /// The seconds of a `Retry-After` header.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::OverLimit { seconds } => Some(*seconds),
            Self::NoPolicy | Self::Unavailable | Self::Overloaded => Some(UNAVAILABLE_SECONDS),
            _ => None,
        }
    }

    /// The body. `id` is the request's, as it was written.
    pub fn body(&self, id: Option<&str>) -> String {
        let message = quoted(&self.message());
        let Some(code) = self.code() else {
            return format!(r#"{{"error":{message}}}"#);
        };
        let id = id.unwrap_or("null");
        let data = match self {
            Self::UnsupportedVersion { requested } => {
                let supported = SUPPORTED_VERSIONS.map(|version| format!("\"{version}\"")).join(",");
                format!(r#","data":{{"supported":[{supported}],"requested":{}}}"#, quoted(requested))
            }
            _ => String::new(),
        };
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}{data}}}}}"#)
    }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text);
    out
}

/// Appends a JSON string (RFC 8259 section 7).
pub fn push_quoted(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "\\u00",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        out.push_str(escape);
        if escape.len() > 2 {
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 0xf)]));
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refusals_before_the_message_are_plain_and_others_are_json_rpc_errors() {
        assert_eq!(Refusal::InvalidApiKey.body(None), r#"{"error":"Invalid API key"}"#);
        assert_eq!(
            Refusal::OverLimit { seconds: 7 }.body(Some("\"x\"")),
            r#"{"jsonrpc":"2.0","id":"x","error":{"code":429,"message":"Rate limit exceeded. Retry after 7 seconds."}}"#
        );
        assert_eq!(
            Refusal::UnsupportedVersion { requested: "1\"".into() }.body(None),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"requested":"1\""}}}"#
        );
        assert_eq!(
            Refusal::ToolDenied { name: "a'\u{1}".into() }.body(Some("1")),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Tool 'a'\u0001' is not permitted for this client"}}"#
        );
    }

    proptest! {
        #[test]
        fn a_quoted_text_reads_back(text in any::<String>()) {
            prop_assert_eq!(serde_json::from_str::<String>(&quoted(&text)).unwrap(), text);
        }
    }
}
