//! The two documents as the server reads them: what can be read, and what is refused.
//!
//! A part that cannot be read is refused by itself. The server's half then stays as it was, and a client whose entry is refused is
//! denied; everything that the rest of the document removes is removed at once.

use portcullis_crds::{
    Findings, ToolName,
    check::{self, CheckedServerHalf},
    contract::{CredentialClient, CredentialsReading, PolicyClient, PolicyReading, RefusedClient, ServerKeys},
};

use super::document::Sealed;

/// What was read of `policy.yaml`.
#[derive(Debug)]
pub struct PolicyDocument {
    pub revision: String,
    is_sealed: bool,
    /// Whether nothing of it was refused.
    pub is_complete: bool,
    /// `None` if it was refused: the last one stays in force.
    pub server: Option<CheckedServerHalf>,
    pub clients: Vec<PolicyClient>,
}

/// What was read of `credentials.yaml`.
#[derive(Debug)]
pub struct CredentialsDocument {
    pub revision: String,
    is_sealed: bool,
    /// Whether nothing of them was refused.
    pub is_complete: bool,
    pub clients: Vec<CredentialClient>,
    /// `None` if the document has none, or if they were refused.
    pub keys: Option<ServerKeys>,
}

impl PolicyDocument {
    /// Reads a document, with everything in it that was refused.
    ///
    /// # Errors
    /// Returns an error if the document as a whole is refused.
    pub fn parse(text: &str) -> Result<(Self, Findings), Findings> {
        let PolicyReading { revision, is_sealed, server, clients, refused, .. } = PolicyReading::parse(text)?;
        let mut findings = Findings::default();
        let server = server.and_then(check::server_half);
        match &server {
            Ok(half) => unknown_tools(half, &clients, &mut findings),
            Err(found) => findings.0.extend(found.0.iter().cloned()),
        }
        extend(&mut findings, refused);
        let is_complete = findings.is_empty();
        Ok((Self { revision: revision.to_string(), is_sealed, is_complete, server: server.ok(), clients }, findings))
    }
}

impl CredentialsDocument {
    /// Reads a document, with everything in it that was refused. No finding repeats a value of it.
    ///
    /// # Errors
    /// Returns an error if the document as a whole is refused.
    pub fn parse(text: &str) -> Result<(Self, Findings), Findings> {
        let CredentialsReading { revision, is_sealed, clients, refused, keys } = CredentialsReading::parse(text)?;
        let mut findings = Findings::default();
        let keys = keys.unwrap_or_else(|found| {
            findings.0.extend(found.0);
            None
        });
        extend(&mut findings, refused);
        let is_complete = findings.is_empty();
        Ok((Self { revision: revision.to_string(), is_sealed, is_complete, clients, keys }, findings))
    }
}

impl Sealed for PolicyDocument {
    fn is_sealed(&self) -> bool {
        self.is_sealed
    }
}

impl Sealed for CredentialsDocument {
    fn is_sealed(&self) -> bool {
        self.is_sealed
    }
}

fn extend(findings: &mut Findings, refused: Vec<RefusedClient>) {
    findings.0.extend(refused.into_iter().flat_map(|refused| refused.findings.0));
}

/// A client may have a tool that does not exist. Nothing else is denied because of it, but it is reported.
fn unknown_tools(half: &CheckedServerHalf, clients: &[PolicyClient], findings: &mut Findings) {
    let tools = &half.half().spec.tools;
    let exists = |name: &ToolName| tools.binary_search_by(|tool| tool.name.cmp(name)).is_ok();
    for client in clients {
        for name in client.tools.iter().filter(|name| !exists(name)) {
            findings.add(format!("clients[{}].tools", client.id), format!("`{name}` is not a tool of this server"));
        }
    }
}
