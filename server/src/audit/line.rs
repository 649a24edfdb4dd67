//! Records as JSON: a body of fields, each preceded by a comma, because the fields before them (time, level, event, number) are
//! known only when the record is put into the queue.

use super::{
    fields::Field,
    record::{AuthFailed, CallEnd, CallError, CallFailure, Event, Record, Who},
};
use crate::protocol::json::{push_fraction, push_number, push_string};

/// The fields of a record, from the first comma up to the closing brace.
#[derive(Default)]
pub(super) struct Body(pub(super) Vec<u8>);

impl Body {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(super) fn text(&mut self, field: Field, value: &str) -> &mut Self {
        self.name(field);
        push_string(&mut self.0, value);
        self
    }

    pub(super) fn optional(&mut self, field: Field, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.text(field, value);
        }
        self
    }

    pub(super) fn number(&mut self, field: Field, value: u64) -> &mut Self {
        self.name(field);
        push_number(&mut self.0, value);
        self
    }

    /// Microseconds as milliseconds with three decimals.
    pub(super) fn millis(&mut self, field: Field, micros: u128) -> &mut Self {
        self.name(field);
        push_number(&mut self.0, u64::try_from(micros / 1_000).unwrap_or(u64::MAX));
        self.0.push(b'.');
        push_fraction(&mut self.0, (micros % 1_000) as u32, 3);
        self
    }

    /// JSON that was written by the audit log itself; it may go on with further fields.
    pub(super) fn raw(&mut self, field: Field, json: &str) -> &mut Self {
        self.name(field);
        self.0.extend_from_slice(json.as_bytes());
        self
    }

    fn name(&mut self, field: Field) {
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(field.as_str().as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    pub(super) fn who(&mut self, who: &Who<'_>) -> &mut Self {
        self.text(Field::Revision, who.revision)
            .text(Field::ClientId, who.client)
            .optional(Field::Subject, who.subject)
            .optional(Field::KeyId, who.key_id)
    }

    pub(super) fn end(&mut self, end: &CallEnd<'_>) -> Event {
        match end {
            CallEnd::Success { records_returned, bytes, left_out } => {
                match records_returned {
                    Some(records) => self.number(Field::RecordsReturned, *records),
                    None => self.raw(Field::RecordsReturned, "null"),
                };
                self.number(Field::Bytes, *bytes);
                if let Some(error) = left_out {
                    self.error(error);
                }
                Event::ToolCallSuccess
            }
            CallEnd::Error(error) => {
                self.error(error);
                Event::ToolCallError
            }
        }
    }

    fn error(&mut self, error: &CallError<'_>) {
        let (word, backend) = match error {
            CallError::BackendStatus { backend, .. } => (CallFailure::BackendStatus, Some(*backend)),
            CallError::BackendUnreachable { backend } => (CallFailure::BackendUnreachable, Some(*backend)),
            CallError::BackendTimeout { backend, .. } => (CallFailure::BackendTimeout, Some(*backend)),
            CallError::BackendSuspended { backend } => (CallFailure::BackendSuspended, Some(*backend)),
            CallError::BackendBusy { backend } => (CallFailure::BackendBusy, Some(*backend)),
            CallError::BackendCredentials { backend } => (CallFailure::BackendCredentials, Some(*backend)),
            CallError::AnswerMalformed { backend } => (CallFailure::AnswerMalformed, Some(*backend)),
            CallError::AnswerTooLarge { backend } => (CallFailure::AnswerTooLarge, Some(*backend)),
            CallError::RecordsMissing { backend } => (CallFailure::RecordsMissing, Some(*backend)),
            CallError::AnswerNonconforming { backend } => (CallFailure::AnswerNonconforming, Some(*backend)),
            CallError::AuditBlocked => (CallFailure::AuditBlocked, None),
            CallError::AccessEnded => (CallFailure::AccessEnded, None),
            CallError::Cancelled => (CallFailure::Cancelled, None),
            CallError::Disconnected => (CallFailure::Disconnected, None),
        };
        self.text(Field::Error, word.as_str()).optional(Field::Backend, backend);
        match error {
            CallError::BackendStatus { status, .. } => self.number(Field::Status, u64::from(*status)),
            CallError::BackendTimeout { timeout, .. } => self.millis(Field::TimeoutMs, timeout.as_micros()),
            _ => self,
        };
    }

    pub(super) fn record(&mut self, record: &Record<'_>) -> Event {
        match record {
            Record::ServerStarted { version, listen, admin } => {
                self.text(Field::Version, version)
                    .text(Field::Listen, &listen.to_string())
                    .text(Field::Admin, &admin.to_string());
                Event::ServerStarted
            }
            Record::ServerStopping => Event::ServerStopping,
            Record::PolicyLoaded { revision, credentials_revision, tools, clients } => {
                self.text(Field::Revision, revision)
                    .optional(Field::CredentialsRevision, *credentials_revision)
                    .number(Field::Tools, *tools as u64)
                    .number(Field::Clients, *clients as u64);
                Event::PolicyLoaded
            }
            Record::PolicyRefused { document, field } => {
                self.text(Field::Document, document.as_str()).text(Field::WrongField, field);
                Event::PolicyRefused
            }
            Record::AuthSuccess { who } => {
                self.who(who);
                Event::AuthSuccess
            }
            Record::ClientRefused { client, key_id, refusal } => {
                self.text(Field::ClientId, client)
                    .optional(Field::KeyId, *key_id)
                    .text(Field::Reason, refusal.as_str());
                Event::ClientRefused
            }
            Record::ToolAccessDenied { who, tool, denial, condition, enforced } => {
                self.who(who).tool(*tool);
                self.text(Field::Decision, if *enforced { "denied" } else { "would_deny" })
                    .text(Field::Reason, denial.as_str())
                    .optional(Field::Condition, *condition);
                Event::ToolAccessDenied
            }
            Record::RateLimitExceeded { who, tool, limit, retry_after_seconds } => {
                self.who(who)
                    .optional(Field::ToolName, *tool)
                    .text(Field::Decision, "denied")
                    .text(Field::Limit, limit.as_str());
                self.number(Field::RetryAfter, *retry_after_seconds);
                Event::RateLimitExceeded
            }
            Record::LimitsUnavailable { who, tool } => {
                self.who(who).text(Field::ToolName, tool).text(Field::Decision, "denied");
                Event::LimitsUnavailable
            }
            Record::ArgumentsRefused { who, tool, keyword, path } => {
                self.who(who).text(Field::ToolName, tool).text(Field::Decision, "denied");
                self.text(Field::Keyword, keyword).text(Field::Path, path);
                Event::ArgumentsRefused
            }
            Record::RequestRefused { who, status, code } => {
                self.who(who).text(Field::Decision, "denied");
                if let Some(status) = status {
                    self.number(Field::Status, u64::from(*status));
                }
                if let Some(code) = code {
                    self.raw(Field::Code, &code.to_string());
                }
                Event::RequestRefused
            }
        }
    }

    fn tool(&mut self, tool: Option<&str>) -> &mut Self {
        match tool {
            Some(tool) => self.text(Field::ToolName, tool),
            None => self.raw(Field::Unknown, "true"),
        }
    }

    /// Without the peer, equal failures of many peers can be counted as one record.
    pub(super) fn auth_failed(&mut self, failed: &AuthFailed, with_peer: bool) -> &mut Self {
        if with_peer {
            self.text(Field::Ip, &failed.peer.to_canonical().to_string());
        }
        self.text(Field::Route, failed.route).text(Field::Reason, failed.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_written_as_json(text in any::<String>(), number in any::<u64>(), micros in any::<u32>()) {
            let mut body = Body::default();
            body.text(Field::Path, &text).number(Field::Count, number).millis(Field::DurationMs, u128::from(micros));
            let read: Value = serde_json::from_str(&format!("{{{}}}", std::str::from_utf8(&body.0[1..]).unwrap())).unwrap();
            prop_assert_eq!(read, json!({"path": text, "count": number, "durationMs": f64::from(micros) / 1000.0}));
        }
    }
}
