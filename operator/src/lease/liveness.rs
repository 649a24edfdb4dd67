//! Whether the holder of a Lease still runs, as far as that can be known.

use k8s_openapi::api::core::v1::Pod;
use portcullis_crds::NamespacedName;
use serde_json::Value;

use super::holder::{Holder, HolderPod, Liveness};
use crate::cluster::{Cluster, ObjectRef};

/// A process on this machine is looked for, and so is the pod of one in a pod. An earlier container of this pod is gone: the kubelet
/// runs one at a time.
pub async fn liveness(cluster: &Cluster, holder: &Holder, this: &Holder) -> Liveness {
    if holder.is_beside(this) {
        return holder.liveness();
    }
    match (&holder.pod, &this.pod) {
        (Some(of_holder), Some(own)) if of_holder.uid == own.uid => Liveness::Gone,
        (Some(of_holder), _) => of_pod(cluster, of_holder).await,
        (None, _) => Liveness::Unknown,
    }
}

/// A pod that exists may have no process at the moment. One that is not in the API may have been deleted by force, and run for as long
/// as the kubelet of its node hangs.
async fn of_pod(cluster: &Cluster, pod: &HolderPod) -> Liveness {
    let name = NamespacedName { namespace: pod.namespace.clone(), name: pod.name.clone() };
    let Ok(Some(found)) = cluster.find(&ObjectRef::of::<Pod>(name)).await else { return Liveness::Unknown };
    let status: Option<Value> = found.field("status").and_then(|status| serde_json::from_str(status.get()).ok());
    match found.metadata.uid.as_deref() == Some(&pod.uid) && status.is_some_and(|status| has_ended(&status)) {
        true => Liveness::Gone,
        false => Liveness::Unknown,
    }
}

/// Whether kubelet says that every container has ended. The phase alone is also set for a pod whose node is not heard of (Kubernetes,
/// "Pod garbage collection").
fn has_ended(status: &Value) -> bool {
    let containers = status["containerStatuses"].as_array().map(Vec::as_slice).unwrap_or_default();
    matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"))
        && !containers.is_empty()
        && containers.iter().all(|container| container["state"]["terminated"].is_object())
}
