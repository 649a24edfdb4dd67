//! `policy.yaml`: written by the operator or by hand, and read by servers.

use std::sync::Arc;

use serde::Serialize;

use super::{
    client::PolicyClient,
    envelope::{Envelope, RefusedClient, print},
    half_reading::HalfReading,
    published::PublishedHalf,
    server_half::ServerHalf,
    version::Version,
};
use crate::{Findings, document, revision::Revision};

/// The name of the document's file, and of its key in the ConfigMap.
pub const POLICY_FILE: &str = "policy.yaml";

/// A policy to be published: printed once, and carried with its text and its revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    server: PublishedHalf,
    clients: Arc<[PolicyClient]>,
    revision: Revision,
    text: Arc<str>,
}

impl Policy {
    /// Sorts and prints a policy.
    pub fn new(server: impl Into<PublishedHalf>, mut clients: Vec<PolicyClient>) -> Self {
        #[derive(Serialize)]
        struct Content<'a, Half> {
            #[serde(flatten)]
            server: &'a Half,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            clients: &'a [PolicyClient],
        }
        let server = server.into();
        clients.sort_by(|a, b| a.id.cmp(&b.id));
        clients.iter_mut().for_each(PolicyClient::sort);
        let (revision, text) = match &server.written {
            None => print(&Content { server: &*server.readable, clients: &clients }),
            Some(written) => print(&Content { server: &**written, clients: &clients }),
        };
        Self { server, clients: clients.into(), revision, text: text.into() }
    }

    /// What can be read of the server's half.
    pub fn server(&self) -> &Arc<ServerHalf> {
        &self.server.readable
    }

    pub(super) fn parts(&self) -> (&PublishedHalf, &Arc<[PolicyClient]>) {
        (&self.server, &self.clients)
    }

    /// Sorted by id.
    pub fn clients(&self) -> &[PolicyClient] {
        &self.clients
    }

    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The document: the same bytes for the same content.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The document in the form of that contract version.
    pub fn text_in(&self, version: Version) -> &str {
        match version {
            Version::V1 => &self.text,
        }
    }
}

/// A policy as it was read: each client by itself, and the server's half as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyReading {
    pub revision: Revision,
    /// Whether the document states its revision. One that does not may be half written.
    pub is_sealed: bool,
    pub server: HalfReading,
    /// Sorted by id.
    pub clients: Vec<PolicyClient>,
    /// The entries, and the parts of them, that cannot be read.
    pub refused: Vec<RefusedClient>,
}

impl PolicyReading {
    /// Reads a document.
    ///
    /// # Errors
    /// Returns an error if the document as a whole cannot be trusted: it is not YAML, it is of another contract version, its
    /// revision is not the revision of its content, or it has no clients and lacks `server` or `spec`, as if it were half written.
    pub fn parse(text: &str) -> Result<Self, Findings> {
        let mut envelope = Envelope::open(document::tolerant(text)?)?;
        if envelope.raw_clients().is_empty() {
            envelope.require(["server", "spec"])?;
        }
        let (mut clients, refused) = envelope.take_clients::<PolicyClient>();
        clients.iter_mut().for_each(PolicyClient::sort);
        let (revision, is_sealed) = (envelope.revision.clone(), envelope.is_sealed);
        let (fields, flaws) = envelope.rest();
        Ok(Self { revision, is_sealed, server: HalfReading { fields, flaws }, clients, refused })
    }
}
