//! A cluster without any address of IPv4: the API server, the Service, the pods and the probes of the operator itself have IPv6.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use portcullis_crds::McpClient;
use portcullis_tests::network::{self, HOSTS};
use portcullis_tests::{ControlPlane, PATIENCE, TestCluster, binary, expect_eq, until};
use serde_json::json;

use crate::kubelet::Kubelet;

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_asked_and_found_current_where_there_is_no_ipv4() {
    binary("portcullis-operator").unwrap();
    if !network::is_ipv6_only("ipv6::pods_are_asked_and_found_current_where_there_is_no_ipv4").unwrap() {
        return;
    }
    let mut cluster = TestCluster::on(ControlPlane::start_with_ipv6_only().await.unwrap()).await;
    // As in a pod, but for the port.
    cluster.start_operator_with(&["--listen", "[::]:0", "--cluster-domain", "k8s.example"]);
    cluster.crm("sales").await;
    let clients = ["customer-service-agent", "readonly-dashboard", "reporting-agent"];
    cluster.until_served("sales", &clients).await;

    let service = cluster.api::<Service>("sales").get("crm").await.unwrap().spec.unwrap();
    assert_eq!(
        (service.ip_families, service.ip_family_policy),
        (Some(vec!["IPv6".into()]), Some("SingleStack".into()))
    );
    let deployment = cluster.api::<Deployment>("sales").get("crm").await.unwrap().spec.unwrap();
    let arguments = deployment.template.spec.unwrap().containers.remove(0).args.unwrap();
    assert!(
        ["[::]:3000", "[::]:9090"].iter().all(|it| arguments.iter().any(|argument| argument == it)),
        "{arguments:?}"
    );
    let policy = cluster.policy("sales").await.unwrap();
    let hosts = policy.server.unwrap().readable.server.hosts.clone();
    assert_eq!(hosts, ["crm", "crm.sales", "crm.sales.svc", "crm.sales.svc.k8s.example"]);

    let pods = [HOSTS[0], HOSTS[1]].map(|host| host.parse().unwrap());
    let kubelet = Kubelet::start_at(&cluster, "sales", &pods).await;
    cluster.until_server_condition("sales", "Ready", "True/Available").await;
    cluster.patch::<McpClient>("sales", "reporting-agent", json!({"spec": {"suspended": true}})).await;
    until(PATIENCE, async || {
        kubelet.sync(&cluster, "sales").await;
        let status =
            cluster.api::<McpClient>("sales").get("reporting-agent").await.map_err(|error| error.to_string())?;
        let mut reasons =
            status.status.into_iter().flat_map(|it| it.conditions).map(|it| format!("{}={}", it.type_, it.reason));
        expect_eq(reasons.find(|it| it.starts_with("Ready=")), Some("Ready=Suspended".to_owned()))
    })
    .await;
    cluster.until_server_condition("sales", "PolicySynced", "True/Synced").await;
    assert_eq!(cluster.page("/readyz").await.unwrap().0, 200);
}
