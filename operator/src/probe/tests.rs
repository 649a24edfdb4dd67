//! Followers that panic, and pods that do not answer.

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

/// A pod of the server `crm`, with its admin port on this machine.
fn pod(namespace: &str, uid: &str, port: u16) -> Arc<ObservedPod> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": "crm-0", "namespace": namespace, "uid": uid, "resourceVersion": "1",
            "labels": {"app.kubernetes.io/instance": "crm"},
        },
        "spec": {"containers": [{"name": "server", "ports": [{"name": "admin", "containerPort": port}]}]},
        "status": {"podIP": "127.0.0.1", "phase": "Running"},
    }))
    .unwrap();
    Arc::new(pod.into())
}

#[tokio::test]
async fn pods_that_let_queries_wait_take_no_permits_from_others() {
    // Connections are made, and never answered.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let api = FakeApi::start(|_| Some((200, json!({})))).await;
    let prober = Prober::new(Cluster::new(api.client(), Fence::open()), Supervisor::default(), |_| {});
    let revisions = Revisions { policy: Some("p".into()), credentials: Some("c".into()) };
    for namespace in 0..8 {
        let namespace = format!("noisy-{namespace}");
        let pods: Vec<_> = (0..16).map(|n| pod(&namespace, &format!("{namespace}-{n}"), port)).collect();
        let server = NamespacedName { namespace, name: "crm".into() };
        prober.follow(&server, &revisions, None, Occasion::Routine, &pods, &Restored::default());
    }
    let apart = async {
        while (prober.of_prompt.available_permits(), prober.of_slow.available_permits()) != (CONCURRENT_QUERIES, 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), apart).await.is_ok());
}

#[tokio::test]
async fn a_follower_that_panics_goes_on_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pod = pod("panics", "u", port);
    let api = FakeApi::start(|_| Some((200, json!({"metadata": {"name": "crm-0"}})))).await;
    let (supervisor, (sender, mut reports)) = (Supervisor::default(), tokio::sync::mpsc::unbounded_channel());
    let cluster = Cluster::new(api.client(), Fence::open());
    let prober = Prober::new(cluster, supervisor.clone(), move |server| sender.send(server).unwrap());
    let server = NamespacedName { namespace: "panics".into(), name: "crm".into() };
    let revisions = Revisions { policy: Some("p".into()), credentials: Some("c".into()) };
    faults::plan("follower of panics/crm-0", 3);
    prober.follow(&server, &revisions, None, Occasion::Routine, &[pod], &Restored::default());
    tokio::select! {
        () = answer(listener, "u") => {}
        report = tokio::time::timeout(Duration::from_secs(60), reports.recv()) => assert_eq!(report, Ok(Some(server))),
    }
    assert_eq!(prober.report("u").unwrap().serves, Some(revisions));
    assert_eq!(supervisor.metrics().restarts(Task::Follower), 3);
}

/// A pod that serves its target from before, takes up what came in between only later, and comes back once it is nudged.
#[tokio::test]
async fn a_pod_that_may_serve_its_target_from_before_is_asked_again_and_nudged_once_it_serves_something_else() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pod = pod("doubt", "u", listener.local_addr().unwrap().port());
    let api = FakeApi::start(|_| Some((200, json!({"metadata": {"name": "crm-0"}})))).await;
    let (sender, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let prober = Prober::new(Cluster::new(api.client(), Fence::open()), Supervisor::default(), move |server| {
        sender.send(server).unwrap();
    });
    let server = NamespacedName { namespace: "doubt".into(), name: "crm".into() };
    let revisions = Revisions { policy: Some("p".into()), credentials: Some("c".into()) };
    let until = Timestamp::now().checked_add(Duration::from_secs(3600)).unwrap();
    prober.follow(&server, &revisions, Some(until), Occasion::Routine, &[pod], &Restored::default());
    let answers = async {
        let mut asked = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            asked += 1;
            let policy = if asked == 1 || !api.requests().is_empty() { "p" } else { "between" };
            let body = json!({"policyRevision": policy, "credentialsRevision": "c", "podUid": "u"}).to_string();
            let _ = stream.read(&mut [0; 4096]).await;
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    };
    let served = async {
        let mut all = Vec::new();
        while all.len() < 3 && tokio::time::timeout(Duration::from_secs(60), reports.recv()).await.is_ok() {
            all.push(prober.report("u").unwrap().serves.unwrap().policy.unwrap());
        }
        all
    };
    let served = tokio::select! {
        () = answers => Vec::new(),
        served = served => served,
    };
    assert_eq!(served, ["p", "between", "p"]);
    let left = prober.report("u").unwrap().left;
    assert_eq!(left.policy.map(|left| left.revision), Some("between".to_owned()));
    assert_eq!(left.credentials, None);
}

