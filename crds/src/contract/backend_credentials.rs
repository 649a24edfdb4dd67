//! What a backend is told beside the request of a tool. A Secret is named, and its value is in none of the documents: it is in the
//! file `<name>/<key>` of the directory that the server is given as `--secrets`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    name::{DataKey, HeaderName, ObjectName},
    secret_key_ref::SecretKeyRef,
    union::{NotExactlyOne, exactly_one},
};

/// A header of each call to a backend.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(try_from = "HeaderFields", into = "HeaderFields")]
#[schemars(try_from = "HeaderFields", into = "HeaderFields")]
pub struct BackendHeader {
    pub name: HeaderName,
    pub value: HeaderValue,
}

/// The value of a header, or where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    Literal(String),
    Secret(SecretKeyRef),
    Identity(IdentityValue),
}

/// What is known of a caller.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityValue {
    ClientId,
}

/// The credential of the server at a backend.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(try_from = "CredentialsFields", into = "CredentialsFields")]
#[schemars(try_from = "CredentialsFields", into = "CredentialsFields")]
pub enum BackendCredentials {
    Bearer(SecretKeyRef),
    Header(HeaderName, SecretKeyRef),
    ClientCredentials(ClientCredentials),
}

/// How the server gets a token by the client credentials grant (RFC 6749 section 4.4).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCredentials {
    /// The URL of the token endpoint, without a query.
    #[schemars(length(min = 8, max = 2048))]
    pub token_url: String,
    /// The client id of the server at the token endpoint.
    #[schemars(length(min = 1, max = 512))]
    pub client_id: String,
    /// The client secret is the file `<name>/<key>` of the directory of secrets.
    pub client_secret_ref: SecretKeyRef,
    /// The parameter `audience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub audience: Option<String>,
    /// The scopes that are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 256)))]
    pub scopes: Vec<String>,
}

/// A header as it is written in the document: exactly one of `value`, `secretKeyRef` and `identity`.
#[derive(Serialize, Deserialize, JsonSchema, Clone)]
#[serde(rename_all = "camelCase")]
struct HeaderFields {
    /// The name, which is unique whatever its case is.
    name: HeaderName,
    /// The value as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    value: Option<String>,
    /// The value is in the file `<name>/<key>` of the directory of secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_key_ref: Option<SecretKeyRef>,
    /// What is known of the caller: `ClientId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<IdentityValue>,
}

/// A credential as it is written in the document: exactly one of its fields.
#[derive(Serialize, Deserialize, JsonSchema, Clone)]
#[serde(rename_all = "camelCase")]
struct CredentialsFields {
    /// A token that is sent as `Authorization: Bearer`: the file `<name>/<key>` of the directory of secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bearer_secret_ref: Option<SecretKeyRef>,
    /// A header whose value is the file `<name>/<key>` of the directory of secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header_secret_ref: Option<HeaderSecretFields>,
    /// A token that the server gets with its own client id and secret, sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_credentials: Option<ClientCredentials>,
}

#[derive(Serialize, Deserialize, JsonSchema, Clone)]
#[serde(rename_all = "camelCase")]
struct HeaderSecretFields {
    /// The name of the header.
    header: HeaderName,
    /// The name of the Secret.
    name: ObjectName,
    /// The key in its data.
    key: DataKey,
}

impl TryFrom<HeaderFields> for BackendHeader {
    type Error = NotExactlyOne;

    fn try_from(fields: HeaderFields) -> Result<Self, NotExactlyOne> {
        let value = exactly_one([
            ("value", fields.value.map(HeaderValue::Literal)),
            ("secretKeyRef", fields.secret_key_ref.map(HeaderValue::Secret)),
            ("identity", fields.identity.map(HeaderValue::Identity)),
        ])?;
        Ok(Self { name: fields.name, value })
    }
}

impl From<BackendHeader> for HeaderFields {
    fn from(header: BackendHeader) -> Self {
        let mut fields = Self { name: header.name, value: None, secret_key_ref: None, identity: None };
        match header.value {
            HeaderValue::Literal(value) => fields.value = Some(value),
            HeaderValue::Secret(secret) => fields.secret_key_ref = Some(secret),
            HeaderValue::Identity(identity) => fields.identity = Some(identity),
        }
        fields
    }
}

impl TryFrom<CredentialsFields> for BackendCredentials {
    type Error = NotExactlyOne;

    fn try_from(fields: CredentialsFields) -> Result<Self, NotExactlyOne> {
        let header = fields.header_secret_ref.map(|it| {
            let HeaderSecretFields { header, name, key } = it;
            Self::Header(header, SecretKeyRef { name, key })
        });
        exactly_one([
            ("bearerSecretRef", fields.bearer_secret_ref.map(Self::Bearer)),
            ("headerSecretRef", header),
            ("clientCredentials", fields.client_credentials.map(Self::ClientCredentials)),
        ])
    }
}

impl From<BackendCredentials> for CredentialsFields {
    fn from(credentials: BackendCredentials) -> Self {
        let mut fields = Self { bearer_secret_ref: None, header_secret_ref: None, client_credentials: None };
        match credentials {
            BackendCredentials::Bearer(secret) => fields.bearer_secret_ref = Some(secret),
            BackendCredentials::Header(header, SecretKeyRef { name, key }) => {
                fields.header_secret_ref = Some(HeaderSecretFields { header, name, key });
            }
            BackendCredentials::ClientCredentials(client) => fields.client_credentials = Some(client),
        }
        fields
    }
}
