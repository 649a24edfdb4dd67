//! Documents that somebody made immutable: a kubelet that reads one in that moment looks at that name no more. The pods are replaced by
//! ones that mount the documents by their other name.

use std::time::{Duration, Instant};

use futures::future::join_all;
use portcullis_tests::{PATIENCE, until};
use serde_json::{Value, json};

use crate::harness::CrmCluster;
use crate::pods::{self, ServedPod};

const CLIENT: &str = "reporting-agent";
/// How long kubelet leaves a pod alone at least after it synced it.
const SYNC: Duration = Duration::from_millis(1100);

/// While no operator runs a document is made immutable, and kubelet reads it: it has no clients any more, so that each pod shows when it
/// does. The next operator brings every pod to what is published, and what it revokes then is in force on each.
pub async fn documents(cluster: &CrmCluster) {
    for (kind, file, data) in [("configmap", "policy.yaml", "data"), ("secret", "credentials.yaml", "stringData")] {
        let (key, pods, name) = (cluster.key_of(CLIENT).await, cluster.pods().await, cluster.document(kind));
        pods::until_status(&pods, &key, 200).await;
        cluster.stop_operator().await;
        let decode = if kind == "secret" { " | base64decode" } else { "" };
        let text = format!("go-template={{{{index .data \"{file}\"{decode}}}}}");
        let text = cluster.kubectl(&["get", kind, &name, "-n", "sales", "-o", &text]);
        let patch = json!({"immutable": true, data: {file: without_clients(&text)}}).to_string();
        cluster.kubectl(&["patch", kind, &name, "-n", "sales", "--type=merge", "-p", &patch]);
        let mut nudge = 0;
        until(PATIENCE, async || {
            nudge += 1;
            let annotation = format!("portcullis.dev/sync=by-hand.{nudge}");
            for pod in &pods {
                cluster.kubectl(&["annotate", "pod", &pod.name, "-n", "sales", "--overwrite", &annotation]);
            }
            tokio::time::sleep(SYNC).await;
            are_refusing(&pods, &key).await
        })
        .await;

        let began = Instant::now();
        cluster.start_operator().await;
        // The status says nothing here: it is that from before, or in doubt about pods that serve what was published before, too.
        until(PATIENCE, async || {
            let mounted = cluster.document(kind);
            if mounted == name { Err(format!("new pods mount {mounted}")) } else { Ok(()) }
        })
        .await;
        cluster.kubectl(&["rollout", "status", "deployment/crm", "-n", "sales", "--timeout=60s"]);
        let took = began.elapsed().as_secs_f64();
        println!(
            "e2e: an immutable {kind} that both pods had read is replaced {took:.2} s after the operator was started"
        );
        let pods = cluster.pods().await;
        pods::until_status(&pods, &key, 200).await;
        let began = Instant::now();
        set_suspended(cluster, true);
        join_all(pods.iter().map(|pod| pod.until_refused(&key))).await;
        println!("e2e: after that a client is refused {:.2} s after it was suspended", began.elapsed().as_secs_f64());
        cluster.until_client_condition("sales", CLIENT, "Ready", "True/Suspended").await;
        set_suspended(cluster, false);
        pods::until_status(&pods, &key, 200).await;
        until(PATIENCE, async || {
            let found = cluster.kubectl(&["get", kind, &name, "-n", "sales", "--ignore-not-found", "-o", "name"]);
            if found.is_empty() { Ok(()) } else { Err(format!("{found} still exists")) }
        })
        .await;
    }
}

/// A document with no clients and no revision, as somebody could write it by hand.
fn without_clients(document: &str) -> String {
    let mut document: Value = serde_yaml::from_str(document).unwrap();
    document.as_object_mut().unwrap().remove("revision");
    document["clients"] = json!([]);
    serde_yaml::to_string(&document).unwrap()
}

async fn are_refusing(pods: &[ServedPod], key: &str) -> Result<(), String> {
    for pod in pods {
        let status = pod.status(key).await;
        if !matches!(status, Some(401 | 403)) {
            return Err(format!("{}: {status:?}, neither 401 nor 403", pod.name));
        }
    }
    Ok(())
}

fn set_suspended(cluster: &CrmCluster, is_suspended: bool) {
    let patch = json!({"spec": {"suspended": is_suspended}}).to_string();
    cluster.kubectl(&["patch", "mcpclient", CLIENT, "-n", "sales", "--type=merge", "-p", &patch]);
}
