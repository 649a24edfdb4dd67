//! When a credential was issued, and whether it was revoked since. Pure.
//!
//! The record of a credential is kept beside it, and names it: a credential that somebody puts back, with its own record or with the
//! record of another one, is told from the one that was issued last. What has no record of its own counts as older than every
//! revocation.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::{SignedDuration, Timestamp},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::mapping::Mapping;

/// The annotation of a Secret with the record of the credential in it.
pub const ISSUED: &str = "portcullis.dev/issued";
/// The annotation of an McpClient that asks for new credentials, once for each value.
pub const NEW_KEY: &str = "portcullis.dev/new-key";
/// The annotation of a resource that asks the operator to look at its Secrets now, with any new value.
pub const RECONCILE: &str = "portcullis.dev/reconcile";

/// What a client asks to be revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocation {
    /// What was issued before this time.
    before: Option<Timestamp>,
    /// A digest of the value of [`NEW_KEY`]: what was issued for any other value.
    new_key: Option<String>,
}

/// How a credential came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssueRecord {
    /// The id of the credential.
    id: String,
    pub at: Timestamp,
    /// What the client asked for when it was issued: what is answered already revokes nothing again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoke_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_key: Option<String>,
}

impl Revocation {
    pub fn new(client: &ObjectMeta, before: Option<&Time>) -> Self {
        let value = client.annotations.as_ref().and_then(|all| all.get(NEW_KEY));
        let digest = |value: &String| hex::encode(&Sha256::digest(value)[..8]);
        Self { before: before.map(|before| before.0), new_key: value.map(digest) }
    }

    /// Whether it revokes a credential with this record.
    pub fn revokes(&self, record: Option<&IssueRecord>) -> bool {
        let is_older = |before: &Timestamp| {
            record.is_none_or(|record| record.at < *before && record.revoke_before.as_ref() != Some(before))
        };
        let is_other = |value: &String| record.is_none_or(|record| record.new_key.as_ref() != Some(value));
        self.before.as_ref().is_some_and(is_older) || self.new_key.as_ref().is_some_and(is_other)
    }

    /// Whether it revokes a credential of which nothing but the time of its issue is known.
    pub fn revokes_issued_at(&self, issued_at: Option<Timestamp>) -> bool {
        self.before.is_some_and(|before| issued_at.is_none_or(|at| at < before))
    }
}

impl IssueRecord {
    /// The record of a credential that is issued now.
    pub fn new(id: &str, revocation: &Revocation, now: Timestamp) -> Self {
        let Revocation { before, new_key } = revocation.clone();
        // A status has seconds. What answers a revocation must not look older than that.
        let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let is_before = before.is_some_and(|before| seconds < before && before <= now);
        let at = if is_before { seconds.saturating_add(SignedDuration::from_secs(1)).unwrap_or(now) } else { seconds };
        Self { id: id.to_owned(), at, revoke_before: before, new_key }
    }

    /// Reads the record of this credential; `None` if there is none, or it is that of another one.
    pub fn read(text: &str, id: &str) -> Option<Self> {
        let Mapping(record) = serde_json::from_str::<Mapping<Self>>(text).ok()?;
        (record.id == id).then_some(record)
    }

    /// The record of this credential that a Secret carries.
    pub fn of(secret: &ObjectMeta, id: &str) -> Option<Self> {
        Self::read(secret.annotations.as_ref()?.get(ISSUED)?, id)
    }

    /// Its text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a record must have a JSON form")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn client(new_key: Option<&str>) -> ObjectMeta {
        let annotations = new_key.map(|value| BTreeMap::from([(NEW_KEY.to_owned(), value.to_owned())]));
        ObjectMeta { annotations, ..ObjectMeta::default() }
    }

    fn asked(before: Option<&str>, new_key: Option<&str>) -> Revocation {
        Revocation::new(&client(new_key), before.map(|text| Time(at(text))).as_ref())
    }

    #[test]
    fn what_was_issued_before_a_time_or_for_another_value_is_revoked_exactly_once() {
        let noon = "2026-11-26T12:00:00.7Z";
        let nothing = asked(None, None);
        let record = |revocation: &Revocation| IssueRecord::new("id", revocation, at(noon));
        for (before, new_key, is_revoked) in [
            (None, None, false),
            (Some("2026-11-26T11:59:59Z"), None, false),
            (Some("2026-11-26T12:00:00Z"), None, false),
            (Some("2026-11-26T12:00:00.6Z"), None, true),
            (Some("2026-11-26T12:00:01Z"), None, true),
            (Some("9999-01-01T00:00:00Z"), None, true),
            (None, Some("1"), true),
            (None, Some(""), true),
        ] {
            let revocation = asked(before, new_key);
            assert_eq!(revocation.revokes(Some(&record(&nothing))), is_revoked, "{before:?} {new_key:?}");
            assert_eq!(revocation.revokes(None), before.is_some() || new_key.is_some(), "without a record");
            assert!(!revocation.revokes(Some(&record(&revocation))), "what it led to stays: {before:?} {new_key:?}");
        }
        let answering = |before| IssueRecord::new("id", &asked(Some(before), None), at(noon)).at;
        for (before, is_answered) in
            [("2026-11-26T12:00:00.6Z", true), ("2026-11-26T12:00:00Z", true), ("2026-11-26T12:00:00.8Z", false)]
        {
            let is_revoked = asked(Some(before), None).revokes_issued_at(Some(answering(before)));
            assert_eq!(!is_revoked, is_answered, "{before}, when only the time of the issue is known");
        }
        assert!(asked(Some("2026-11-26T12:00:00Z"), None).revokes_issued_at(None));
        assert!(!asked(None, Some("1")).revokes_issued_at(None), "what is to be replaced may be answered already");
        let far = record(&asked(Some("9999-01-01T00:00:00Z"), None));
        assert!(
            asked(Some("2026-11-26T13:00:00Z"), None).revokes(Some(&far)),
            "a time that was too late blocks no other"
        );
        let first = record(&asked(None, Some("1")));
        assert!(asked(None, Some("2")).revokes(Some(&first)));
        assert!(!nothing.revokes(Some(&first)) && !nothing.revokes(None));
    }

    #[test]
    fn a_record_counts_only_for_the_credential_that_it_names() {
        let record =
            IssueRecord::new("id", &asked(Some("2026-01-01T00:00:00Z"), Some("x")), at("2026-11-26T12:00:00Z"));
        assert_eq!(IssueRecord::read(&record.text(), "id"), Some(record.clone()));
        assert_eq!(IssueRecord::read(&record.text(), "another"), None);
        for other in ["{}", r#"["id", "2026-11-26T12:00:00Z"]"#, r#"["id", "2026-11-26T12:00:00Z", null, null]"#] {
            assert_eq!(IssueRecord::read(other, "id"), None, "{other}");
        }
    }
}
