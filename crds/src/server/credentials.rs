//! What a backend is told beside the request of a tool: headers, and the credential of this server.

use std::collections::BTreeSet;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::McpServerSpec;
use crate::{
    name::{DataKey, HeaderName, ObjectName},
    secret_key_ref::SecretKeyRef,
};

/// A header of each call: exactly one of `value` and `valueFrom`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.valueFrom)").message("exactly one of value and valueFrom must be set"))]
pub struct BackendHeader {
    /// The name, which is unique whatever its case is. Headers that HTTP, MCP or the server itself set are refused.
    pub name: HeaderName,
    /// The value as it is. It is no place for a secret: whoever may read the McpServer can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub value: Option<String>,
    /// Where the value is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<HeaderValueFrom>,
}

/// Where the value of a header is from: exactly one of `secretKeyRef` and `identity`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.identity)").message("exactly one of secretKeyRef and identity must be set"))]
pub struct HeaderValueFrom {
    /// A key of a Secret in the namespace of the server. Only the pods read it. While it has never had a value, calls to the
    /// backend fail; a value that is removed stays in use until the pod ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// What is known of the caller. `ClientId` is the name of its McpClient, with `namespace/` before it if that is in another
    /// namespace than the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityValue>,
}

/// What is known of a caller.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityValue {
    ClientId,
}

/// The credential of this server at a backend: exactly one of `bearerSecretRef`, `headerSecretRef` and `clientCredentials`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.bearerSecretRef), has(self.headerSecretRef), has(self.clientCredentials)].exists_one(it, it)")
    .message("exactly one of bearerSecretRef, headerSecretRef and clientCredentials must be set"))]
pub struct BackendCredentials {
    /// A key of a Secret in the namespace of the server, with a token that is sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_secret_ref: Option<SecretKeyRef>,
    /// A key of a Secret in the namespace of the server, whose value is sent in a header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_secret_ref: Option<HeaderSecretRef>,
    /// A token of OAuth 2.0, sent as `Authorization: Bearer`, that the server gets with its own client id and secret (RFC 6749
    /// section 4.4). It is replaced before it expires, and after the backend refused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_credentials: Option<ClientCredentials>,
}

/// How the server gets a token for a backend.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCredentials {
    /// The URL of the token endpoint, without a query.
    #[schemars(length(min = 8, max = 2048), regex(pattern = "^https?://[^/?#@]+(/[^?#]*)?$"))]
    pub token_url: String,
    /// The client id of the server at the token endpoint.
    #[schemars(length(min = 1, max = 512))]
    pub client_id: String,
    /// A key of a Secret in the namespace of the server, with the client secret.
    pub client_secret_ref: SecretKeyRef,
    /// The parameter `audience`, which some token endpoints want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub audience: Option<String>,
    /// The scopes that are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub scopes: Vec<String>,
}

/// A header, and the key of a Secret that has its value.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HeaderSecretRef {
    /// The name of the header.
    pub header: HeaderName,
    /// The name of the Secret.
    pub name: ObjectName,
    /// The key in its data.
    pub key: DataKey,
}

impl HeaderSecretRef {
    /// The key of the Secret.
    pub fn secret(&self) -> SecretKeyRef {
        SecretKeyRef { name: self.name.clone(), key: self.key.clone() }
    }
}

impl McpServerSpec {
    /// The keys of Secrets that the backends need, which pods mount.
    pub fn secrets(&self) -> BTreeSet<SecretKeyRef> {
        let of_backend = |backend: &'_ super::Backend| {
            let sources = backend.headers.iter().filter_map(|header| header.value_from.as_ref());
            let of_headers = sources.filter_map(|source| source.secret_key_ref.clone());
            let credentials = backend.credentials.as_ref();
            let bearer = credentials.and_then(|it| it.bearer_secret_ref.clone());
            let header = credentials.and_then(|it| it.header_secret_ref.as_ref()).map(HeaderSecretRef::secret);
            let client =
                credentials.and_then(|it| it.client_credentials.as_ref()).map(|it| it.client_secret_ref.clone());
            of_headers.chain(bearer).chain(header).chain(client).collect::<Vec<_>>()
        };
        self.backends.iter().flat_map(of_backend).collect()
    }
}
