//! Followers that panic.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::{
    cluster::{fence::Fence, testing::FakeApi},
    supervise::faults,
};

/// Answers each request as the admin port of a pod with this UID.
async fn answer(listener: TcpListener, uid: &str) {
    let body = json!({"policyRevision": "p", "credentialsRevision": "c", "podUid": uid}).to_string();
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.read(&mut [0; 4096]).await;
        let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    }
}

#[tokio::test]
async fn a_follower_that_panics_goes_on_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "crm-0", "namespace": "panics", "uid": "u", "resourceVersion": "1",
            "labels": {"app.kubernetes.io/instance": "crm"},
        },
        "spec": {"containers": [{"name": "server", "ports": [{"name": "admin", "containerPort": port}]}]},
        "status": {"podIP": "127.0.0.1", "phase": "Running"},
    }))
    .unwrap();
    let api = FakeApi::start(|_| Some((200, json!({"metadata": {"name": "crm-0"}})))).await;
    let (supervisor, (sender, mut reports)) = (Supervisor::default(), tokio::sync::mpsc::unbounded_channel());
    let cluster = Cluster::new(api.client(), Fence::open());
    let prober = Prober::new(cluster, supervisor.clone(), move |server| sender.send(server).unwrap());
    let server = NamespacedName { namespace: "panics".into(), name: "crm".into() };
    let revisions = Revisions { policy: Some("p".into()), credentials: Some("c".into()) };
    faults::plan("follower of panics/crm-0", 3);
    prober.follow(&server, &revisions, Occasion::Routine, &[Arc::new(pod.into())], &Restored::default());
    tokio::select! {
        () = answer(listener, "u") => {}
        report = tokio::time::timeout(Duration::from_secs(60), reports.recv()) => assert_eq!(report, Ok(Some(server))),
    }
    assert_eq!(prober.report("u").unwrap().serves, Some(revisions));
    assert_eq!(supervisor.metrics().restarts(Task::Follower), 3);
}
