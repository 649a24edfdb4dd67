//! The two documents as the server reads them: what can be read, and what is refused.
//!
//! A part that cannot be read is refused by itself: a tool, a backend, the server's half as a whole, the entry of a client or an item
//! of it. Everything that the rest of the document removes is removed at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use portcullis_crds::{
    Findings, ToolName,
    check::{self, LoadedServerHalf},
    contract::{
        CredentialClient, CredentialsReading, PartKind, PolicyClient, PolicyReading, RefusedClient, ServerKeys,
    },
};

use super::{document::Sealed, parts::RefusedParts};

/// What was read of `policy.yaml`.
#[derive(Debug)]
pub struct PolicyDocument {
    pub revision: String,
    is_sealed: bool,
    /// What was refused of it.
    pub refused: RefusedParts,
    /// `None` if it was refused: the last one stays in force.
    pub server: Option<LoadedServerHalf>,
    pub clients: Arc<[PolicyClient]>,
    /// The tools that were kept because they were refused, each with the clients that it was granted to.
    pub kept: BTreeMap<ToolName, Arc<[PolicyClient]>>,
}

/// What was read of `credentials.yaml`.
#[derive(Debug)]
pub struct CredentialsDocument {
    pub revision: String,
    is_sealed: bool,
    /// What was refused of them.
    pub refused: RefusedParts,
    pub clients: Vec<CredentialClient>,
    /// `None` if the document has none, or if they were refused.
    pub keys: Option<ServerKeys>,
    /// Whether it has a field that is not known, which may restrict the clients.
    pub has_unknown_fields: bool,
}

impl PolicyDocument {
    /// Reads a document, with everything in it that was refused.
    ///
    /// # Errors
    /// Returns an error if the document as a whole is refused.
    pub fn parse(text: &str) -> Result<(Self, Findings), Findings> {
        let PolicyReading { revision, is_sealed, server, clients, refused } = PolicyReading::parse(text)?;
        let mut findings = Findings::default();
        let mut parts = RefusedParts { clients: refused.len(), ..RefusedParts::default() };
        let server = match server.parts() {
            Ok(read) => {
                let loaded = check::load(read);
                parts.add(&loaded.left_out);
                findings.0.extend(loaded.findings.0.iter().cloned());
                findings.0.extend(loaded.left_out.iter().flat_map(|part| part.findings.0.iter().cloned()));
                unknown_tools(&loaded, &clients, &mut findings);
                Some(loaded)
            }
            Err(found) => {
                parts.server = 1;
                findings.0.extend(found.0);
                None
            }
        };
        extend(&mut findings, refused);
        Ok((
            Self {
                revision: revision.to_string(),
                is_sealed,
                refused: parts,
                server,
                clients: clients.into(),
                kept: BTreeMap::new(),
            },
            findings,
        ))
    }
}

impl CredentialsDocument {
    /// Reads a document, with everything in it that was refused. No finding repeats a value of it.
    ///
    /// # Errors
    /// Returns an error if the document as a whole is refused.
    pub fn parse(text: &str) -> Result<(Self, Findings), Findings> {
        let CredentialsReading { revision, is_sealed, clients, refused, keys, has_unknown_fields } =
            CredentialsReading::parse(text)?;
        let mut findings = Findings::default();
        let mut parts = RefusedParts { clients: refused.len(), ..RefusedParts::default() };
        let keys = keys.unwrap_or_else(|found| {
            parts.server = 1;
            findings.0.extend(found.0);
            None
        });
        extend(&mut findings, refused);
        let revision = revision.to_string();
        Ok((Self { revision, is_sealed, refused: parts, clients, keys, has_unknown_fields }, findings))
    }

    /// Keeps only the keys that the same clients had in `before`, which is sorted by id.
    pub fn keep_from(&mut self, before: &[CredentialClient]) {
        for client in &mut self.clients {
            let before = before.binary_search_by(|it| it.id.cmp(&client.id)).ok().map(|n| &before[n]);
            let before = before.filter(|before| before.uid == client.uid);
            client.api_keys.retain(|key| before.is_some_and(|before| before.api_keys.contains(key)));
        }
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

/// The most tools that do not exist and are reported.
const MOST_REPORTED: usize = 100;

/// A client may have a tool that does not exist. Nothing else is denied because of it, but it is reported.
fn unknown_tools(loaded: &LoadedServerHalf, clients: &[PolicyClient], findings: &mut Findings) {
    let tools = &loaded.half.half().spec.tools;
    let left_out = loaded.left_out.iter().filter(|part| part.kind == PartKind::Tool);
    let left_out: BTreeSet<_> = left_out.filter_map(|part| part.name.as_deref()).collect();
    let is_served = |name: &ToolName| tools.binary_search_by(|tool| tool.name.cmp(name)).is_ok();
    let exists = |name: &ToolName| is_served(name) || left_out.contains(name.as_str());
    let named = clients.iter().flat_map(|client| client.tools.iter().map(move |name| (&client.id, name)));
    for (id, name) in named.filter(|(_, name)| !exists(name)).take(MOST_REPORTED) {
        findings.add(format!("clients[{id}].tools"), format!("`{name}` is not a tool of this server"));
    }
}
