//! What others add to the objects of a server: privileges are removed again, and what a platform rightly adds stays.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use portcullis_crds::McpServer;
use portcullis_tests::{PATIENCE, PROMPTLY, TestCluster, condition, expect_eq, until};
use serde_json::{Value, json};

/// The part of an object that is the operator's.
async fn part(cluster: &TestCluster, namespace: &str, kind: &str) -> Value {
    match kind {
        "Deployment" => {
            let spec = cluster.api::<Deployment>(namespace).get("crm").await.unwrap().spec;
            json!(spec.map(|spec| spec.template))
        }
        "Service" => json!(cluster.api::<Service>(namespace).get("crm").await.unwrap().spec),
        _ => json!(cluster.api::<ServiceAccount>(namespace).get("crm").await.unwrap().metadata.annotations),
    }
}

async fn patch(cluster: &TestCluster, namespace: &str, kind: &str, patch: &Patch<Value>, manager: &str) {
    let parameters = PatchParams {
        field_manager: Some(manager.to_owned()),
        force: matches!(patch, Patch::Apply(_)),
        ..PatchParams::default()
    };
    let patched = match kind {
        "Deployment" => cluster.api::<Deployment>(namespace).patch("crm", &parameters, patch).await.map(drop),
        "Service" => cluster.api::<Service>(namespace).patch("crm", &parameters, patch).await.map(drop),
        _ => cluster.api::<ServiceAccount>(namespace).patch("crm", &parameters, patch).await.map(drop),
    };
    patched.unwrap_or_else(|error| panic!("{patch:?}: {error}"));
}

