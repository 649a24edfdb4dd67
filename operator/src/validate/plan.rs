//! What a server's pods are to enforce, and what was decided about each client.

use std::collections::BTreeMap;

use portcullis_crds::{
    Findings, NamespacedName,
    contract::{Credentials, Policy},
};

use super::{decision::ClientDecision, documents::Documents, outcome::ClientOutcome};

/// The plan for one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerPlan {
    /// What is wrong with the McpServer. If anything is, the documents contain the server's half that is published.
    pub findings: Findings,
    /// What the pods are to enforce; `None` if the server has never been valid, or no last valid half can be read.
    pub documents: Option<Documents>,
    /// If there are no documents: what is left of the credentials that are published. A client without credentials is denied,
    /// whatever the policy says.
    pub credentials: Option<Credentials>,
    /// What was decided about each client that requests access to the server.
    pub decisions: BTreeMap<NamespacedName, ClientDecision>,
}

impl ServerPlan {
    /// The policy that is to be published.
    pub fn policy(&self) -> Option<&Policy> {
        self.documents.as_ref().map(|documents| &documents.policy)
    }

    /// The credentials that are to be published.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.documents.as_ref().map(|documents| &documents.credentials).or(self.credentials.as_ref())
    }

    /// What each client's status reports about the server.
    pub fn outcomes(&self) -> impl Iterator<Item = (&NamespacedName, ClientOutcome)> {
        let is_valid = self.findings.is_empty();
        self.decisions.iter().map(move |(client, decision)| (client, decision.outcome(is_valid)))
    }
}
