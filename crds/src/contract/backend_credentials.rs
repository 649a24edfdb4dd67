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
        exactly_one([("bearerSecretRef", fields.bearer_secret_ref.map(Self::Bearer)), ("headerSecretRef", header)])
    }
}

impl From<BackendCredentials> for CredentialsFields {
    fn from(credentials: BackendCredentials) -> Self {
        match credentials {
            BackendCredentials::Bearer(secret) => Self { bearer_secret_ref: Some(secret), header_secret_ref: None },
            BackendCredentials::Header(header, SecretKeyRef { name, key }) => {
                Self { bearer_secret_ref: None, header_secret_ref: Some(HeaderSecretFields { header, name, key }) }
            }
        }
    }
}
