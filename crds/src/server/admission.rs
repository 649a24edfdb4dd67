//! Which clients a server admits, and the ceiling of what it gives them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Effect, Rate};

/// One rule of admission. Of several, the first whose namespaces match a client decides about it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientRule {
    /// Whose clients the rule is about.
    #[serde(default)]
    pub namespaces: NamespaceSelection,
    /// The ceiling: what a client gets is what it asks for, within this.
    #[serde(default)]
    pub allow: Allowance,
    /// How many clients the rule admits; the oldest have precedence.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_clients: u32,
}

fn thousand() -> u32 {
    1000
}

/// The rule of a server that states none: clients of its own namespace, with everything they ask for.
pub fn default_client_rules() -> Vec<ClientRule> {
    vec![ClientRule { namespaces: NamespaceSelection::default(), allow: Allowance::default(), max_clients: thousand() }]
}

/// A choice of namespaces.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelection {
    /// `Same`: the server's own namespace. `All`: every namespace.
    #[serde(default)]
    pub from: NamespacesFrom,
}

/// Which namespaces are chosen.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespacesFrom {
    #[default]
    Same,
    All,
}

/// The most that a client may be given.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// The tools, by name; `"*"` for all.
    #[serde(default = "every_tool")]
    #[schemars(length(min = 0, max = 256), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub tools: Vec<String>,
    /// The effects that the tools may have.
    #[serde(default = "both")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub effects: Vec<Effect>,
    /// The most records that one call may return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_records_per_query: Option<u32>,
    /// The most calls that one client may make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Rate>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { tools: every_tool(), effects: both(), max_records_per_query: None, limits: None }
    }
}

fn every_tool() -> Vec<String> {
    vec!["*".into()]
}

fn both() -> Vec<Effect> {
    vec![Effect::Read, Effect::Write]
}
