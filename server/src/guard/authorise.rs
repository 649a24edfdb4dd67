//! Whether a caller may call a tool.

use portcullis_crds::contract::Effect;

use crate::{audit::record::Denial, config::Tool, identity::Identity, protocol::strict::Node};

/// A tool that is denied. Callers get the same words for every reason, so that nobody learns which tools exist.
#[derive(Clone, Copy)]
pub struct Denied<'a> {
    pub denial: Denial,
    /// `None` if the server has no such tool.
    pub tool: Option<&'a Tool>,
    /// The name of the condition on arguments that is not met.
    pub condition: Option<&'a str>,
}

/// The tool, if its caller may call it.
///
/// # Errors
/// Returns an error unless the client was granted the tool, its credential admits the tool, and the client may write if the
/// tool does.
pub fn authorise<'a>(tool: Option<&'a Tool>, identity: &Identity<'_>) -> Result<&'a Tool, Denied<'a>> {
    let denied = |denial| Err(Denied { denial, tool, condition: None });
    let client = identity.client;
    match tool {
        None => denied(Denial::Unknown),
        Some(tool) if !client.tools.contains(&tool.name) => denied(Denial::NotGranted),
        Some(tool) if !identity.admits(&tool.name) => denied(Denial::NotAdmitted),
        Some(tool) => match tool.effect {
            Effect::Read => Ok(tool),
            Effect::Write if client.allow_write => Ok(tool),
            Effect::Write => denied(Denial::WriteNotAllowed),
        },
    }
}

/// Whether the arguments of a call meet the conditions of its client. They are those that are sent to the backend.
///
/// # Errors
/// Returns an error if they do not.
pub fn meet<'a>(tool: &'a Tool, identity: &Identity<'a>, arguments: &Node<'_>) -> Result<(), Denied<'a>> {
    unmet(tool, identity.client.conditions.unmet(&tool.name, arguments))
}

/// Whether a call that was judged for this client by an earlier policy meets the conditions of this one. Its arguments are not looked at
/// again: one of which it is not known is not met.
///
/// # Errors
/// Returns an error if it may not.
pub fn still_meets<'a>(tool: &'a Tool, identity: &Identity<'a>, earlier: &Identity<'_>) -> Result<(), Denied<'a>> {
    unmet(tool, identity.client.conditions.added(&tool.name, &earlier.client.conditions))
}

fn unmet<'a>(tool: &'a Tool, condition: Option<&'a str>) -> Result<(), Denied<'a>> {
    match condition {
        None => Ok(()),
        Some(_) => Err(Denied { denial: Denial::ConditionNotMet, tool: Some(tool), condition }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        guard::fixtures::{client, identity, tool},
        identity::Narrowing,
    };

    #[test]
    fn a_tool_must_be_granted_to_the_client_and_admitted_by_its_credential() {
        let narrow = |tools: &[&str]| Narrowing(tools.iter().map(|name| name.parse().unwrap()).collect());
        for (client, narrowing, effect, expected) in [
            (json!({}), None, "Read", None),
            (json!({}), Some(narrow(&["t"])), "Read", None),
            (json!({}), Some(narrow(&["other"])), "Read", Some(Denial::NotAdmitted)),
            (json!({}), Some(narrow(&[])), "Read", Some(Denial::NotAdmitted)),
            (json!({"tools": ["other"]}), Some(narrow(&["t"])), "Read", Some(Denial::NotGranted)),
            (json!({"allowWrite": true}), None, "Write", None),
            (json!({}), Some(narrow(&["t"])), "Write", Some(Denial::WriteNotAllowed)),
        ] {
            let of_client = self::client(&client);
            let mut identity = identity(&of_client);
            identity.narrowing = narrowing;
            let tool = tool(&json!({"effect": effect}));
            let denial = authorise(Some(&tool), &identity).err().map(|denied| denied.denial);
            assert_eq!(denial, expected, "{client} {effect}");
        }
        let of_client = client(&json!({}));
        assert_eq!(authorise(None, &identity(&of_client)).err().map(|denied| denied.denial), Some(Denial::Unknown));
    }
}
