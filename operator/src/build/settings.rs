//! What the operator was started with, and what is the same for all servers.

use std::collections::BTreeSet;

/// Where a pod serves MCP.
pub const MCP_PORT: u16 = 3000;
/// Where a pod answers kubelet and the operator.
pub const ADMIN_PORT: u16 = 9090;

/// The domain of the names of Services, unless another is set.
pub const CLUSTER_DOMAIN: &str = "cluster.local";

/// What the operator was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image that pods run.
    pub server_image: String,
    /// `Always`, `IfNotPresent` or `Never`.
    pub image_pull_policy: String,
    /// The Secrets with which the image is pulled, in the namespace of each server. A kubelet passes over those that do not exist.
    pub image_pull_secrets: BTreeSet<String>,
    /// The domain of the names of Services, such as [`CLUSTER_DOMAIN`].
    pub cluster_domain: String,
}

#[cfg(test)]
impl Settings {
    /// Those of tests in which they do not matter.
    pub fn of_tests() -> Self {
        Self {
            server_image: "image".into(),
            image_pull_policy: "Never".into(),
            image_pull_secrets: BTreeSet::new(),
            cluster_domain: CLUSTER_DOMAIN.into(),
        }
    }
}
