//! The labels by which the operator finds what it made.

use std::collections::BTreeMap;

/// The McpServer that an object or a pod belongs to.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// What an object or a pod is a part of doing.
pub const NAME: &str = "app.kubernetes.io/name";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// The value of [`NAME`] on the objects and pods of a server.
pub const SERVER: &str = "portcullis-server";

/// The labels of everything that the operator creates.
pub fn part_of_portcullis() -> BTreeMap<String, String> {
    BTreeMap::from([(MANAGED_BY.into(), super::FIELD_MANAGER.into()), (PART_OF.into(), "portcullis".into())])
}

/// Selects the objects of all servers.
pub fn server_selector() -> String {
    format!("{MANAGED_BY}={},{NAME}={SERVER}", super::managed_fields::FIELD_MANAGER)
}

/// Selects the pods of all servers, and every pod that the Service of one selects.
pub fn pod_selector() -> String {
    format!("{NAME}={SERVER}")
}
