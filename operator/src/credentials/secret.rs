//! The Secret that hands a credential to its client.
//!
//! A credential that is in its Secret stays until it is revoked: nothing else here replaces one that the operator made.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_crds::McpClient;

use super::{
    issued::IssuedCredential,
    kind::{CredentialKind, SecretData},
    record::{ISSUED, IssueRecord, Revocation},
};
use crate::cluster::{
    labels,
    ownership::{controller_reference, is_controlled_by},
};

/// The type of the Secrets of all kinds of credentials.
const TYPE: &str = "Opaque";

/// What to do about a client's Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It does not exist: create it with a new credential.
    Create,
    /// It belongs to the client and contains a credential that was not revoked.
    Keep { issued: IssuedCredential, record: Option<IssueRecord> },
    /// It belongs to the client, and what it contains was revoked or is nothing that the operator made: replace that with a new
    /// credential. A key that somebody chose is not accepted: its digest is published, and only 256 random bits withstand that.
    Replace,
    /// Like [`Plan::Replace`], but the Secret cannot be changed: delete it first.
    Recreate,
    /// It is being deleted: what it contains was taken away, and nothing can take its place before it is gone.
    Wait,
    /// It does not belong to the client: leave it as it is.
    NotOwned,
}

/// Decides what to do about the Secret that the client's spec names.
pub fn plan(kind: &CredentialKind, client: &ObjectMeta, revocation: &Revocation, existing: Option<&Secret>) -> Plan {
    let Some(secret) = existing else { return Plan::Create };
    if !is_controlled_by(&secret.metadata, client) {
        return Plan::NotOwned;
    }
    if secret.metadata.deletion_timestamp.is_some() {
        return Plan::Wait;
    }
    if let Some(issued) = secret.data.as_ref().and_then(kind.read) {
        let record = IssueRecord::of(&secret.metadata, issued.id());
        if !revocation.revokes(record.as_ref()) {
            return Plan::Keep { issued, record };
        }
    }
    let is_fixed = secret.immutable == Some(true) || secret.type_.as_deref().is_some_and(|type_| type_ != TYPE);
    if is_fixed { Plan::Recreate } else { Plan::Replace }
}

/// The Secret, owned by the McpClient. Without a record it is what `render` prints.
pub fn secret(
    kind: &CredentialKind,
    client: &ObjectMeta,
    name: &str,
    data: SecretData,
    record: Option<&IssueRecord>,
) -> Secret {
    let mut labels = labels::part_of_portcullis();
    labels.insert(labels::NAME.into(), kind.label.into());
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: client.namespace.clone(),
            labels: Some(labels),
            annotations: record.map(|record| BTreeMap::from([(ISSUED.to_owned(), record.text())])),
            owner_references: Some(vec![controller_reference::<McpClient>(client)]),
            ..ObjectMeta::default()
        },
        data: Some(data),
        type_: Some(TYPE.into()),
        ..Secret::default()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

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
        let nothing = Revocation::default();
        for kind in KINDS {
            let own = secret(kind, &client("u1"), "bot-key", (kind.create)([7; 32]), None);
            let issued = (kind.read)(own.data.as_ref().unwrap()).unwrap();
            let with = |change: &dyn Fn(&mut Secret)| {
                let mut secret = own.clone();
                change(&mut secret);
                Some(secret)
            };
            let chosen = || SecretData::from([(kind.data[0].key.to_owned(), ByteString("secret".into()))]);
            for (what, existing, expected) in [
                ("it does not exist", None, Plan::Create),
                ("it is the client's own", with(&|_| ()), Plan::Keep { issued, record: None }),
                ("it has no owner", with(&|it| it.metadata.owner_references = None), Plan::NotOwned),
                ("it has no data", with(&|it| it.data = None), Plan::Replace),
                ("somebody chose what it contains", with(&|it| it.data = Some(chosen())), Plan::Replace),
                (
                    "it has no data and is immutable",
                    with(&|it| (it.data, it.immutable) = (None, Some(true))),
                    Plan::Recreate,
                ),
                (
                    "it has no data and is of another type",
                    with(&|it| (it.data, it.type_) = (None, Some("example.com/x".into()))),
                    Plan::Recreate,
                ),
                (
                    "it is being deleted",
                    with(&|it| it.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH))),
                    Plan::Wait,
                ),
            ] {
                assert_eq!(plan(kind, &client("u1"), &nothing, existing.as_ref()), expected, "{}: {what}", kind.field);
            }
            let recreated = plan(kind, &client("u2"), &nothing, Some(&own));
            assert_eq!(
                recreated,
                Plan::NotOwned,
                "a client that was created again does not get the old one's credential"
            );
        }
    }

    #[test]
    fn a_revoked_credential_is_replaced_however_it_came_back() {
        let (noon, later) = (Timestamp::from_second(1_000_000).unwrap(), Timestamp::from_second(1_000_060).unwrap());
        let asked = Revocation::new(&client("u1"), Some(&Time(later)));
        for kind in KINDS {
            let made = |random: u8, revocation: &Revocation, now: Timestamp| {
                let data = (kind.create)([random; 32]);
                let issued = (kind.read)(&data).unwrap();
                let record = IssueRecord::new(issued.id(), revocation, now);
                (secret(kind, &client("u1"), "bot-key", data, Some(&record)), issued)
            };
            let plan = |secret: &Secret| plan(kind, &client("u1"), &asked, Some(secret));
            let (old, _) = made(1, &Revocation::default(), noon);
            let (new, issued) = made(2, &asked, noon);
            assert_eq!(plan(&old), Plan::Replace);
            let record = IssueRecord::of(&new.metadata, issued.id());
            assert_eq!(plan(&new), Plan::Keep { issued, record });
            let data_of_old = Secret { data: old.data.clone(), ..new.clone() };
            assert_eq!(plan(&data_of_old), Plan::Replace, "the old value beside the record of the new one");
            let mut bare = old.clone();
            bare.metadata.annotations = None;
            assert_eq!(plan(&bare), Plan::Replace, "without a record");
            assert_eq!(plan(&Secret { immutable: Some(true), ..old }), Plan::Recreate);
        }
    }

    #[test]
    fn the_secret_of_each_kind_of_credential() {
        for kind in KINDS {
            let secret = secret(kind, &client("uid-of-bot"), "bot-secret", (kind.create)([1; 32]), None);
            insta::assert_yaml_snapshot!(kind.field, secret);
        }
    }
}
