//! Why a call has no result: what the audit log records, and what the caller is told.

use std::time::Duration;

use http::StatusCode;

use crate::audit::record::CallError;

/// A call failed at its backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The breaker is open: the backend was not called.
    Suspended,
    /// The backend has as many calls in flight as it may have: it was not called.
    Busy,
    /// A header of the call has no value, and this says which: it was not called.
    Credentials(String),
    /// There was no connection.
    Unreachable,
    /// The connection broke before the response was complete.
    Broken,
    /// There was no complete response in time.
    Timeout(Duration),
    /// The caller cancelled the call.
    Cancelled,
    /// The caller's access ended before the call was sent.
    Withdrawn,
    /// The response has a status that is not a success, and perhaps a text, of which this has at most 4 KiB, and a number of seconds
    /// after which to call again.
    Status { status: u16, text: String, retry_after: Option<u64> },
    /// The response is larger than the bound.
    TooLarge,
    /// The response is not JSON that this server accepts.
    Malformed,
    /// The response has a number that JSON does not have: NaN or Infinity.
    NotFinite,
    /// The list that the tool declares is not in the response.
    RecordsMissing,
    /// The response does not conform to the tool's `outputSchema`, and this says where.
    Nonconforming(String),
    /// The status is a success, and this is why the rest of the response was not received.
    Unread(Box<Self>),
}

/// What is known of the effect of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effected {
    Yes,
    No,
    Unknown,
}

impl Failure {
    /// Why there is no complete response, if the backend has responded with this status before.
    pub(super) fn after(self, status: Option<StatusCode>) -> Self {
        match status {
            None => self,
            Some(status) if status.is_success() => Self::Unread(Box::new(self)),
            Some(status) => Self::Status { status: status.as_u16(), text: String::new(), retry_after: None },
        }
    }

    /// Whether the backend did what was asked. A gateway that gives up may have passed the request on, and a service that fails, or
    /// that points to something else, may have done it before.
    pub fn effected(&self) -> Effected {
        match self {
            Self::TooLarge
            | Self::Malformed
            | Self::NotFinite
            | Self::RecordsMissing
            | Self::Nonconforming(_)
            | Self::Unread(_) => Effected::Yes,
            Self::Broken | Self::Timeout(_) | Self::Cancelled => Effected::Unknown,
            Self::Status { status: 300..400 | 408 | 500.., .. } => Effected::Unknown,
            Self::Suspended
            | Self::Busy
            | Self::Credentials(_)
            | Self::Unreachable
            | Self::Withdrawn
            | Self::Status { .. } => Effected::No,
        }
    }

    /// After how many seconds the backend says that it may be called again.
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// For the audit log: names and numbers, no text of the backend.
    pub fn record<'a>(&self, backend: &'a str) -> CallError<'a> {
        match self {
            Self::Suspended => CallError::BackendSuspended { backend },
            Self::Busy => CallError::BackendBusy { backend },
            Self::Credentials(_) => CallError::BackendCredentials { backend },
            Self::Unreachable | Self::Broken => CallError::BackendUnreachable { backend },
            Self::Timeout(timeout) => CallError::BackendTimeout { backend, timeout: *timeout },
            Self::Cancelled => CallError::Cancelled,
            Self::Withdrawn => CallError::AccessEnded,
            Self::Status { status, .. } => CallError::BackendStatus { backend, status: *status },
            Self::TooLarge => CallError::AnswerTooLarge { backend },
            Self::Malformed | Self::NotFinite => CallError::AnswerMalformed { backend },
            Self::RecordsMissing => CallError::RecordsMissing { backend },
            Self::Nonconforming(_) => CallError::AnswerNonconforming { backend },
            Self::Unread(why) => why.record(backend),
        }
    }

    /// For the caller.
    pub fn message(&self, backend: &str) -> String {
        match self {
            Self::Suspended => {
                format!("Backend '{backend}' failed repeatedly and is suspended for a moment. Try again.")
            }
            Self::Busy => format!("Backend '{backend}' is busy. Try again."),
            Self::Credentials(what) => format!("Backend '{backend}' was not called: {what}."),
            Self::Unreachable => format!("Backend '{backend}' could not be reached."),
            Self::Broken => format!("Backend '{backend}' closed the connection before its response was complete."),
            Self::Timeout(timeout) => format!("Backend '{backend}' did not respond within {} ms.", timeout.as_millis()),
            Self::Cancelled => "The call was cancelled.".to_owned(),
            Self::Withdrawn => "The access to this tool has ended; nothing was done.".to_owned(),
            Self::Status { status, text, retry_after } => {
                let mut message = format!("Backend '{backend}' responded with status {status}");
                if !text.is_empty() {
                    message.push_str(": ");
                    message.push_str(text);
                }
                if text.is_empty() || (retry_after.is_some() && !text.ends_with(['.', '!', '?'])) {
                    message.push('.');
                }
                if let Some(seconds) = retry_after {
                    message.push_str(&format!(" Retry after {seconds} seconds."));
                }
                message
            }
            Self::TooLarge => format!("Backend '{backend}' returned a response that is too large."),
            Self::Malformed => format!("Backend '{backend}' returned a response that is not valid JSON."),
            Self::NotFinite => format!(
                "Backend '{backend}' returned a response that is not valid JSON: it has NaN or Infinity, which JSON does not have."
            ),
            Self::Nonconforming(why) => {
                let space = if why.starts_with('\n') { "" } else { " " };
                format!(
                    "Backend '{backend}' returned a response that does not conform to the tool's `outputSchema`:{space}{why}"
                )
            }
            Self::RecordsMissing => format!("Backend '{backend}' returned a response without the list of records."),
            Self::Unread(why) => match **why {
                Self::Timeout(timeout) => {
                    format!("Backend '{backend}' did not respond completely within {} ms.", timeout.as_millis())
                }
                ref why => why.message(backend),
            },
        }
    }
}
