//! Whether the holder of a Lease still runs, as far as that can be known.

use k8s_openapi::api::core::v1::Pod;
use portcullis_crds::NamespacedName;
use serde_json::Value;

use super::holder::{Holder, HolderPod};
use crate::cluster::{Cluster, ObjectRef};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    Lives,
    Gone,
    Unknown,
}

/// A process on this machine is looked for, and so is the pod of one in a pod. An earlier container of this pod is gone: the kubelet
/// runs one at a time.
pub async fn liveness(cluster: &Cluster, holder: &Holder, this: &Holder) -> Liveness {
    if holder.is_beside(this) {
        return if holder.runs() { Liveness::Lives } else { Liveness::Gone };
    }
    match (&holder.pod, &this.pod) {
        (Some(of_holder), Some(own)) if of_holder.uid == own.uid => Liveness::Gone,
        (Some(of_holder), _) => of_pod(cluster, of_holder).await,
        (None, _) => Liveness::Unknown,
    }
}

/// A pod that exists may have no process at the moment. One that is gone from the API was ended before, unless it was deleted by force;
/// then it ends within seconds.
async fn of_pod(cluster: &Cluster, pod: &HolderPod) -> Liveness {
    let name = NamespacedName { namespace: pod.namespace.clone(), name: pod.name.clone() };
    let Ok(found) = cluster.find(&ObjectRef::of::<Pod>(name)).await else { return Liveness::Unknown };
    let Some(found) = found else { return Liveness::Gone };
    let status: Option<Value> = found.field("status").and_then(|status| serde_json::from_str(status.get()).ok());
    let has_ended = status.is_some_and(|status| matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")));
    match found.metadata.uid.as_deref() == Some(&pod.uid) && !has_ended {
        true => Liveness::Unknown,
        false => Liveness::Gone,
    }
}