fn pod(spec: Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

fn container(fields: Value) -> Value {
    let mut container = json!({"name": "server"});
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    pod(json!({"containers": [container]}))
}

async fn said(cluster: &TestCluster, namespace: &str, reason: &str) -> Vec<String> {
    let events = cluster.api::<Event>(namespace).list(&ListParams::default()).await.unwrap().items;
    let of_reason = events.into_iter().filter(|event| event.reason.as_deref() == Some(reason));
    of_reason.filter_map(|event| event.note).collect()
}

/// What is added, and the first field that the event names.
fn privileges() -> Vec<(&'static str, Value, &'static str)> {
    let sidecar = json!({"name": "evil", "image": "evil"});
    let host = json!({"name": "host", "hostPath": {"path": "/"}});
    let exec = json!({"exec": {"command": ["sh"]}});
    vec![
        ("Deployment", pod(json!({"hostNetwork": true})), "hostNetwork"),
        ("Deployment", pod(json!({"hostPID": true, "hostIPC": true})), "hostIPC"),
        ("Deployment", pod(json!({"shareProcessNamespace": true})), "shareProcessNamespace"),
        ("Deployment", pod(json!({"hostAliases": [{"ip": "6.6.6.6", "hostnames": ["crm"]}]})), "hostAliases"),
        ("Deployment", pod(json!({"dnsConfig": {"nameservers": ["6.6.6.6"]}})), "dnsConfig"),
        ("Deployment", pod(json!({"containers": [sidecar]})), "containers[evil]"),
        ("Deployment", pod(json!({"initContainers": [sidecar]})), "initContainers"),
        ("Deployment", pod(json!({"volumes": [host]})), "volumes[host]"),
        (
            "Deployment",
            pod(json!({"securityContext": {"sysctls": [{"name": "net.a", "value": "1"}]}})),
            "securityContext.sysctls",
        ),
        ("Deployment", container(json!({"command": ["sh"]})), "containers[server].command"),
        (
            "Deployment",
            container(json!({"env": [{"name": "LD_PRELOAD", "value": "/x"}]})),
            "containers[server].env[LD_PRELOAD]",
        ),
        ("Deployment", container(json!({"envFrom": [{"secretRef": {"name": "x"}}]})), "containers[server].envFrom"),
        ("Deployment", container(json!({"lifecycle": {"postStart": exec}})), "containers[server].lifecycle"),
        (
            "Deployment",
            container(json!({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}})),
            "containers[server].securityContext.capabilities.add",
        ),
        (
            "Deployment",
            container(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": true}})),
            "containers[server].securityContext.privileged",
        ),
        ("Deployment", json!({"spec": {"template": {"metadata": {"finalizers": ["example.com/hold"]}}}}), "finalizers"),
        (
            "Deployment",
            json!({"spec": {"template": {"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/server": "unconfined"}}}}}),
            "annotations.container.apparmor.security.beta.kubernetes.io/server",
        ),
        ("Service", json!({"spec": {"externalIPs": ["6.6.6.6"]}}), "externalIPs"),
        ("Service", json!({"spec": {"publishNotReadyAddresses": true}}), "publishNotReadyAddresses"),
        (
            "Service",
            json!({"spec": {"ports": [{"name": "admin", "port": 9090, "targetPort": "admin"}]}}),
            "ports[admin]",
        ),
        ("Service", json!({"spec": {"type": "LoadBalancer"}}), "allocateLoadBalancerNodePorts"),
        ("Service", json!({"spec": {"type": "NodePort"}}), "externalTrafficPolicy"),
        ("Service", json!({"spec": {"selector": {"example.com/x": "y"}}}), "selector.example.com/x"),
        (
            "ServiceAccount",
            json!({"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}}}),
            "metadata.annotations.eks.amazonaws.com/role-arn",
        ),
    ]
}

#[tokio::test]
async fn a_privilege_that_another_party_adds_is_removed_and_it_is_said_who_added_what() {
    let cluster = TestCluster::start().await;
    // One object is put back so often in a row, and then after a pause.
    for (n, privileges) in privileges().chunks(8).enumerate() {
        let namespace = format!("sales-{n}");
        let namespace = namespace.as_str();
        cluster.crm(namespace).await;
        cluster.until_server_condition(namespace, "Accepted", "True/Valid").await;
        for (kind, addition, field) in privileges {
            let before = part(&cluster, namespace, kind).await;
            patch(&cluster, namespace, kind, &Patch::Strategic(addition.clone()), "intruder").await;
            until(PROMPTLY, async || {
                let now = part(&cluster, namespace, kind).await;
                expect_eq(now, before.clone()).map_err(|error| format!("{field}: {error}"))
            })
            .await;
            until(PATIENCE, async || {
                let said = said(&cluster, namespace, "DriftCorrected").await;
                let is_it = |note: &String| {
                    note.starts_with(&format!("Put back {kind} crm: "))
                        && note.contains(field)
                        && note.ends_with(" (changed by intruder)")
                };
                if said.iter().any(is_it) { Ok(()) } else { Err(format!("{field}: {said:?}")) }
            })
            .await;
        }
    }
}

#[tokio::test]
async fn what_a_platform_rightly_adds_stays_also_when_something_else_is_removed() {
    let cluster = TestCluster::start_with_crm().await;
    cluster.until_quiet(Duration::from_secs(3)).await;
    let allowed = json!({"metadata": {"annotations": {"team": "x"}, "labels": {"team": "x"}}, "spec": {"template": {
        "metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"}, "labels": {"cost": "1"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "mirror"}],
            "priorityClassName": "system-cluster-critical",
            "hostUsers": false,
            "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
            "containers": [{"name": "server", "resources": {"limits": {"cpu": "2"}}}],
        },
    }}});
    patch(&cluster, "sales", "Deployment", &Patch::Strategic(allowed), "platform").await;
    let service =
        json!({"metadata": {"annotations": {"mesh": "on"}}, "spec": {"trafficDistribution": "PreferSameZone"}});
    patch(&cluster, "sales", "Service", &Patch::Strategic(service), "platform").await;
    let account = json!({"metadata": {"annotations": {"team": "x"}}, "imagePullSecrets": [{"name": "mirror"}]});
    patch(&cluster, "sales", "ServiceAccount", &Patch::Merge(account), "platform").await;
    let mark = cluster.control_plane.audit().mark().unwrap();
    let (deployment, service) = (part(&cluster, "sales", "Deployment").await, part(&cluster, "sales", "Service").await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let written = cluster.writes(mark).into_iter().filter(|write| !write.resource.ends_with("/status"));
    assert_eq!(written.collect::<Vec<_>>(), []);

    let applied = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "crm"}, "spec": {"template": {"spec": {
        "shareProcessNamespace": true, "containers": [{"name": "evil", "image": "evil"}],
    }}}});
    patch(&cluster, "sales", "Deployment", &Patch::Apply(applied), "intruder").await;
    let service_changed = json!({"spec": {"externalIPs": ["6.6.6.6"]}});
    patch(&cluster, "sales", "Service", &Patch::Merge(service_changed), "intruder").await;
    until(PROMPTLY, async || {
        expect_eq(part(&cluster, "sales", "Deployment").await, deployment.clone())?;
        expect_eq(part(&cluster, "sales", "Service").await, service.clone())
    })
    .await;
}

/// Makes every write of a Deployment one that uses the node's network.
const WEBHOOK: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: host}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: 'Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{hostNetwork: true}}}}'
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: host}
spec: {policyName: host}
"#;

async fn stalled(cluster: &TestCluster) -> Result<(String, String), String> {
    let server = cluster.api::<McpServer>("sales").get("crm").await.map_err(|error| error.to_string())?;
    condition(&server.status.ok_or("no status")?.conditions, "Stalled")
}

