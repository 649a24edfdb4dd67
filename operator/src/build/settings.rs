//! What the operator was started with, and what is the same for all servers.

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
    /// The domain of the names of Services, such as [`CLUSTER_DOMAIN`].
    pub cluster_domain: String,
}
