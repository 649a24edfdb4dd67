//! What is wrong while access is revoked, and how it is brought about on a real cluster.

use std::fmt;
use std::net::TcpListener;

use portcullis_tests::repository;
use serde_json::{Value, json};

use crate::harness::CrmCluster;
use crate::release::{UPGRADED_TAG, VERSION};

/// How many clients of another namespace wait for their Secrets.
const WAITING: usize = 200;

/// What is wrong while access is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    NamespaceHangs,
    ServerRefused,
    ClientUndecodable,
    SecretsUnreadable,
    SecretsUnreadableAtStart,
    PolicyImmutable,
    PolicyRelabelled,
    OperatorRestarted,
    OperatorUpgraded,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "nothing wrong",
            Self::NamespaceHangs => "a hanging webhook in another namespace",
            Self::ServerRefused => "a refused spec of the server",
            Self::ClientUndecodable => "a spec of the client that cannot be decoded",
            Self::SecretsUnreadable => "unreadable Secrets",
            Self::SecretsUnreadableAtStart => "unreadable Secrets at the start of the operator",
            Self::PolicyImmutable => "an immutable ConfigMap",
            Self::PolicyRelabelled => "a relabelled ConfigMap",
            Self::OperatorRestarted => "a restart of the operator",
            Self::OperatorUpgraded => "an upgrade of the operator and of the servers",
        })
    }
}

/// A fault that lasts.
pub struct Broken {
    fault: Fault,
    /// Whether the images have another tag than before.
    is_upgraded: bool,
    /// What keeps the API server waiting for a webhook.
    _webhook: Option<TcpListener>,
}

impl Fault {
    pub const ALL: [Self; 10] = [
        Self::Nothing,
        Self::NamespaceHangs,
        Self::ServerRefused,
        Self::ClientUndecodable,
        Self::SecretsUnreadable,
        Self::SecretsUnreadableAtStart,
        Self::PolicyImmutable,
        Self::PolicyRelabelled,
        Self::OperatorRestarted,
        Self::OperatorUpgraded,
    ];

    /// Brings it about.
    pub async fn begin(self, cluster: &CrmCluster) -> Broken {
        let mut webhook = None;
        match self {
            Self::NamespaceHangs => webhook = Some(hang(cluster).await),
            Self::ServerRefused => set_path(cluster, "/contacts/{undeclared}"),
            Self::ClientUndecodable => admit_any_client(cluster),
            Self::SecretsUnreadable | Self::SecretsUnreadableAtStart => set_right(cluster, false),
            Self::Nothing
            | Self::PolicyImmutable
            | Self::PolicyRelabelled
            | Self::OperatorRestarted
            | Self::OperatorUpgraded => {}
        }
        Broken { fault: self, is_upgraded: false, _webhook: webhook }
    }

    /// Adds what cannot be decoded to the patch of a client's spec.
    pub fn spoil(self, patch: &mut Value) {
        if self != Self::ClientUndecodable {
            return;
        }
        patch["later"] = json!({"x": 1});
        match patch["access"].as_array_mut() {
            Some(access) => access.push(json!({"serverRef": 7})),
            None => patch["access"] = json!("all"),
        }
    }
}

