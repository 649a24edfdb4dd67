//! A revocation takes effect on every pod, whatever else is wrong: each kind of revocation under each fault, and the time from the
//! edit until the last pod refuses. docs/operator.md has the table of the faults.

mod faults;

use std::time::{Duration, Instant};

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::{Value, json};

use self::faults::Fault;
use crate::changes::{median, summary};
use crate::harness::CrmCluster;
use crate::pods::{self, ServedPod};

/// The tools of the clients. The second one is taken away.
const TOOLS: [&str; 2] = ["search_contacts", "get_deal_summary"];
/// What the median of the revocations under each fault is below, as docs/operator.md says. They take 0.2 to 1.1 s, also on a machine
/// whose cores are busy, and a minute if kubelet is left to itself.
const MEDIAN: Duration = Duration::from_secs(2);

/// What is done to a client.
#[derive(Clone, Copy, Debug)]
enum Revocation {
    Suspend,
    Narrow,
    Delete,
    Expire,
    RevokeBefore,
}

impl Revocation {
    const ALL: [Self; 5] = [Self::Suspend, Self::Narrow, Self::Delete, Self::Expire, Self::RevokeBefore];

    /// The merge patch of the client's spec; `None` if the client is deleted.
    fn patch(self) -> Option<Value> {
        Some(match self {
            Self::Suspend => json!({"suspended": true}),
            Self::Narrow => json!({"access": [access(&TOOLS[..1])]}),
            Self::Delete => return None,
            Self::Expire => json!({"expiresAt": Timestamp::now().to_string()}),
            Self::RevokeBefore => json!({"credentials": {"apiKey": {"revokeBefore": Timestamp::now().to_string()}}}),
        })
    }

    /// Waits until the pod no longer gives the client what was taken away.
    async fn until_enforced(self, pod: &ServedPod, key: &str) {
        match self {
            Self::Narrow => pod.until_lost(key, TOOLS[1]).await,
            Self::Suspend | Self::Delete | Self::Expire | Self::RevokeBefore => pod.until_refused(key).await,
        }
    }
}

/// Carries out each revocation under each fault. Prints how long they took, and then fails if it was too long under one of them.
pub async fn take_effect(cluster: &CrmCluster) {
    let mut late = Vec::new();
    for fault in Fault::ALL {
        let keys = clients(cluster, fault).await;
        let mut broken = fault.begin(cluster).await;
        let mut times = Vec::new();
        for (revocation, key) in Revocation::ALL.into_iter().zip(&keys) {
            // Within a second of another change of the pod, kubelet waits until it has looked at the containers again.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            broken.again(cluster).await;
            times.push(revoke(cluster, fault, revocation, key).await);
        }
        broken.end(cluster).await;
        cluster.until_synced().await;
        println!("e2e: revocations with {fault}, {}", summary(times.clone()));
        if median(&mut times) >= MEDIAN {
            late.push((fault, times));
        }
    }
    assert!(late.is_empty(), "{late:?}");
}

/// Creates a client for each revocation under this fault, and waits until they are served. Returns their keys.
async fn clients(cluster: &CrmCluster, fault: Fault) -> Vec<String> {
    let clients = Revocation::ALL.map(|revocation| client(fault, revocation));
    cluster.apply_in_background(&json!({"apiVersion": "v1", "kind": "List", "items": clients})).await.unwrap();
    let mut keys = Vec::new();
    for revocation in Revocation::ALL {
        let key = cluster.key_of(&name(fault, revocation)).await;
        pods::until_status(&cluster.pods().await, &key, 200).await;
        keys.push(key);
    }
    cluster.until_synced().await;
    keys
}

/// Carries out one revocation. Returns the time from the edit until the last pod refuses.
async fn revoke(cluster: &CrmCluster, fault: Fault, revocation: Revocation, key: &str) -> Duration {
    let (name, pods) = (name(fault, revocation), cluster.ready_pods().await);
    let began = Instant::now();
    match revocation.patch() {
        Some(mut patch) => {
            fault.spoil(&mut patch);
            let patch = json!({"spec": patch}).to_string();
            cluster.kubectl(&["patch", "mcpclient", &name, "-n", "sales", "--type=merge", "-p", &patch]);
        }
        None => drop(cluster.kubectl(&["delete", "mcpclient", &name, "-n", "sales", "--wait=false"])),
    }
    join_all(pods.iter().map(|pod| revocation.until_enforced(pod, key))).await;
    began.elapsed()
}

fn client(fault: Fault, revocation: Revocation) -> Value {
    let name = name(fault, revocation);
    let key = json!({"apiKey": {"secretName": format!("{name}-key")}});
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient", "metadata": {"name": name, "namespace": "sales"},
        "spec": {"access": [access(&TOOLS)], "credentials": key},
    })
}

fn access(tools: &[&str]) -> Value {
    json!({"serverRef": {"name": "crm"}, "tools": tools, "maxRecordsPerQuery": 10})
}

fn name(fault: Fault, revocation: Revocation) -> String {
    format!("{fault:?}-{revocation:?}").to_lowercase()
}
