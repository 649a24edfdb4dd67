//! The words of the audit log. Each field whose values are a closed set has its enum here, with a sentence for each word; the
//! reference page is printed from [`vocabularies`], and a test provokes every word of it.

use portcullis_crds::vocabulary;

use super::fields::Field;

vocabulary! {
    /// The events of the audit log.
    pub enum Event {
        /// The server began to listen.
        ServerStarted = "server_started",
        /// The server began to stop. Calls are served while it waits for load balancers (`--drain`); then those in flight are finished.
        ServerStopping = "server_stopping",
        /// A policy with its credentials came into force.
        PolicyLoaded = "policy_loaded",
        /// A document, or a part of it, was refused; the last valid one stays in force.
        PolicyRefused = "policy_refused",
        /// A caller was authenticated.
        AuthSuccess = "auth_success",
        /// A caller could not be authenticated. Only this event has the peer's address.
        AuthFailed = "auth_failed",
        /// A caller was authenticated, but is not (or no longer) a client of this server.
        ClientRefused = "client_refused",
        /// A tool is unknown, or denied to the client.
        ToolAccessDenied = "tool_access_denied",
        /// A request was over a limit. It counts against none but `request_allowance`.
        RateLimitExceeded = "rate_limit_exceeded",
        /// A call was refused because its limits could not be checked.
        LimitsUnavailable = "limits_unavailable",
        /// The arguments of a call do not match the tool's schema, cannot be sent to the backend as plain data, or took long to check
        /// and their caller did not wait.
        ArgumentsRefused = "arguments_refused",
        /// A request was refused before it became a call: it is malformed, its version or method is not served, or there is no room for it.
        RequestRefused = "request_refused",
        /// A call was admitted, and its backend is about to be called. If a start has no end, the outcome is unknown.
        ToolCallStart = "tool_call_start",
        /// A call ended with a result. If it has an `error`, the call wrote, and its response is left out of the
        /// result, or is there only as text.
        ToolCallSuccess = "tool_call_success",
        /// A call ended without a result.
        ToolCallError = "tool_call_error",
        /// Records were lost, because the sink was blocked and the policy has `onOverflow: Drop`.
        RecordsDropped = "records_dropped",
    }
}

vocabulary! {
    /// Why a tool was denied to a client.
    pub enum Denial {
        /// The tool is not in the client's list.
        NotGranted = "not_granted",
        /// The client has the tool, but the credential that it used does not admit it.
        NotAdmitted = "not_admitted",
        /// The tool writes, and the client may only read.
        WriteNotAllowed = "write_not_allowed",
        /// The arguments do not meet a condition of the client.
        ConditionNotMet = "condition_not_met",
        /// The server has no such tool; its name is not recorded.
        Unknown = "unknown",
    }
}

vocabulary! {
    /// The limit that a call exceeded.
    pub enum LimitName {
        /// Calls of this expensive tool by this client.
        Tool = "tool",
        /// Calls by this client.
        Client = "client",
        /// The client's share of the global limit.
        Share = "share",
        /// Calls by all clients.
        Global = "global",
        /// Requests by this client that are not admitted calls: all that is refused, lists, pings.
        RequestAllowance = "request_allowance",
        /// Calls in flight by this client, whose answers count until they are read: their number, or their bytes.
        InFlight = "in_flight",
    }
}

vocabulary! {
    /// Why a caller could not be authenticated.
    pub enum AuthFailure {
        /// Nothing was presented.
        Missing = "missing",
        /// The API key is not known.
        UnknownKey = "unknown_key",
        /// Several credentials were presented, or one twice.
        Ambiguous = "ambiguous",
    }
}

vocabulary! {
    /// Why an authenticated caller is not served.
    pub enum ClientRefusal {
        /// The policy has no client for the credential.
        NotRecognised = "not_recognised",
        /// The client is suspended.
        Suspended = "suspended",
        /// The client or its credential has expired.
        Expired = "expired",
    }
}

