//! What a cluster would add to the folder's objects: identities, credentials, and what is in force.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{
    NamespacedName,
    contract::{CREDENTIALS_FILE, CredentialsReading, ServerKeys},
};

use super::{client_keys::ClientKeys, error::Error, identities::Identities, state::State};
use crate::{
    credentials::{IssuedCredential, server_keys},
    manifests::{self, ClusterState, Folder, ObjectId},
    random,
    validate::{Documents, Published},
};

/// The state of this machine.
pub(super) struct LocalClusterState {
    identities: Identities,
    pub client_keys: ClientKeys,
    /// The documents that each server enforces.
    pub in_force: BTreeMap<NamespacedName, Documents>,
    server_keys: BTreeMap<NamespacedName, ServerKeys>,
    /// The objects that were removed from the folder, and when.
    removed: BTreeMap<String, Instant>,
    /// How long the identity and the key of an object that was removed can come back with it.
    grace: Duration,
    /// Whether nothing may be deleted, because something in the folder was refused: a key that is gone does not come back.
    is_keeping: bool,
}

/// A manifest may be moved away for a moment, as by a checkout of another branch. Access ends at once even so.
const GRACE: Duration = Duration::from_secs(10);

impl LocalClusterState {
    /// Reads what earlier runs left.
    pub fn load(state: &State) -> Self {
        let identities = Identities::load(state.identities());
        Self {
            identities,
            client_keys: ClientKeys::default(),
            in_force: BTreeMap::new(),
            server_keys: BTreeMap::new(),
            removed: BTreeMap::new(),
            grace: GRACE,
            is_keeping: false,
        }
    }

    /// Creates what the folder's objects do not have yet, and deletes what belonged to objects that were removed since `before`, once
    /// they have not come back for a while. At the start there is no `before`, and nothing is deleted; nor is anything while something
    /// in the folder is refused.
    ///
    /// # Errors
    /// Returns an error if the state folder cannot be written. Everything else is up to date; the caller tries again.
    pub fn update(&mut self, state: &State, before: Option<&Folder>, folder: &Folder) -> Result<(), Error> {
        let now = names(folder);
        let before = before.map(names).unwrap_or_default();
        self.removed.retain(|object, _| !now.contains(object));
        for object in before.difference(&now) {
            self.removed.entry(object.clone()).or_insert_with(Instant::now);
        }
        self.is_keeping = folder.has_refused();
        let grace = if self.is_keeping { Duration::MAX } else { self.grace };
        let is_over = |object: &str| self.removed.get(object).is_some_and(|since| since.elapsed() >= grace);
        let identities = self.identities.update(folder.ids(), is_over);
        self.removed.retain(|_, since| since.elapsed() < grace);
        let (secrets, _) = manifests::secrets(folder, self);
        let client_keys = self.client_keys.update(state, &secrets, grace);
        for (name, _) in folder.servers() {
            let keys = || published_keys(state, name).unwrap_or_else(|| server_keys(random::bytes()));
            self.server_keys.entry(name.clone()).or_insert_with(keys);
        }
        identities.and(client_keys)
    }

    /// Whether an update is due although no manifest changed.
    pub fn is_due(&self) -> bool {
        let grace = if self.is_keeping { Duration::MAX } else { self.grace };
        self.client_keys.is_due(grace) || self.removed.values().any(|since| since.elapsed() >= grace)
    }

    /// Deletes what earlier runs left and the folder does not name, unless a part of the folder cannot be read. Called once a
    /// start has succeeded: a start with a wrong folder must not delete the keys of the right one.
    ///
    /// # Errors
    /// Returns an error if the state folder cannot be written.
    pub fn forget_left_over(&mut self, state: &State, folder: &Folder) -> Result<(), Error> {
        if folder.has_broken_file() || folder.has_refused() {
            return Ok(());
        }
        if folder.is_decoded() {
            self.client_keys.remove_left_over(state);
        }
        let now = names(folder);
        self.identities.update(folder.ids(), |object| !now.contains(object))
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

/// All objects that a folder names, as identities are stored: `McpClient sales/bot`.
fn names(folder: &Folder) -> BTreeSet<String> {
    folder.all_named().map(ToString::to_string).collect()
}

/// The server's own keys, as an earlier run wrote them, so that sessions outlive a restart.
fn published_keys(state: &State, server: &NamespacedName) -> Option<ServerKeys> {
    let text = fs::read_to_string(state.volume(server).join(CREDENTIALS_FILE)).ok()?;
    CredentialsReading::parse(&text).ok()?.keys.ok()?
}

#[cfg(test)]
mod tests;
