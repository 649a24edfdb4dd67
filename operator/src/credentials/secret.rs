//! The Secret that hands a credential to its client.
//!
//! A credential that is in its Secret stays: nothing here replaces one that the operator made.

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_crds::McpClient;

use super::{
    issued::IssuedCredential,
    kind::{CredentialKind, SecretData},
};
use crate::cluster::{
    labels,
    ownership::{controller_reference, is_controlled_by},
};

/// What to do about a client's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It does not exist: create it with a new credential.
    Create,
    /// It belongs to the client and contains a credential.
    Keep(IssuedCredential),
    /// It belongs to the client and contains nothing that the operator made: replace that with a new credential. A key that
    /// somebody chose is not accepted: its digest is published, and only 256 random bits withstand that.
    Replace,
    /// It does not belong to the client: leave it as it is.
    NotOwned,
}

/// Decides what to do about the Secret that the client's spec names.
pub fn plan(kind: &CredentialKind, client: &ObjectMeta, existing: Option<&Secret>) -> Plan {
    let Some(secret) = existing else { return Plan::Create };
    if !is_controlled_by(&secret.metadata, client) {
        return Plan::NotOwned;
    }
    secret.data.as_ref().and_then(kind.read).map_or(Plan::Replace, Plan::Keep)
}

/// The Secret, owned by the McpClient.
pub fn secret(kind: &CredentialKind, client: &ObjectMeta, name: &str, data: SecretData) -> Secret {
    let mut labels = labels::part_of_portcullis();
    labels.insert(labels::NAME.into(), kind.label.into());
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: client.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference::<McpClient>(client)]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;
    use crate::credentials::KINDS;

    fn client(uid: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some("bot".into()),
            namespace: Some("sales".into()),
            uid: Some(uid.into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_credential_that_exists_is_kept_and_a_secret_of_another_owner_is_left_alone() {
        for kind in KINDS {
            let own = secret(kind, &client("u1"), "bot-key", (kind.create)([7; 32]));
            let issued = (kind.read)(own.data.as_ref().unwrap()).unwrap();
            let unowned =
                Secret { metadata: ObjectMeta { owner_references: None, ..own.metadata.clone() }, ..own.clone() };
            let chosen = SecretData::from([(kind.data[0].key.to_owned(), ByteString("secret".into()))]);
            for (what, existing, expected) in [
                ("it does not exist", None, Plan::Create),
                ("it is the client's own", Some(own.clone()), Plan::Keep(issued)),
                ("it has no owner", Some(unowned), Plan::NotOwned),
                ("it has no data", Some(Secret { data: None, ..own.clone() }), Plan::Replace),
                ("somebody chose what it contains", Some(Secret { data: Some(chosen), ..own.clone() }), Plan::Replace),
            ] {
                assert_eq!(plan(kind, &client("u1"), existing.as_ref()), expected, "{}: {what}", kind.field);
            }
            let recreated = plan(kind, &client("u2"), Some(&own));
            assert_eq!(
                recreated,
                Plan::NotOwned,
                "a client that was created again does not get the old one's credential"
            );
        }
    }

    #[test]
    fn the_secret_of_each_kind_of_credential() {
        for kind in KINDS {
            let secret = secret(kind, &client("uid-of-bot"), "bot-secret", (kind.create)([1; 32]));
            insta::assert_yaml_snapshot!(kind.field, secret);
        }
    }
}
