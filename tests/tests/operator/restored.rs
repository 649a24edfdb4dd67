//! etcd is restored to an older state while the operator runs: what is edited afterwards is published promptly, and what the cluster
//! lost is written again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::DeleteParams;
use portcullis_crds::McpClient;
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, expect_eq, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A program of the control plane that was stopped, and how it is started again.
struct Stopped {
    folder: PathBuf,
    name: &'static str,
    directory: PathBuf,
    command: Vec<String>,
}

fn stop(folder: &Path, name: &'static str) -> Stopped {
    let pid_file = std::fs::read_to_string(folder.join(format!("run/{name}.pid"))).unwrap();
    let pid: i32 = pid_file.split_whitespace().next().unwrap().parse().unwrap();
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let command = command.split(|byte| *byte == 0).map(|word| String::from_utf8(word.to_vec()).unwrap());
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    let stopped = Stopped {
        folder: folder.to_owned(),
        name,
        directory,
        command: command.filter(|word| !word.is_empty()).collect(),
    };
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let is_running = || std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while is_running() {
        std::thread::sleep(Duration::from_millis(10));
    }
    stopped
}

impl Stopped {
    #[expect(clippy::zombie_processes, reason = "the scripts of the cluster end it")]
    /// Its identity is written where the scripts of the cluster look for it, so that they end it.
    fn start(self) {
        let log =
            std::fs::File::options().append(true).open(self.folder.join(format!("log/{}.log", self.name))).unwrap();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).current_dir(&self.directory).stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let started = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap().to_owned();
        std::fs::write(self.folder.join(format!("run/{}.pid", self.name)), format!("{} {started}\n", child.id()))
            .unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").args(["-a", from.to_str().unwrap(), to.to_str().unwrap()]).status().unwrap();
    assert!(copied.success());
}

async fn until_ready(cluster: &TestCluster) {
    until(PATIENCE, async || cluster.control_plane.kubectl(["get", "--raw", "/readyz"]).map(drop)).await;
    until(PATIENCE, async || cluster.control_plane.kubectl(["get", "mcpclients", "-A"]).map(drop)).await;
}

async fn is_suspended(cluster: &TestCluster, client: &str) -> Result<bool, String> {
    let policy = cluster.policy("sales").await?;
    let entry = policy.clients.iter().find(|entry| entry.id.as_str() == client);
    entry.map(|entry| entry.suspended).ok_or_else(|| format!("{client} is not in the policy"))
}

#[tokio::test]
async fn after_etcd_was_restored_the_cluster_decides_and_a_suspension_is_published_promptly() {
    let cluster = TestCluster::start_with_crm().await;
    cluster.until_quiet(Duration::from_secs(1)).await;
    let folder = cluster.control_plane.folder().to_owned();
    let (etcd, backup) = (folder.join("etcd"), folder.join("etcd-backup"));
    let stopped = [stop(&folder, "kube-apiserver"), stop(&folder, "etcd")];
    copy(&etcd, &backup);
    stopped.into_iter().rev().for_each(Stopped::start);
    until_ready(&cluster).await;

    // All of this is lost with the restore; the versions of these objects become far higher than those that follow.
    for round in 0..50 {
        let suspended =
            json!({"metadata": {"annotations": {"round": round.to_string()}}, "spec": {"suspended": round % 2 == 0}});
        cluster.patch::<McpClient>("sales", "readonly-dashboard", suspended).await;
    }
    cluster.patch::<McpClient>("sales", "readonly-dashboard", json!({"spec": {"suspended": true}})).await;
    cluster.api::<McpClient>("sales").delete("customer-service-agent", &DeleteParams::default()).await.unwrap();
    until(PATIENCE, async || expect_eq(is_suspended(&cluster, "readonly-dashboard").await, Ok(true))).await;
    cluster.until_served("sales", &["readonly-dashboard", "reporting-agent"]).await;
    let version = |object: ConfigMap| object.metadata.resource_version.unwrap().parse::<u64>().unwrap();
    let config_maps = cluster.api::<ConfigMap>("sales");
    let before = version(config_maps.get("crm-policy-v1").await.unwrap());

    let stopped = [stop(&folder, "kube-apiserver"), stop(&folder, "etcd")];
    std::fs::remove_dir_all(&etcd).unwrap();
    copy(&backup, &etcd);
    stopped.into_iter().rev().for_each(Stopped::start);
    until_ready(&cluster).await;
    assert!(version(config_maps.get("crm-policy-v1").await.unwrap()) < before, "the cluster must be in an older state");
    until(PATIENCE, async || expect_eq(is_suspended(&cluster, "readonly-dashboard").await, Ok(false))).await;
    cluster.until_served("sales", &["customer-service-agent", "readonly-dashboard", "reporting-agent"]).await;

    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": true}})).await;
    until(PROMPTLY, async || expect_eq(is_suspended(&cluster, "reporting-agent").await, Ok(true))).await;
    cluster.patch::<McpClient>("sales", "readonly-dashboard", json!({"spec": {"suspended": true}})).await;
    until(PROMPTLY, async || expect_eq(is_suspended(&cluster, "readonly-dashboard").await, Ok(true))).await;
}
