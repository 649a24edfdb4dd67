//! What a reader of the log does about each word that says why something went wrong. The reference page is printed from them.

use super::vocabulary::{AuthFailure, CallFailure, ClientRefusal, Denial, Document, LimitName, NoKeyword};

impl CallFailure {
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::BackendStatus => {
                "Look for `traceId` in the backend's own log. 4xx: compare the tool's `http` with what the backend expects. 429: lower `limits`."
            }
            Self::BackendUnreachable => {
                "See the program log for the reason. Check that the backend runs, its `url`, its certificate, and the network policies between."
            }
            Self::BackendTimeout => {
                "Find out with `traceId` why the backend was slow, or raise the tool's `timeout`. A call that writes may have had its effect."
            }
            Self::BackendSuspended => {
                "As for `backend_unreachable`, of which five preceded. The backend is tried again every two seconds."
            }
            Self::BackendBusy => {
                "See in `durationMs` whether the backend is slow. Otherwise lower the limits of the clients, or add replicas."
            }
            Self::BackendCredentials => {
                "The caller's answer and the program log name the Secret and its key, or say what is wrong with the token endpoint. Create the Secret in the namespace of the server. The call had no effect."
            }
            Self::AnswerMalformed => {
                "See what the backend responds with: a page, an image, half a document. A call that writes had its effect."
            }
            Self::AnswerTooLarge => "Let the tool ask for less, with `limitArgument` or a filter: 4 MiB are read.",
            Self::RecordsMissing => "Compare the tool's `records.path` with a response of the backend.",
            Self::AnswerNonconforming => {
                "The caller's answer names the place: correct the tool's `outputSchema`, or the backend. A call that writes had its effect."
            }
            Self::AuditBlocked => {
                "Find out why nobody takes the log: a full disk, a slow container runtime or log collector. `portcullis_audit_blocked` is 1 meanwhile."
            }
            Self::AccessEnded => {
                "Nothing: the client was suspended, has expired, or lost the tool. The call had no effect."
            }
            Self::Cancelled => "Nothing. A call that writes may have had its effect.",
            Self::Disconnected => {
                "If there are many: compare `durationMs` with the timeouts of the client and of proxies before the server. A call that writes may have had its effect."
            }
        }
    }
}

impl AuthFailure {
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Missing => "Let the client send its key, in `x-api-key` or as `Authorization: Bearer`.",
            Self::UnknownKey => {
                "Compare the client's key with the Secret that `status.apiKey` of its McpClient names: it was replaced or revoked, or \
                 `apiKey.header` of the McpServer admits the other header only. From unknown addresses: somebody guesses."
            }
            Self::Ambiguous => "Let the client send one credential, once.",
        }
    }
}

impl ClientRefusal {
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NotRecognised => {
                "See `status.servers` of the McpClient: it does not ask for this server any more, or the server does not admit it."
            }
            Self::Suspended => "Take `spec.suspended` out of the McpClient, if it may call again.",
            Self::Expired => "Raise `spec.expiresAt` of the McpClient, if it may call again.",
        }
    }
}

impl Denial {
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NotGranted => {
                "If the client is to have it: `spec.access[].tools` of the McpClient, within `spec.clients[].allow.tools` of the McpServer."
            }
            Self::NotAdmitted => "Let the client use a credential that admits the tool.",
            Self::WriteNotAllowed => {
                "If the client may write: `spec.access[].allowWrite` of the McpClient, within `spec.clients[].allow.effects` of the McpServer."
            }
            Self::ConditionNotMet => {
                "`condition` names it: in `spec.access[].where` of the McpClient, or `spec.clients[].allow.where` of the McpServer."
            }
            Self::Unknown => "Let the client list the tools again. Otherwise its model invents names.",
        }
    }
}

impl NoKeyword {
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::MaxBytes => "Let the client send less.",
            Self::Complexity => "Simplify the schema, or let the client send fewer or less nested values.",
            Self::Unsendable => {
                "`path` names the argument. A value with `/` in a path needs the tool's `encodedSlashes`; forbid the rest in the schema."
            }
            Self::Disconnected => "As for `complexity`.",
        }
    }
}

impl LimitName {
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Tool => "If it is too low: `limits.expensiveTools` of the McpServer.",
            Self::Client => {
                "If it is too low: `spec.access[].limits` of the McpClient within `spec.clients[].allow.limits` of the McpServer, or its `limits.perClient`."
            }
            Self::Share => "If the client may have more: `limits.global.maxShare` of the McpServer.",
            Self::Global => "If the backends stand more: `limits.global` of the McpServer.",
            Self::RequestAllowance => "See what the client is refused for: it repeats something that cannot succeed.",
            Self::InFlight => "Let the client make fewer calls at once, and read its answers.",
        }
    }
}

impl Document {
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Policy => {
                "Correct the `field`, in the McpServer if the operator wrote the document. See whether both are of the same version."
            }
            Self::Credentials => "As for `policy`.",
        }
    }
}
