//! `policy.yaml`: written by the operator, read by servers, and both can be done by hand.

use std::sync::Arc;

use serde::Serialize;

use super::{
    client::PolicyClient,
    envelope::{Envelope, RefusedClient, print},
    server_half::ServerHalf,
    version::Version,
};
use crate::{Findings, document, revision::Revision};

/// The name of the document's file, and of its key in the ConfigMap.
pub const POLICY_FILE: &str = "policy.yaml";

/// A policy to be published: printed once, and carried with its text and its revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    server: Arc<ServerHalf>,
    clients: Arc<[PolicyClient]>,
    revision: Revision,
    text: Arc<str>,
}

impl Policy {
    /// Sorts and prints a policy.
    pub fn new(server: Arc<ServerHalf>, mut clients: Vec<PolicyClient>) -> Self {
        #[derive(Serialize)]
        struct Content<'a> {
            #[serde(flatten)]
            server: &'a ServerHalf,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            clients: &'a [PolicyClient],
        }
        clients.sort_by(|a, b| a.id.cmp(&b.id));
        clients.iter_mut().for_each(PolicyClient::sort);
        let (revision, text) = print(&Content { server: &server, clients: &clients });
        Self { server, clients: clients.into(), revision, text: text.into() }
    }

    pub fn server(&self) -> &Arc<ServerHalf> {
        &self.server
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

/// A policy as it was read: each half by itself, and each client by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyReading {
    pub revision: Revision,
    /// Whether the document states its revision. One that does not may be half written.
    pub is_sealed: bool,
    /// The server's half, or everything in it that cannot be read.
    pub server: Result<ServerHalf, Findings>,
    /// If it cannot be read: the half as a release with other bounds published it.
    published: Option<ServerHalf>,
    /// Sorted by id.
    pub clients: Vec<PolicyClient>,
    /// The entries that cannot be read.
    pub refused: Vec<RefusedClient>,
}

impl PolicyReading {
    /// Reads a document.
    ///
    /// # Errors
    /// Returns an error if the document as a whole cannot be trusted: it is not YAML, it is of another contract version, its
    /// revision is not the revision of its content, or it is half written and lacks a part of the server's half.
    pub fn parse(text: &str) -> Result<Self, Findings> {
        let mut envelope = Envelope::open(document::single(text)?)?;
        envelope.require(["server", "spec"])?;
        let (mut clients, refused) = envelope.take_clients::<PolicyClient>()?;
        clients.iter_mut().for_each(PolicyClient::sort);
        let (server, spec) = (envelope.take("server"), envelope.take("spec"));
        let mut findings = envelope.unknown_fields(&["server", "spec", "clients"]);
        let server = match (server, spec) {
            (Ok(server), Ok(spec)) => findings.or(ServerHalf { server, spec }),
            (server, spec) => {
                findings.0.extend([server.err(), spec.err()].into_iter().flatten().flat_map(|found| found.0));
                Err(findings)
            }
        };
        let published = if server.is_err() { published_half(text) } else { None };
        Ok(Self { revision: envelope.revision, is_sealed: envelope.is_sealed, server, published, clients, refused })
    }
}

/// The server's half of a document whose bounds are those of another release. It is read again, because this is rare.
fn published_half(text: &str) -> Option<ServerHalf> {
    let mut envelope = Envelope::open(document::single(text).ok()?).ok()?;
    let (server, spec) = (envelope.take_published("server")?, envelope.take_published("spec")?);
    envelope
        .unknown_fields(&["server", "spec", "clients"])
        .0
        .iter()
        .all(|finding| finding.path == "clients")
        .then_some(())?;
    Some(ServerHalf { server, spec })
}

/// The policy that is in force at a server, as far as it can be read.
///
/// It is never checked again, and its bounds need not be those of this release: a later release that is stricter must not lose the
/// last valid half.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedPolicy {
    pub revision: Revision,
    pub server: Option<Arc<ServerHalf>>,
    /// Sorted by id.
    pub clients: Arc<[PolicyClient]>,
}

impl From<&Policy> for PublishedPolicy {
    fn from(policy: &Policy) -> Self {
        let Policy { revision, server, clients, .. } = policy.clone();
        Self { revision, server: Some(server), clients }
    }
}

impl From<PolicyReading> for PublishedPolicy {
    fn from(reading: PolicyReading) -> Self {
        let PolicyReading { revision, server, published, clients, .. } = reading;
        let sorted = |mut half: ServerHalf| {
            half.sort();
            Arc::new(half)
        };
        Self { revision, server: server.ok().or(published).map(sorted), clients: clients.into() }
    }
}
