//! A second operator against the same cluster, and what follows the first one.

use std::time::{Duration, Instant};

use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp};
use portcullis_tests::{PATIENCE, Process, TestCluster, binary, expect_eq, until};
use rustix::process::Signal;
use serde_json::json;

const NAMESPACE: &str = "portcullis-system";
/// The exit code of an operator because of another one.
const ANOTHER_RUNS: Option<i32> = Some(3);

async fn holder(cluster: &TestCluster) -> Option<String> {
    let lease = cluster.api::<Lease>(NAMESPACE).get("portcullis-operator").await.unwrap();
    lease.spec.unwrap().holder_identity
}

fn second(cluster: &TestCluster) -> Process {
    let environment = [("KUBECONFIG", cluster.kubeconfig.to_str().unwrap())];
    Process::start(binary("portcullis-operator").unwrap(), ["run", "--listen", "127.0.0.1:0"], &environment).unwrap()
}

#[tokio::test]
async fn a_second_operator_is_refused_and_one_that_follows_is_not_held_up() {
    let mut cluster = TestCluster::start().await;
    cluster.until_operator_has_read_everything().await;
    let first = holder(&cluster).await.unwrap();
    let pid = cluster.operator.as_ref().unwrap().pid().as_raw_nonzero().get();

    let mut refused = second(&cluster);
    assert_eq!(refused.ended(PATIENCE).await.unwrap().code(), ANOTHER_RUNS);
    refused.output().closed(PATIENCE).await.unwrap();
    let said = refused.output().text();
    assert!(said.contains(&format!("another operator runs against this cluster: process {pid} on ")), "{said}");
    assert_eq!(holder(&cluster).await.as_ref(), Some(&first), "it is not disturbed");

    // Killed: the next one finds that the process is gone.
    cluster.kill_operator().await;
    let began = Instant::now();
    cluster.start_operator();
    cluster.operator.as_ref().unwrap().line("this operator holds the Lease", PATIENCE).await.unwrap();
    println!("after a kill the Lease is held again in {:.2} s", began.elapsed().as_secs_f64());
    assert_ne!(holder(&cluster).await.as_ref(), Some(&first));

    // Stopped: it gives the Lease back.
    let mut operator = cluster.operator.take().unwrap();
    assert!(operator.terminate(PATIENCE).await.unwrap().success());
    assert_eq!(holder(&cluster).await, None);
    cluster.start_operator();
    cluster.until_operator_has_read_everything().await;

    // Replaced: it stops once the other one renews the Lease, and leaves it alone.
    let taken = json!({"spec": {"holderIdentity": "somebody else"}});
    cluster.patch::<Lease>(NAMESPACE, "portcullis-operator", taken).await;
    let mut operator = cluster.operator.take().unwrap();
    operator.line("this operator no longer holds the Lease", PATIENCE).await.unwrap();
    let renewed = json!({"spec": {"renewTime": MicroTime(Timestamp::now())}});
    cluster.patch::<Lease>(NAMESPACE, "portcullis-operator", renewed).await;
    assert_eq!(operator.ended(PATIENCE).await.unwrap().code(), ANOTHER_RUNS);
    operator.output().closed(PATIENCE).await.unwrap();
    let said = operator.output().text();
    assert!(said.contains("another operator took over: somebody else"), "{said}");
    assert_eq!(holder(&cluster).await.as_deref(), Some("somebody else"));
}

#[tokio::test]
async fn the_pages_say_what_works_and_an_operator_that_hangs_is_succeeded_and_ends() {
    let mut cluster = TestCluster::start_with_crm().await;
    until(PATIENCE, async || expect_eq(cluster.page("/readyz").await?, (200, "ok\n".to_owned()))).await;
    assert_eq!(cluster.page("/livez").await.unwrap(), (200, "ok\n".to_owned()));
    let address = cluster.address().await;
    let health = Process::start(binary("portcullis-operator").unwrap(), ["health", "--listen", &address], &[]);
    health.unwrap().line(&format!("http://{address}/livez: 200 OK: ok"), PATIENCE).await.unwrap();
    let (_, metrics) = cluster.page("/metrics").await.unwrap();
    for series in [
        "reconciles_total{kind=\"McpServer\",result=\"success\"}",
        "api_requests_total{verb=\"create\",resource=\"configmaps\",code=\"2xx\"} 1",
        "api_requests_total{verb=\"watch\",resource=\"pods\",code=\"2xx\"}",
        "task_restarts_total{task=\"driver\"} 0",
    ] {
        assert!(metrics.contains(&format!("portcullis_operator_{series}")), "{series} is not in\n{metrics}");
    }

    // It hangs for longer than its term. The next one cannot know whether it will ever go on.
    let first = holder(&cluster).await.unwrap();
    let mut hanging = cluster.operator.take().unwrap();
    hanging.signal(Signal::STOP).unwrap();
    let mut refused = second(&cluster);
    assert_eq!(refused.ended(PATIENCE).await.unwrap().code(), ANOTHER_RUNS, "it lives, and its term is not over");
    tokio::time::sleep(Duration::from_secs(16)).await;
    cluster.start_operator();
    cluster.operator.as_ref().unwrap().line("this operator holds the Lease", PATIENCE).await.unwrap();
    let next = holder(&cluster).await.unwrap();
    assert_ne!(next, first);
    hanging.signal(Signal::CONT).unwrap();
    assert_eq!(hanging.ended(PATIENCE).await.unwrap().code(), ANOTHER_RUNS);
    assert_eq!(holder(&cluster).await, Some(next));
}
