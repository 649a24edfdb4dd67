//! What a server's pods are to enforce, and what was decided about each client.

use std::collections::BTreeMap;

use portcullis_crds::{Findings, NamespacedName};

use super::{decision::ClientDecision, documents::Documents, outcome::ClientOutcome};

/// The plan for one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerPlan {
    /// What is wrong with the McpServer. If anything is, the documents contain the server's half that is published.
    pub findings: Findings,
    /// What the pods are to enforce; `None` if the server has never been valid.
    pub documents: Option<Documents>,
    /// What was decided about each client that requests access to the server.
    pub decisions: BTreeMap<NamespacedName, ClientDecision>,
}

impl ServerPlan {
    /// What each client's status reports about the server.
    pub fn outcomes(&self) -> impl Iterator<Item = (&NamespacedName, ClientOutcome)> {
        let is_valid = self.findings.is_empty();
        self.decisions.iter().map(move |(client, decision)| (client, decision.outcome(is_valid)))
    }
}
