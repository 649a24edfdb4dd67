//! What others may add to the objects of a server, and what is removed as a privilege of its pods. docs/operator.md has the same list.

use crate::cluster::foreign::{Guard, Removes};

/// Of the pods everything is removed but where they run, with which priority, from which registry, with which further amounts of
/// resources, and a user namespace. The labels and annotations of a template are free: `kubectl rollout restart` and the
/// injection of sidecars use them. Nothing else in its metadata is: pods get its finalizers.
pub const DEPLOYMENT: &[Guard] = &[
    Guard {
        at: &["spec", "template", "spec"],
        removes: Removes::AllBut(&[
            &["affinity"],
            &["nodeSelector"],
            &["tolerations"],
            &["topologySpreadConstraints", "*"],
            &["priorityClassName"],
            &["preemptionPolicy"],
            &["runtimeClassName"],
            &["imagePullSecrets"],
            &["hostUsers"],
            &["containers", "*", "resources", "limits"],
            &["containers", "*", "resources", "requests"],
            &["containers", "*", "resizePolicy"],
        ]),
        harmless: &[
            &["schedulerName"],
            &["terminationGracePeriodSeconds"],
            &["topologySpreadConstraints"],
            &["containers", "*", "resources"],
            &["containers", "*", "startupProbe"],
            &["containers", "*", "readinessProbe"],
            &["containers", "*", "livenessProbe"],
        ],
    },
    Guard {
        at: &["spec", "template", "metadata"],
        removes: Removes::AllBut(&[&["labels"], &["annotations"], &["creationTimestamp"]]),
        harmless: &[],
    },
    // Profiles that a node applies, by annotation.
    Guard {
        at: &["spec", "template", "metadata", "annotations"],
        removes: Removes::Only(&["container.apparmor.security.beta.kubernetes.io/"]),
        harmless: &[],
    },
];

/// Of a Service the API server and the network decide the addresses; ports, selectors and everything that exposes it outside of the
/// cluster are the operator's.
pub const SERVICE: &[Guard] = &[Guard {
    at: &["spec"],
    removes: Removes::AllBut(&[
        &["clusterIP"],
        &["clusterIPs"],
        &["ipFamilies"],
        &["ipFamilyPolicy"],
        &["trafficDistribution"],
    ]),
    harmless: &[],
}];

/// The annotations that make an account of the cloud of a ServiceAccount: webhooks then put its token into the pods.
pub const SERVICE_ACCOUNT: &[Guard] = &[Guard {
    at: &["metadata", "annotations"],
    removes: Removes::Only(&["eks.amazonaws.com/", "iam.gke.io/", "azure.workload.identity/"]),
    harmless: &[],
}];