async fn is_on_host(cluster: &TestCluster) -> bool {
    let deployment = cluster.api::<Deployment>("sales").get("crm").await.unwrap();
    deployment.spec.unwrap().template.spec.unwrap().host_network == Some(true)
}

#[tokio::test]
async fn what_a_webhook_adds_again_each_time_is_said_not_fought_over_and_ends_with_the_webhook() {
    let cluster = TestCluster::start_with_crm().await;
    cluster.until_quiet(Duration::from_secs(3)).await;
    // Before the policy is in force: the operator may write at once, and then no more for a while.
    let mark = cluster.control_plane.audit().mark().unwrap();
    cluster.apply(WEBHOOK);
    // The policy takes a moment to be in force.
    until(PATIENCE, async || {
        let note = json!({"metadata": {"annotations": {"example.com/probe": "1"}}});
        patch(&cluster, "sales", "Deployment", &Patch::Merge(note), "probe").await;
        expect_eq(is_on_host(&cluster).await, true)
    })
    .await;
    until(PATIENCE, async || {
        let (status, message) = stalled(&cluster).await?;
        expect_eq(status.as_str(), "True/DriftContested")?;
        let is_said = message.contains("Deployment crm is not as it was written, in spec.template.spec.hostNetwork");
        expect_eq(is_said, true).map_err(|error| format!("{error}: {message}"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let writes = cluster.writes(mark);
    let writes: Vec<_> = writes.iter().filter(|write| write.resource == "deployments").collect();
    assert!((1..=10).contains(&writes.len()), "{writes:?}");
    let put_back = said(&cluster, "sales", "DriftCorrected").await;
    assert!(put_back.is_empty(), "it was not put back: {put_back:?}");
    assert_eq!(said(&cluster, "sales", "DriftContested").await.len(), 1);

    // A change of the server itself does not wait for that.
    cluster.patch::<McpServer>("sales", "crm", json!({"spec": {"replicas": 3}})).await;
    until(PROMPTLY, async || {
        let deployment = cluster.api::<Deployment>("sales").get("crm").await.unwrap();
        expect_eq(deployment.spec.and_then(|spec| spec.replicas), Some(3))
    })
    .await;

    cluster.control_plane.kubectl(["delete", "mutatingadmissionpolicybinding", "host"]).unwrap();
    until(Duration::from_secs(60) + PATIENCE, async || {
        expect_eq(is_on_host(&cluster).await, false)?;
        expect_eq(stalled(&cluster).await?.0.starts_with("False/"), true)?;
        expect_eq(said(&cluster, "sales", "DriftCorrected").await.len(), 1)
    })
    .await;
}

#[tokio::test]
async fn while_the_spec_has_errors_nothing_is_written_by_the_next_operator_either_and_a_privilege_is_removed() {
    let mut cluster = TestCluster::start_with_crm().await;
    let resources = json!({"requests": {"cpu": "0.1"}, "limits": {"memory": "0.5Gi"}});
    cluster.patch::<McpServer>("sales", "crm", json!({"spec": {"replicas": 3, "pod": {"resources": resources}}})).await;
    until(PATIENCE, async || {
        let deployment = cluster.api::<Deployment>("sales").get("crm").await.unwrap();
        expect_eq(deployment.spec.and_then(|spec| spec.replicas), Some(3))
    })
    .await;
    // The API server accepts it, and the operator's checks refuse it.
    let broken = json!({"replicas": 2, "pod": null, "limits": {"perClient": {"requests": 1, "per": "1m"}}});
    cluster.patch::<McpServer>("sales", "crm", json!({"spec": broken})).await;
    cluster.until_server_condition("sales", "Accepted", "False/Invalid").await;
    let expected = part(&cluster, "sales", "Deployment").await;
    let privilege = pod(json!({"hostNetwork": true, "automountServiceAccountToken": true}));
    for is_restarted in [false, true] {
        if is_restarted {
            cluster.kill_operator().await;
            let mark = cluster.control_plane.audit().mark().unwrap();
            cluster.start_operator();
            cluster.until_operator_has_read_everything().await;
            cluster.until_quiet(Duration::from_secs(3)).await;
            let writes = cluster.writes(mark);
            let deployments = writes.iter().filter(|write| write.resource.starts_with("deployments"));
            assert_eq!(deployments.collect::<Vec<_>>(), [] as [&portcullis_tests::Write; 0]);
        }
        patch(&cluster, "sales", "Deployment", &Patch::Strategic(privilege.clone()), "intruder").await;
        until(PROMPTLY, async || expect_eq(part(&cluster, "sales", "Deployment").await, expected.clone())).await;
        let deployment = cluster.api::<Deployment>("sales").get("crm").await.unwrap();
        assert_eq!(deployment.spec.and_then(|spec| spec.replicas), Some(3));
    }
}
