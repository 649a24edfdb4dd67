//! Why something could not be done on the cluster.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use portcullis_crds::{condition::Reason, quantity::Quantity};

use super::ownership::NotOwned;

/// The longest message of the API server that is repeated, in bytes.
const MAX_MESSAGE: usize = 1024;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The name of an object that the operator would create is taken.
    #[error("{0}")]
    NotOwned(NotOwned),
    #[error("{doing}: {}", message(.source))]
    Api { doing: String, source: Arc<kube::Error> },
    #[error("{doing}: the API server did not answer within {after:?}")]
    Timeout { doing: String, after: Duration },
    #[error("{doing}: this operator may not write now, because another one may or its definitions are not right")]
    Fenced { doing: String },
    /// The spec has errors, so that it is unknown which Secret holds the client's key.
    #[error("the spec has errors, so no key was made")]
    InvalidSpec,
    #[error("reading {object}: it is not an object of its kind")]
    Undecodable { object: String },
    #[error("{object} is being deleted; another one takes its place once it is gone")]
    Terminating { object: String },
    #[error(
        "{object} is not written yet: keys that are in use may be missing, because not every client's Secret could be read"
    )]
    Unknown { object: String },
    /// Something changes it while it is written.
    #[error(
        "{object} is not as it was written, in {fields}: something changes it on the way, such as a mutating webhook"
    )]
    Contested { object: String, fields: String },
    #[error("an object has no JSON form: {0}")]
    Json(Arc<serde_json::Error>),
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(Arc::new(error))
    }
}

impl Error {
    /// The reason that a condition gives for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotOwned(_) => Reason::NotOwned,
            Self::InvalidSpec => Reason::Invalid,
            Self::Contested { .. } => Reason::DriftContested,
            Self::Api { .. }
            | Self::Timeout { .. }
            | Self::Fenced { .. }
            | Self::Undecodable { .. }
            | Self::Terminating { .. }
            | Self::Unknown { .. }
            | Self::Json(_) => Reason::WriteFailed,
        }
    }

    /// The same in words that anybody may read.
    pub fn outline(&self) -> &'static str {
        match self {
            Self::Api { source, .. } => outline(source),
            Self::Timeout { .. } => "the API server does not answer",
            Self::Undecodable { .. } | Self::Json(_) => "the answer is not one of the API",
            _ => "it cannot be written now",
        }
    }

    /// Whether the same call may succeed when it is made again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Api { .. } | Self::Timeout { .. } | Self::Fenced { .. })
    }

    /// The HTTP status with which the API server refused.
    pub fn status_code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the API server says that the object no longer exists. The path of a kind that it does not serve is answered with the
    /// same code, and without a name.
    pub fn is_gone(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let has_name =
            |status: &kube::core::Status| status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        matches!(&**source, kube::Error::Api(status) if status.code == 404 && status.reason == "NotFound" && has_name(status))
    }

    /// Whether the namespace of the object does not exist.
    pub fn is_missing_namespace(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let is_namespace =
            |status: &kube::core::Status| status.details.as_ref().is_some_and(|it| it.kind == "namespaces");
        matches!(&**source, kube::Error::Api(status) if status.code == 404 && is_namespace(status))
    }

    /// Whether a ResourceQuota is used up, and has room again once an object of the same kind was deleted: it is not exceeded already.
    pub fn is_full_quota(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        match &**source {
            kube::Error::Api(status) if status.code == 403 => !is_exceeded(&status.message).unwrap_or(true),
            _ => false,
        }
    }

    /// Whether the API server says that the object would not be valid, or is too large.
    pub fn is_invalid(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        matches!(&**source, kube::Error::Api(status) if matches!(status.code, 413 | 422))
    }

    /// Whether the same call would be refused again: only somebody else can change that.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::NotOwned(_)
            | Self::InvalidSpec
            | Self::Undecodable { .. }
            | Self::Contested { .. }
            | Self::Json(_) => true,
            Self::Timeout { .. } | Self::Fenced { .. } | Self::Terminating { .. } | Self::Unknown { .. } => false,
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) => {
                    matches!(status.code, 400..500) && !matches!(status.code, 401 | 408 | 429) && !self.is_conflict()
                }
                _ => false,
            },
        }
    }

    /// Whether the write certainly had no effect: it was not made, or the API server said so.
    pub fn is_refused(&self) -> bool {
        let is_about_answer = matches!(self, Self::Undecodable { .. } | Self::Json(_) | Self::Contested { .. });
        self.is_conflict() || (self.is_permanent() && !is_about_answer)
    }

    /// Whether the object was written or deleted by another party just before. The next reconcile resolves that.
    pub fn is_conflict(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let kube::Error::Api(status) = &**source else { return false };
        // A namespace that does not exist is not an object that was deleted just before.
        let is_namespace = status.details.as_ref().is_some_and(|details| details.kind == "namespaces");
        matches!(status.code, 404 | 409) && !is_namespace
    }
}

