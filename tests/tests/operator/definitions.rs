//! `crds apply` on a real API server, with the rights that the chart gives its Job: whatever definitions the cluster has, they become
//! those of this release, or it is said why not.

use std::process::Output;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use portcullis_crds::manifest;
use portcullis_tests::{ControlPlane, PATIENCE, binary, repository, until};
use serde_json::{Value, json};

const SERVERS: &str = "mcpservers.portcullis.dev";
const CLIENTS: &str = "mcpclients.portcullis.dev";
/// The account of the Job, and what is granted to it.
const ACCOUNT: &str = "portcullis-operator-crds";

/// A cluster without definitions, and the account of the Job.
struct Cluster {
    control_plane: ControlPlane,
    definitions: Api<CustomResourceDefinition>,
    kubeconfig: String,
}

impl Cluster {
    async fn start() -> Self {
        let control_plane = ControlPlane::start().await.unwrap();
        let client = control_plane.client();
        let parameters = PostParams::default();
        let account = json!({"metadata": {"name": ACCOUNT}});
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        accounts.create(&parameters, &serde_json::from_value(account.clone()).unwrap()).await.unwrap();
        let text = std::fs::read_to_string(repository("charts/portcullis/files/rules.yaml")).unwrap();
        let rules: Value = serde_yaml::from_str(&text).unwrap();
        let rules: Vec<PolicyRule> = serde_json::from_value(rules["crds"].clone()).unwrap();
        let roles: Api<ClusterRole> = Api::all(client.clone());
        let role = json!({"metadata": {"name": ACCOUNT}, "rules": rules});
        roles.create(&parameters, &serde_json::from_value(role).unwrap()).await.unwrap();
        let binding = json!({
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": "default"}],
        });
        let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
        bindings.create(&parameters, &serde_json::from_value(binding).unwrap()).await.unwrap();
        let kubeconfig = control_plane.service_account_kubeconfig("default", ACCOUNT).await.unwrap();
        let kubeconfig = kubeconfig.to_str().unwrap().to_owned();
        Self { control_plane, definitions: Api::all(client), kubeconfig }
    }

    /// Runs `crds apply` to its end.
    async fn apply(&self) -> Output {
        let mut command = tokio::process::Command::new(binary("portcullis-operator").unwrap());
        command.args(["crds", "apply"]).env("KUBECONFIG", &self.kubeconfig).output().await.unwrap()
    }

    /// The lines that it prints if it succeeds.
    async fn applied(&self) -> [String; 2] {
        let output = self.apply().await;
        assert!(output.status.success(), "{output:?}");
        let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.try_into().unwrap()
    }

    /// What it says if it fails.
    async fn refused(&self) -> String {
        let output = self.apply().await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    async fn patch(&self, name: &str, patch: Value) {
        self.definitions.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    async fn get(&self, name: &str) -> CustomResourceDefinition {
        self.definitions.get(name).await.unwrap()
    }

    /// Whether both have the schemas of this release.
    async fn assert_current(&self) {
        for (_, definition) in manifest::all() {
            let live = self.get(definition.metadata.name.as_deref().unwrap()).await;
            assert_eq!(live.spec.versions, definition.spec.versions);
        }
    }
}

fn said(name: &str, what: &str) -> String {
    format!("CustomResourceDefinition {name}: {what}")
}

const CREATED: &str = "created";
const REPLACED: &str = "replaced, because it was not that of this release";
const UNCHANGED: &str = "is that of this release";

#[tokio::test]
async fn definitions_become_those_of_this_release_whoever_wrote_them() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.applied().await, [said(CLIENTS, CREATED), said(SERVERS, CREATED)]);
    cluster.assert_current().await;

    let before = [cluster.get(CLIENTS).await, cluster.get(SERVERS).await];
    assert_eq!(cluster.applied().await, [said(CLIENTS, UNCHANGED), said(SERVERS, UNCHANGED)]);
    assert_eq!([cluster.get(CLIENTS).await, cluster.get(SERVERS).await], before, "nothing is written");

    // An older release: a field is missing, and one exists that there is no longer. The annotation is somebody's.
    let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let older = json!([
        {"op": "remove", "path": format!("{spec}/replicas")},
        {"op": "add", "path": format!("{spec}/gone"), "value": {"type": "string"}},
        {"op": "add", "path": "/metadata/annotations", "value": {"example.com/owner": "platform"}},
    ]);
    let older: Patch<()> = Patch::Json(serde_json::from_value(older).unwrap());
    cluster.definitions.patch(SERVERS, &PatchParams::default(), &older).await.unwrap();
    assert_eq!(cluster.applied().await, [said(CLIENTS, UNCHANGED), said(SERVERS, REPLACED)]);
    cluster.assert_current().await;
    assert_eq!(cluster.get(SERVERS).await.metadata.annotations.unwrap()["example.com/owner"], "platform");

