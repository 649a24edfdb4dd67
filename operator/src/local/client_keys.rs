//! The files that hand clients their credentials, in place of a cluster's Secrets: `keys/NAMESPACE/SECRET.key`.
//!
//! A credential outlives a run, and belongs to one client: the file `SECRET.owner` beside it contains that client's UID, as the
//! owner reference of a Secret does, and `SECRET.issued` the record that is an annotation of a Secret.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use k8s_openapi::{ByteString, jiff::Timestamp};
use portcullis_crds::NamespacedName;

use super::{
    console::print,
    error::Error,
    state::{self, State},
};
use crate::{
    credentials::{CredentialKind, IssueRecord, IssuedCredential, KINDS, SecretData},
    manifests::{ClientSecret, Secrets},
    random,
};

const OWNER: &str = "owner";

const ISSUED: &str = "issued";

/// The credentials of all clients.
#[derive(Default)]
pub(super) struct ClientKeys {
    known: BTreeMap<NamespacedName, Vec<ClientKey>>,
    /// The files of every credential that a client has, also of one that cannot be read at the moment.
    kept: BTreeSet<PathBuf>,
    /// The files that no client has any more, and since when.
    unused: BTreeMap<PathBuf, Instant>,
}

struct ClientKey {
    kind: &'static CredentialKind,
    /// The path of its files, without their extensions.
    base: PathBuf,
    issued: IssuedCredential,
    /// What its files looked like when they were read or written.
    stamp: Vec<Stamp>,
}

/// What differs once a file was written, or replaced, or deleted.
type Stamp = Option<(SystemTime, u64, u64)>;

impl ClientKeys {
    /// Creates the credentials that do not exist yet, in place of those that were revoked too, and deletes the files that no client
    /// has had for as long as `grace`. What no client has is not valid meanwhile.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or written. Its client has no credential until the next update; those of the
    /// other clients are up to date.
    pub fn update(&mut self, state: &State, secrets: &Secrets, grace: Duration) -> Result<(), Error> {
        let mut result = Ok(());
        let before = std::mem::take(&mut self.known);
        self.kept.clear();
        for (client, secret) in secrets.iter().flat_map(|(client, secrets)| secrets.iter().map(move |it| (client, it)))
        {
            let was_issued = before.contains_key(client);
            self.kept.extend(files(secret.kind, &base(state, client, secret)));
            match ClientKey::load_or_create(state, client, secret, was_issued) {
                Ok(key) => self.known.entry(client.clone()).or_default().push(key),
                Err(error) => result = result.and(Err(error)),
            }
        }
        let now = Instant::now();
        for file in before.values().flatten().flat_map(ClientKey::files) {
            self.unused.entry(file).or_insert(now);
        }
        self.unused.retain(|file, since| !self.kept.contains(file) && (since.elapsed() < grace || remove(file)));
        result
    }

    /// Whether a file is no longer as it was read or written, or is due to be deleted.
    pub fn is_due(&self, grace: Duration) -> bool {
        let is_changed = |key: &ClientKey| key.stamp != stamp(key.kind, &key.base);
        self.known.values().flatten().any(is_changed) || self.unused.values().any(|since| since.elapsed() >= grace)
    }

    /// Deletes what earlier runs left and no client has.
    pub fn remove_left_over(&self, state: &State) {
        let list = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let of_kinds = KINDS.iter().flat_map(|kind| kind.data).map(|data| data.file_extension);
        let extensions: Vec<_> = of_kinds.chain([ISSUED, OWNER]).collect();
        let is_ours = |path: &PathBuf| extensions.iter().any(|known| path.extension().is_some_and(|it| it == *known));
        for file in list(state.keys()).flat_map(list).filter(is_ours).filter(|file| !self.kept.contains(file)) {
            remove(&file);
        }
    }

    pub fn issued(&self, client: &NamespacedName) -> Vec<IssuedCredential> {
        self.known.get(client).into_iter().flatten().map(|key| key.issued.clone()).collect()
    }

    /// The file of each credential that the client uses.
    pub fn files(&self, client: &NamespacedName) -> impl Iterator<Item = (&'static CredentialKind, PathBuf)> {
        self.known
            .get(client)
            .into_iter()
            .flatten()
            .map(|key| (key.kind, file(&key.base, key.kind.data[0].file_extension)))
    }
}

impl ClientKey {
    /// Reads the credential of the Secret's client. A new one takes its place if there is none, if it was revoked, if the file
    /// contains anything else, or if it belonged to another client.
    fn load_or_create(
        state: &State,
        client: &NamespacedName,
        secret: &ClientSecret,
        was_issued: bool,
    ) -> Result<Self, Error> {
        let kind = secret.kind;
        let owner = secret.client.uid.as_deref().unwrap_or_default();
        let base = base(state, client, secret);
        let file = |extension: &str| file(&base, extension);
        let is_owned = read(&file(OWNER))?.is_some_and(|uid| uid.0 == owner.as_bytes());
        let mut data = SecretData::new();
        for part in kind.data {
            data.extend(read(&file(part.file_extension))?.map(|content| (part.key.to_owned(), content)));
        }
        let record = read(&file(ISSUED))?.unwrap_or_default();
        let is_valid = |issued: &IssuedCredential| {
            let record = std::str::from_utf8(&record.0).ok().and_then(|text| IssueRecord::read(text, issued.id()));
            !secret.revocation.revokes(record.as_ref())
        };
        let existing = is_owned.then(|| (kind.read)(&data)).flatten().filter(is_valid);
        let issued = match existing {
            Some(issued) => issued,
            None => {
                let data = (kind.create)(random::bytes());
                let issued = (kind.read)(&data).expect("a credential must be read back as it was created");
                for part in kind.data {
                    state::write(&file(part.file_extension), data.get(part.key).map_or(&[][..], |content| &content.0))?;
                }
                let record = IssueRecord::new(issued.id(), &secret.revocation, Timestamp::now());
                state::write(&file(ISSUED), record.text().as_bytes())?;
                // Last: without its owner a credential is not read back.
                state::write(&file(OWNER), owner.as_bytes())?;
                if is_owned || was_issued {
                    let path = file(kind.data[0].file_extension);
                    print(&format!("{client}: the {} was revoked; a new one is in {}", kind.noun, path.display()));
                }
                issued
            }
        };
        Ok(Self { kind, stamp: stamp(kind, &base), base, issued })
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        files(self.kind, &self.base)
    }
}

/// The path of a credential's files, without their extensions.
fn base(state: &State, client: &NamespacedName, secret: &ClientSecret) -> PathBuf {
    state.keys().join(&client.namespace).join(&secret.name)
}

fn files(kind: &CredentialKind, base: &Path) -> impl Iterator<Item = PathBuf> {
    let extensions = kind.data.iter().map(|data| data.file_extension).chain([ISSUED, OWNER]);
    extensions.map(move |extension| file(base, extension))
}

fn stamp(kind: &CredentialKind, base: &Path) -> Vec<Stamp> {
    let one = |extension: &str| {
        let metadata = fs::metadata(file(base, extension)).ok()?;
        Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
    };
    kind.data.iter().map(|data| one(data.file_extension)).collect()
}

/// Deletes a file. Returns whether it still exists, so that it must be tried again.
fn remove(file: &Path) -> bool {
    fs::remove_file(file).is_err_and(|error| error.kind() != ErrorKind::NotFound)
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