/// The pod serves something else for as long as the test lasts.
#[tokio::test]
async fn a_pod_is_nudged_for_each_publication_and_not_for_each_change_of_what_is_known_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let api = FakeApi::start(|_| Some((200, json!({"metadata": {"name": "crm-0"}})))).await;
    let prober = Prober::new(Cluster::new(api.client(), Fence::open()), Supervisor::default(), |_| {});
    let server = NamespacedName { namespace: "nudges".into(), name: "crm".into() };
    let revisions = |policy: &str| Revisions { policy: Some(policy.into()), credentials: Some("c".into()) };
    let follow = |policy: &str, restarts: i32, occasion: Occasion| {
        let mut pod = (*pod("nudges", "u", port)).clone();
        pod.restarts = restarts;
        prober.follow(&server, &revisions(policy), None, occasion, &[pod.into()], &Restored::default());
    };
    let nudges = async {
        follow("first", 0, Occasion::Routine);
        let mut restarts = 0;
        for (policy, occasion) in [
            ("second", Occasion::Published),
            ("second", Occasion::Published),
            ("third", Occasion::Published),
            ("fourth", Occasion::Routine),
        ] {
            let (begun, before) = (tokio::time::Instant::now(), api.requests().len());
            follow(policy, restarts, occasion);
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                restarts += 1;
                follow(policy, restarts, Occasion::Routine);
            }
            let nudged = async {
                while api.requests().len() == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            assert!(tokio::time::timeout(Duration::from_secs(60), nudged).await.is_ok(), "{policy}: not nudged");
            // On a slow machine the next ones may be due. One of the publication before may still be on its way.
            let due = [0, 1, 2, 4, 8].iter().filter(|after| begun.elapsed().as_secs() >= **after).count();
            let sent = api.requests().len() - before;
            assert!(sent <= due + 1, "{policy}: {sent} nudges, {due} were due");
        }
    };
    tokio::select! {
        () = answer(listener, "u") => {}
        () = nudges => {}
    }
}

#[tokio::test]
async fn a_pod_that_has_no_address_when_something_is_published_is_asked_before_it_is_nudged() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let started = pod("starts", "u", listener.local_addr().unwrap().port());
    let api = FakeApi::start(|_| Some((200, json!({"metadata": {"name": "crm-0"}})))).await;
    let (sender, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let prober = Prober::new(Cluster::new(api.client(), Fence::open()), Supervisor::default(), move |server| {
        sender.send(server).unwrap();
    });
    let server = NamespacedName { namespace: "starts".into(), name: "crm".into() };
    let revisions = Revisions { policy: Some("p".into()), credentials: Some("c".into()) };
    let mut starting = (*started).clone();
    starting.admin = None;
    let starting = Arc::new(starting);
    for (occasion, pod) in
        [(Occasion::Routine, &starting), (Occasion::Published, &starting), (Occasion::Routine, &started)]
    {
        prober.follow(&server, &revisions, None, occasion, &[Arc::clone(pod)], &Restored::default());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::select! {
        () = answer(listener, "u") => {}
        report = tokio::time::timeout(Duration::from_secs(60), reports.recv()) => assert_eq!(report, Ok(Some(server))),
    }
    assert_eq!(api.requests(), []);
}
