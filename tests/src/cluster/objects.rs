//! The objects of the CRM example in a test cluster: how a test applies, changes and reads them.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::fmt::Debug;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, VolumeProjection};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use portcullis_crds::contract::{
    CREDENTIALS_FILE, CredentialsReading, KeyDigest, POLICY_FILE, PolicyReading, PublishedCredentials, PublishedPolicy,
};
use portcullis_crds::{McpClient, McpServer};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::operator::{TestCluster, repository};
use crate::{PATIENCE, expect_eq, until};

impl TestCluster {
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.control_plane.client(), namespace)
    }

    pub async fn namespace(&self, name: &str) {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        Api::<Namespace>::all(self.control_plane.client()).create(&PostParams::default(), &namespace).await.unwrap();
    }

    /// Applies `examples/crm` in a namespace of its own.
    pub async fn crm(&self, namespace: &str) {
        self.namespace(namespace).await;
        for file in ["server.yaml", "clients.yaml"] {
            let text = std::fs::read_to_string(repository(&format!("examples/crm/{file}"))).unwrap();
            self.apply(&text.replace("namespace: sales", &format!("namespace: {namespace}")));
        }
    }

    /// Applies manifests with `kubectl apply`.
    pub fn apply(&self, manifests: &str) {
        let file = tempfile::NamedTempFile::new_in(self.control_plane.folder()).unwrap();
        std::fs::write(file.path(), manifests).unwrap();
        let file = file.path().to_str().unwrap();
        self.control_plane.kubectl(["apply", "--server-side", "--force-conflicts", "-f", file]).unwrap();
    }

    /// Applies a merge patch.
    pub async fn patch<K>(&self, namespace: &str, name: &str, patch: Value)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.api::<K>(namespace).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// The policy that is published for the example's server, as new pods mount it.
    ///
    /// # Errors
    /// Returns an error if none is published.
    pub async fn policy(&self, namespace: &str) -> Result<PublishedPolicy, String> {
        let name = self.document(namespace, |source| Some(source.config_map?.name)).await;
        self.policy_in(namespace, name.as_deref().unwrap_or("crm-policy-v1")).await
    }

    /// The policy in a ConfigMap.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub async fn policy_in(&self, namespace: &str, name: &str) -> Result<PublishedPolicy, String> {
        let config_map = self.api::<ConfigMap>(namespace).get(name).await.map_err(|error| error.to_string())?;
        let text = config_map.data.unwrap_or_default().remove(POLICY_FILE).unwrap_or_default();
        PolicyReading::parse(&text).map(Into::into).map_err(|error| error.to_string())
    }

    /// The credentials that are published for the example's server, as new pods mount them.
    ///
    /// # Errors
    /// Returns an error if none are published.
    pub async fn credentials(&self, namespace: &str) -> Result<PublishedCredentials, String> {
        let name = self.document(namespace, |source| Some(source.secret?.name)).await;
        self.credentials_in(namespace, name.as_deref().unwrap_or("crm-credentials-v1")).await
    }

    /// The credentials in a Secret.
    ///
    /// # Errors
    /// Returns an error if there are none.
    pub async fn credentials_in(&self, namespace: &str, name: &str) -> Result<PublishedCredentials, String> {
        let secret = self.api::<Secret>(namespace).get(name).await.map_err(|error| error.to_string())?;
        let text = secret.data.unwrap_or_default().remove(CREDENTIALS_FILE).unwrap_or_default();
        let reading = CredentialsReading::parse(&String::from_utf8_lossy(&text.0));
        reading.map(Into::into).map_err(|error| error.to_string())
    }

    /// The name of a document that new pods of the example's server mount; `None` if it has no Deployment.
    async fn document(&self, namespace: &str, name: impl Fn(VolumeProjection) -> Option<String>) -> Option<String> {
        let deployment = self.api::<Deployment>(namespace).get_opt("crm").await.ok()??;
        let volumes = deployment.spec?.template.spec?.volumes?;
        volumes.into_iter().filter_map(|volume| volume.projected?.sources).flatten().find_map(name)
    }

    /// The clients in the policy whose keys are in the credentials and in their own Secrets.
    ///
    /// # Errors
    /// Returns an error if no policy or no credentials are published.
    pub async fn served(&self, namespace: &str) -> Result<Vec<String>, String> {
        let (policy, credentials) = (self.policy(namespace).await?, self.credentials(namespace).await?);
        let mut served = Vec::new();
        for client in policy.clients.iter() {
            let known = credentials.clients.iter().find(|it| it.id == client.id && it.uid == client.uid);
            let digest = known.and_then(|it| it.api_keys.first()).map(|key| key.sha256);
            let name = client.id.as_str();
            let key = self.key(namespace, &format!("{}-key", name.rsplit('/').next().unwrap())).await;
            if digest.is_some() && digest == key.ok().map(|key| KeyDigest::of(key.as_bytes())) {
                served.push(name.to_owned());
            }
        }
        Ok(served)
    }

    /// The API key in a Secret, read as its owner reads it.
    ///
    /// # Errors
    /// Returns an error if there is none.
    pub async fn key(&self, namespace: &str, secret: &str) -> Result<String, String> {
        let found = self.api::<Secret>(namespace).get(secret).await.map_err(|error| error.to_string())?;
        let key = found.data.unwrap_or_default().remove("api-key");
        let key = key.ok_or_else(|| format!("there is no api-key in {secret}"))?;
        String::from_utf8(key.0).map_err(|error| error.to_string())
    }

    /// A condition of the example's server as `status/reason`, and its message.
    ///
    /// # Errors
    /// Returns an error if the status does not have it.
    pub async fn server_condition(&self, namespace: &str, type_: &str) -> Result<(String, String), String> {
        let server = self.api::<McpServer>(namespace).get("crm").await.map_err(|error| error.to_string())?;
        condition(&server.status.ok_or("no status")?.conditions, type_)
    }

    /// A condition of a client as `status/reason`, and its message.
    ///
    /// # Errors
    /// Returns an error if the status does not have it.
    pub async fn client_condition(&self, namespace: &str, name: &str, type_: &str) -> Result<(String, String), String> {
        let client = self.api::<McpClient>(namespace).get(name).await.map_err(|error| error.to_string())?;
        condition(&client.status.ok_or("no status")?.conditions, type_)
    }
}

