//! Changes by people: permissions, clients, keys, and edits of what the operator created.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use portcullis_tests::{PATIENCE, until};
use serde_json::json;

use crate::harness::CrmCluster;
use crate::pods::{self, ServedPod};

const CHANGES: usize = 20;
/// The tools of the example's `reporting-agent`.
pub const BASE: &[&str] = &["search_contacts", "get_deal_summary", "get_revenue_report"];

/// These tools, and the one that is granted and revoked.
pub fn with_dashboard() -> Vec<&'static str> {
    [BASE, &["get_dashboard_metrics"]].concat()
}

/// A permission that is changed with `kubectl apply` takes effect on both pods. Prints how soon.
pub async fn permissions(cluster: &CrmCluster) {
    let key = cluster.key_of("reporting-agent").await;
    let pods = cluster.pods().await;
    let mut times = Vec::new();
    for change in 0..CHANGES {
        // Apart, as changes by people are: the operator publishes changes of one second together.
        tokio::time::sleep(Duration::from_millis(1100 + 37 * change as u64)).await;
        let is_granted = change % 2 == 0;
        let manifest =
            cluster.client_manifest("reporting-agent", &if is_granted { with_dashboard() } else { BASE.to_vec() });
        let began = Instant::now();
        let apply = cluster.apply_in_background(&manifest);
        pods::until_listed(&pods, &key, "get_dashboard_metrics", is_granted).await;
        times.push(began.elapsed());
        apply.await.unwrap();
    }
    println!("e2e: kubectl apply to enforced on both pods, {}", summary(times));
}

/// A client that is deleted loses its access on both pods.
pub async fn deleted_client(cluster: &CrmCluster) {
    let key = cluster.key_of("readonly-dashboard").await;
    let pods = cluster.pods().await;
    for pod in &pods {
        assert_eq!(pod.status(&key).await, Some(200));
    }
    let began = Instant::now();
    cluster.kubectl(&["delete", "mcpclient", "readonly-dashboard", "-n", "sales", "--wait=false"]);
    pods::until_status(&pods, &key, 401).await;
    let took = began.elapsed();
    // Left to itself, kubelet takes a minute.
    assert!(took < Duration::from_secs(15), "a deleted client had access for {took:?}");
    println!("e2e: kubectl delete to refused on both pods, {:.2} s", took.as_secs_f64());
}

/// Edits of the operator's objects are reverted, and no pod is restarted.
pub async fn edited_objects(cluster: &CrmCluster) {
    let before = cluster.pods().await;
    let edits = [
        ("configmap", "crm-policy-v1", json!({"data": {"policy.yaml": "contract: 1"}}), "{.data.policy\\.yaml}"),
        ("deployment", "crm", json!({"spec": {"progressDeadlineSeconds": 7}}), "{.spec.progressDeadlineSeconds}"),
        ("service", "crm", json!({"metadata": {"labels": null}}), "{.metadata.labels}"),
        ("serviceaccount", "crm", json!({"automountServiceAccountToken": true}), "{.automountServiceAccountToken}"),
    ];
    let mut reverted = Vec::new();
    for (kind, name, patch, field) in edits {
        let output = format!("jsonpath={field}");
        let get = || cluster.kubectl(&["get", kind, name, "-n", "sales", "-o", &output]);
        let original = get();
        let began = Instant::now();
        let edited = ["patch", kind, name, "-n", "sales", "--type=merge", "-p", &patch.to_string()];
        cluster.kubectl(&edited);
        until(PATIENCE, async || {
            let found = get();
            if found == original { Ok(()) } else { Err(format!("{kind} {name}: {found}")) }
        })
        .await;
        reverted.push(began.elapsed());
    }
    let names = |pods: &[ServedPod]| pods.iter().map(|pod| pod.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&cluster.pods().await), names(&before));
    println!("e2e: edit of an object to reverted, {}", summary(reverted));
}

/// A key in another Secret is a new key; the old one has no access any more, and its Secret is deleted.
pub async fn moved_key(cluster: &CrmCluster) {
    let (old, pods) = (cluster.key_of("reporting-agent").await, cluster.pods().await);
    let mut client = cluster.client_manifest("reporting-agent", BASE);
    client["spec"]["credentials"]["apiKey"]["secretName"] = json!("reporting-key");
    cluster.apply_in_background(&client).await.unwrap();
    pods::until_status(&pods, &old, 401).await;
    pods::until_status(&pods, &cluster.key_in("reporting-key").await, 200).await;
    let secrets = cluster.api::<Secret>("sales");
    until(PATIENCE, async || match secrets.get_opt("reporting-agent-key").await.unwrap() {
        None => Ok(()),
        Some(_) => Err("the Secret of the old key still exists"),
    })
    .await;
    cluster.until_synced().await;
}

/// The number of times, their median and the longest one.
pub fn summary(mut times: Vec<Duration>) -> String {
    let median = median(&mut times).as_secs_f64();
    let worst = times.last().map(Duration::as_secs_f64).unwrap_or_default();
    format!("{} changes: median {median:.3} s, worst {worst:.3} s", times.len())
}

/// The median of the times, which it sorts.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2
}
