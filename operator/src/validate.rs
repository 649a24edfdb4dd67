//! The rules between objects: which clients a server admits, what each is granted, and what its pods are to obey.
//!
//! Pure: the same input gives the same plan, in whatever order it comes. All findings are returned at once, and none of
//! them blocks a revocation: what is invalid keeps at most what it had (API.md, "Rules that the API keeps").

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{
    Credentials, Findings, McpClient, McpClientSpec, McpServer, McpServerSpec, Policy,
    client::{Granted, ServerRef},
    condition::Reason,
    credentials::{ApiKeyDigest, ServerKeys},
};

/// A resource as it was read: its spec, or why that could not be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<S> {
    pub metadata: ObjectMeta,
    pub spec: Result<S, Findings>,
}

/// Everything that decides what one server's pods obey.
#[derive(Clone, Debug)]
pub struct ServerInput {
    pub server: Object<McpServerSpec>,
    /// Each client that names the server, and each that the published policy holds and that still exists.
    pub clients: Vec<ClientInput>,
    /// What is published now, where it can be read.
    pub published: Published,
    /// Keys for the server, if none are published yet: 64 random bytes of the caller's.
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
#[derive(Clone, Debug, Default)]
pub struct Published {
    pub policy: Option<Policy>,
    pub credentials: Option<Credentials>,
}

/// What is to be published, and what to say about it.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerPlan {
    /// What is wrong with the McpServer. Where there is anything, the documents hold the published server half.
    pub findings: Findings,
    /// What the pods are to obey; none while the server has never been valid.
    pub documents: Option<Documents>,
    /// What became of each client of the input.
    pub outcomes: BTreeMap<NamespacedName, ClientOutcome>,
}

/// The two documents of one server.
#[derive(Clone, Debug, PartialEq)]
pub struct Documents {
    pub policy: Policy,
    pub credentials: Credentials,
}

/// An object's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName {
    pub namespace: String,
    pub name: String,
}

/// What became of one client on one server.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientOutcome {
    /// What it may do; none where it is refused.
    pub granted: Option<Granted>,
    /// The condition `Accepted` of its access to this server.
    pub accepted: Verdict,
    /// The condition `ResolvedRefs` of its access to this server.
    pub resolved_refs: Verdict,
}

/// A condition, before it has a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub status: bool,
    pub reason: Reason,
    pub message: String,
}

/// What one server is to obey, and what became of its clients.
pub fn server(_input: &ServerInput) -> ServerPlan {
    unimplemented!()
}

/// What is wrong with a client by itself, whatever servers there are; paths begin with `spec`.
pub fn client(_namespace: &str, _spec: &McpClientSpec) -> Findings {
    unimplemented!()
}

/// The full name of the server that a reference in a client of `namespace` means.
pub fn server_of(_reference: &ServerRef, _namespace: &str) -> NamespacedName {
    unimplemented!()
}

impl<S> Object<S> {
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn namespaced_name(&self) -> NamespacedName {
        NamespacedName { namespace: self.namespace().to_owned(), name: self.name().to_owned() }
    }
}

impl From<McpServer> for Object<McpServerSpec> {
    fn from(server: McpServer) -> Self {
        Self { metadata: server.metadata, spec: Ok(server.spec) }
    }
}

impl From<McpClient> for Object<McpClientSpec> {
    fn from(client: McpClient) -> Self {
        Self { metadata: client.metadata, spec: Ok(client.spec) }
    }
}
