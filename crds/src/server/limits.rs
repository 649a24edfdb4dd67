//! How often the tools may be called.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;

/// At most `requests` calls in any span of `per`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// The number of calls that are admitted in any span of `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// The span, from `1s` to `24h`.
    pub per: Duration,
}

/// The limit of all clients together.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GlobalLimit {
    /// The number of calls that are admitted in any span of `per`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: u32,
    /// The span, from `1s` to `24h`.
    pub per: Duration,
    /// The percentage of `requests` that a single client may use.
    #[serde(default = "half")]
    #[schemars(range(min = 1, max = 100))]
    pub max_share: u8,
}

impl GlobalLimit {
    /// The limit without the share.
    pub fn rate(&self) -> Rate {
        Rate { requests: self.requests, per: self.per }
    }
}

fn half() -> u8 {
    50
}

/// The limits of a server. Each is exact: in no span of `per` are more than `requests` calls admitted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The limit of all clients together. The default is 500 calls in `1m`.
    #[serde(default = "default_global")]
    pub global: GlobalLimit,
    /// The limit of each client that requests no limit of its own. The default is 60 calls in `1m`.
    #[serde(default = "default_per_client")]
    pub per_client: Rate,
    /// The limit of each client on each tool that is `expensive`, in addition to the other limits. The default is 10 calls in
    /// `1m`.
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
