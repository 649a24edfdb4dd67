//! How often something may be done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// At most `requests` in any span of `per`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// How many calls are admitted in any span of `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// The span: `1s` to `24h`.
    pub per: Duration,
}

/// The limit of all clients together.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GlobalLimit {
    /// How many calls are admitted in any span of `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// The span: `1s` to `24h`.
    pub per: Duration,
    /// The percent of `requests` that one client may hold.
    #[serde(default = "half")]
    #[schemars(range(min = 1, max = 100))]
    pub max_share: u8,
}

impl GlobalLimit {
    /// The limit itself.
    pub fn rate(&self) -> Rate {
        Rate { requests: self.requests, per: self.per }
    }
}

fn half() -> u8 {
    50
}

/// The three limits. Each is kept exactly: in no span of `per` are more than `requests` admitted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// All clients together: 500 in 1m unless said otherwise.
    #[serde(default = "default_global")]
    pub global: GlobalLimit,
    /// Each client that asks for no limits of its own: 60 in 1m unless said otherwise.
    #[serde(default = "default_per_client")]
    pub per_client: Rate,
    /// Each client on each tool that is `expensive`: 10 in 1m unless said otherwise.
    #[serde(default = "default_expensive_tools")]
    pub expensive_tools: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self { global: default_global(), per_client: default_per_client(), expensive_tools: default_expensive_tools() }
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn default_global() -> GlobalLimit {
    GlobalLimit { requests: 500, per: MINUTE, max_share: half() }
}

fn default_per_client() -> Rate {
    Rate { requests: 60, per: MINUTE }
}

fn default_expensive_tools() -> Rate {
    Rate { requests: 10, per: MINUTE }
}
