//! A resource as it was read, whether or not its spec could be decoded.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{
    Findings, McpClient, McpClientSpec, McpServer, McpServerSpec, NamespacedName,
    client::{ClientCredentials, PartialClientSpec},
    server::PartialServerSpec,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A resource with its spec, or the reasons why that cannot be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<S: Spec> {
    pub metadata: ObjectMeta,
    pub spec: Result<S, Undecodable<S::Partial>>,
}

/// Why a spec cannot be decoded as a whole, and what can be read of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Undecodable<P> {
    pub findings: Findings,
    pub partial: P,
}

impl<P: Default> From<Findings> for Undecodable<P> {
    fn from(findings: Findings) -> Self {
        Self { findings, partial: P::default() }
    }
}

/// The spec of a resource.
pub trait Spec: DeserializeOwned {
    /// What can be read of one that cannot be decoded as a whole.
    type Partial: Clone + Debug + Default + PartialEq + Send + Sync;

    /// Reads it; `spec` is null if it is no JSON that can be read.
    fn partial(spec: &Value) -> Self::Partial;
}

impl Spec for McpServerSpec {
    type Partial = PartialServerSpec;

    fn partial(spec: &Value) -> PartialServerSpec {
        PartialServerSpec::read(spec)
    }
}

impl Spec for McpClientSpec {
    type Partial = PartialClientSpec;

    fn partial(spec: &Value) -> PartialClientSpec {
        PartialClientSpec::read(spec)
    }
}

impl<S: Spec> Object<S> {
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

impl Object<McpClientSpec> {
    /// The credentials that the client is to have; `None` if they cannot be read.
    pub fn credentials(&self) -> Option<&ClientCredentials> {
        match &self.spec {
            Ok(spec) => Some(&spec.credentials),
            Err(undecodable) => undecodable.partial.credentials.as_ref(),
        }
    }
}
