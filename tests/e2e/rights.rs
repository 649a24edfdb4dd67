//! The operator's account has the rights that it needs and no others: after the whole scenario, each verb of
//! `operator/rbac.yaml` was needed and none was missing.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::Api;
use portcullis_tests::Right;

use crate::harness::CrmCluster;

pub async fn are_those_needed(cluster: &CrmCluster) {
    let roles: Api<ClusterRole> = Api::all(cluster.control_plane.client());
    let rules = roles.get("portcullis-operator").await.unwrap().rules.unwrap();
    let roles: Api<Role> = Api::namespaced(cluster.control_plane.client(), "portcullis-system");
    let of_lease = roles.get("portcullis-operator").await.unwrap().rules.unwrap();
    let granted: BTreeSet<Right> = rules.into_iter().chain(of_lease).flat_map(rights).collect();
    let rights = cluster.rights();
    assert_eq!(rights.refused, BTreeSet::new(), "operator/rbac.yaml does not grant what the operator needs");
    assert_eq!(rights.used, granted, "operator/rbac.yaml grants what the operator does not need");
    println!("e2e: the operator's account has {} rights, and needed each", granted.len());
}

fn rights(rule: PolicyRule) -> Vec<Right> {
    let (groups, resources) = (rule.api_groups.unwrap_or_default(), rule.resources.unwrap_or_default());
    let mut rights = Vec::new();
    for (group, resource) in groups.iter().flat_map(|group| resources.iter().map(move |resource| (group, resource))) {
        for verb in &rule.verbs {
            rights.push(Right { group: group.clone(), resource: resource.clone(), verb: verb.clone() });
        }
    }
    rights
}
