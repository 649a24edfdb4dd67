//! What a cluster would know of the folder's objects: who they are, which keys they have, and what is in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::NamespacedName;
use portcullis_crds::contract::{ApiKeyDigest, CREDENTIALS_FILE, CredentialsReading, ServerKeys};

use super::{
    Error,
    identities::Identities,
    state::{self, State},
};
use crate::{
    credentials::{api_key::ApiKey, server_keys},
    manifests::{self, ClusterState, Folder, ObjectId},
    random,
    validate::{Documents, Published},
};

/// The facts of this machine.
pub(super) struct LocalClusterState {
    identities: Identities,
    keys: BTreeMap<NamespacedName, (PathBuf, ApiKeyDigest)>,
    pub in_force: BTreeMap<NamespacedName, Documents>,
    server_keys: BTreeMap<NamespacedName, ServerKeys>,
}

impl LocalClusterState {
    pub fn load(state: &State) -> Self {
        let identities = Identities::load(state.identities());
        Self { identities, keys: BTreeMap::new(), in_force: BTreeMap::new(), server_keys: BTreeMap::new() }
    }

    /// Makes whatever the folder's objects lack, and forgets those that are gone since `before`. At the start nothing was
    /// before, and nothing is forgotten.
    ///
    /// # Errors
    /// Where the state folder can't be written. All that can be done is done nevertheless; ask again.
    pub fn update(&mut self, state: &State, before: Option<&Folder>, folder: &Folder) -> Result<(), Error> {
        let is_there = words(folder);
        let was_there = before.map(words).unwrap_or_default();
        let mut written =
            self.identities.update(folder.ids(), |object| was_there.contains(object) && !is_there.contains(object));

        let (secrets, _) = manifests::secrets(folder, self);
        let keys_before = std::mem::take(&mut self.keys);
        for (name, (metadata, secret_name)) in secrets {
            let path = state.key_file(&name.namespace, &secret_name);
            match key(&path, metadata.uid.as_deref().unwrap_or_default()) {
                Ok(digest) => {
                    self.keys.insert(name, (path, digest));
                }
                // It has no key until there is one; what others lost or got is not kept waiting for it.
                Err(error) => written = written.and(Err(error)),
            }
        }
        self.remove_unless_kept(keys_before.into_values().map(|(path, _)| path));
        for (name, _) in folder.servers() {
            let keys = published_keys(state, name);
            self.server_keys
                .entry(name.clone())
                .or_insert_with(|| keys.unwrap_or_else(|| server_keys(random::bytes())));
        }
        written
    }

    /// Forgets what the folder no longer names since an earlier run, unless part of it can't be read. For a start that went
    /// well: a wrong folder must not take the keys of the right one.
    ///
    /// # Errors
    /// Where the state folder can't be written.
    pub fn forget_left_over(&mut self, state: &State, folder: &Folder) -> Result<(), Error> {
        if folder.has_broken_file() {
            return Ok(());
        }
        if folder.is_decoded() {
            self.remove_unless_kept(key_files(state).into_iter());
        }
        let is_there = words(folder);
        self.identities.update(folder.ids(), |object| !is_there.contains(object))
    }

    fn remove_unless_kept(&self, keys: impl Iterator<Item = PathBuf>) {
        for path in keys.filter(|path| !self.keys.values().any(|(kept, _)| kept == path)) {
            let _ = fs::remove_file(owner_file(&path));
            let _ = fs::remove_file(path);
        }
    }

    /// Where a client's key is.
    pub fn key_file(&self, client: &NamespacedName) -> Option<PathBuf> {
        self.keys.get(client).map(|(path, _)| path.clone())
    }
}

impl ClusterState for LocalClusterState {
    fn metadata(&self, id: &ObjectId) -> ObjectMeta {
        self.identities.metadata(id)
    }

    fn keys(&self, client: &NamespacedName) -> Vec<ApiKeyDigest> {
        self.keys.get(client).map(|(_, digest)| digest.clone()).into_iter().collect()
    }

    fn published(&self, server: &NamespacedName) -> Published {
        self.in_force.get(server).map(Published::from).unwrap_or_default()
    }

    fn server_keys(&self, server: &NamespacedName) -> ServerKeys {
        self.server_keys.get(server).cloned().unwrap_or_else(|| server_keys(random::bytes()))
    }
}

/// All that a folder names, as identities are known.
fn words(folder: &Folder) -> BTreeSet<String> {
    folder.all_named().map(ToString::to_string).collect()
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
    let text = fs::read_to_string(state.volume(server).join(CREDENTIALS_FILE)).ok()?;
    CredentialsReading::parse(&text).ok()?.keys.ok()?
}

#[cfg(test)]
mod tests;
