//! Why a message is not served, as JSON-RPC reports it: a code, a sentence, and when to try again.
//!
//! A refusal contains nothing that the caller sent, except the name of the tool or the protocol version that it asked for.
//! How a transport carries a refusal (an HTTP status, for example) is left to the transport.

use std::borrow::Cow;

use super::{json, strict};

/// Why a message, or the call in it, is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    // -- about the message
    /// The body is not JSON that this server accepts.
    Json(strict::JsonError),
    /// The JSON is not a message of MCP.
    Malformed(&'static str),
    /// The headers contradict the body.
    HeaderMismatch(Cow<'static, str>),
    /// A request of the stateless era lacks what its `_meta` must contain.
    EnvelopeMissing(&'static str),
    UnsupportedVersion {
        requested: String,
    },
    UnknownMethod {
        /// The request belongs to a session, which goes on.
        in_session: bool,
    },
    SessionNotFound,
    /// The request names another revision than that of its session.
    NotOfSession {
        /// The revision that was agreed at `initialize`.
        agreed: &'static str,
        named: String,
    },
    // -- about the caller, whose access ended while its call waited
    /// Its credential is not valid any more; with the sentence of its kind.
    Unauthenticated(&'static str),
    /// Its client may not call this server any more.
    ClientRefused(&'static str),
    // -- about the call
    /// The tool is unknown, or not permitted for this client: callers cannot tell the two apart.
    ToolDenied {
        name: String,
        /// The nearest name of the tools that this client may call.
        near: Option<String>,
    },
    InvalidParams(Cow<'static, str>),
    /// The arguments do not fit the tool. That is a result of the call, which the model reads, and no error of the protocol
    /// (specification 2025-11-25, Tools, Error Handling).
    InvalidArguments(String),
    OverLimit {
        /// When the caller may try again.
        seconds: u64,
    },
    /// The audit log cannot be written.
    AuditUnavailable,
    /// The limits cannot be checked.
    LimitsUnavailable,
    /// The server holds as many requests or streams as it can.
    Overloaded,
}

/// The revisions that are served, newest first.
pub const SUPPORTED_VERSIONS: [&str; 4] = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"];
/// After how many seconds a caller may retry a request that cannot be served now.
const UNAVAILABLE_SECONDS: u64 = 1;

impl Refusal {
    /// The JSON-RPC error code (specification 2026-07-28, Base Protocol, Error Codes). Codes of our own are outside the range
    /// that JSON-RPC reserves, and equal the HTTP status of the same meaning.
    pub fn code(&self) -> i64 {
        match self {
            Self::Json(
                strict::JsonError::NotUtf8
                | strict::JsonError::Syntax
                | strict::JsonError::NotFinite
                | strict::JsonError::LoneSurrogate,
            ) => -32700,
            Self::Json(_) | Self::Malformed(_) | Self::SessionNotFound | Self::NotOfSession { .. } => -32600,
            Self::UnknownMethod { .. } => -32601,
            Self::EnvelopeMissing(_) | Self::ToolDenied { .. } | Self::InvalidParams(_) | Self::InvalidArguments(_) => {
                -32602
            }
            Self::HeaderMismatch(_) => -32020,
            Self::UnsupportedVersion { .. } => -32022,
            Self::Unauthenticated(_) => 401,
            Self::ClientRefused(_) => 403,
            Self::OverLimit { .. } => 429,
            Self::AuditUnavailable | Self::LimitsUnavailable | Self::Overloaded => 503,
        }
    }

    /// The sentence for the caller.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Json(refusal) => return Cow::Owned(format!("Invalid JSON: {refusal}")),
            Self::Malformed(why) => return Cow::Owned(format!("Invalid request: {why}")),
            Self::HeaderMismatch(why) => return Cow::Owned(format!("Header mismatch: {why}")),
            Self::EnvelopeMissing(why) => return Cow::Owned(format!("Invalid params: {why}")),
            Self::UnsupportedVersion { .. } => "Unsupported protocol version",
            Self::UnknownMethod { .. } => "Method not found",
            Self::Unauthenticated(message) | Self::ClientRefused(message) => message,
            Self::SessionNotFound => "Session not found; initialize again",
            Self::NotOfSession { agreed, named } => {
                return Cow::Owned(format!(
                    "Invalid request: the session is of protocol version {agreed}, and the request names {named}; \
                     send `MCP-Protocol-Version: {agreed}`, or initialize again"
                ));
            }
            Self::ToolDenied { name, .. } => {
                return Cow::Owned(format!("Tool '{name}' is not permitted for this client"));
            }
            Self::InvalidParams(why) => return why.clone(),
            Self::InvalidArguments(why) => return Cow::Owned(why.clone()),
            Self::OverLimit { seconds } => {
                return Cow::Owned(format!("Rate limit exceeded. Retry after {seconds} seconds."));
            }
            Self::AuditUnavailable => "The audit log cannot be written; nothing was done",
            Self::LimitsUnavailable => "The limits cannot be checked; nothing was done",
            Self::Overloaded => "The server is overloaded; nothing was done",
        })
    }

    /// After how many seconds the caller may try again; `None` if trying again will not help.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::OverLimit { seconds } => Some(*seconds),
            Self::AuditUnavailable | Self::LimitsUnavailable | Self::Overloaded => Some(UNAVAILABLE_SECONDS),
            _ => None,
        }
    }

    /// The JSON-RPC response. `id` is the id of the request, as it was written, if it could be read.
    pub fn response(&self, id: Option<&str>) -> String {
        let code = self.code();
        // Without an id it is left out: MCP, unlike JSON-RPC, has no null there, and clients fail to read one.
        let id = id.map_or(String::new(), |id| format!(r#""id":{id},"#));
        let message = json::string(&self.message());
        let data = match self {
            Self::UnsupportedVersion { requested } => {
                let supported = SUPPORTED_VERSIONS.map(|version| format!("\"{version}\"")).join(",");
                format!(r#","data":{{"supported":[{supported}],"requested":{}}}"#, json::string(requested))
            }
            // Not in the message, which is the same for all tools.
            Self::ToolDenied { near: Some(near), .. } => format!(r#","data":{{"didYouMean":{}}}"#, json::string(near)),
            _ => String::new(),
        };
        format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":{code},"message":{message}{data}}}}}"#)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_json_rpc_error_with_the_id_of_its_request() {
        assert_eq!(
            Refusal::OverLimit { seconds: 7 }.response(Some("\"x\"")),
            r#"{"jsonrpc":"2.0","id":"x","error":{"code":429,"message":"Rate limit exceeded. Retry after 7 seconds."}}"#
        );
        assert_eq!(
            Refusal::ToolDenied { name: "fnd".into(), near: Some("find".into()) }.response(Some("1")),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Tool 'fnd' is not permitted for this client","data":{"didYouMean":"find"}}}"#
        );
        assert_eq!(
            Refusal::UnsupportedVersion { requested: "1\"".into() }.response(None),
            r#"{"jsonrpc":"2.0","error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28","2025-11-25","2025-06-18","2025-03-26"],"requested":"1\""}}}"#
        );
        assert_eq!(
            Refusal::ToolDenied { name: "a'\u{1}".into(), near: None }.response(Some("1")),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"Tool 'a'\u0001' is not permitted for this client"}}"#
        );
    }
}
