//! What a plan is made from: one server, the clients that name it, and what is published now.

use portcullis_crds::{
    McpServerSpec,
    contract::{PublishedCredentials, PublishedPolicy, ServerKeys},
};

use super::client::CheckedClient;
use crate::{credentials::IssuedCredential, object::Object};

/// Everything that decides what the pods of one server enforce.
#[derive(Clone, Debug)]
pub struct ServerInput {
    pub server: Object<McpServerSpec>,
    /// The domain of the names of Services.
    pub cluster_domain: String,
    /// Each client that names the server, and each existing client that the published policy contains.
    pub clients: Vec<ClientInput>,
    /// What is published now, as far as it can be read.
    pub published: Published,
    /// Whether the published credentials cannot be read or written now. What was revoked is still in them then, so a client
    /// without any credential is left out of the policy.
    pub is_credentials_document_stuck: bool,
    /// The server's own keys, if none are published yet.
    pub fresh_keys: ServerKeys,
}

/// One client, and the credentials that were issued to it.
#[derive(Clone, Debug)]
pub struct ClientInput {
    pub client: CheckedClient,
    /// Empty if it has none. `None` if they could not be read: those that are published then stay.
    pub credentials: Option<Vec<IssuedCredential>>,
}

/// The documents that are in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Published {
    pub policy: Option<PublishedPolicy>,
    pub credentials: Option<PublishedCredentials>,
}

impl Published {
    /// Replaces each document that was written; the other one stays as it was.
    pub fn update(&mut self, written: Self) {
        self.policy = written.policy.or(self.policy.take());
        self.credentials = written.credentials.or(self.credentials.take());
    }

    /// Both documents; `None` if only one of them is published.
    pub fn both(&self) -> Option<(&PublishedPolicy, &PublishedCredentials)> {
        self.policy.as_ref().zip(self.credentials.as_ref())
    }
}
