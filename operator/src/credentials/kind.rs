//! What a kind of credential is: how it is requested, made, read back and reported.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use portcullis_crds::{
    client::{ClientCredentials, McpClientStatus},
    condition::Reason,
    name::ObjectName,
};

use super::issued::IssuedCredential;

/// The `data` of a Secret.
pub type SecretData = BTreeMap<String, ByteString>;

/// A kind of credential that the operator issues to clients, each in a Secret that the client's owner reads.
#[derive(Clone, Copy, Debug)]
pub struct CredentialKind {
    /// Its field in `spec.credentials`.
    pub field: &'static str,
    /// What messages call it, and how a client uses it.
    pub noun: &'static str,
    pub usage: &'static str,
    /// The value of the label `app.kubernetes.io/name` of its Secrets.
    pub label: &'static str,
    /// The keys of the Secret's data, each with the extension of the file that takes its place for `local`. The first one is
    /// what the client uses.
    pub data: &'static [DataKey],
    /// The Secret that a spec names for it; `None` if the spec does not request this kind.
    pub secret_name: fn(&ClientCredentials) -> Option<&ObjectName>,
    /// Credentials that were issued before this time are revoked.
    pub revoke_before: fn(&ClientCredentials) -> Option<&Time>,
    /// Makes a credential from random bytes.
    pub create: fn([u8; 32]) -> SecretData,
    /// Reads a credential back; `None` if the operator did not make it.
    pub read: fn(&SecretData) -> Option<IssuedCredential>,
    /// What a client's status reports about it.
    pub status: fn(&McpClientStatus) -> Option<CredentialStatus>,
    pub set_status: fn(&mut McpClientStatus, Option<CredentialStatus>),
    /// The reason of `CredentialsReady`, and of an event, once it is issued.
    pub issued: Reason,
}

/// A key of a Secret's data.
#[derive(Clone, Copy, Debug)]
pub struct DataKey {
    pub key: &'static str,
    pub file_extension: &'static str,
}

/// What a client's status reports about a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialStatus {
    /// The Secret that contains it.
    pub secret_name: String,
    /// Its name in audit records.
    pub id: String,
    /// When it was issued; `None` if that is not known.
    pub issued_at: Option<Time>,
}

/// A Secret that a client's spec names for a credential.
#[derive(Clone, Copy, Debug)]
pub struct RequestedSecret<'a> {
    pub kind: &'static CredentialKind,
    pub name: &'a ObjectName,
    /// What was issued before this time is revoked.
    pub revoke_before: Option<&'a Time>,
}

impl RequestedSecret<'_> {
    /// The path of its name in the spec.
    pub fn path(&self) -> String {
        format!("spec.credentials.{}.secretName", self.kind.field)
    }
}
