//! Which client's key is in which Secret: a Secret belongs to one object, as in a cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_crds::{Finding, NamespacedName, contract::Version};

use super::{
    cluster_state::ClusterState,
    folder::Folder,
    parse::{Kind, ObjectId},
    problem::{Problem, Severity},
};
use crate::build;

/// Each client's metadata and the name of its Secret. A client whose Secret belongs to another object is left out.
pub type Secrets = BTreeMap<NamespacedName, (ObjectMeta, String)>;

/// Finds the Secret of each client, with a problem for each client that has none. Of two clients that name the same Secret, the
/// older one has it.
pub fn secrets(folder: &Folder, cluster: &impl ClusterState) -> (Secrets, Vec<Problem>) {
    let mut owners: BTreeMap<(String, String), ObjectId> = BTreeMap::new();
    for (server, _) in folder.servers() {
        for version in Version::WRITTEN {
            let secret = (server.namespace.clone(), build::credentials_secret_name(&server.name, *version));
            owners.insert(secret, ObjectId { kind: Kind::McpServer, name: server.clone() });
        }
    }
    let mut clients: Vec<_> = folder.clients().collect();
    let metadata = |name: &NamespacedName| metadata(&ObjectId { kind: Kind::McpClient, name: name.clone() }, cluster);
    clients.sort_by_cached_key(|(name, _)| metadata(name).creation_timestamp.map(|time| time.0));
    let (mut secrets, mut problems) = (Secrets::new(), Vec::new());
    for (name, client) in clients {
        let Some(api_key) = &client.spec.credentials.api_key else { continue };
        let id = ObjectId { kind: Kind::McpClient, name: name.clone() };
        let secret = api_key.secret_name.as_str().to_owned();
        match owners.get(&(name.namespace.clone(), secret.clone())) {
            Some(owner) => {
                let finding = Finding::new(
                    "spec.credentials.apiKey.secretName",
                    format!("`{secret}` is the Secret of {owner}; choose another name"),
                );
                problems.push(Problem::object(folder.file(&id), &id, finding, Severity::Refused));
            }
            None => {
                owners.insert((name.namespace.clone(), secret.clone()), id);
                secrets.insert(name.clone(), (metadata(name), secret));
            }
        }
    }
    (secrets, problems)
}

/// An object's metadata: its name from the manifest, everything else from the cluster.
pub(super) fn metadata(id: &ObjectId, cluster: &impl ClusterState) -> ObjectMeta {
    ObjectMeta { name: Some(id.name.name.clone()), namespace: Some(id.name.namespace.clone()), ..cluster.metadata(id) }
}
