//! A resource as it was read, whether or not its spec could be decoded.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{Findings, McpClient, McpClientSpec, McpServer, McpServerSpec, NamespacedName};

/// A resource with its spec, or the reasons why that cannot be decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<S> {
    pub metadata: ObjectMeta,
    pub spec: Result<S, Findings>,
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
