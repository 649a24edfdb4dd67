//! Plays the kubelet for the pods of one server: each pod gets a loopback address, where it reports what it serves. As with a
//! real kubelet, a pod takes up what is published when the pod object changes, and not before. A test with pods needs a runtime with
//! several threads, so that they answer in time while the test waits for kubectl.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use portcullis_tests::{PATIENCE, TestCluster, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The pods of server `crm` in one namespace.
pub struct Kubelet {
    /// The last address that a pod got.
    last: IpAddr,
    pods: BTreeMap<String, Arc<Mutex<Served>>>,
    /// By UID.
    strangers: BTreeMap<String, Arc<Mutex<Served>>>,
    tasks: JoinSet<()>,
}

/// What a pod reports.
struct Served {
    report: Value,
    is_stuck: bool,
}

impl Kubelet {
    /// Starts every pod of the server, on the addresses from 127.77.`n`.1 on. They start with what is published now.
    pub async fn start(cluster: &TestCluster, namespace: &str, n: u8, count: u8) -> Self {
        let addresses: Vec<_> = (1..=count).map(|host| Ipv4Addr::new(127, 77, n, host).into()).collect();
        Self::start_at(cluster, namespace, &addresses).await
    }

    /// The same on these addresses, one for each pod.
    pub async fn start_at(cluster: &TestCluster, namespace: &str, addresses: &[IpAddr]) -> Self {
        let count = addresses.len();
        let names = until(PATIENCE, async || {
            let pods =
                cluster.api::<Pod>(namespace).list(&ListParams::default()).await.map_err(|error| error.to_string())?;
            let names: Vec<(String, String)> =
                pods.items.into_iter().filter_map(|pod| Some((pod.metadata.name?, pod.metadata.uid?))).collect();
            if names.len() == count { Ok(names) } else { Err(format!("{} pods", names.len())) }
        })
        .await;
        let mut kubelet = Self {
            last: addresses[addresses.len() - 1],
            pods: BTreeMap::new(),
            strangers: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        for ((name, uid), address) in names.into_iter().zip(addresses.iter().copied()) {
            kubelet.start_pod(cluster, namespace, name, &uid, address).await;
        }
        kubelet
    }

    /// Starts the pods that are new, and forgets those that are gone.
    pub async fn replace(&mut self, cluster: &TestCluster, namespace: &str) {
        let pods = cluster.api::<Pod>(namespace).list(&ListParams::default()).await.unwrap().items;
        let pods: BTreeMap<String, String> =
            pods.into_iter().filter_map(|pod| Some((pod.metadata.name?, pod.metadata.uid?))).collect();
        self.pods.retain(|name, _| pods.contains_key(name));
        for (name, uid) in pods {
            if !self.pods.contains_key(&name) {
                self.last = following(self.last);
                self.start_pod(cluster, namespace, name, &uid, self.last).await;
            }
        }
    }

    async fn start_pod(&mut self, cluster: &TestCluster, namespace: &str, name: String, uid: &str, address: IpAddr) {
        let report = report(cluster, namespace, uid).await;
        let served = Arc::new(Mutex::new(Served { report, is_stuck: false }));
        let listener = TcpListener::bind(SocketAddr::from((address, 9090))).await.unwrap();
        self.tasks.spawn(serve(listener, Arc::clone(&served)));
        ready(cluster, namespace, &name, address).await;
        self.pods.insert(name, served);
    }

    /// Makes a pod ready that is not the server's own. It always reports to serve what is published if `answers`, and otherwise
    /// nothing at all.
    pub async fn stranger(
        &mut self,
        cluster: &TestCluster,
        namespace: &str,
        pod: &Pod,
        address: Ipv4Addr,
        answers: bool,
    ) {
        let (name, uid) = (pod.metadata.name.clone().unwrap(), pod.metadata.uid.clone().unwrap());
        if answers {
            let report = report(cluster, namespace, &uid).await;
            let served = Arc::new(Mutex::new(Served { report, is_stuck: false }));
            let listener = TcpListener::bind(SocketAddr::from((address, 9090))).await.unwrap();
            self.tasks.spawn(serve(listener, Arc::clone(&served)));
            self.strangers.insert(uid, served);
        }
        ready(cluster, namespace, &name, address.into()).await;
    }

    pub fn pods(&self) -> Vec<String> {
        self.pods.keys().cloned().collect()
    }

    /// From now on the pod takes up no change.
    pub fn stick(&self, pod: &str) {
        self.pods[pod].lock().unwrap().is_stuck = true;
    }

    /// From now on the pod takes up changes again.
    pub fn release(&self, pod: &str) {
        self.pods[pod].lock().unwrap().is_stuck = false;
    }

    /// Syncs every pod once: one that was nudged takes up what is published.
    pub async fn sync(&self, cluster: &TestCluster, namespace: &str) {
        for (uid, served) in &self.strangers {
            let new = report(cluster, namespace, uid).await;
            served.lock().unwrap().report = new;
        }
        for (name, served) in &self.pods {
            let Some(pod) = cluster.api::<Pod>(namespace).get_opt(name).await.unwrap() else { continue };
            let nudge = pod.metadata.annotations.unwrap_or_default().remove("portcullis.dev/sync");
            let new = report(cluster, namespace, pod.metadata.uid.as_deref().unwrap()).await;
            let mut served = served.lock().unwrap();
            if nudge.is_some() && !served.is_stuck {
                served.report = new;
            }
        }
    }
}

fn following(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() + 1).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() + 1).into(),
    }
}

async fn report(cluster: &TestCluster, namespace: &str, uid: &str) -> Value {
    let published = until(PATIENCE, async || {
        Ok::<_, String>((cluster.policy(namespace).await?, cluster.credentials(namespace).await?))
    });
    let (policy, credentials) = published.await;
    json!({"policyRevision": policy.revision, "credentialsRevision": credentials.revision, "contract": 1, "podUid": uid})
}

async fn ready(cluster: &TestCluster, namespace: &str, pod: &str, address: IpAddr) {
    let status = json!({"status": {
        "phase": "Running",
        "podIP": address.to_string(),
        "podIPs": [{"ip": address.to_string()}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{
            "name": "server", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
        }],
    }});
    let pods = cluster.api::<Pod>(namespace);
    match pods.patch_status(pod, &PatchParams::default(), &Patch::Merge(status)).await {
        // It was replaced meanwhile.
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        patched => drop(patched.unwrap()),
    }
}

async fn serve(listener: TcpListener, served: Arc<Mutex<Served>>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 4096];
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut request)).await;
        let body = served.lock().unwrap().report.to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        let _ = stream.write_all((head + &body).as_bytes()).await;
    }
}
