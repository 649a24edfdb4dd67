//! A control plane starts without root, and its audit log shows who wrote what.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::{Client, Config};
use portcullis_tests::{ControlPlane, PATIENCE, Write, expect_eq, until};

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn write(verb: &str, resource: &str, namespace: &str, name: &str, code: u16) -> Write {
    let [verb, resource, namespace, name] = [verb, resource, namespace, name].map(str::to_owned);
    Write { verb, resource, namespace, name, code }
}

#[tokio::test]
async fn the_audit_log_shows_exactly_what_each_user_wrote() {
    let cluster = ControlPlane::start().await.unwrap();
    let (audit, client) = (cluster.audit(), cluster.client());
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let start = audit.mark().unwrap();

    namespaces
        .create(&PostParams::default(), &Namespace { metadata: named("sales"), ..Namespace::default() })
        .await
        .unwrap();
    namespaces.get("sales").await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client, "sales");
    let account = ServiceAccount { metadata: named("agent"), ..ServiceAccount::default() };
    accounts.create(&PostParams::default(), &account).await.unwrap();

    let kubeconfig = cluster.service_account_kubeconfig("sales", "agent").await.unwrap();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    let agent: Api<ServiceAccount> = Api::namespaced(Client::try_from(config).unwrap(), "sales");
    let refused = agent.delete("agent", &DeleteParams::default()).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 403));

    let by_admin =
        [write("create", "namespaces", "", "sales", 201), write("create", "serviceaccounts", "sales", "agent", 201)];
    let by_agent = [write("delete", "serviceaccounts", "sales", "agent", 403)];
    until(PATIENCE, async || {
        let writes = |user| audit.writes_since(start, user).map_err(|error| error.to_string());
        expect_eq(&writes("admin")?[..], &by_admin)?;
        expect_eq(&writes("system:serviceaccount:sales:agent")?[..], &by_agent)
    })
    .await;
    let kubectl = cluster.kubectl(["get", "namespace", "sales", "-o", "name"]).unwrap();
    assert_eq!(kubectl, "namespace/sales\n");
}
