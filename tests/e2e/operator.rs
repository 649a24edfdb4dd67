//! The operator as a pod: its log, its pages, and the ways in which it ends and starts again.

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use portcullis_tests::{PATIENCE, expect_eq, until};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{CrmCluster, is_ready};
use crate::release::NAMESPACE;

const DEPLOYMENT: &str = "deployment/portcullis-operator";
/// The operator has read every object that it watches.
const READ_EVERYTHING: &str = "everything was seen";

impl CrmCluster {
    /// The operator's pods, with those that are being deleted.
    async fn operator_pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = self.api(NAMESPACE);
        let selected = ListParams::default().labels("app.kubernetes.io/name=portcullis-operator");
        api.list(&selected).await.unwrap().items
    }

    /// The operator's pod, once it is the only one and ready.
    pub async fn operator_pod(&self) -> Pod {
        until(PATIENCE, async || {
            let mut pods = self.operator_pods().await;
            expect_eq(pods.iter().map(is_ready).collect::<Vec<_>>(), vec![true])?;
            pods.pop().ok_or_else(String::new)
        })
        .await
    }

    /// Waits until the log of the operator's pod has this text in it, whether the pod is ready or not.
    pub async fn until_operator_says(&self, text: &str) {
        until(PATIENCE, async || {
            let mut log = String::new();
            for pod in self.operator_pods().await {
                let name = pod.metadata.name.unwrap_or_default();
                // There is none before the container was started.
                log += &self.control_plane.kubectl(["logs", "-n", NAMESPACE, &name]).unwrap_or_default();
            }
            if log.contains(text) { Ok(()) } else { Err(format!("the operator does not say '{text}'")) }
        })
        .await;
    }

    async fn until_operator_has_read_everything(&self) {
        self.operator_pod().await;
        self.until_operator_says(READ_EVERYTHING).await;
    }

    /// Kills the operator's process, and waits until kubelet has started it again and it has read everything.
    pub async fn crash_operator(&self) {
        let pod = self.operator_pod().await;
        let restarts = restarts(&pod);
        kill_process(process(&pod), Signal::KILL).unwrap();
        until(PATIENCE, async || {
            let now = self.operator_pods().await;
            expect_eq(now.iter().map(self::restarts).collect::<Vec<_>>(), vec![restarts + 1])
        })
        .await;
        self.until_operator_has_read_everything().await;
    }

    /// Kills the operator, and its pod with it: as if its node had been lost and removed. Nothing starts another one.
    pub async fn lose_operator(&self) {
        let process = process(&self.operator_pod().await);
        // It does not see the SIGTERM of kubelet.
        kill_process(process, Signal::STOP).unwrap();
        self.scale_operator(0);
        kill_process(process, Signal::KILL).unwrap();
        self.until_operator_is_gone().await;
    }

    /// Ends the operator as a drained node does. Nothing starts another one.
    pub async fn stop_operator(&self) {
        self.scale_operator(0);
        self.until_operator_is_gone().await;
    }

    /// Starts an operator after one was ended, and waits until it has read everything.
    pub async fn start_operator(&self) {
        self.scale_operator(1);
        self.until_operator_has_read_everything().await;
    }

    /// Deletes the operator's pod, and does not wait for the next one.
    pub fn replace_operator(&self) {
        let selected = "-lapp.kubernetes.io/name=portcullis-operator";
        self.kubectl(&["delete", "pods", "-n", NAMESPACE, selected, "--wait=false"]);
    }

    fn scale_operator(&self, replicas: u32) {
        self.kubectl(&["scale", DEPLOYMENT, "-n", NAMESPACE, &format!("--replicas={replicas}")]);
    }

    async fn until_operator_is_gone(&self) {
        until(PATIENCE, async || expect_eq(self.operator_pods().await.len(), 0)).await;
    }
}

/// How often the container of a pod was started again.
fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.and_then(|statuses| statuses.first()).map_or(0, |status| status.restart_count)
}

/// The operator's process in its pod, whose volumes have the UID of the pod in their paths. The processes of the node are in the pid
/// namespace of this machine too.
fn process(pod: &Pod) -> Pid {
    let uid = pod.metadata.uid.as_deref().unwrap();
    let read = |process: &Path, file: &str| std::fs::read(process.join(file)).unwrap_or_default();
    let is_operator = |process: &Path| {
        read(process, "cmdline").starts_with(b"/portcullis-operator\0")
            && String::from_utf8_lossy(&read(process, "mountinfo")).contains(uid)
    };
    let mut processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let process = processes.find(|process| is_operator(process)).expect("a ready operator must have a process");
    Pid::from_raw(process.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap()
}