    // Those of kubectl, which owns the fields that it applied: of this release, and of another.
    for name in [CLIENTS, SERVERS] {
        cluster.definitions.delete(name, &DeleteParams::default()).await.unwrap();
        until(PATIENCE, async || match cluster.definitions.get_opt(name).await.unwrap() {
            None => Ok(()),
            Some(_) => Err("it is still there".to_owned()),
        })
        .await;
    }
    let kubectl = ["apply", "--server-side", "-f"];
    cluster.control_plane.kubectl([&kubectl[..], &[&repository("crds")]].concat()).unwrap();
    assert_eq!(cluster.applied().await, [said(CLIENTS, UNCHANGED), said(SERVERS, UNCHANGED)]);
    let text = std::fs::read_to_string(repository("crds/mcpservers.yaml")).unwrap();
    let other = text.replace("replicas:\n", "instances:\n").replace(".spec.replicas", ".spec.instances");
    assert_ne!(other, text);
    let file = cluster.control_plane.folder().join("other.yaml");
    std::fs::write(&file, other).unwrap();
    cluster.control_plane.kubectl([&kubectl[..], &[file.to_str().unwrap()]].concat()).unwrap();
    assert_eq!(cluster.applied().await, [said(CLIENTS, UNCHANGED), said(SERVERS, REPLACED)]);
    cluster.assert_current().await;
    // What kubectl applies from now on is no conflict, because it is the same.
    cluster.control_plane.kubectl([&kubectl[..], &[&repository("crds")]].concat()).unwrap();
}

#[tokio::test]
async fn a_definition_that_others_change_meanwhile_is_replaced_and_keeps_their_metadata() {
    let cluster = Cluster::start().await;
    cluster.applied().await;
    let categories = json!({"spec": {"names": {"categories": ["others"]}}});
    for round in 0..5 {
        cluster.patch(SERVERS, categories.clone()).await;
        let changes = async {
            for change in 0..40 {
                let count = format!("{round}.{change}");
                cluster.patch(SERVERS, json!({"metadata": {"annotations": {"example.com/count": count}}})).await;
            }
        };
        let (first, second, ()) = tokio::join!(cluster.apply(), cluster.apply(), changes);
        assert!(first.status.success() && second.status.success(), "{first:?} {second:?}");
        let live = cluster.get(SERVERS).await;
        assert_eq!(live.metadata.annotations.unwrap()["example.com/count"], format!("{round}.39"));
        cluster.assert_current().await;
        assert_ne!(live.spec.names.categories.unwrap_or_default(), ["others"]);
    }
}

#[tokio::test]
async fn a_definition_is_left_alone_that_is_somebody_elses_or_stores_what_this_release_cannot_read() {
    let cluster = Cluster::start().await;
    cluster.applied().await;
    let owned = json!({
        "metadata": {"annotations": {"meta.helm.sh/release-name": "platform"}},
        "spec": {"names": {"categories": ["others"]}},
    });
    cluster.patch(CLIENTS, owned).await;
    // The API server writes the status of what was patched whenever it comes to it.
    let before = cluster.get(CLIENTS).await.spec;
    let said = cluster.refused().await;
    assert!(said.contains(&format!("{CLIENTS} belongs to the templates of the Helm release platform")), "{said}");
    assert_eq!(cluster.get(CLIENTS).await.spec, before);
    cluster.patch(CLIENTS, json!({"metadata": {"annotations": {"meta.helm.sh/release-name": null}}})).await;

    let status = json!({"status": {"storedVersions": ["v1alpha1", "v1beta1"]}});
    let served = cluster.get(CLIENTS).await.spec.versions[0].clone();
    let mut next = serde_json::to_value(&served).unwrap();
    next["name"] = "v1beta1".into();
    next["storage"] = false.into();
    cluster.patch(CLIENTS, json!({"spec": {"versions": [served, next]}})).await;
    cluster.definitions.patch_status(CLIENTS, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let said = cluster.refused().await;
    assert!(said.contains(&format!("{CLIENTS} has objects that are stored as v1beta1")), "{said}");

    // Without the right to replace it, the words of the API server are what is said.
    let roles: Api<ClusterRole> = Api::all(cluster.control_plane.client());
    roles.patch(ACCOUNT, &PatchParams::default(), &Patch::Merge(json!({"rules": []}))).await.unwrap();
    until(PATIENCE, async || {
        let said = cluster.refused().await;
        let words = format!("reading CustomResourceDefinition {CLIENTS}: customresourcedefinitions");
        if said.contains(&words) { Ok(()) } else { Err(said) }
    })
    .await;
}
