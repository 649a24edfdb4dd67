//! What a record can contain: names from the policy, numbers, and the words of the vocabularies. None of it can carry a text
//! that a caller or a backend wrote, but for the trace id of a call, which has no room for one.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use portcullis_crds::contract::Effect;

pub use super::vocabulary::{AuthFailure, CallFailure, ClientRefusal, Denial, Document, Event, LimitName, NoKeyword};

use super::arguments::ArgumentShape;
use crate::protocol::trace::TraceContext;

/// Who sent a request, and under which policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// The policy's revision.
    pub revision: &'a str,
    /// The client's id.
    pub client: &'a str,
    /// The user behind the client, as a pseudonym.
    pub subject: Option<&'a str>,
    /// The id of the credential, never the credential.
    pub key_id: Option<&'a str>,
}

/// The start of a call.
#[derive(Clone, Copy, Debug)]
pub struct CallStart<'a> {
    pub who: Who<'a>,
    /// The tool's name, from the policy.
    pub tool: &'a str,
    pub effect: Effect,
    /// `None` if neither the caller nor this server named one.
    pub trace: Option<&'a TraceContext>,
    /// `None` if the policy records no arguments.
    pub arguments: Option<&'a ArgumentShape>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd<'a> {
    Success {
        /// `None` if the result is opaque.
        records_returned: Option<u64>,
        /// Bytes of the answer to the caller.
        bytes: u64,
        /// Why the result does not contain the response, or only as text, of a call that wrote.
        left_out: Option<CallError<'a>>,
    },
    Error(CallError<'a>),
}

/// Why a call has no result. Names are the policy's, numbers are measured; no text of a backend or a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError<'a> {
    /// The backend responded with an HTTP status that is not a success.
    BackendStatus { backend: &'a str, status: u16 },
    /// There was no connection, or it broke before the response was complete.
    BackendUnreachable { backend: &'a str },
    /// There was no complete response within the tool's timeout.
    BackendTimeout { backend: &'a str, timeout: Duration },
    /// The circuit breaker is open: the backend was not called.
    BackendSuspended { backend: &'a str },
    /// The backend has as many calls or connections as it may have: it was not called.
    BackendBusy { backend: &'a str },
    /// A header of the call has no value: the backend was not called.
    BackendCredentials { backend: &'a str },
    /// The backend's response is not JSON that this server accepts.
    AnswerMalformed { backend: &'a str },
    /// The backend's response is too large.
    AnswerTooLarge { backend: &'a str },
    /// The response lacks the list that the tool declares.
    RecordsMissing { backend: &'a str },
    /// The response does not conform to the schema that the tool declares.
    AnswerNonconforming { backend: &'a str },
    /// The sink was blocked before the start was written: the backend was not called.
    AuditBlocked,
    /// The caller's access ended while the call waited to be sent: the backend was not called.
    AccessEnded,
    /// The caller cancelled the call by a notification: the outcome at the backend is unknown.
    Cancelled,
    /// The call was dropped before its end, because its caller disconnected or a stop cut it off: the outcome at the backend is unknown.
    Disconnected,
}

/// A failed authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthFailed {
    pub peer: IpAddr,
    /// The matched route, such as `/mcp`, or `other`; never the path that was sent.
    pub route: &'static str,
    pub reason: AuthFailure,
}

/// Everything else that is recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Record<'a> {
    /// The addresses that the server listens on, with their actual ports.
    ServerStarted {
        version: &'static str,
        listen: SocketAddr,
        admin: SocketAddr,
    },
    ServerStopping,
    PolicyLoaded {
        revision: &'a str,
        credentials_revision: Option<&'a str>,
        tools: usize,
        clients: usize,
    },
    /// `field` is the path of a field of the document, without its value.
    PolicyRefused {
        document: Document,
        field: &'a str,
    },
    AuthSuccess {
        who: Who<'a>,
    },
    ClientRefused {
        client: &'a str,
        key_id: Option<&'a str>,
        refusal: ClientRefusal,
    },
    /// `tool` is `None` if the server has no such tool. `condition` is the name of the condition that was not met. `enforced` is false
    /// if the policy only audits permissions.
    ToolAccessDenied {
        who: Who<'a>,
        tool: Option<&'a str>,
        denial: Denial,
        condition: Option<&'a str>,
        enforced: bool,
    },
    RateLimitExceeded {
        who: Who<'a>,
        tool: Option<&'a str>,
        limit: LimitName,
        retry_after_seconds: u64,
    },
    LimitsUnavailable {
        who: Who<'a>,
        tool: &'a str,
    },
    /// `path` points into the tool's schema, never into the arguments: their names may be the caller's choice.
    ArgumentsRefused {
        who: Who<'a>,
        tool: &'a str,
        keyword: &'a str,
        path: &'a str,
    },
    /// The JSON-RPC code that was answered, unless the message was not read, and the HTTP status if the transport has one.
    RequestRefused {
        who: Who<'a>,
        status: Option<u16>,
        code: Option<i64>,
    },
}