/// Whether more is used than a quota allows, from the words of the API server: `exceeded quota: full, requested: a=1, used: a=2,
/// limited: a=2`. `None` if they are about something else.
fn is_exceeded(message: &str) -> Option<bool> {
    let (_, amounts) = message.split_once("exceeded quota: ")?;
    let (used, limited) = amounts.split_once(", used: ")?.1.split_once(", limited: ")?;
    let amounts = |text: &str| -> Option<BTreeMap<String, Quantity>> {
        let amount = |amount: &str| amount.split_once('=').and_then(|(of, n)| Some((of.to_owned(), n.parse().ok()?)));
        text.split(',').map(amount).collect()
    };
    let (used, limited) = (amounts(used)?, amounts(limited)?);
    Some(used.iter().any(|(of, used)| limited.get(of).is_none_or(|limited| limited < used)))
}

/// What the API server, or a webhook that it asked, refused with, or why it could not be reached, without any word of theirs: those
/// name accounts, addresses and objects, and are for the log.
pub fn outline(error: &kube::Error) -> &'static str {
    let kube::Error::Api(status) = error else {
        return "the API server cannot be reached, or its answer is not one of the API";
    };
    match status.code {
        401 => "the API server does not know the operator's account (HTTP 401)",
        403 => "the API server forbids it (HTTP 403)",
        404 => "the API server lacks the kind or the namespace (HTTP 404)",
        409 => "it was changed meanwhile (HTTP 409)",
        410 => "the API server no longer has the version (HTTP 410)",
        429 => "the API server is overloaded (HTTP 429)",
        500..600 => "the API server failed (HTTP 5xx)",
        _ => "the API server refuses it",
    }
}

/// The API server's own message, or why it could not be reached, without what the client's libraries put around it.
pub fn message(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} (HTTP {})", bounded(&status.message), status.code);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// In one line, and not longer than a person reads: an admission webhook may answer with anything.
fn bounded(message: &str) -> String {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = line.floor_char_boundary(MAX_MESSAGE);
    if end < line.len() { format!("{}…", &line[..end]) } else { line }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::*;

    fn refused(status: serde_json::Value) -> Error {
        let status: Status = serde_json::from_value(status).unwrap();
        Error::Api { doing: "creating Secret a/b".into(), source: Arc::new(kube::Error::Api(Box::new(status))) }
    }

    #[test]
    fn a_refusal_that_would_come_again_is_permanent_and_a_race_is_a_conflict() {
        for (code, kind, expected) in [
            (400, "", (true, false)),
            (401, "", (false, false)),
            (403, "pods", (true, false)),
            (404, "configmaps", (false, true)),
            (404, "namespaces", (true, false)),
            (409, "configmaps", (false, true)),
            (413, "", (true, false)),
            (422, "", (true, false)),
            (429, "", (false, false)),
            (500, "", (false, false)),
            (504, "", (false, false)),
        ] {
            let error = refused(json!({"code": code, "message": "no", "details": {"kind": kind}}));
            assert_eq!((error.is_permanent(), error.is_conflict()), expected, "{code} {kind}");
        }
        assert!(!Error::Timeout { doing: "creating".into(), after: Duration::ZERO }.is_permanent());
    }

    #[test]
    fn what_anybody_may_read_has_no_word_of_the_api_server() {
        for code in (400..=431).chain(500..=504) {
            let error =
                refused(json!({"code": code, "message": "secret", "details": {"name": "secret", "kind": "secret"}}));
            assert!(error.to_string().contains("secret") && !error.outline().contains("secret"), "{code}");
        }
    }

    #[test]
    fn the_words_of_the_api_server_are_one_line_with_a_bound() {
        let error = refused(json!({"code": 422, "message": "admission webhook:\n\n  denied"}));
        assert_eq!(error.to_string(), "creating Secret a/b: admission webhook: denied (HTTP 422)");
        let error = refused(json!({"code": 422, "message": "ñ".repeat(5000)})).to_string();
        assert!(error.len() < MAX_MESSAGE + 64, "{}", error.len());
    }

    #[test]
    fn a_quota_that_is_full_has_room_once_something_was_deleted_and_one_that_is_exceeded_has_none() {
        let quota = |amounts: &str| {
            let message = format!("configmaps \"a\" is forbidden: exceeded quota: q, {amounts}");
            refused(json!({"code": 403, "message": message})).is_full_quota()
        };
        for (amounts, is_full) in [
            ("requested: configmaps=1, used: configmaps=2, limited: configmaps=2", true),
            ("requested: a=1,b=1, used: a=2,b=1k, limited: a=2,b=1000", true),
            ("requested: configmaps=1, used: configmaps=2, limited: configmaps=1", false),
            ("requested: a=1,b=1, used: a=2,b=3, limited: a=2,b=2", false),
            ("requested: a=1, used: a=2, limited: b=2", false),
            ("used up", false),
        ] {
            assert_eq!(quota(amounts), is_full, "{amounts}");
        }
        assert!(!refused(json!({"code": 403, "message": "forbidden"})).is_full_quota());
    }
}
