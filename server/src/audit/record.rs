//! What a record can say. Everything here is closed: names from the policy, numbers, and enums with their sentence.

use std::{net::IpAddr, time::Duration};

use super::arguments::Arguments;

/// The events of the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The server began to listen.
    ServerStarted,
    /// The server began to stop: calls in flight are finished, no new ones begin.
    ServerStopping,
    /// A policy with its credentials came into force.
    PolicyLoaded,
    /// A document was refused; the last good one stays in force.
    PolicyRefused,
    /// A caller proved who it is. At most ten equal ones a second are written, the rest of that second as one with a count.
    AuthSuccess,
    /// Somebody failed to prove who it is. Only this event carries the peer's address.
    AuthFailed,
    /// A caller was authenticated, and is no client of this server (any more).
    ClientRefused,
    /// A tool was denied to a client, or is unknown.
    ToolAccessDenied,
    /// A call was over a limit, and used up nothing.
    RateLimitExceeded,
    /// A call's arguments do not fit the tool's schema, or cannot reach a backend as plain data.
    ArgumentsRefused,
    /// A request was refused before it was a call: malformed, of a wrong version, or of no known method.
    RequestRefused,
    /// A call was admitted, and is about to reach its backend.
    ToolCallStart,
    /// A call ended with a result.
    ToolCallSuccess,
    /// A call ended without one. A start without an end means that the outcome is unknown.
    ToolCallError,
    /// Records were lost, because the policy says `Drop` and the sink was blocked.
    RecordsDropped,
}

/// Whose request it was, and under which policy.
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

/// What a call's records begin with.
#[derive(Clone, Copy, Debug)]
pub struct CallStart<'a> {
    pub who: Who<'a>,
    /// The tool's name, from the policy.
    pub tool: &'a str,
    pub effect: Effect,
    /// What is recorded of the arguments; `None` where the policy says `None`.
    pub arguments: Option<&'a Arguments>,
}

/// What a tool does at its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Read,
    Write,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallEnd<'a> {
    Success {
        /// `None` where the result is opaque.
        records_returned: Option<u64>,
        /// Bytes of the answer to the caller.
        bytes: u64,
    },
    Error(CallError<'a>),
}

/// Why a call has no result. Names are the policy's, numbers are measured; no text of a backend or a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError<'a> {
    /// The backend answered with an HTTP status that is no success.
    BackendStatus { backend: &'a str, status: u16 },
    /// The backend said in the protocol that the call failed.
    BackendRefused { backend: &'a str },
    /// No connection, or it broke before the answer was complete.
    BackendUnreachable { backend: &'a str },
    /// No complete answer within the tool's timeout.
    BackendTimeout { backend: &'a str, timeout: Duration },
    /// The breaker is open: the backend was not asked.
    BackendSuspended { backend: &'a str },
    /// The backend has as many calls as it may.
    BackendBusy { backend: &'a str },
    /// The backend's answer is no JSON that we accept.
    AnswerMalformed { backend: &'a str },
    /// The backend's answer is larger than the bound.
    AnswerTooLarge { backend: &'a str },
    /// The list that the tool declares is not in the answer.
    RecordsMissing { backend: &'a str },
    /// The arguments cannot be sent as plain data.
    ArgumentsUnsendable,
    /// The sink was blocked before the start was written; the backend was not asked.
    AuditBlocked,
    /// The caller went away before the end: the outcome at the backend is unknown.
    Disconnected,
}

/// Why a tool was not there for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denial {
    /// The tool is not in the client's list.
    NotGranted,
    /// The tool writes, and the client may only read.
    WriteNotAllowed,
    /// The server has no such tool; its name is not recorded.
    Unknown,
    /// The result would be opaque, and the client has a maximum of records.
    OpaqueNotAllowed,
}

/// Which limit a call was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitName {
    /// Calls of this expensive tool by this client.
    Tool,
    /// Calls by this client.
    Client,
    /// The client's share of the global limit.
    Share,
    /// Calls by all clients.
    Global,
    /// Refused and other requests by this client.
    Other,
    /// Calls in flight by this client.
    InFlight,
}

/// Why a caller could not be authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthFailure {
    /// Nothing was presented.
    Missing,
    /// The API key is not known.
    UnknownKey,
    /// Several credentials, or one twice.
    Ambiguous,
}

/// Why an authenticated caller is no client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientRefusal {
    NotRecognised,
    Suspended,
    Expired,
}

/// Which document was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Document {
    Policy,
    Credentials,
}

/// Somebody failed to authenticate.
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
    ServerStarted {
        version: &'static str,
    },
    ServerStopping,
    PolicyLoaded {
        revision: &'a str,
        credentials_revision: Option<&'a str>,
        tools: usize,
        clients: usize,
    },
    /// `field` is the path of a field in our own document, and holds nothing of its value.
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
    /// `tool` is `None` where the server has no such tool. `enforced: false` where the policy only audits permissions.
    ToolAccessDenied {
        who: Who<'a>,
        tool: Option<&'a str>,
        denial: Denial,
        enforced: bool,
    },
    RateLimitExceeded {
        who: Who<'a>,
        tool: Option<&'a str>,
        limit: LimitName,
        retry_after_seconds: u64,
    },
    /// `path` is the place in the tool's schema, never in the arguments: those may have names of the caller's choice.
    ArgumentsRefused {
        who: Who<'a>,
        tool: &'a str,
        keyword: &'static str,
        path: &'a str,
    },
    /// The HTTP status and the JSON-RPC code that were answered.
    RequestRefused {
        who: Who<'a>,
        status: u16,
        code: i64,
    },
}
