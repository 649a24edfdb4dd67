//! Why a reconcile could not do what it was to do.

use std::{future::Future, time::Duration};

use portcullis_crds::condition::Reason;

use super::ownership::NotOwned;

/// The longest that one call of the API may take.
const CALL: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name of an object that we would make is taken.
    #[error("{0}")]
    NotOwned(NotOwned),
    #[error("{doing}: {}", plain(.source))]
    Api { doing: String, source: Box<kube::Error> },
    #[error("{doing}: the API server did not answer within {CALL:?}")]
    Timeout { doing: String },
    /// Nothing is known of the client's key: its spec has errors.
    #[error("the spec has errors, so no key was made")]
    Unreadable,
    #[error("an object that was built has no JSON form: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a document has no YAML form: {0}")]
    Yaml(#[from] serde_yaml::Error),
}

impl Error {
    /// The reason that a condition gives for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotOwned(_) => Reason::NotOwned,
            Self::Unreadable => Reason::Invalid,
            _ => Reason::WriteFailed,
        }
    }

    /// Whether it is about a call of the API, which may well succeed when it is made again.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Api { .. } | Self::Timeout { .. })
    }

    /// Whether somebody else wrote or deleted the object just before: another look settles it.
    pub fn is_conflict(&self) -> bool {
        let Self::Api { source, .. } = self else { return false };
        matches!(&**source, kube::Error::Api(status) if matches!(status.code, 404 | 409))
    }
}

/// What the API server said, or why it could not be asked, without the client's own words around it.
pub fn plain(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} (HTTP {})", status.message, status.code);
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// One call of the API, for no longer than [`CALL`]: the client itself would wait for ever.
pub async fn call<T>(
    doing: impl Into<String>,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Error> {
    match tokio::time::timeout(CALL, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Error::Api { doing: doing.into(), source: Box::new(error) }),
        Err(_) => Err(Error::Timeout { doing: doing.into() }),
    }
}
