//! What a record can say. Everything here is closed: names from the policy, numbers, and enums with their sentence.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

pub use portcullis_crds::server::Effect;

use super::arguments::Arguments;

/// An enum whose words reach the log, each with the sentence that documents it.
macro_rules! vocabulary {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $sentence:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[doc = $sentence])+ $variant,)+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As the log spells it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// What it means, for the reference documentation.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$variant => concat!($($sentence),+).trim(),)+ }
            }
        }
    };
}

vocabulary! {
    /// The events of the audit log.
    Event {
        /// The server began to listen.
        ServerStarted = "server_started",
        /// The server began to stop: calls in flight are finished, no new ones begin.
        ServerStopping = "server_stopping",
        /// A policy with its credentials came into force.
        PolicyLoaded = "policy_loaded",
        /// A document was refused; the last good one stays in force.
        PolicyRefused = "policy_refused",
        /// A caller proved who it is.
        AuthSuccess = "auth_success",
        /// Somebody failed to prove who it is. Only this event carries the peer's address.
        AuthFailed = "auth_failed",
        /// A caller was authenticated, and is no client of this server (any more).
        ClientRefused = "client_refused",
        /// A tool was denied to a client, or is unknown.
        ToolAccessDenied = "tool_access_denied",
        /// A call was over a limit, and used up nothing.
        RateLimitExceeded = "rate_limit_exceeded",
        /// A call's arguments do not fit the tool's schema, or cannot reach a backend as plain data.
        ArgumentsRefused = "arguments_refused",
        /// A request was refused before it was a call: malformed, of a wrong version, or of no known method.
        RequestRefused = "request_refused",
        /// A call was admitted, and is about to reach its backend. A start without an end means: outcome unknown.
        ToolCallStart = "tool_call_start",
        /// A call ended with a result.
        ToolCallSuccess = "tool_call_success",
        /// A call ended without a result.
        ToolCallError = "tool_call_error",
        /// Records were lost, because the policy says `Drop` and the sink was blocked.
        RecordsDropped = "records_dropped",
    }
}

vocabulary! {
    /// Why a tool was not there for a client.
    Denial {
        /// The tool is not in the client's list.
        NotGranted = "not_granted",
        /// The client has the tool, but the credential that it used does not admit it.
        NotAdmitted = "not_admitted",
        /// The tool writes, and the client may only read.
        WriteNotAllowed = "write_not_allowed",
        /// The server has no such tool; its name is not recorded.
        Unknown = "unknown",
    }
}

vocabulary! {
    /// Which limit a call was over.
    LimitName {
        /// Calls of this expensive tool by this client.
        Tool = "tool",
        /// Calls by this client.
        Client = "client",
        /// The client's share of the global limit.
        Share = "share",
        /// Calls by all clients.
        Global = "global",
        /// Requests by this client that are not admitted calls: refused calls, lists, pings.
        RequestAllowance = "request_allowance",
        /// Calls in flight by this client.
        InFlight = "in_flight",
    }
}

vocabulary! {
    /// Why a caller could not be authenticated.
    AuthFailure {
        /// Nothing was presented.
        Missing = "missing",
        /// The API key is not known.
        UnknownKey = "unknown_key",
        /// Several credentials were presented, or one twice.
        Ambiguous = "ambiguous",
    }
}

vocabulary! {
    /// Why an authenticated caller is no client.
    ClientRefusal {
        /// The policy has no client for the credential.
        NotRecognised = "not_recognised",
        /// The client is suspended.
        Suspended = "suspended",
        /// The client or its credential has expired.
        Expired = "expired",
    }
}

vocabulary! {
    /// Which document was refused.
    Document {
        /// `policy.yaml`.
        Policy = "policy",
        /// `credentials.yaml`.
        Credentials = "credentials",
    }
}

impl Event {
    /// The level of its records, as a word.
    pub const fn level(self) -> &'static str {
        match self {
            Self::PolicyRefused | Self::RecordsDropped => "error",
            Self::AuthFailed
            | Self::ClientRefused
            | Self::ToolAccessDenied
            | Self::RateLimitExceeded
            | Self::ArgumentsRefused
            | Self::RequestRefused
            | Self::ToolCallError => "warn",
            Self::ServerStarted
            | Self::ServerStopping
            | Self::PolicyLoaded
            | Self::AuthSuccess
            | Self::ToolCallStart
            | Self::ToolCallSuccess => "info",
        }
    }
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
