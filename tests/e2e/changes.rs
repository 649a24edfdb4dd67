//! Changes by people: of permissions, clients and keys, and by hand of the operator's objects.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use serde_json::json;

use crate::harness::{TestCluster, until};
use crate::pods::{self, ServedPod};

const CHANGES: usize = 20;
/// The tools of the example's `reporting-agent`.
pub const BASE: &[&str] = &["search_contacts", "get_deal_summary", "get_revenue_report"];

/// Those, and the one that it is granted and then loses again.
pub fn granted_too() -> Vec<&'static str> {
    [BASE, &["get_dashboard_metrics"]].concat()
}

/// A permission that is changed by `kubectl apply` comes into force on both replicas; prints how soon.
pub async fn permissions(cluster: &TestCluster) {
    let key = cluster.key("reporting-agent").await;
    let pods = cluster.pods().await;
    let mut times = Vec::new();
    for change in 0..CHANGES {
        // Apart, as changes by people are: the operator collects what follows within a second.
        tokio::time::sleep(Duration::from_millis(1100 + 37 * change as u64)).await;
        let is_granted = change % 2 == 0;
        let manifest =
            cluster.client_manifest("reporting-agent", &if is_granted { granted_too() } else { BASE.to_vec() });
        let began = Instant::now();
        let apply = cluster.apply_in_background(&manifest);
        pods::until_listed(&pods, &key, "get_dashboard_metrics", is_granted).await;
        times.push(began.elapsed());
        apply.await.unwrap();
    }
    println!("e2e: kubectl apply to enforced on both pods, {}", summary(times));
}

/// A client that is deleted loses its access on both replicas.
pub async fn deleted_client(cluster: &TestCluster) {
    let key = cluster.key("readonly-dashboard").await;
    let pods = cluster.pods().await;
    for pod in &pods {
        assert_eq!(pod.status(&key).await, Some(200));
    }
    let began = Instant::now();
    cluster
        .control_plane
        .kubectl(["delete", "mcpclient", "readonly-dashboard", "-n", "sales", "--wait=false"])
        .unwrap();
    pods::until_status(&pods, &key, 401).await;
    let taken = began.elapsed();
    assert!(taken < Duration::from_secs(2), "a deleted client had access for {taken:?}");
    println!("e2e: kubectl delete to cut off on both pods, {:.2} s", taken.as_secs_f64());
}

/// Changes of the operator's objects are corrected, and no pod is replaced.
pub async fn by_hand(cluster: &TestCluster) {
    let before = cluster.pods().await;
    let edits = [
        ("configmap", "crm-policy-v1", json!({"data": {"policy.yaml": "contract: 1"}}), "{.data.policy\\.yaml}"),
        ("deployment", "crm", json!({"spec": {"progressDeadlineSeconds": 7}}), "{.spec.progressDeadlineSeconds}"),
        ("service", "crm", json!({"metadata": {"labels": null}}), "{.metadata.labels}"),
        ("serviceaccount", "crm", json!({"automountServiceAccountToken": true}), "{.automountServiceAccountToken}"),
    ];
    let mut corrected = Vec::new();
    for (kind, name, patch, field) in edits {
        let get =
            || cluster.control_plane.kubectl(["get", kind, name, "-n", "sales", "-o", &format!("jsonpath={field}")]);
        let wanted = get().unwrap();
        let began = Instant::now();
        let edited = ["patch", kind, name, "-n", "sales", "--type=merge", "-p", &patch.to_string()];
        cluster.control_plane.kubectl(edited).unwrap();
        until(5, async || {
            let found = get().unwrap();
            if found == wanted { Ok(()) } else { Err(format!("{kind} {name}: {found}")) }
        })
        .await;
        corrected.push(began.elapsed());
    }
    let names = |pods: &[ServedPod]| pods.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&cluster.pods().await), names(&before));
    println!("e2e: edited by hand to corrected, {}", summary(corrected));
}

/// If a client names another Secret, a new key is created in it; the former key is refused, and its Secret deleted.
pub async fn moved_key(cluster: &TestCluster) {
    let (former, pods) = (cluster.key("reporting-agent").await, cluster.pods().await);
    let mut client = cluster.client_manifest("reporting-agent", BASE);
    client["spec"]["credentials"]["apiKey"]["secretName"] = json!("reporting-key");
    cluster.apply_in_background(&client).await.unwrap();
    pods::until_status(&pods, &former, 401).await;
    pods::until_status(&pods, &cluster.key_in("reporting-key").await, 200).await;
    let secrets: Api<Secret> = Api::namespaced(cluster.control_plane.client(), "sales");
    until(10, async || match secrets.get_opt("reporting-agent-key").await.unwrap() {
        None => Ok(()),
        Some(_) => Err("the former key's Secret is still there".to_owned()),
    })
    .await;
    cluster.settled().await;
}

fn summary(mut times: Vec<Duration>) -> String {
    times.sort();
    let seconds = |n: usize| times[n].as_secs_f64();
    let (n, worst) = (times.len(), times.len() - 1);
    let median = (seconds((n - 1) / 2) + seconds(n / 2)) / 2.0;
    format!("{n} changes: median {median:.3} s, worst {:.3} s", seconds(worst))
}
