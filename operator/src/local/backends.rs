//! `--backend NAME=URL`: the servers of a cluster, adapted to this machine.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_crds::contract::{BackendKind, ServerHalf};

use super::error::Error;
use crate::manifests::Folder;

/// The URLs that replace those of the manifests, by the name of the backend.
pub(super) struct Backends(BTreeMap<String, String>);

impl Backends {
    pub fn new(urls: Vec<(String, String)>) -> Self {
        Self(urls.into_iter().collect())
    }

    /// # Errors
    /// Returns an error if no server has an HTTP backend of one of the names.
    pub fn check(&self, folder: &Folder) -> Result<(), Error> {
        let backends = folder.servers().flat_map(|(_, server)| &server.spec.backends);
        let known: BTreeSet<_> = backends.filter(|it| it.http.is_some()).map(|it| it.name.as_str()).collect();
        let Some(name) = self.0.keys().find(|name| !known.contains(name.as_str())) else { return Ok(()) };
        let known = if known.is_empty() { "none".to_owned() } else { known.into_iter().collect::<Vec<_>>().join(", ") };
        Err(Error::NoBackend { name: name.clone(), known })
    }

    /// One process serves here, whatever the number of replicas in a cluster.
    pub fn adapt(&self, half: &mut ServerHalf) {
        half.server.replicas = 1;
        for backend in &mut half.spec.backends {
            if let (BackendKind::Http(http), Some(url)) = (&mut backend.kind, self.0.get(backend.name.as_str())) {
                http.url.clone_from(url);
            }
        }
    }
}
