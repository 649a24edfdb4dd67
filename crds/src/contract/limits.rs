//! How often the tools may be called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::defaults::is_default;
use crate::duration::Duration;

/// What the span of a limit may be.
const SPANS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

/// At most `requests` in any span of `per`, which is from 1 s to 24 h.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase", try_from = "RateFields")]
pub struct Rate {
    pub requests: u32,
    pub per: Duration,
}

/// A rate that cannot be enforced: the field, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {allowed}")]
pub struct RateError {
    pub field: &'static str,
    pub allowed: String,
}

#[derive(Deserialize, JsonSchema)]
struct RateFields {
    /// The number of calls that are admitted in any span of `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    requests: u32,
    /// The span, from `1s` to `24h`.
    per: Duration,
}

impl TryFrom<RateFields> for Rate {
    type Error = RateError;

    fn try_from(fields: RateFields) -> Result<Self, RateError> {
        Self::new(fields.requests, fields.per)
    }
}

impl Rate {
    /// # Errors
    /// Returns an error if nothing would be admitted, or if the span is out of bounds.
    pub fn new(requests: u32, per: Duration) -> Result<Self, RateError> {
        if requests == 0 {
            return Err(RateError { field: "requests", allowed: "must be at least 1".into() });
        }
        if !SPANS.contains(&per) {
            let allowed = format!("must be from {} to {}", SPANS.start(), SPANS.end());
            return Err(RateError { field: "per", allowed });
        }
        Ok(Self { requests, per })
    }
}

/// The limit of all clients together.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GlobalLimit {
    #[serde(flatten)]
    pub rate: Rate,
    /// The percentage of `requests` that a single client may use.
    #[serde(default = "half", skip_serializing_if = "is_half")]
    #[schemars(range(min = 1, max = 100))]
    pub max_share: u8,
}

fn half() -> u8 {
    50
}

fn is_half(percent: &u8) -> bool {
    *percent == half()
}

/// The three limits. In no span of `per` are more than `requests` calls admitted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The limit of all clients together.
    #[serde(default, skip_serializing_if = "is_default")]
    pub global: GlobalLimit,
    /// The limit of each client that requests no limit of its own. The operator applies it; servers use `clients[].limits`.
    #[serde(default = "default_per_client", skip_serializing_if = "is_default_per_client")]
    pub per_client: Rate,
    /// The limit of each client on each tool that is `expensive`, in addition to the other limits.
    #[serde(default = "default_expensive_tools", skip_serializing_if = "is_default_expensive_tools")]
    pub expensive_tools: Rate,
}

const MINUTE: Duration = Duration::from_secs(60);

impl Default for GlobalLimit {
    fn default() -> Self {
        Self { rate: Rate { requests: 500, per: MINUTE }, max_share: half() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            global: GlobalLimit::default(),
            per_client: default_per_client(),
            expensive_tools: default_expensive_tools(),
        }
    }
}

fn default_per_client() -> Rate {
    Rate { requests: 60, per: MINUTE }
}

fn is_default_per_client(rate: &Rate) -> bool {
    *rate == default_per_client()
}

fn default_expensive_tools() -> Rate {
    Rate { requests: 10, per: MINUTE }
}

fn is_default_expensive_tools(rate: &Rate) -> bool {
    *rate == default_expensive_tools()
}