impl TestCluster {
    /// Waits until these clients are served, as [`TestCluster::served`] defines it.
    pub async fn until_served(&self, namespace: &str, clients: &[&str]) {
        until(PATIENCE, async || {
            let served = self.served(namespace).await?;
            expect_eq(served.iter().map(String::as_str).collect::<Vec<_>>(), clients.to_vec())
        })
        .await;
    }

    /// Waits until a condition of the example's server is this `status/reason`.
    pub async fn until_server_condition(&self, namespace: &str, type_: &str, expected: &str) {
        until(PATIENCE, async || expect_eq(self.server_condition(namespace, type_).await?.0.as_str(), expected)).await;
    }

    /// Waits until a condition of a client is this `status/reason`.
    pub async fn until_client_condition(&self, namespace: &str, name: &str, type_: &str, expected: &str) {
        until(PATIENCE, async || expect_eq(self.client_condition(namespace, name, type_).await?.0.as_str(), expected))
            .await;
    }
}

/// A condition as `status/reason`, and its message.
///
/// # Errors
/// Returns an error if there is none with that type.
pub fn condition(conditions: &[Condition], type_: &str) -> Result<(String, String), String> {
    let found = conditions.iter().find(|condition| condition.type_ == type_);
    let found = found.ok_or_else(|| format!("there is no condition {type_}"))?;
    Ok((format!("{}/{}", found.status, found.reason), found.message.clone()))
}