impl Broken {
    /// Brings about what has to be wrong anew at each revocation.
    pub async fn again(&mut self, cluster: &CrmCluster) {
        match self.fault {
            Fault::PolicyImmutable => {
                let policy = cluster.document("configmap");
                cluster.kubectl(&["patch", "configmap", &policy, "-n", "sales", "-p", r#"{"immutable":true}"#]);
            }
            Fault::PolicyRelabelled => {
                let label = "app.kubernetes.io/instance=another";
                let policy = cluster.document("configmap");
                cluster.kubectl(&["label", "configmap", &policy, "-n", "sales", "--overwrite", label]);
            }
            // Without the right it is not ready.
            Fault::SecretsUnreadableAtStart => cluster.replace_operator(),
            Fault::OperatorRestarted => {
                cluster.operator_pod().await;
                cluster.replace_operator();
            }
            Fault::OperatorUpgraded => {
                self.is_upgraded = !self.is_upgraded;
                let tag = if self.is_upgraded { VERSION } else { UPGRADED_TAG };
                let (operator, server) = (format!("image.tag={tag}"), format!("server.image.tag={tag}"));
                cluster.release.upgrade(&["--reset-then-reuse-values", "--set", &operator, "--set", &server]);
            }
            _ => {}
        }
    }

    /// Ends it.
    pub async fn end(self, cluster: &CrmCluster) {
        match self.fault {
            Fault::NamespaceHangs => {
                cluster.kubectl(&["delete", "validatingwebhookconfiguration", "hang"]);
                cluster.kubectl(&["delete", "namespace", "noisy", "--wait=false"]);
            }
            Fault::ServerRefused => set_path(cluster, "/contacts"),
            Fault::ClientUndecodable => {
                // While they are admitted: the status of what the schema refuses cannot be written.
                let clients = cluster.kubectl(&["get", "mcpclients", "-n", "sales", "-o", "name"]);
                for client in clients.lines().filter(|name| name.contains("/clientundecodable-")) {
                    cluster.kubectl(&["delete", "-n", "sales", client]);
                }
                let schema = repository("crds/mcpclients.yaml");
                cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &schema]);
            }
            Fault::SecretsUnreadable | Fault::SecretsUnreadableAtStart => set_right(cluster, true),
            Fault::Nothing
            | Fault::PolicyImmutable
            | Fault::PolicyRelabelled
            | Fault::OperatorRestarted
            | Fault::OperatorUpgraded => {}
        }
    }
}

/// Makes every creation of a Secret in a namespace `noisy` wait for a webhook that never answers, and creates clients there.
async fn hang(cluster: &CrmCluster) -> TcpListener {
    let webhook = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", webhook.local_addr().unwrap());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "noisy"}});
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hang"},
        "webhooks": [{
            "name": "hang.example.com", "clientConfig": {"url": url}, "failurePolicy": "Ignore", "timeoutSeconds": 9,
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "noisy"}},
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    });
    let client = |n| {
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient",
            "metadata": {"name": format!("waiting-{n}"), "namespace": "noisy"},
            "spec": {"access": [], "credentials": {"apiKey": {"secretName": format!("waiting-{n}-key")}}},
        })
    };
    for items in [vec![namespace, configuration], (0..WAITING).map(client).collect()] {
        cluster.apply_in_background(&json!({"apiVersion": "v1", "kind": "List", "items": items})).await.unwrap();
    }
    webhook
}

/// Changes the path of the first tool, which is an error of the server's spec if it has an undeclared argument.
fn set_path(cluster: &CrmCluster, path: &str) {
    let patch = json!([{"op": "replace", "path": "/spec/tools/0/http/path", "value": path}]).to_string();
    cluster.kubectl(&["patch", "mcpserver", "crm", "-n", "sales", "--type=json", "-p", &patch]);
}

/// Removes the schema of the spec of clients, so that the API server admits what the operator cannot decode.
fn admit_any_client(cluster: &CrmCluster) {
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let patch = json!([{"op": "replace", "path": path, "value": any}]).to_string();
    cluster.kubectl(&["patch", "crd", "mcpclients.portcullis.dev", "--type=json", "-p", &patch]);
}

/// Gives the operator the right to read Secrets, or takes it away.
fn set_right(cluster: &CrmCluster, may_read: bool) {
    let roles = cluster.kubectl(&["get", "clusterrole", "portcullis-operator", "-o", "json"]);
    let role: Value = serde_json::from_str(&roles).unwrap();
    let rules = role["rules"].as_array().unwrap();
    let secrets = rules.iter().position(|rule| rule["resources"] == json!(["secrets"])).unwrap();
    let verbs = rules[secrets]["verbs"].as_array().unwrap().iter().filter(|verb| *verb != "get");
    let get = json!("get");
    // In the order of the chart: an upgrade is refused if somebody has another list.
    let verbs: Vec<_> = may_read.then_some(&get).into_iter().chain(verbs).collect();
    let patch = json!([{"op": "replace", "path": format!("/rules/{secrets}/verbs"), "value": verbs}]).to_string();
    cluster.kubectl(&["patch", "clusterrole", "portcullis-operator", "--type=json", "-p", &patch]);
}
