//! What a cluster would know of the folder's objects: who they are, which keys they have, and what is in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{
    Credentials,
    credentials::{self as documents, ApiKeyDigest, ServerKeys},
};

use super::{
    Error,
    identities::Identities,
    state::{self, State},
};
use crate::{
    credentials::{api_key::ApiKey, server_keys},
    manifests::{self, Facts, Folder, ObjectId},
    random,
    validate::{Documents, NamespacedName, Object, Published},
};

/// The facts of this machine.
pub(super) struct LocalFacts {
    identities: Identities,
    keys: BTreeMap<NamespacedName, (PathBuf, ApiKeyDigest)>,
    pub in_force: BTreeMap<NamespacedName, Documents>,
    server_keys: BTreeMap<NamespacedName, ServerKeys>,
}

impl LocalFacts {
    pub fn load(state: &State) -> Self {
        let identities = Identities::load(state.identities());
        Self { identities, keys: BTreeMap::new(), in_force: BTreeMap::new(), server_keys: BTreeMap::new() }
    }

    /// Makes whatever the folder's objects lack, and forgets those that are gone since `before`. At the start, when
    /// nothing was before, all that the folder does not name is gone, unless part of it can't be read.
    ///
    /// # Errors
    /// Where the state folder can't be written.
    pub fn update(&mut self, state: &State, before: Option<&Folder>, folder: &Folder) -> Result<(), Error> {
        let ids: Vec<_> = folder.ids().collect();
        let is_there: BTreeSet<_> = folder.all_named().map(ToString::to_string).collect();
        let was_there: BTreeSet<_> = before.into_iter().flat_map(Folder::all_named).map(ToString::to_string).collect();
        let is_whole = !folder.has_broken_file();
        let may_go = |object: &str| if before.is_some() { was_there.contains(object) } else { is_whole };
        self.identities.update(ids.into_iter(), |object| !is_there.contains(object) && may_go(object))?;

        let holders = manifests::holders(folder, self);
        let keys_before = std::mem::take(&mut self.keys);
        for (name, (metadata, secret_name)) in holders {
            let path = state.key_file(&name.namespace, &secret_name);
            let digest = key(&path, metadata.uid.as_deref().unwrap_or_default())?;
            self.keys.insert(name, (path, digest));
        }
        let left_over = if before.is_none() && is_whole && folder.is_decoded() { key_files(state) } else { Vec::new() };
        let old = keys_before.into_values().map(|(path, _)| path).chain(left_over);
        for path in old.filter(|path| !self.keys.values().any(|(kept, _)| kept == path)) {
            let _ = fs::remove_file(owner_file(&path));
            let _ = fs::remove_file(path);
        }
        for server in folder.servers() {
            let name = Object::from(server.clone()).namespaced_name();
            let keys = published_keys(state, &name);
            self.server_keys.entry(name).or_insert_with(|| keys.unwrap_or_else(|| server_keys(random::bytes())));
        }
        Ok(())
    }

    /// Where a client's key is.
    pub fn key_file(&self, client: &NamespacedName) -> Option<PathBuf> {
        self.keys.get(client).map(|(path, _)| path.clone())
    }
}

impl Facts for LocalFacts {
    fn metadata(&self, id: &ObjectId) -> ObjectMeta {
        self.identities.metadata(id)
    }

    fn keys(&self, client: &NamespacedName) -> Vec<ApiKeyDigest> {
        self.keys.get(client).map(|(_, digest)| digest.clone()).into_iter().collect()
    }

    fn published(&self, server: &NamespacedName) -> Published {
        let documents = self.in_force.get(server);
        Published {
            policy: documents.map(|documents| documents.policy.clone()),
            credentials: documents.map(|documents| documents.credentials.clone()),
        }
    }

    fn server_keys(&self, server: &NamespacedName) -> ServerKeys {
        self.server_keys.get(server).cloned().unwrap_or_else(|| server_keys(random::bytes()))
    }
}

/// Whose the key in a file is: the client's UID, as a Secret's owner reference has it.
fn owner_file(key: &Path) -> PathBuf {
    key.with_extension("owner")
}

/// The client's key in a file; a new one where there is none, something else, or the key of a client that had the file before.
fn key(path: &Path, owner: &str) -> Result<ApiKeyDigest, Error> {
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidData) => Ok(None),
        Err(error) => Err(Error::io(path.display().to_string())(error)),
    };
    let is_its = read(&owner_file(path))?.is_some_and(|known| known == owner);
    if let Some(key) = read(path)?.filter(|_| is_its).and_then(|text| ApiKey::parse(&text)) {
        return Ok(key.digest());
    }
    let key = ApiKey::new(random::bytes());
    state::write(path, key.as_str().as_bytes())?;
    // Last: a key whose owner was never written is nobody's.
    state::write(&owner_file(path), owner.as_bytes())?;
    Ok(key.digest())
}

/// All key files that earlier runs left.
fn key_files(state: &State) -> Vec<PathBuf> {
    let list = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    list(state.keys()).flat_map(list).filter(|path| path.extension().is_some_and(|ending| ending == "key")).collect()
}

/// The server's own keys, as an earlier run wrote them: sessions outlive a restart.
fn published_keys(state: &State, server: &NamespacedName) -> Option<ServerKeys> {
    let text = fs::read_to_string(state.volume(server).join(documents::FILE)).ok()?;
    Credentials::parse(&text).ok()?.keys
}

#[cfg(test)]
mod tests;
