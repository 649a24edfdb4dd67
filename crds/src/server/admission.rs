//! Which clients a server admits, and the most that it grants them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{limits::Rate, tool::Effect};
use crate::argument_condition::ArgumentCondition;

/// A rule of admission. The first rule whose namespaces match a client applies to it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientRule {
    /// The namespaces whose clients the rule admits.
    #[serde(default)]
    pub namespaces: NamespaceSelection,
    /// The ceiling: a client is granted what it requests, but no more than this.
    #[serde(default)]
    pub allow: Allowance,
    /// The greatest number of clients that the rule admits. Older clients have precedence.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_clients: u32,
}

impl ClientRule {
    /// How many clients a rule admits that does not say it.
    pub(crate) const DEFAULT_MAX_CLIENTS: u32 = 1000;
}

fn thousand() -> u32 {
    ClientRule::DEFAULT_MAX_CLIENTS
}

/// The rules of a server that sets none: clients of its own namespace are granted everything that they request.
pub fn default_client_rules() -> Vec<ClientRule> {
    vec![ClientRule { namespaces: NamespaceSelection::default(), allow: Allowance::default(), max_clients: thousand() }]
}

/// A selection of namespaces.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelection {
    /// `Same` selects the server's own namespace, `All` every namespace.
    #[serde(default)]
    pub from: NamespacesFrom,
}

/// Which namespaces are selected.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespacesFrom {
    #[default]
    Same,
    All,
}

/// The most that a client is granted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// The tools that a client may be granted, by name; `"*"` stands for all of them.
    #[serde(default = "every_tool")]
    #[schemars(length(min = 0, max = 256), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub tools: Vec<String>,
    /// The effects of the tools that a client may be granted. If this field is not set, both are allowed.
    #[serde(default = "both")]
    #[schemars(length(min = 1, max = 2), extend("x-kubernetes-list-type" = "set"))]
    pub effects: Vec<Effect>,
    /// The most records that one call may return to a client. If this field is not set, there is no ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_records_per_query: Option<u32>,
    /// Conditions on arguments that hold for the clients, beside those of their own accesses.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub conditions: Vec<ArgumentCondition>,
    /// The most calls that one client may make. If this field is not set, there is no ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Rate>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { tools: every_tool(), effects: both(), max_records_per_query: None, conditions: Vec::new(), limits: None }
    }
}

fn every_tool() -> Vec<String> {
    vec!["*".into()]
}

fn both() -> Vec<Effect> {
    vec![Effect::Read, Effect::Write]
}
