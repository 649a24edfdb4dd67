//! Why a backend has no answer for a call: what the audit log says about it, and what the caller is told.

use std::time::Duration;

use crate::audit::record::CallError;

/// A call failed at its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The breaker is open: the backend was not asked.
    Suspended,
    /// It has as many calls as it may have at once: it was not asked.
    Busy,
    /// No connection.
    Unreachable,
    /// The connection broke before the answer was complete.
    Broken,
    /// No complete answer in time.
    Timeout(Duration),
    /// It answered with a status that is no success, and perhaps with words, at most 4 KiB of them.
    Status { status: u16, text: String },
    /// The answer is larger than the bound.
    TooLarge,
    /// The answer is no JSON that we accept.
    Malformed,
    /// The list that the tool declares is not in the answer.
    RecordsMissing,
}

impl Failure {
    /// For the audit log: names and numbers, none of the backend's words.
    pub fn record<'a>(&self, backend: &'a str) -> CallError<'a> {
        match self {
            Self::Suspended => CallError::BackendSuspended { backend },
            Self::Busy => CallError::BackendBusy { backend },
            Self::Unreachable | Self::Broken => CallError::BackendUnreachable { backend },
            Self::Timeout(timeout) => CallError::BackendTimeout { backend, timeout: *timeout },
            Self::Status { status, .. } => CallError::BackendStatus { backend, status: *status },
            Self::TooLarge => CallError::AnswerTooLarge { backend },
            Self::Malformed => CallError::AnswerMalformed { backend },
            Self::RecordsMissing => CallError::RecordsMissing { backend },
        }
    }

    /// For the caller.
    pub fn message(&self, backend: &str) -> String {
        match self {
            Self::Suspended => {
                format!("Backend '{backend}' failed repeatedly and is not asked for a moment. Try again.")
            }
            Self::Busy => format!("Backend '{backend}' is busy. Try again."),
            Self::Unreachable => format!("Backend '{backend}' could not be reached."),
            Self::Broken => format!("Backend '{backend}' broke off before its answer was complete."),
            Self::Timeout(timeout) => format!("Backend '{backend}' did not answer within {} ms.", timeout.as_millis()),
            Self::Status { status, text } if text.is_empty() => {
                format!("Backend '{backend}' answered with status {status}.")
            }
            Self::Status { status, text } => format!("Backend '{backend}' answered with status {status}: {text}"),
            Self::TooLarge => format!("Backend '{backend}' gave an answer that is too large."),
            Self::Malformed => format!("Backend '{backend}' gave an answer that is no valid JSON."),
            Self::RecordsMissing => format!("Backend '{backend}' gave an answer without the list of records."),
        }
    }
}
