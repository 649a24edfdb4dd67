//! Who sends a request: the credential that it presents decides, and no other is tried after it.

pub mod api_key;

pub use api_key::{Presented, presented};

/// Why a caller is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    ApiKeyRequired,
    InvalidApiKey,
    /// The credential is valid, but its client is not (or no longer) a client of this server.
    ClientNotRecognised,
}

impl Refusal {
    /// The sentence for the caller.
    pub fn message(self) -> &'static str {
        match self {
            Self::ApiKeyRequired => "API key required",
            Self::InvalidApiKey => "Invalid API key",
            Self::ClientNotRecognised => "Client not recognised",
        }
    }
}
