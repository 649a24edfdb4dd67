//! Which clients a server admits, and the most that each may be granted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{argument_condition::ArgumentCondition, defaults::is_default, limits::Rate, tool::Effect};

/// A rule of admission. The first rule whose namespaces match a client applies to it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientRule {
    /// The namespaces whose clients the rule admits.
    #[serde(default, skip_serializing_if = "is_default")]
    pub namespaces: NamespaceSelection,
    /// The ceiling: a client is granted what it requests, but no more than this.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allow: Allowance,
    /// The greatest number of clients that the rule admits. Older clients have precedence.
    #[serde(default = "thousand", skip_serializing_if = "is_thousand")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_clients: u32,
}

fn thousand() -> u32 {
    1000
}

fn is_thousand(number: &u32) -> bool {
    *number == thousand()
}

/// The rules that apply if the policy states none.
pub(super) fn default_rules() -> Vec<ClientRule> {
    vec![ClientRule { namespaces: NamespaceSelection::default(), allow: Allowance::default(), max_clients: thousand() }]
}

pub(super) fn are_default(rules: &Vec<ClientRule>) -> bool {
    *rules == default_rules()
}

/// A selection of namespaces.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelection {
    /// `Same` selects the server's own namespace, `All` every namespace.
    #[serde(default, skip_serializing_if = "is_default")]
    pub from: NamespacesFrom,
}

/// Which namespaces are selected.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamespacesFrom {
    /// The server's own namespace.
    #[default]
    Same,
    /// Every namespace.
    All,
}

/// The most that a client may be granted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Allowance {
    /// The tools, by name; `"*"` stands for all.
    #[serde(default = "every_tool", skip_serializing_if = "is_every_tool")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 128)))]
    pub tools: Vec<String>,
    /// The effects that the tools may have.
    #[serde(default = "both", skip_serializing_if = "are_both")]
    #[schemars(length(min = 1, max = 2))]
    pub effects: Vec<Effect>,
    /// The most records that one call may return.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_records_per_query: Option<u32>,
    /// Conditions on arguments that hold for the clients, beside those of their own accesses.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub conditions: Vec<ArgumentCondition>,
    /// The most calls that one client may make.
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

fn is_every_tool(tools: &Vec<String>) -> bool {
    *tools == every_tool()
}

fn both() -> Vec<Effect> {
    vec![Effect::Read, Effect::Write]
}

fn are_both(effects: &Vec<Effect>) -> bool {
    *effects == both()
}