vocabulary! {
    /// Why arguments were refused, if not by a keyword of the tool's schema.
    pub enum NoKeyword {
        /// They are larger than 64 KiB.
        MaxBytes = "maxBytes",
        /// To check them takes too many steps.
        Complexity = "complexity",
        /// They match the schema, but cannot be sent to the backend as plain data.
        Unsendable = "unsendable",
        /// The caller left while they were being checked, which took long.
        Disconnected = "disconnected",
    }
}

vocabulary! {
    /// Which document was refused.
    pub enum Document {
        /// `policy.yaml`.
        Policy = "policy",
        /// `credentials.yaml`.
        Credentials = "credentials",
    }
}

vocabulary! {
    /// Why a call has no result.
    pub enum CallFailure {
        /// The backend responded with an HTTP status that is not a success.
        BackendStatus = "backend_status",
        /// There was no connection to the backend, or it broke before the response was complete.
        BackendUnreachable = "backend_unreachable",
        /// The backend did not respond completely within the tool's timeout, or too slowly while others waited for room.
        BackendTimeout = "backend_timeout",
        /// Several connections to the backend failed in a row: it was not called.
        BackendSuspended = "backend_suspended",
        /// The backend has as many calls or connections as it may have: it was not called.
        BackendBusy = "backend_busy",
        /// A header of the call has no value, because its Secret or key is missing, or no token was granted: the backend was not called.
        BackendCredentials = "backend_credentials",
        /// The backend's response is not valid JSON.
        AnswerMalformed = "answer_malformed",
        /// The backend's response is too large.
        AnswerTooLarge = "answer_too_large",
        /// The backend's response does not have the list of records that the tool declares.
        RecordsMissing = "records_missing",
        /// The backend's response does not conform to the tool's `outputSchema`.
        AnswerNonconforming = "answer_nonconforming",
        /// The log could not be written before the start of the call: the backend was not called.
        AuditBlocked = "audit_blocked",
        /// The caller's access ended while the call waited for a connection: the backend was not called.
        AccessEnded = "access_ended",
        /// The caller cancelled the call by `notifications/cancelled`: the outcome at the backend is unknown.
        Cancelled = "cancelled",
        /// The caller of revision 2026-07-28 disconnected before the end, or a stop cut the call off: the outcome at the backend is unknown.
        Disconnected = "disconnected",
    }
}

impl Event {
    /// The level of its records, as a word.
    pub const fn level(self) -> &'static str {
        match self {
            Self::PolicyRefused | Self::LimitsUnavailable | Self::RecordsDropped => "error",
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

/// The words that one field of the log can have.
pub struct Vocabulary {
    /// The event whose records have the field; `None` for the field `event` itself, which all records have.
    pub event: Option<Event>,
    pub field: &'static str,
    /// Each word with the sentence that documents it.
    pub words: Vec<(&'static str, &'static str)>,
    /// What a reader does about each of the words; empty if there is nothing to be done.
    pub remedies: Vec<&'static str>,
}

/// Every vocabulary of the log.
pub fn vocabularies() -> Vec<Vocabulary> {
    /// The vocabulary of a field, with what to do about its words.
    macro_rules! of {
        ($event:ident, $field:ident, $words:ident) => {
            Vocabulary {
                event: Some(Event::$event),
                field: Field::$field.as_str(),
                words: $words::words(),
                remedies: $words::ALL.iter().map(|word| word.remedy()).collect(),
            }
        };
    }
    vec![
        Vocabulary { event: None, field: Field::Event.as_str(), words: Event::words(), remedies: Vec::new() },
        of!(ToolCallError, Error, CallFailure),
        of!(AuthFailed, Reason, AuthFailure),
        of!(ClientRefused, Reason, ClientRefusal),
        of!(ToolAccessDenied, Reason, Denial),
        of!(ArgumentsRefused, Keyword, NoKeyword),
        of!(RateLimitExceeded, Limit, LimitName),
        of!(PolicyRefused, Document, Document),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_documented_by_a_sentence() {
        for Vocabulary { field, words, remedies, .. } in vocabularies() {
            for sentence in words.into_iter().map(|(_, sentence)| sentence).chain(remedies) {
                assert!(sentence.ends_with('.'), "{field}: {sentence}");
            }
        }
    }
}
