//! Servers and clients are served from their manifests until the program ends.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use axum::{Router, extract::Query, routing::get};
use portcullis_tests::{PATIENCE, expect_eq, until};
use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::harness::{LocalOperator, Outcome};
use crate::manifests::{FORECASTER, LIBRARY, WEATHER, client};

/// A REST service of the weather, on a free port.
async fn forecasts() -> String {
    #[derive(serde::Deserialize)]
    struct Question {
        city: String,
    }
    let forecast = async |Query(Question { city }): Query<Question>| axum::Json(json!({"city": city, "rain": true}));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/forecast", get(forecast))).await });
    format!("http://{address}")
}

#[tokio::test]
async fn a_folder_of_servers_and_clients_is_served_until_ctrl_c_and_keys_outlive_a_run() {
    let backend = format!("forecasts={}", forecasts().await);
    let reader = client("reader", "opening_hours");
    let files = [("a.yaml", WEATHER), ("b.yml", LIBRARY), ("c.yaml", FORECASTER), ("d.yaml", &reader)];
    let mut local = LocalOperator::start(&files, &["--backend", &backend]).await;

    let (weather, library) = (local.url("weather").await, local.url("library").await);
    let state = fs::canonicalize(local.state()).unwrap();
    let client = |namespace: &str, name: &str| json!({"name": name, "namespace": namespace, "apiKeyFile": state.join(format!("keys/{namespace}/{name}-key.key"))});
    let server = async |namespace: &str, name: &str| {
        let (url, admin) = (local.url(name).await, local.admin_url(name).await);
        assert!(reqwest::get(format!("{admin}/livez")).await.unwrap().status().is_success(), "{name}");
        json!({"name": name, "namespace": namespace, "url": url, "admin": admin})
    };
    let servers = json!([server("default", "weather").await, server("town", "library").await]);
    let clients = json!([client("default", "forecaster"), client("town", "reader")]);
    let expected = json!({"servers": servers, "clients": clients});
    until(PATIENCE, async || expect_eq(&local.summary().await, &expected)).await;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(local.state()), mode(state.join("keys/town/reader-key.key"))), (0o700, 0o600));

    let (forecaster, reader) = (local.key("forecaster").await, local.key("reader").await);
    let (status, body) = local.call(&weather, &forecaster, "forecast", json!({"city": "Ghent"})).await;
    assert_eq!((status, &body["result"]["structuredContent"]), (200, &json!({"city": "Ghent", "rain": true})));
    let (status, body) = local.call(&library, &forecaster, "opening_hours", json!({})).await;
    assert!(Outcome::Unauthorised.is_of(status, &body), "a key opens the servers of its client only: {status} {body}");

    assert_eq!(local.server_processes().len(), 2);
    local.process.signal(Signal::INT).unwrap();
    assert!(local.process.ended(PATIENCE).await.unwrap().success());
    assert_eq!(local.server_processes(), []);
    assert!(!local.state().join("summary.json").exists());

    local.restart(&["--backend", &backend]);
    let library = local.url("library").await;
    assert_eq!(local.key("reader").await, reader);
    local.until_outcome(&library, &reader, "opening_hours", Outcome::Served).await;
}

#[tokio::test]
async fn a_server_starts_and_stops_with_its_manifest_and_is_restarted_when_it_dies() {
    let files = [("library.yaml", LIBRARY), ("reader.yaml", &client("reader", "'*'"))];
    let mut local = LocalOperator::start(&files, &[]).await;
    let (url, key) = (local.url("library").await, local.key("reader").await);

    let [died] = local.server_processes()[..] else { panic!("not one process: {:?}", local.server_processes()) };
    kill_process(died, Signal::KILL).unwrap();
    local.process.line("town/library: its process ended", PATIENCE).await.unwrap();
    until(PATIENCE, async || reqwest::get(&url).await).await;
    local.until_outcome(&url, &key, "opening_hours", Outcome::Served).await;

    local.write("museum.yaml", &LIBRARY.replace("name: library", "name: museum"));
    let museum = local.url("museum").await;
    assert!(reqwest::get(&museum).await.is_ok());
    assert_eq!(local.server_processes().len(), 2);
    fs::remove_file(local.file("museum.yaml")).unwrap();
    local.find_in_summary(|summary| (summary["servers"].as_array()?.len() == 1).then_some(())).await;
    // Its port may be another test's by now.
    until(PATIENCE, async || expect_eq(local.server_processes().len(), 1)).await;

    local.process.signal(Signal::KILL).unwrap();
    local.process.ended(PATIENCE).await.unwrap();
    until(PATIENCE, async || match local.server_processes()[..] {
        [] => Ok(()),
        _ => Err("a server outlives its parent"),
    })
    .await;
}
