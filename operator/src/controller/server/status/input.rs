//! Everything that a server's status is made of.

use std::collections::BTreeSet;

use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use portcullis_crds::{
    ClientId, NamespacedName,
    contract::{PublishedCredentials, PublishedPolicy},
    server::McpServerStatus,
};

use crate::{cluster::Error, controller::server::pods::Pod, validate::ServerPlan};

/// What one reconcile read and did.
pub struct StatusInput<'a> {
    pub server: &'a NamespacedName,
    pub generation: Option<i64>,
    /// How many pods there are to be; `None` if the spec cannot be decoded.
    pub replicas: Option<u16>,
    pub plan: &'a ServerPlan,
    /// The documents in force: written, not only planned.
    pub published: Option<(&'a PublishedPolicy, &'a PublishedCredentials)>,
    /// Whether the documents in the cluster are those that were planned.
    pub is_in_place: bool,
    /// The clients whose entries in the cluster are not those that were planned.
    pub unwritten: &'a BTreeSet<ClientId>,
    /// The first write that failed.
    pub problem: Option<&'a Error>,
    pub deployment: Option<&'a Deployment>,
    pub pods: &'a [Pod],
    /// The pods that have the server's labels and are not its own, in words.
    pub foreign: &'a [String],
    /// The clients whose Secrets cannot be read, and why, in words.
    pub unreadable: &'a [String],
    /// What another party changes again each time that it is put back, in words.
    pub contested: &'a [String],
    /// The status before: of it only times are kept.
    pub previous: Option<&'a McpServerStatus>,
    pub now: Timestamp,
}

impl StatusInput<'_> {
    /// Whether there are to be no pods.
    pub fn is_scaled_to_zero(&self) -> bool {
        let of_deployment = self.deployment.and_then(|it| it.spec.as_ref()).and_then(|spec| spec.replicas);
        self.replicas == Some(0) && of_deployment == Some(0)
    }
}
