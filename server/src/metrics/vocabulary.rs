//! The names of the metrics and the values of their labels, each with the sentence that documents it. The reference page is
//! printed from them.

use portcullis_crds::vocabulary;

/// What the name of every metric begins with.
pub(super) const PREFIX: &str = "portcullis";

vocabulary! {
    /// The metrics, by their names without prefix and suffix.
    pub enum Metric {
        /// Calls by tool and outcome.
        ToolCalls = "tool_calls",
        /// The seconds from the request to the response, of calls that were admitted and not cancelled.
        ToolCallDuration = "tool_call_duration_seconds",
        /// Requests by the outcome of their authentication.
        Authentications = "authentications",
        /// Documents that changed, by the outcome of loading them.
        Reloads = "reloads",
        /// Parts of the documents in force that are refused: halves, backends, tools, and entries of clients.
        PartsRefused = "parts_refused",
        /// Responses of the MCP endpoint by their HTTP status.
        Responses = "responses",
        /// Open connections of callers.
        Connections = "connections",
        /// Open connections to backends.
        BackendConnections = "backend_connections",
        /// Bytes that are held for callers, by what they are.
        HeldBytes = "held_bytes",
        /// 1 while audit records cannot be written, otherwise 0.
        AuditBlocked = "audit_blocked",
        /// Audit records that were lost.
        AuditRecordsDropped = "audit_records_dropped",
    }
}

vocabulary! {
    /// How a call ended.
    pub enum CallOutcome {
        /// The call has a result.
        Success = "success",
        /// The backend failed.
        Error = "error",
        /// The caller cancelled the call by `notifications/cancelled`. A call that ends as its caller disconnects is not counted.
        Cancelled = "cancelled",
        /// The client may not call the tool.
        Denied = "denied",
        /// A limit was exceeded.
        Limited = "limited",
        /// The arguments were refused.
        Invalid = "invalid",
        /// The audit log could not be written.
        Blocked = "blocked",
        /// The limits could not be checked.
        Unavailable = "unavailable",
        /// There was no room for its answer, or no thread for the check of its arguments.
        Overloaded = "overloaded",
    }
}

vocabulary! {
    /// How an authentication ended.
    pub enum AuthOutcome {
        /// The caller is a client of this server.
        Success = "success",
        /// The caller presented no valid credential.
        Failed = "failed",
        /// The credential is valid, but its client may not call this server.
        Refused = "refused",
    }
}

vocabulary! {
    /// How the loading of a changed document ended.
    pub enum ReloadOutcome {
        /// The document is in force.
        Loaded = "loaded",
        /// The document, or a part of it, was refused.
        Refused = "refused",
    }
}

vocabulary! {
    /// What bytes are held.
    pub enum Holding {
        /// Bodies of requests that are being received, with their heads.
        Requests = "requests",
        /// Responses of backends above 64 KiB, until the answers are made of them.
        Responses = "responses",
        /// Answers that are made or wait for their peers.
        Answers = "answers",
    }
}

vocabulary! {
    /// The HTTP statuses that are sent.
    pub enum ResponseStatus {
        /// The request has a result, or an error that the MCP client handles.
        Ok = "200",
        /// A notification was accepted.
        Accepted = "202",
        /// The message is malformed, or contradicts the headers.
        BadRequest = "400",
        /// No valid credential was presented.
        Unauthorized = "401",
        /// The client may not call this server, or the request was sent by a web page.
        Forbidden = "403",
        /// The method or the session does not exist.
        NotFound = "404",
        /// The HTTP method is not POST.
        MethodNotAllowed = "405",
        /// The caller does not accept JSON.
        NotAcceptable = "406",
        /// The body was received too slowly.
        RequestTimeout = "408",
        /// The body is too large.
        PayloadTooLarge = "413",
        /// The body is not JSON.
        UnsupportedMediaType = "415",
        /// The request was addressed to another host.
        MisdirectedRequest = "421",
        /// A limit was exceeded.
        TooManyRequests = "429",
        /// The request cannot be served now.
        ServiceUnavailable = "503",
        /// A status that is not documented.
        Other = "other",
    }
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// A label of a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub name: &'static str,
    /// Each value with the sentence that documents it; empty if the values are names from the policy.
    pub values: Vec<(&'static str, &'static str)>,
}

impl Metric {
    pub fn kind(self) -> MetricKind {
        match self {
            Self::ToolCalls | Self::Authentications | Self::Reloads | Self::Responses | Self::AuditRecordsDropped => {
                MetricKind::Counter
            }
            Self::Connections
            | Self::BackendConnections
            | Self::HeldBytes
            | Self::AuditBlocked
            | Self::PartsRefused => MetricKind::Gauge,
            Self::ToolCallDuration => MetricKind::Histogram,
        }
    }

    /// The name that Prometheus stores it by.
    pub fn name(self) -> String {
        let suffix = if self.kind() == MetricKind::Counter { "_total" } else { "" };
        format!("{PREFIX}_{self}{suffix}")
    }

    pub fn labels(self) -> Vec<Label> {
        let tool = || Label { name: "tool", values: Vec::new() };
        let outcome = |values| Label { name: "outcome", values };
        match self {
            Self::ToolCalls => vec![tool(), outcome(CallOutcome::words())],
            Self::ToolCallDuration => vec![tool()],
            Self::Authentications => vec![outcome(AuthOutcome::words())],
            Self::Reloads => vec![outcome(ReloadOutcome::words())],
            Self::Responses => vec![Label { name: "status", values: ResponseStatus::words() }],
            Self::HeldBytes => vec![Label { name: "of", values: Holding::words() }],
            Self::Connections
            | Self::BackendConnections
            | Self::AuditBlocked
            | Self::AuditRecordsDropped
            | Self::PartsRefused => Vec::new(),
        }
    }
}

impl ResponseStatus {
    /// The word for an HTTP status.
    pub fn of(status: u16) -> Self {
        match status {
            200 => Self::Ok,
            202 => Self::Accepted,
            400 => Self::BadRequest,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            406 => Self::NotAcceptable,
            408 => Self::RequestTimeout,
            413 => Self::PayloadTooLarge,
            415 => Self::UnsupportedMediaType,
            421 => Self::MisdirectedRequest,
            429 => Self::TooManyRequests,
            503 => Self::ServiceUnavailable,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_counted_by_its_number() {
        for status in ResponseStatus::ALL {
            assert_eq!(ResponseStatus::of(status.as_str().parse().unwrap_or(418)), *status);
        }
    }

    #[test]
    fn every_word_is_documented_by_a_sentence() {
        let values = Metric::ALL.iter().flat_map(|metric| metric.labels()).flat_map(|label| label.values);
        for (word, sentence) in Metric::words().into_iter().chain(values) {
            assert!(sentence.ends_with('.'), "{word}: {sentence}");
        }
    }
}
