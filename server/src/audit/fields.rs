//! The fields of records: what each contains, and which records have it. The reference page is printed from them, and nothing else can
//! be written: a field is named by its word here.

use portcullis_crds::vocabulary;

use super::vocabulary::Event;

vocabulary! {
    /// The fields of records.
    pub enum Field {
        /// When it was recorded: RFC 3339, in UTC, with microseconds.
        Time = "time",
        /// `info`, `warn` or `error`; fixed for each event.
        Level = "level",
        /// What happened.
        Event = "event",
        /// The number of the record within its `instance`, from 1.
        Seq = "seq",
        /// The process: the name of its pod and a random part.
        Instance = "instance",
        /// How many equal records this one stands for, if they were many in a second; in `records_dropped`, how many were lost.
        Count = "count",
        /// The id of the call: its `instance` and a number. The caller finds it in the result.
        ExecutionId = "executionId",
        /// The trace of the call (W3C Trace Context), 32 hexadecimal digits: the caller's, or one made from `executionId`.
        TraceId = "traceId",
        /// The policy by which it was decided: the SHA-256 of the document.
        Revision = "revision",
        /// The client: the name of its McpClient, after `NAMESPACE/` if that is not the server's.
        ClientId = "clientId",
        /// The user behind the client, as a pseudonym.
        Subject = "subject",
        /// The API key: the beginning of its digest, as `status.apiKey.keyId` of the McpClient has it.
        KeyId = "keyId",
        /// The tool, as the policy names it.
        ToolName = "toolName",
        /// `true` in place of `toolName` if the server has no such tool. What was asked for is not recorded.
        Unknown = "unknown",
        /// What the tool does to the data of its backend: `Read` or `Write`.
        Effect = "effect",
        /// `allowed` or `denied`; `would_deny` if the policy only audits permissions.
        Decision = "decision",
        /// The declared arguments that were sent: their names, each with its type and size, such as `string(5)`. Absent with
        /// `spec.audit.arguments: None`, as are the other fields of arguments.
        Args = "args",
        /// The values of the arguments that the tool lists in `audit.values`.
        ArgsValues = "argsValues",
        /// The number of arguments that the tool does not declare, if there are any.
        ArgsUndeclared = "argsUndeclared",
        /// The number of declared arguments for which `args` has no room, if there are any.
        ArgsOmitted = "argsOmitted",
        /// An HMAC-SHA-256 of all arguments under a key of this server: equal calls have equal digests, in each replica.
        ArgsDigest = "argsDigest",
        /// Milliseconds from the start record to the outcome.
        DurationMs = "durationMs",
        /// The number of records in the result; null if nobody counted, as in a result without its content.
        RecordsReturned = "recordsReturned",
        /// The bytes of the result.
        Bytes = "bytes",
        /// Why the call has no result, or a result without its content.
        Error = "error",
        /// The backend that failed.
        Backend = "backend",
        /// The HTTP status: the backend's, or in `request_refused` the one that was answered, if there was one.
        Status = "status",
        /// The timeout of the tool, in milliseconds.
        TimeoutMs = "timeoutMs",
        /// `false` if the answer was given up, because its caller was gone or read it too slowly.
        Delivered = "delivered",
        /// Why it was refused.
        Reason = "reason",
        /// The condition on arguments that was not met, by its name in the policy.
        Condition = "condition",
        /// The limit that was exceeded.
        Limit = "limit",
        /// After how many seconds the caller was told to try again.
        RetryAfter = "retryAfter",
        /// The keyword of the tool's schema that the arguments break first, or another reason.
        Keyword = "keyword",
        /// Where that keyword is in the schema, or the argument if no keyword is broken: a JSON pointer.
        Path = "path",
        /// The JSON-RPC code that was answered, if the message was read.
        Code = "code",
        /// The peer's address. Absent if this record stands for those of several peers.
        Ip = "ip",
        /// `/mcp`, or `other`.
        Route = "route",
        /// Which document was refused.
        Document = "document",
        /// The path of the field in it that is wrong. The program log has the sentence.
        WrongField = "field",
        /// The version of the server.
        Version = "version",
        /// The address of the main port.
        Listen = "listen",
        /// The address of the admin port.
        Admin = "admin",
        /// The credentials in force: the SHA-256 of the document. Absent if there are none.
        CredentialsRevision = "credentialsRevision",
        /// The number of tools in the policy.
        Tools = "tools",
        /// The number of clients in the policy.
        Clients = "clients",
    }
}

