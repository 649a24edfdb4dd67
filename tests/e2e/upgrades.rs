//! What Helm does to a cluster in which servers are called: tests, upgrades, and the end of a release. No call may fail because of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use portcullis_tests::{PATIENCE, expect_eq, repository, until};

use crate::agent::SteadyCaller;
use crate::harness::CrmCluster;
use crate::pods::ServedPod;
use crate::release::{ADDED, NAMESPACE, UPGRADED_TAG, definition};

/// How long the operator must write nothing to count as idle.
const QUIET: Duration = Duration::from_secs(3);
/// What a cluster has in the namespace of the release, and of the names of the release elsewhere, after it was uninstalled.
const LEFT: [&str; 6] = [
    "configmap/kube-root-ca.crt",
    "customresourcedefinition.apiextensions.k8s.io/mcpclients.portcullis.dev",
    "customresourcedefinition.apiextensions.k8s.io/mcpservers.portcullis.dev",
    "lease.coordination.k8s.io/portcullis-operator",
    "namespace/portcullis-system",
    "serviceaccount/default",
];

/// `helm test` passes, and leaves nothing behind.
pub async fn tested(cluster: &CrmCluster) {
    let before = installed(cluster);
    let began = Instant::now();
    cluster.release.test();
    println!("e2e: helm test passed in {:.2} s", began.elapsed().as_secs_f64());
    until(PATIENCE, async || expect_eq(installed(cluster), before.clone())).await;
}

/// The operator's image is replaced, which no server notices, and then the servers' image, whose pods are replaced one after the other.
pub async fn of_images(cluster: &CrmCluster, steady: &SteadyCaller) {
    let (tag, before) = (format!("image.tag={UPGRADED_TAG}"), cluster.pods().await);
    let began = Instant::now();
    cluster.release.upgrade(&["--wait", "--reset-then-reuse-values", "--set", &tag]);
    let upgraded = began.elapsed().as_secs_f64();
    let operator = cluster.operator_pod().await;
    let image = operator.spec.unwrap().containers.remove(0).image.unwrap();
    assert_eq!(image, format!("localhost/portcullis-operator:{UPGRADED_TAG}"));
    cluster.until_synced().await;
    assert_eq!(names(&cluster.pods().await), names(&before));
    steady.assert_none_failed();

    let began = Instant::now();
    cluster.release.upgrade(&["--wait", "--reset-then-reuse-values", "--set", &format!("server.{tag}")]);
    let image = format!("localhost/portcullis-server:{UPGRADED_TAG}");
    until(PATIENCE, async || {
        let images = ["get", "pods", "-n", "sales", "-lapp.kubernetes.io/instance=crm", "-o"];
        let images = cluster.kubectl(&[&images[..], &["jsonpath={.items[*].spec.containers[*].image}"]].concat());
        expect_eq(images.split(' ').collect::<Vec<_>>(), vec![&*image; 2])
    })
    .await;
    cluster.until_synced().await;
    let servers = began.elapsed().as_secs_f64();
    println!(
        "e2e: image of the operator upgraded in {upgraded:.2} s, and that of both pods of the server in {servers:.2} s"
    );
    steady.assert_none_failed();
}

/// A release that is uninstalled leaves what docs/install.md names, and servers serve. Then somebody applies older definitions, and
/// installs an older chart, whose operator says what they lack. An upgrade mends that and takes the same pods over.
pub async fn of_chart(cluster: &CrmCluster) {
    cluster.until_synced().await;
    cluster.until_quiet(QUIET).await;
    let steady = SteadyCaller::start(&cluster.control_plane, "through-upgrades").await;
    let (versions, pods) = (cluster.versions(), cluster.pods().await);
    let began = Instant::now();
    cluster.release.uninstall();
    println!("e2e: release uninstalled in {:.2} s", began.elapsed().as_secs_f64());
    until(PATIENCE, async || expect_eq(installed(cluster), LEFT.map(str::to_owned).into())).await;
    assert_eq!(cluster.versions(), versions);
    assert_eq!(names(&cluster.pods().await), names(&pods));
    steady.assert_none_failed();

    let older = cluster.release.older_definitions();
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", older.to_str().unwrap()]);
    cluster.release.install_older();
    for (resource, property) in ADDED {
        assert_eq!(versions_of(cluster, resource), versions_in(&file_in(&older, resource)));
        let lacking = format!("{resource}.portcullis.dev is older than this operator: it lacks spec.{property}");
        cluster.until_operator_says(&lacking).await;
    }
    let began = Instant::now();
    cluster.release.upgrade(&["--wait", "--set", "crds.upgrade=true"]);
    cluster.operator_pod().await;
    println!("e2e: chart and definitions upgraded, and the operator ready, in {:.2} s", began.elapsed().as_secs_f64());
    for (resource, _) in ADDED {
        assert_eq!(versions_of(cluster, resource), versions_in(&file_in(Path::new(&repository("crds")), resource)));
    }
    cluster.until_synced().await;
    assert_eq!(names(&cluster.pods().await), names(&pods));
    steady.assert_none_failed();
}

fn file_in(folder: &Path, resource: &str) -> PathBuf {
    folder.join(format!("{resource}.yaml"))
}

/// The versions of a resource in its definition in the cluster, as values of their type: a bound may be written `1` or `1.0`.
fn versions_of(cluster: &CrmCluster, resource: &str) -> Vec<CustomResourceDefinitionVersion> {
    let name = format!("{resource}.portcullis.dev");
    let text = cluster.kubectl(&["get", "crd", &name, "-o", "jsonpath={.spec.versions}"]);
    serde_json::from_str(&text).unwrap()
}

fn versions_in(file: &Path) -> Vec<CustomResourceDefinitionVersion> {
    serde_json::from_value(definition(file)["spec"]["versions"].clone()).unwrap()
}

/// What is in the namespace of the release, and what has a name of it elsewhere. Events, and what the controllers make of Services
/// and Deployments, are left out.
fn installed(cluster: &CrmCluster) -> BTreeSet<String> {
    let kinds = "deployments,jobs,pods,services,serviceaccounts,configmaps,secrets,roles,rolebindings,leases,mcpservers,mcpclients";
    let others = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,\
                  validatingwebhookconfigurations,mutatingwebhookconfigurations";
    let namespaced = cluster.kubectl(&["get", kinds, "-n", NAMESPACE, "-o", "name"]);
    let others = cluster.kubectl(&["get", others, "-o", "name"]);
    let others = others.lines().filter(|name| name.contains("portcullis"));
    namespaced.lines().chain(others).map(str::to_owned).collect()
}

fn names(pods: &[ServedPod]) -> Vec<&str> {
    pods.iter().map(|pod| pod.name.as_str()).collect()
}
