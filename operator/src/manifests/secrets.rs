//! Which client's credentials are in which Secret: a Secret belongs to one object, as in a cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{Finding, NamespacedName, contract::Version};

use super::{
    cluster_state::ClusterState,
    folder::Folder,
    object::ObjectId,
    problem::{Problem, Severity},
};
use crate::{
    build::{self, DocumentName},
    credentials::{self, CredentialKind, Revocation},
};

/// The Secret of one of a client's credentials.
#[derive(Clone, Debug)]
pub struct ClientSecret {
    pub kind: &'static CredentialKind,
    /// The metadata of its client.
    pub client: ObjectMeta,
    pub name: String,
    pub revocation: Revocation,
}

/// The Secrets of each client. A Secret that belongs to another object is left out.
pub type Secrets = BTreeMap<NamespacedName, Vec<ClientSecret>>;

/// Finds the Secrets of each client, and the names that belong to another object. Of two clients that name the same Secret, the
/// older one has it.
pub fn secrets(folder: &Folder, cluster: &impl ClusterState) -> (Secrets, Vec<Problem>) {
    let mut owners: BTreeMap<NamespacedName, ObjectId> = BTreeMap::new();
    for (server, _) in folder.servers() {
        for (version, name) in Version::WRITTEN.iter().flat_map(|it| DocumentName::ALL.map(|name| (*it, name))) {
            let secret = build::credentials_secret_name(&server.name, version, name);
            let owner = ObjectId::server(server);
            owners.insert(NamespacedName::new(&server.namespace, secret), owner);
        }
    }
    let clients = folder.clients().map(|(name, client)| {
        let id = ObjectId::client(name);
        // A mistaken client keeps the credentials that it had, but for one that was removed.
        let removed = folder.mistaken_client(name).and_then(|mistake| mistake.partial.credentials.as_ref());
        let removed = removed.filter(|credentials| credentials::requested(credentials).next().is_none());
        let before = folder.mistaken_client(name).and_then(|mistake| mistake.partial.revoke_before.as_ref());
        let asked = (&client.metadata, before);
        (metadata(&id, cluster), id, removed.unwrap_or(&client.spec.credentials), asked)
    });
    let mut clients: Vec<_> = clients.collect();
    clients.sort_by_key(|(metadata, ..)| metadata.creation_timestamp.as_ref().map(|time| time.0));
    let (mut secrets, mut problems) = (Secrets::new(), Vec::new());
    for (client, id, credentials, (annotated, revoke_before)) in clients {
        for requested in credentials::requested(credentials) {
            let secret = NamespacedName::new(&id.name.namespace, requested.name.as_str());
            if let Some(owner) = owners.get(&secret) {
                let message = format!("`{}` is the Secret of {owner}; choose another name", secret.name);
                let finding = Finding::new(requested.path(), message);
                problems.push(Problem::object(folder.file(&id), &id, finding, Severity::Refused));
                continue;
            }
            owners.insert(secret.clone(), id.clone());
            let revocation = Revocation::new(annotated, revoke_before.or(requested.revoke_before));
            let secret = ClientSecret { kind: requested.kind, client: client.clone(), name: secret.name, revocation };
            secrets.entry(id.name.clone()).or_default().push(secret);
        }
    }
    (secrets, problems)
}

/// An object's metadata: its name from the manifest, everything else from the cluster.
pub(super) fn metadata(id: &ObjectId, cluster: &impl ClusterState) -> ObjectMeta {
    ObjectMeta { name: Some(id.name.name.clone()), namespace: Some(id.name.namespace.clone()), ..cluster.metadata(id) }
}
