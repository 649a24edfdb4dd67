//! What goes into the rules, and what comes out.

use std::collections::BTreeMap;

use portcullis_crds::{
    Findings, McpClientSpec, McpServerSpec, NamespacedName,
    client::Granted,
    condition::Reason,
    contract::{ApiKeyDigest, Credentials, Policy, PublishedCredentials, PublishedPolicy, ServerKeys},
};

use crate::{condition::ConditionState, object::Object};

/// Everything that decides what one server's pods obey.
#[derive(Clone, Debug)]
pub struct ServerInput {
    pub server: Object<McpServerSpec>,
    /// Each client that names the server, and each that the published policy holds and that still exists.
    pub clients: Vec<ClientInput>,
    /// What is published now, where it can be read.
    pub published: Published,
    /// Keys for the server, if none are published yet.
    pub fresh_keys: ServerKeys,
}

/// One client, and its keys.
#[derive(Clone, Debug)]
pub struct ClientInput {
    pub client: Object<McpClientSpec>,
    /// The digests of its keys; empty while it has none. `None` where they could not be read now: those that are
    /// published stay.
    pub keys: Option<Vec<ApiKeyDigest>>,
}

/// The documents that are in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    pub policy: Option<PublishedPolicy>,
    pub credentials: Option<PublishedCredentials>,
}

impl Published {
    /// Takes over each document that was written; the other one stays as it was.
    pub fn update(&mut self, written: Self) {
        self.policy = written.policy.or(self.policy.take());
        self.credentials = written.credentials.or(self.credentials.take());
    }

    /// Both documents; `None` if only one of them is published.
    pub fn both(&self) -> Option<(&PublishedPolicy, &PublishedCredentials)> {
        self.policy.as_ref().zip(self.credentials.as_ref())
    }
}

impl From<&Documents> for Published {
    fn from(documents: &Documents) -> Self {
        Self { policy: Some((&documents.policy).into()), credentials: Some((&documents.credentials).into()) }
    }
}

/// What is to be published, and what to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerPlan {
    /// What is wrong with the McpServer. Where there is anything, the documents hold the published server half.
    pub findings: Findings,
    /// What the pods are to obey; none while the server has never been valid.
    pub documents: Option<Documents>,
    /// What became of each client of the input that names the server.
    pub outcomes: BTreeMap<NamespacedName, ClientOutcome>,
}

/// The two documents of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Documents {
    pub policy: Policy,
    pub credentials: Credentials,
}

/// What became of one client on one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientOutcome {
    /// What it may do; none where it is refused.
    pub granted: Option<Granted>,
    /// What is wrong with the client, by itself or on this server; then it keeps at most what it had.
    pub findings: Findings,
    /// The condition `Accepted` of its access to this server.
    pub accepted: ConditionState,
    /// The condition `ResolvedRefs` of its access to this server.
    pub resolved_refs: ConditionState,
}

impl ClientOutcome {
    pub(super) fn refused(accepted: ConditionState) -> Self {
        Self { granted: None, findings: Findings::default(), accepted, resolved_refs: server_found() }
    }

    pub(super) fn server_never_valid() -> Self {
        Self::refused(ConditionState::no(
            Reason::ServerInvalid,
            "the McpServer has errors and was never valid; its status names them",
        ))
    }
}

/// The server exists; nothing is said about its tools.
fn server_found() -> ConditionState {
    ConditionState::yes(Reason::Resolved, "the McpServer exists")
}
