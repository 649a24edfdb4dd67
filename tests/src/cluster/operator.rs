//! A cluster with the CRDs, and an operator beside it: a process of this machine with the rights of the operator's account.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::{ControlPlane, Mark, Rights, Write};
use crate::{PATIENCE, Process, binary, until};

/// The operator's account in the API server's audit log.
const ACCOUNT: &str = "system:serviceaccount:portcullis-system:portcullis-operator";

/// The cluster and its operator. The operator ends before the cluster does.
pub struct TestCluster {
    /// The running operator, if there is one.
    pub operator: Option<Process>,
    pub control_plane: ControlPlane,
    /// The kubeconfig of the operator: its account's, unless a test puts something in between.
    pub kubeconfig: PathBuf,
}

/// The absolute path of a file of this repository.
pub fn repository(path: &str) -> String {
    format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"))
}

impl TestCluster {
    /// A cluster without a node, with a running operator.
    pub async fn start() -> Self {
        let mut cluster = Self::without_operator().await;
        cluster.start_operator();
        cluster
    }

    /// A cluster without a node, with a running operator that has published the example in the namespace `sales`.
    pub async fn start_with_crm() -> Self {
        let cluster = Self::start().await;
        cluster.crm("sales").await;
        cluster.until_served("sales", &["customer-service-agent", "readonly-dashboard", "reporting-agent"]).await;
        cluster
    }

    /// A cluster without a node, in which no operator runs yet.
    pub async fn without_operator() -> Self {
        Self::on(ControlPlane::start().await.unwrap()).await
    }

    /// Installs the CRDs and the operator's account in a cluster. No operator runs yet.
    pub async fn on(control_plane: ControlPlane) -> Self {
        let (crds, rbac) = (repository("crds"), repository("operator/rbac.yaml"));
        control_plane.kubectl(["apply", "--server-side", "-f", &crds, "-f", &rbac]).unwrap();
        control_plane.kubectl(["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
        // It is served a moment after that is said.
        until(PATIENCE, async || control_plane.kubectl(["get", "mcpservers,mcpclients", "-A"]).map(drop)).await;
        let kubeconfig =
            control_plane.service_account_kubeconfig("portcullis-system", "portcullis-operator").await.unwrap();
        Self { operator: None, control_plane, kubeconfig }
    }

    pub fn start_operator(&mut self) {
        self.start_operator_with(&[]);
    }

    /// Starts an operator with these arguments after `run`. Its port is free unless they name it: tests have operators at the same time.
    pub fn start_operator_with(&mut self, arguments: &[&str]) {
        let listen = if arguments.contains(&"--listen") { &[][..] } else { &["--listen", "127.0.0.1:0"] };
        let arguments = [&["run"], listen, arguments].concat();
        let environment = [("KUBECONFIG", self.kubeconfig.to_str().unwrap())];
        self.operator = Some(Process::start(binary("portcullis-operator").unwrap(), arguments, &environment).unwrap());
    }

    /// Waits until the operator has read every object that it watches.
    pub async fn until_operator_has_read_everything(&self) {
        self.operator.as_ref().unwrap().line("everything was seen", PATIENCE).await.unwrap();
    }

    /// The status and the text of a page of the operator, such as `/metrics`.
    ///
    /// # Errors
    /// Returns an error if there is no answer.
    pub async fn page(&self, path: &str) -> Result<(u16, String), String> {
        let url = format!("http://{}{path}", self.address().await);
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), answer.text().await.map_err(|error| error.to_string())?))
    }

    /// Where the operator serves its pages.
    pub async fn address(&self) -> String {
        let listening = "serving /livez, /readyz and /metrics";
        let line = self.operator.as_ref().unwrap().line(listening, PATIENCE).await.unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        line["address"].as_str().unwrap().to_owned()
    }

    /// Kills the operator with SIGKILL.
    pub async fn kill_operator(&mut self) {
        let mut operator = self.operator.take().unwrap();
        operator.signal(Signal::KILL).unwrap();
        operator.ended(PATIENCE).await.unwrap();
    }

    /// What the operator wrote after `mark`, besides the Lease that it renews all the time.
    pub fn writes(&self, mark: Mark) -> Vec<Write> {
        let mut writes = self.control_plane.audit().writes_since(mark, ACCOUNT).unwrap();
        writes.retain(|write| write.resource != "leases");
        writes
    }

    /// The rights that the operator needed so far.
    pub fn rights(&self) -> Rights {
        self.control_plane.audit().rights(ACCOUNT).unwrap()
    }

    /// Waits until the operator has written nothing for as long as `quiet`. The time itself is the condition: nothing else shows
    /// that no write will follow.
    pub async fn until_quiet(&self, quiet: Duration) {
        until(PATIENCE, async || {
            let mark = self.control_plane.audit().mark().unwrap();
            tokio::time::sleep(quiet).await;
            match self.writes(mark).as_slice() {
                [] => Ok(()),
                writes => Err(format!("the operator still writes: {writes:?}")),
            }
        })
        .await;
    }
}
