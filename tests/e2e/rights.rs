//! Compares the rights of the operator's account with those that it used: after the whole scenario, each verb of
//! `operator/rbac.yaml` was used and none was missing.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::Api;
use portcullis_tests::Right;

use crate::harness::{OPERATOR, TestCluster};

pub async fn are_used(cluster: &TestCluster) {
    let roles: Api<ClusterRole> = Api::all(cluster.control_plane.client());
    let rules = roles.get("portcullis-operator").await.unwrap().rules.unwrap();
    let given: BTreeSet<Right> = rules.into_iter().flat_map(rights).collect();
    let rights = cluster.control_plane.audit().rights(OPERATOR).unwrap();
    assert_eq!(rights.refused, BTreeSet::new(), "the operator needs what operator/rbac.yaml does not give");
    assert_eq!(rights.used, given, "operator/rbac.yaml gives what the operator does not use");
    println!("e2e: the operator's account has {} rights, and used each", given.len());
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
