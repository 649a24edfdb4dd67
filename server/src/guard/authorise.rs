//! May this client call this tool?

use portcullis_crds::server::Effect;

use crate::{
    audit::record::Denial,
    config::{Client, Tool},
};

/// A tool that is not for a client. Callers hear the same words for each of them, so that nobody learns what exists.
#[derive(Clone, Copy)]
pub struct Denied<'a> {
    pub denial: Denial,
    /// `None` where the server has no such tool.
    pub tool: Option<&'a Tool>,
}

/// # Errors
/// Unless the client was granted the tool, and may write where the tool does.
pub fn authorise<'a>(tool: Option<&'a Tool>, client: &Client) -> Result<&'a Tool, Denied<'a>> {
    let denied = |denial| Err(Denied { denial, tool });
    match tool {
        None => denied(Denial::Unknown),
        Some(tool) if !client.tools.contains(&tool.name) => denied(Denial::NotGranted),
        Some(tool) => match tool.effect {
            Effect::Read => Ok(tool),
            Effect::Write if client.allow_write => Ok(tool),
            Effect::Write => denied(Denial::WriteNotAllowed),
        },
    }
}
