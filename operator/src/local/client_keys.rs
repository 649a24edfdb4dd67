//! The files that hand clients their credentials, in place of a cluster's Secrets: `keys/NAMESPACE/SECRET.key`.
//!
//! A credential outlives a run, and belongs to one client: the file `SECRET.owner` beside it contains that client's UID, as the
//! owner reference of a Secret does.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use k8s_openapi::ByteString;
use portcullis_crds::NamespacedName;

use super::{
    error::Error,
    state::{self, State},
};
use crate::{
    credentials::{CredentialKind, IssuedCredential, KINDS, SecretData},
    manifests::{ClientSecret, Secrets},
    random,
};

const OWNER: &str = "owner";

/// The credentials of all clients.
#[derive(Default)]
pub(super) struct ClientKeys(BTreeMap<NamespacedName, Vec<ClientKey>>);

struct ClientKey {
    kind: &'static CredentialKind,
    /// The path of its files, without their extensions.
    base: PathBuf,
    issued: IssuedCredential,
}

impl ClientKeys {
    /// Creates the credentials that do not exist yet, and deletes those of clients that no longer have one.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or written. Its client has no credential until the next update; those of the
    /// other clients are up to date.
    pub fn update(&mut self, state: &State, secrets: &Secrets) -> Result<(), Error> {
        let mut result = Ok(());
        let before = std::mem::take(&mut self.0);
        for (client, secret) in secrets.iter().flat_map(|(client, secrets)| secrets.iter().map(move |it| (client, it)))
        {
            match ClientKey::load_or_create(state, &client.namespace, secret) {
                Ok(key) => self.0.entry(client.clone()).or_default().push(key),
                Err(error) => result = result.and(Err(error)),
            }
        }
        self.remove_unless_kept(before.values().flatten().flat_map(ClientKey::files));
        result
    }

    /// Deletes what earlier runs left and no client has.
    pub fn remove_left_over(&self, state: &State) {
        let list = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let extensions = || KINDS.iter().flat_map(|kind| kind.data).map(|data| data.file_extension).chain([OWNER]);
        let is_ours = |path: &PathBuf| extensions().any(|known| path.extension().is_some_and(|it| it == known));
        self.remove_unless_kept(list(state.keys()).flat_map(list).filter(is_ours));
    }

    fn remove_unless_kept(&self, files: impl Iterator<Item = PathBuf>) {
        let kept: BTreeSet<PathBuf> = self.0.values().flatten().flat_map(ClientKey::files).collect();
        for file in files.filter(|file| !kept.contains(file)) {
            let _ = fs::remove_file(file);
        }
    }

    pub fn issued(&self, client: &NamespacedName) -> Vec<IssuedCredential> {
        self.0.get(client).into_iter().flatten().map(|key| key.issued.clone()).collect()
    }

    /// The file of each credential that the client uses.
    pub fn files(&self, client: &NamespacedName) -> impl Iterator<Item = (&'static CredentialKind, PathBuf)> {
        self.0.get(client).into_iter().flatten().map(|key| (key.kind, file(&key.base, key.kind.data[0].file_extension)))
    }
}

impl ClientKey {
    /// Reads the credential of the Secret's client. A new one takes its place if there is none, if the file contains anything
    /// else, or if it belonged to another client.
    fn load_or_create(state: &State, namespace: &str, secret: &ClientSecret) -> Result<Self, Error> {
        let kind = secret.kind;
        let owner = secret.client.uid.as_deref().unwrap_or_default();
        let base = state.keys().join(namespace).join(&secret.name);
        let file = |extension: &str| file(&base, extension);
        let is_owned = read(&file(OWNER))?.is_some_and(|uid| uid.0 == owner.as_bytes());
        let mut data = SecretData::new();
        for part in kind.data {
            data.extend(read(&file(part.file_extension))?.map(|content| (part.key.to_owned(), content)));
        }
        let existing = is_owned.then(|| (kind.read)(&data)).flatten();
        let issued = match existing {
            Some(issued) => issued,
            None => {
                let data = (kind.create)(random::bytes());
                for part in kind.data {
                    state::write(&file(part.file_extension), data.get(part.key).map_or(&[][..], |content| &content.0))?;
                }
                // Last: without its owner a credential is not read back.
                state::write(&file(OWNER), owner.as_bytes())?;
                (kind.read)(&data).expect("a credential must be read back as it was created")
            }
        };
        Ok(Self { kind, base, issued })
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let extensions = self.kind.data.iter().map(|data| data.file_extension).chain([OWNER]);
        extensions.map(|extension| file(&self.base, extension))
    }
}

/// A Secret's name may contain dots, so the extension is appended.
fn file(base: &Path, extension: &str) -> PathBuf {
    let mut path = base.as_os_str().to_owned();
    path.push(".");
    path.push(extension);
    path.into()
}

/// The content of a file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<ByteString>, Error> {
    match fs::read(path) {
        Ok(content) => Ok(Some(ByteString(content))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path.display().to_string())(error)),
    }
}
