//! A client's entry in the policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    argument_condition::ArgumentCondition,
    envelope::{Entry, decode_entry},
    limits::Rate,
};
use crate::{
    Findings,
    name::{ClientId, ToolName},
};

/// The most conditions of one client: twice those of an access with those of a rule.
pub const MOST_CONDITIONS: usize = 128;

/// The most limits of one client, which servers have room for.
const MOST_LIMITS: usize = 2;

/// What one client may do.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyClient {
    /// The id of the client on this server: its name if it is in the server's namespace, otherwise `namespace/name`.
    pub id: ClientId,
    /// The UID of the client, which must be the same in both documents. A client that is deleted and created again has another UID,
    /// so that an old key never gets the access of a new client.
    #[schemars(length(min = 1, max = 128))]
    pub uid: String,
    /// The names of the tools that the client may call.
    #[schemars(length(max = 256))]
    pub tools: Vec<ToolName>,
    /// The most records that one call returns to the client.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_records_per_query: u32,
    /// Whether the client may call tools whose effect is `Write`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_write: bool,
    /// Conditions on arguments, which all hold: a call that does not meet those of its tool is denied.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub conditions: Vec<ArgumentCondition>,
    /// How often the client may call. All of these limits apply.
    #[schemars(length(min = 1, max = 2))]
    pub limits: Vec<Rate>,
    /// Whether every request of the client is refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// The time at which the client's access ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

impl Entry for PolicyClient {
    fn id(&self) -> &ClientId {
        &self.id
    }

    fn read(entry: Value, at: &str) -> Result<(Self, Findings), Findings> {
        let (client, mut findings) = decode_entry::<Self, ToolName>(entry, "tools", at)?;
        // Without a limit it could call as often as it likes.
        if !(1..=MOST_LIMITS).contains(&client.limits.len()) {
            findings.add(format!("{at}.limits"), format!("must be 1 to {MOST_LIMITS} limits"));
            return Err(findings);
        }
        if client.conditions.len() > MOST_CONDITIONS {
            findings.add(format!("{at}.where"), format!("must be at most {MOST_CONDITIONS} conditions"));
            return Err(findings);
        }
        Ok((client, findings))
    }
}

impl PolicyClient {
    /// Sorts what has no order of its own.
    pub(super) fn sort(&mut self) {
        self.tools.sort();
        self.conditions.sort_by_cached_key(ArgumentCondition::order);
        self.limits.sort();
    }
}
