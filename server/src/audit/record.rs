//! What a record can say: names from the policy, numbers, and the words of the vocabularies. None of it can carry a text of a
//! caller or a backend.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use portcullis_crds::contract::Effect;

pub use super::vocabulary::{AuthFailure, CallFailure, ClientRefusal, Denial, Document, Event, LimitName};

use super::arguments::Arguments;

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
    /// The sink was blocked before the start was written; the backend was not asked.
    AuditBlocked,
    /// The caller went away before the end: the outcome at the backend is unknown.
    Disconnected,
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
    /// The addresses that it listens on, with the ports that it got.
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
    LimitsUnavailable {
        who: Who<'a>,
        tool: &'a str,
    },
    /// `path` is the place in the tool's schema, never in the arguments: those may have names of the caller's choice.
    ArgumentsRefused {
        who: Who<'a>,
        tool: &'a str,
        keyword: &'a str,
        path: &'a str,
    },
    /// The JSON-RPC code that was answered, and the HTTP status if the transport has one.
    RequestRefused {
        who: Who<'a>,
        status: Option<u16>,
        code: i64,
    },
}
