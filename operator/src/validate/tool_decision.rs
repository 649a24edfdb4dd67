//! Whether a client may call a tool, decided by the first rule that refuses it.

use portcullis_crds::contract::{Allowance, Effect, PolicyClient, Tool};

use super::client_request::RequestedAccess;

/// Whether a client may call a tool, or by what it may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolDecision {
    /// It may.
    Granted,
    /// The access names the tool, and the server does not have it.
    NoSuchTool,
    /// The access does not request the tool.
    NotRequested,
    /// The rule's `allow.tools` does not contain the tool.
    ToolNotAllowed,
    /// The rule's `allow.effects` does not contain the tool's effect.
    EffectNotAllowed(Effect),
    /// The tool writes, and the access does not set `allowWrite`.
    WriteNotRequested,
    /// The client has errors, and did not have the tool before.
    NotGrantedBefore,
}

/// Decides about one tool of the server. `before` is what a client with errors had.
pub(super) fn decide(
    tool: &Tool,
    requested: &RequestedAccess,
    allow: &Allowance,
    before: Option<&PolicyClient>,
) -> ToolDecision {
    if !requested.requests(tool.name.as_str()) {
        ToolDecision::NotRequested
    } else if let Some(refused) = by_rule(tool, allow) {
        refused
    } else if tool.effect() == Effect::Write && !requested.allow_write {
        ToolDecision::WriteNotRequested
    } else if before.is_some_and(|before| !before.tools.contains(&tool.name)) {
        ToolDecision::NotGrantedBefore
    } else {
        ToolDecision::Granted
    }
}

/// By what a rule does not allow the tool; `None` if it allows it.
pub(super) fn by_rule(tool: &Tool, allow: &Allowance) -> Option<ToolDecision> {
    if !allow.tools.iter().any(|allowed| allowed == "*" || allowed == tool.name.as_str()) {
        Some(ToolDecision::ToolNotAllowed)
    } else if !allow.effects.contains(&tool.effect()) {
        Some(ToolDecision::EffectNotAllowed(tool.effect()))
    } else {
        None
    }
}
