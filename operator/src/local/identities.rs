//! UIDs and ages, which a cluster gives and files lack: made up once, kept over runs, and gone with their object, so that a
//! client deleted and made again is another one.

use std::{collections::BTreeMap, fs, path::PathBuf};

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::{Error, state};
use crate::{
    manifests::{ObjectId, uuid},
    random,
};

/// The identities of all objects, as they are on disk; by the words `McpClient sales/bot`.
pub(super) struct Identities {
    path: PathBuf,
    known: BTreeMap<String, Identity>,
    /// Whether the file says what is known.
    is_written: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    uid: String,
    created: Timestamp,
}

impl Identities {
    /// Those of earlier runs. A file that can't be read is none: then all objects are new ones.
    pub fn load(path: PathBuf) -> Self {
        let known = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, known, is_written: true }
    }

    /// Gives each of these objects an identity, and forgets those that `is_gone` says.
    ///
    /// # Errors
    /// Where what changed can't be written.
    pub fn update<'a>(
        &mut self,
        objects: impl Iterator<Item = &'a ObjectId>,
        is_gone: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let before = self.known.clone();
        self.known.retain(|object, _| !is_gone(object));
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
    fn an_identity_outlives_a_run_and_not_its_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identities.json");
        let name = NamespacedName { namespace: "sales".into(), name: "bot".into() };
        let bot = ObjectId { kind: Kind::McpClient, name };
        let next = |is_there: bool| {
            let mut identities = Identities::load(path.clone());
            let objects: Vec<_> = is_there.then_some(&bot).into_iter().collect();
            identities.update(objects.into_iter(), |_| !is_there).unwrap();
            identities.metadata(&bot).uid
        };
        let first = next(true);
        assert!(first.is_some());
        assert_eq!(next(true), first);
        assert_eq!(next(false), None);
        assert_ne!(next(true), first, "made again, it is another one");
    }
}
