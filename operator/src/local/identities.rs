//! UIDs and creation times, which a cluster assigns and files do not contain: assigned once, kept between runs, and deleted with
//! their object, so that a client that is deleted and created again is another client.

use std::{collections::BTreeMap, fs, path::PathBuf};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{error::Error, state};
use crate::{
    manifests::{ObjectId, uuid},
    random,
};

/// The identities of all objects, by `McpClient sales/bot`.
pub(super) struct Identities {
    path: PathBuf,
    known: BTreeMap<String, Identity>,
    /// Whether the file contains what is known.
    is_written: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    uid: String,
    created: Timestamp,
}

impl Identities {
    /// Reads the identities of earlier runs. If the file cannot be read, all objects are new.
    pub fn load(path: PathBuf) -> Self {
        let known = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, known, is_written: true }
    }

    /// Assigns an identity to each of these objects that has none, and deletes those of removed objects.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn update<'a>(
        &mut self,
        objects: impl Iterator<Item = &'a ObjectId>,
        is_removed: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let before = self.known.clone();
        self.known.retain(|object, _| !is_removed(object));
        for object in objects {
            let new = || Identity { uid: uuid(&random::bytes::<16>()), created: Timestamp::now() };
            self.known.entry(object.to_string()).or_insert_with(new);
        }
        self.is_written &= self.known == before;
        if self.is_written {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&self.known).expect("identities must have a JSON form");
        state::write(&self.path, &text)?;
        self.is_written = true;
        Ok(())
    }

    pub fn metadata(&self, object: &ObjectId) -> ObjectMeta {
        let identity = self.known.get(&object.to_string());
        ObjectMeta {
            uid: identity.map(|identity| identity.uid.clone()),
            creation_timestamp: identity.map(|identity| Time(identity.created)),
            ..ObjectMeta::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_crds::NamespacedName;

    use crate::manifests::Kind;

    #[test]
    fn an_identity_outlives_a_run_but_not_its_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identities.json");
        let name = NamespacedName { namespace: "sales".into(), name: "bot".into() };
        let bot = ObjectId { kind: Kind::McpClient, name };
        let next = |exists: bool| {
            let mut identities = Identities::load(path.clone());
            let objects: Vec<_> = exists.then_some(&bot).into_iter().collect();
            identities.update(objects.into_iter(), |_| !exists).unwrap();
            identities.metadata(&bot).uid
        };
        let first = next(true);
        assert!(first.is_some());
        assert_eq!(next(true), first);
        assert_eq!(next(false), None);
        assert_ne!(next(true), first, "created again, it is another object");
    }
}
