//! What a cluster would know of the folder's objects: who they are, which keys they have, and what is in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::NamespacedName;
use portcullis_crds::contract::{CREDENTIALS_FILE, CredentialsReading, ServerKeys};

use super::{client_keys::ClientKeys, identities::Identities, io::Error, state::State};
use crate::{
    credentials::{IssuedCredential, server_keys},
    manifests::{self, ClusterState, Folder, ObjectId},
    random,
    validate::{Documents, Published},
};

/// The facts of this machine.
pub(super) struct LocalClusterState {
    identities: Identities,
    pub client_keys: ClientKeys,
    pub in_force: BTreeMap<NamespacedName, Documents>,
    server_keys: BTreeMap<NamespacedName, ServerKeys>,
}

impl LocalClusterState {
    pub fn load(state: &State) -> Self {
        let identities = Identities::load(state.identities());
        Self { identities, client_keys: ClientKeys::default(), in_force: BTreeMap::new(), server_keys: BTreeMap::new() }
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
        written = written.and(self.client_keys.update(state, &secrets));
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
            self.client_keys.remove_left_over(state);
        }
        let is_there = words(folder);
        self.identities.update(folder.ids(), |object| !is_there.contains(object))
    }
}

impl ClusterState for LocalClusterState {
    fn metadata(&self, id: &ObjectId) -> ObjectMeta {
        self.identities.metadata(id)
    }

    fn credentials(&self, client: &NamespacedName) -> Vec<IssuedCredential> {
        self.client_keys.issued(client)
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

/// The server's own keys, as an earlier run wrote them: sessions outlive a restart.
fn published_keys(state: &State, server: &NamespacedName) -> Option<ServerKeys> {
    let text = fs::read_to_string(state.volume(server).join(CREDENTIALS_FILE)).ok()?;
    CredentialsReading::parse(&text).ok()?.keys.ok()?
}

#[cfg(test)]
mod tests;
