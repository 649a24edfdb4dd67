//! Whether something is well, and how long it took to find out.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// The three words of `/health`, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Healthy,
    /// Served, with something missing.
    Degraded,
    Unhealthy,
}

/// What one look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    pub status: Status,
    /// How long the look took, in milliseconds.
    #[serde(rename = "latencyMs", serialize_with = "millis")]
    pub latency: Duration,
}

impl Check {
    /// What costs no time to know.
    pub fn at_once(status: Status) -> Self {
        Self { status, latency: Duration::ZERO }
    }
}

fn millis<S: Serializer>(latency: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(latency.as_millis()).unwrap_or(u64::MAX))
}
