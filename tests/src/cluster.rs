//! A real Kubernetes cluster from the recipe in `tests/cluster`, for as long as the value lives. Without a node it needs no
//! root, and pods stay pending; with a node it runs them.

mod audit_log;
mod objects;
mod operator;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;

pub use audit_log::{AuditLog, Mark, Right, Rights, Write};
pub use objects::condition;
pub use operator::{TestCluster, repository};

use crate::{Error, process::last_lines};

/// An API server with its etcd and controllers, on ports of their own.
pub struct ControlPlane {
    folder: Folder,
    client: Client,
    audit: AuditLog,
}

/// What a failing test shows of its cluster: the states, and then who did what about them.
const SHOWN_ON_FAILURE: [&str; 2] = [
    "get mcpservers,mcpclients,deployments,pods --all-namespaces --output=wide",
    "get events --all-namespaces --sort-by=.metadata.creationTimestamp",
];

impl ControlPlane {
    /// Starts API server, etcd and controllers. If the cache does not hold them, they are built first, which takes minutes.
    ///
    /// # Errors
    /// Returns an error if one of them does not start.
    pub async fn start() -> Result<Self, Error> {
        Self::up(&["--control-plane-only"]).await
    }

    /// The same where there is no IPv4.
    ///
    /// # Errors
    /// Returns an error if one of them does not start.
    pub async fn start_with_ipv6_only() -> Result<Self, Error> {
        Self::up(&["--control-plane-only", "--ipv6"]).await
    }

    /// The same with a node: kubelet, containerd, kube-proxy, DNS. Needs root.
    ///
    /// # Errors
    /// Returns an error if one of them does not start.
    pub async fn start_with_node() -> Result<Self, Error> {
        Self::up(&[]).await
    }

    async fn up(options: &[&str]) -> Result<Self, Error> {
        let made = tempfile::Builder::new().prefix("pc-").tempdir_in(parent());
        let folder = Folder(made.map_err(Error::io("making a folder for a cluster"))?);
        run(script("up").args(options).arg(folder.path()))?;
        let client = client(&folder.path().join("kubeconfig")).await?;
        let audit = AuditLog::new(folder.path().join("log/audit.log"));
        Ok(Self { folder, client, audit })
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// A client with the administrator's rights. In the audit log it is `admin`.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The API server's audit log.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// The cluster's folder: logs in `log/`, process ids in `run/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// kubectl as the administrator, without arguments.
    pub fn kubectl_command(&self) -> Command {
        // The cluster's own kubectl: some machines have another version on PATH.
        let mut command = Command::new("bash");
        command.args(["-c", "source \"$0/env\"; exec kubectl \"$@\""]).arg(self.folder.path());
        command
    }

    /// Runs kubectl as the administrator, and returns what it printed.
    ///
    /// # Errors
    /// Returns an error with its output if it fails.
    pub fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String, Error> {
        run(self.kubectl_command().args(arguments))
    }

    /// Loads an archive that `make images` wrote into the node, and gives its image another name too.
    ///
    /// # Errors
    /// Returns an error if the node does not accept it.
    pub fn load_archive(&self, archive: &Path, another_name: Option<&str>) -> Result<(), Error> {
        run(script("load-image").arg(self.folder.path()).arg(archive).args(another_name)).map(drop)
    }

    /// A kubeconfig with the token of a service account, which must exist and has the rights that RBAC grants it. In the audit
    /// log it is `system:serviceaccount:NAMESPACE:NAME`.
    ///
    /// # Errors
    /// Returns an error if there is no such account.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let created = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = created.status.map(|status| status.token);
        let mut config = Kubeconfig::read_from(self.kubeconfig())?;
        for user in &mut config.auth_infos {
            user.auth_info =
                Some(kube::config::AuthInfo { token: token.clone().map(Into::into), ..Default::default() });
        }
        let path = self.folder.path().join(format!("{namespace}-{name}.kubeconfig"));
        let text = serde_json::to_string(&config).map_err(|error| Error::io("writing a kubeconfig")(error.into()))?;
        std::fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
        Ok(path)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for arguments in SHOWN_ON_FAILURE {
            let shown = self.kubectl(arguments.split(' ').chain(["--request-timeout=10s"]));
            let shown = shown.unwrap_or_else(|error| error.to_string());
            eprintln!("--- the last lines of kubectl {arguments}:\n{}", last_lines(&shown));
        }
    }
}

/// A cluster's folder. The cluster ends with the value.
struct Folder(TempDir);

impl Folder {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = run(script("down").arg(self.path())) {
            eprintln!("{error}");
        }
    }
}

async fn client(kubeconfig: &Path) -> Result<Client, Error> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The parent of all clusters' folders: the one that `scripts/with-clusters` names and removes, or /tmp. Not the temporary folder
/// of the environment, whose path may be long: the path of a socket has at most 107 bytes.
fn parent() -> PathBuf {
    std::env::var_os("PORTCULLIS_CLUSTERS").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(name))
}

/// Runs a command to its end, and returns its stdout.
fn run(command: &mut Command) -> Result<String, Error> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(Error::io(shown.clone()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let output_text = stdout + &String::from_utf8_lossy(&output.stderr);
    Err(Error::Command { command: shown, status: output.status, output: output_text })
}