/// The fields of the records of an event.
pub struct FieldsOfEvent {
    /// What each of them has, beside [`COMMON`].
    pub always: Vec<Field>,
    /// What only some of them have.
    pub sometimes: Vec<Field>,
}

/// What every record has.
pub const COMMON: [Field; 5] = [Field::Time, Field::Level, Field::Event, Field::Seq, Field::Instance];

/// What a record has that names its caller.
const WHO: [Field; 2] = [Field::Revision, Field::ClientId];
const WHO_ELSE: [Field; 2] = [Field::Subject, Field::KeyId];
const CALL: [Field; 4] = [Field::ExecutionId, Field::Revision, Field::ClientId, Field::ToolName];
const CALL_ELSE: [Field; 3] = [Field::TraceId, Field::Subject, Field::KeyId];
const FAILED: [Field; 3] = [Field::Backend, Field::Status, Field::TimeoutMs];

impl Event {
    pub fn fields(self) -> FieldsOfEvent {
        use Field as F;
        let (always, sometimes): (Vec<&[F]>, Vec<&[F]>) = match self {
            Self::ServerStarted => (vec![&[F::Version, F::Listen, F::Admin]], vec![]),
            Self::ServerStopping => (vec![], vec![]),
            Self::PolicyLoaded => (vec![&[F::Revision, F::Tools, F::Clients]], vec![&[F::CredentialsRevision]]),
            Self::PolicyRefused => (vec![&[F::Document, F::WrongField]], vec![]),
            Self::AuthSuccess => (vec![&WHO], vec![&WHO_ELSE]),
            Self::AuthFailed => (vec![&[F::Route, F::Reason]], vec![&[F::Ip]]),
            Self::ClientRefused => (vec![&[F::ClientId, F::Reason]], vec![&[F::KeyId]]),
            Self::ToolAccessDenied => {
                (vec![&WHO, &[F::Decision, F::Reason]], vec![&WHO_ELSE, &[F::ToolName, F::Unknown, F::Condition]])
            }
            Self::RateLimitExceeded => {
                (vec![&WHO, &[F::Decision, F::Limit, F::RetryAfter]], vec![&WHO_ELSE, &[F::ToolName]])
            }
            Self::LimitsUnavailable => (vec![&WHO, &[F::ToolName, F::Decision]], vec![&WHO_ELSE]),
            Self::ArgumentsRefused => (vec![&WHO, &[F::ToolName, F::Decision, F::Keyword, F::Path]], vec![&WHO_ELSE]),
            Self::RequestRefused => (vec![&WHO, &[F::Decision]], vec![&WHO_ELSE, &[F::Status, F::Code]]),
            Self::ToolCallStart => {
                let arguments = &[F::Args, F::ArgsValues, F::ArgsUndeclared, F::ArgsOmitted, F::ArgsDigest];
                (vec![&CALL, &[F::Effect, F::Decision]], vec![&CALL_ELSE, arguments])
            }
            Self::ToolCallSuccess => {
                let end = &[F::DurationMs, F::RecordsReturned, F::Bytes];
                (vec![&CALL, end], vec![&CALL_ELSE, &[F::Error], &FAILED, &[F::Delivered]])
            }
            Self::ToolCallError => {
                (vec![&CALL, &[F::DurationMs, F::Error]], vec![&CALL_ELSE, &FAILED, &[F::Delivered]])
            }
            Self::RecordsDropped => (vec![&[F::Count]], vec![]),
        };
        FieldsOfEvent { always: always.concat(), sometimes: sometimes.concat() }
    }

    /// Whether equal records of it may be written as one with a `count`.
    pub fn is_counted(self) -> bool {
        let is_once = matches!(self, Self::ServerStarted | Self::ServerStopping | Self::RecordsDropped);
        !is_once && !matches!(self, Self::ToolCallStart | Self::ToolCallSuccess | Self::ToolCallError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_documented_by_a_sentence_and_belongs_to_an_event() {
        let of_events = |field| {
            Event::ALL
                .iter()
                .map(|event| event.fields())
                .any(|FieldsOfEvent { always, sometimes }| always.contains(&field) || sometimes.contains(&field))
        };
        for field in Field::ALL {
            assert!(field.sentence().ends_with('.'), "{field}");
            assert!(COMMON.contains(field) || of_events(*field), "{field}");
        }
    }
}
