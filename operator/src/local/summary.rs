//! `summary.json`, for scripts: where each server listens, and where the clients' credentials are. It exists only while it is
//! true.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use portcullis_crds::NamespacedName;
use serde::Serialize;

use super::{error::Error, state};
use crate::credentials::CredentialKind;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Summary {
    pub servers: Vec<ServerSummary>,
    pub clients: Vec<ClientSummary>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct ServerSummary {
    pub name: String,
    pub namespace: String,
    pub url: String,
    pub admin: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClientSummary {
    pub name: String,
    pub namespace: String,
    /// The file of each of its credentials, by the kind's field: `apiKeyFile`.
    #[serde(flatten)]
    pub files: BTreeMap<String, PathBuf>,
}

/// The file, and what it contains now.
pub(super) struct SummaryFile {
    path: PathBuf,
    written: Option<Summary>,
}

impl ServerSummary {
    pub fn new(server: &NamespacedName, listen: SocketAddr, admin: SocketAddr) -> Self {
        Self {
            name: server.name.clone(),
            namespace: server.namespace.clone(),
            url: format!("{}/mcp", origin(listen)),
            admin: origin(admin),
        }
    }
}

impl ClientSummary {
    pub fn new(client: &NamespacedName, files: impl Iterator<Item = (&'static CredentialKind, PathBuf)>) -> Self {
        let NamespacedName { namespace, name } = client.clone();
        Self { name, namespace, files: files.map(|(kind, file)| (file_field(kind), file)).collect() }
    }

    pub fn file(&self, kind: &CredentialKind) -> Option<&Path> {
        self.files.get(&file_field(kind)).map(PathBuf::as_path)
    }
}

fn file_field(kind: &CredentialKind) -> String {
    format!("{}File", kind.field)
}

/// How this machine reaches a listener: one on all addresses is reached on loopback.
fn origin(mut address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{address}")
}

impl SummaryFile {
    /// Deletes the file of an earlier run.
    pub fn new(path: PathBuf) -> Self {
        let _ = fs::remove_file(&path);
        Self { path, written: None }
    }

    /// # Errors
    /// Returns an error if the file cannot be written.
    pub fn write(&mut self, summary: Summary) -> Result<(), Error> {
        if self.written.as_ref() != Some(&summary) {
            let text = serde_json::to_string_pretty(&summary).expect("a summary must have a JSON form");
            state::write(&self.path, format!("{text}\n").as_bytes())?;
            self.written = Some(summary);
        }
        Ok(())
    }

    pub fn is_written(&self) -> bool {
        self.written.is_some()
    }

    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::credentials::KINDS;

    #[test]
    fn a_summary_names_the_address_of_each_server_and_the_file_of_each_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary.json");
        fs::write(&path, "left over").unwrap();
        let mut file = SummaryFile::new(path.clone());
        assert!(!path.exists());
        let server = NamespacedName { namespace: "sales".into(), name: "crm".into() };
        let listen = "0.0.0.0:3000".parse().unwrap();
        let admin = "[::1]:9090".parse().unwrap();
        let client = ClientSummary::new(
            &NamespacedName::new("sales", "bot"),
            [(&KINDS[0], "/state/keys/bot.key".into())].into_iter(),
        );
        let summary = Summary { servers: vec![ServerSummary::new(&server, listen, admin)], clients: vec![client] };
        file.write(summary).unwrap();
        let written: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(
            written,
            json!({
                "servers": [{"name": "crm", "namespace": "sales", "url": "http://127.0.0.1:3000/mcp", "admin": "http://[::1]:9090"}],
                "clients": [{"name": "bot", "namespace": "sales", "apiKeyFile": "/state/keys/bot.key"}],
            })
        );
        file.remove();
        assert!(!path.exists());
    }
}
