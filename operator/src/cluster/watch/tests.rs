//! Against a server that answers like an API server on a bad day.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, Config, core::ApiResource};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::cluster::object::OwnedObject;

/// Answers each request with the next of these; what is asked afterwards hangs. Gives the paths that were asked for.
async fn served(answers: Vec<(u16, Value)>) -> (Api<DynamicObject>, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut kept = Vec::new();
        let mut answers = answers.into_iter();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 8192];
            let length = stream.read(&mut request).await.unwrap();
            let line = String::from_utf8_lossy(&request[..length]).lines().next().unwrap_or_default().to_owned();
            log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            let Some((status, body)) = answers.next() else {
                kept.push(stream);
                continue;
            };
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n");
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let mut config = Config::new(url);
    config.default_retry = false;
    let client = Client::try_from(config).unwrap();
    (Api::all_with(client, &ApiResource::erase::<ConfigMap>(&())), asked)
}

fn list(version: &str, names: &[&str]) -> (u16, Value) {
    let item = |name: &&str| json!({"metadata": {"name": name, "namespace": "sales", "resourceVersion": version}});
    let items: Vec<Value> = names.iter().map(item).collect();
    (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}))
}

fn refusal(code: u16) -> (u16, Value) {
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "Expired", "message": "too old"}),
    )
}

/// Watches until the store holds exactly these.
async fn until_seen(api: Api<DynamicObject>, names: &[&str]) {
    let store: Arc<Store<OwnedObject>> = Arc::default();
    let watch = Watch { api, resource: "configmaps", label_selector: None };
    let task = tokio::spawn(watch.run(Arc::clone(&store), |object| Some(object.into()), |_| ()));
    let seen = async {
        loop {
            let mut seen: Vec<String> = store.all().iter().map(|child| child.key().name).collect();
            seen.sort();
            if seen == names {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), seen).await.expect("the store must come to hold them");
    task.abort();
}

#[tokio::test]
async fn a_watch_that_is_refused_with_410_when_it_starts_begins_with_a_list_again() {
    let (api, asked) = served(vec![list("5", &["a"]), refusal(410), list("9", &["a", "b"])]).await;
    until_seen(api, &["a", "b"]).await;
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let kinds: Vec<bool> = asked.iter().map(|line| line.contains("watch=true")).collect();
    assert_eq!(kinds[..3], [false, true, false], "{asked:?}");
}

#[tokio::test]
async fn a_refused_list_is_no_empty_list() {
    let (api, _) = served(vec![refusal(404), refusal(403), refusal(500), list("9", &["a"])]).await;
    let store: Arc<Store<OwnedObject>> = Arc::default();
    let watch = Watch { api: api.clone(), resource: "configmaps", label_selector: None };
    let synced = async {
        tokio::select! {
            () = watch.run(Arc::clone(&store), |object| Some(object.into()), |_| ()) => {}
            () = store.synced() => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(10), synced).await.expect("the fourth answer must do");
    assert_eq!(store.all().len(), 1, "synced by the first list that was answered, and by nothing before");
}
