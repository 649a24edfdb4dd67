//! The labels by which the operator finds what it made.

/// The McpServer that an object or a pod belongs to.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// What an object or a pod is a part of doing.
pub const NAME: &str = "app.kubernetes.io/name";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// The value of [`NAME`] on the objects and pods of a server.
pub const SERVER: &str = "portcullis-server";
/// The value of [`NAME`] on the Secret of a client's API key.
pub const API_KEY: &str = "portcullis-api-key";

/// Selects the objects and pods of all servers.
pub fn server_selector() -> String {
    format!("{MANAGED_BY}={},{NAME}={SERVER}", super::managed_fields::FIELD_MANAGER)
}
