//! Why something could not be done on the cluster.

use std::time::Duration;

use portcullis_crds::condition::Reason;

use super::ownership::NotOwned;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of an object that the operator would create is taken.
    #[error("{0}")]
    NotOwned(NotOwned),
    #[error("{doing}: {}", message(.source))]
    Api { doing: String, source: Box<kube::Error> },
    #[error("{doing}: the API server did not answer within {after:?}")]
    Timeout { doing: String, after: Duration },
    #[error("{doing}: this operator may not write now, because another one may")]
    Fenced { doing: String },
    /// The spec has errors, so that it is unknown which Secret holds the client's key.
    #[error("the spec has errors, so no key was made")]
    InvalidSpec,
    #[error("reading {object}: it is not an object of its kind")]
    Undecodable { object: String },
    #[error("an object has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// The reason that a condition gives for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotOwned(_) => Reason::NotOwned,
            Self::InvalidSpec => Reason::Invalid,
            Self::Api { .. }
            | Self::Timeout { .. }
            | Self::Fenced { .. }
            | Self::Undecodable { .. }
            | Self::Json(_) => Reason::WriteFailed,
        }
    }

    /// Whether the same call may succeed when it is made again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Api { .. } | Self::Timeout { .. } | Self::Fenced { .. })
    }

    /// Whether the API server says that the object no longer exists. The path of a kind that it does not serve is answered with the
    /// same code, and without a name.
    pub fn is_gone(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        let has_name =
            |status: &kube::core::Status| status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        matches!(&**source, kube::Error::Api(status) if status.code == 404 && status.reason == "NotFound" && has_name(status))
    }

    /// Whether a ResourceQuota is used up.
    pub fn is_quota(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        matches!(&**source, kube::Error::Api(status) if status.code == 403 && status.message.contains("exceeded quota"))
    }

    /// Whether the API server says that the object would not be valid, or is too large.
    pub fn is_invalid(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        matches!(&**source, kube::Error::Api(status) if matches!(status.code, 413 | 422))
    }

    /// Whether the object was written or deleted by another party just before. The next reconcile resolves that.
    pub fn is_conflict(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        matches!(&**source, kube::Error::Api(status) if matches!(status.code, 404 | 409))
    }
}

/// The API server's own message, or why it could not be reached, without what the client's libraries put around it.
pub fn message(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} (HTTP {})", status.message, status.code);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
