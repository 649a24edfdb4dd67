//! A real Kubernetes from the recipe in `cluster/`, for as long as the value lives. Without a node it needs no root, and
//! pods stay Pending; with one it runs them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::TempDir;

use crate::{AuditLog, Error};

/// An API server, its etcd and its controllers, on ports of their own.
pub struct ControlPlane {
    folder: Folder,
    client: Client,
    audit: AuditLog,
}

impl ControlPlane {
    /// Starts API server, etcd and controllers; builds them first where the cache has none, which takes minutes.
    pub async fn start() -> Result<Self, Error> {
        Self::up(&["--control-plane-only"]).await
    }

    /// The same with a node: kubelet, containerd, kube-proxy, DNS. Needs root.
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

    /// A client with the administrator's rights; the audit log calls it `admin`.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Who wrote what.
    pub fn audit(&self) -> &AuditLog {
        &self.audit
    }

    /// The cluster's folder: logs in `log/`, process ids in `run/`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// kubectl as the administrator, to be given arguments.
    pub fn kubectl_command(&self) -> Command {
        // The cluster's own: some machines have another kubectl on PATH.
        let mut command = Command::new("bash");
        command.args(["-c", "source \"$0/env\"; exec kubectl \"$@\""]).arg(self.folder.path());
        command
    }

    /// Runs kubectl as the administrator, and gives what it printed.
    pub fn kubectl<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String, Error> {
        run(self.kubectl_command().args(arguments))
    }

    /// Gives the node an image `name` (such as `localhost/thing:1`) of one static binary.
    pub fn load_image(&self, name: &str, binary: &Path) -> Result<(), Error> {
        run(script("load-image").arg(self.folder.path()).arg(name).arg(binary)).map(drop)
    }

    /// A kubeconfig with the token of a service account, which must exist. What it may do is for RBAC to say; the audit log
    /// calls it `system:serviceaccount:NAMESPACE:NAME`.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str) -> Result<PathBuf, Error> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.map(|status| status.token);
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

/// A cluster's folder; the cluster ends with it.
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

/// Where clusters live: `scripts/with-clusters` names a folder that it clears. Else /tmp, not the test's own temporary
/// folder, which may be deep: sockets in it have at most 107 bytes of path.
fn parent() -> PathBuf {
    std::env::var_os("PORTCULLIS_CLUSTERS").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
}

fn script(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster").join(name))
}

/// Runs a command to its end, and gives what it printed to stdout.
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
