//! Tests of the API over a socket.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::router;
use crate::crm::Crm;

async fn start() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router(Arc::new(Crm::new()))).await });
    format!("http://{address}")
}

async fn get(base: &str, path: &str) -> (StatusCode, Value) {
    let response = reqwest::get(format!("{base}{path}")).await.unwrap();
    (response.status(), response.json().await.unwrap())
}

#[tokio::test]
async fn a_search_matches_names_addresses_and_companies_and_counts_every_match() {
    let base = start().await;
    let (status, all) = get(&base, "/contacts?limit=500").await;
    assert_eq!(
        (status, all["total"].as_u64(), all["items"].as_array().map(Vec::len)),
        (StatusCode::OK, Some(320), Some(320))
    );
    let first = &all["items"][0];
    let email = first["email"].as_str().unwrap();
    let (_, found) = get(&base, &format!("/contacts?q={}", email.to_uppercase())).await;
    assert_eq!(found, json!({"items": [first], "total": 1}));
    let (_, some) = get(&base, "/contacts?q=energy&limit=3").await;
    assert_eq!(some["items"].as_array().map(Vec::len), Some(3));
    assert!(some["total"].as_u64() > Some(3));
    for item in some["items"].as_array().unwrap() {
        assert!(item["company"].as_str().unwrap().contains("Energy"));
    }
}

#[tokio::test]
async fn a_note_becomes_the_newest_entry_of_the_history() {
    let base = start().await;
    let url = format!("{base}/contacts/c-0007/notes");
    let response = reqwest::Client::new().post(url).json(&json!({"text": "Prefers e-mail"})).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);
    let note: Value = response.json().await.unwrap();
    assert_eq!(
        (&note["id"], &note["contactId"], &note["text"]),
        (&json!(1), &json!("c-0007"), &json!("Prefers e-mail"))
    );
    let (_, history) = get(&base, "/contacts/c-0007/history?limit=2").await;
    let latest = json!({"at": note["createdAt"], "kind": "note", "summary": "Prefers e-mail"});
    assert_eq!((&history["items"][0], history["items"].as_array().map(Vec::len)), (&latest, Some(2)));
}

#[tokio::test]
async fn deals_revenue_and_metrics_agree() {
    let base = start().await;
    let (_, deals) = get(&base, "/deals/summary").await;
    let stages: Vec<_> = deals["items"].as_array().unwrap().iter().map(|item| item["stage"].clone()).collect();
    assert_eq!(stages, ["lead", "qualified", "proposal", "won", "lost"]);
    let (_, won) = get(&base, "/deals/summary?stage=won").await;
    assert_eq!(won["items"], json!([deals["items"][3]]));
    let (_, revenue) = get(&base, "/revenue?from=2026-09&to=2026-10").await;
    let (_, metrics) = get(&base, "/dashboard/metrics").await;
    assert_eq!(revenue["items"][1]["month"], "2026-10");
    assert_eq!(revenue["items"][1]["amount"], metrics["revenueLastMonth"]);
    assert_eq!(revenue["items"][0]["amount"], metrics["revenueMonthBefore"]);
    let open: u64 = (0..3).map(|n| deals["items"][n]["count"].as_u64().unwrap()).sum();
    assert_eq!(metrics["openDeals"], open);
}

#[tokio::test]
async fn an_error_states_what_is_allowed() {
    let base = start().await;
    for (path, status, message) in [
        ("/contacts/c-9999/history", 404, "contact 'c-9999' does not exist"),
        ("/contacts?limit=0", 400, "limit is 0; it must be from 1 to 500"),
        ("/deals/summary?stage=sold", 400, "stage is 'sold'; it must be one of lead, qualified, proposal, won, lost"),
        ("/revenue?from=2026-13", 400, "from is '2026-13'; it must be a month such as 2026-03"),
        ("/revenue?to=March", 400, "to is 'March'; it must be a month such as 2026-03"),
        ("/revenue?from=2026-05&to=2026-04", 400, "from (2026-05) is after to (2026-04)"),
        ("/nothing", 404, "this path does not exist"),
    ] {
        let (got, body) = get(&base, path).await;
        assert_eq!((got.as_u16(), body), (status, json!({"error": message})), "{path}");
    }
    let client = reqwest::Client::new();
    for (path, note, status) in [
        ("/contacts/c-9999/notes", json!({"text": "x"}), 404),
        ("/contacts/c-0001/notes", json!({"text": " "}), 400),
        ("/contacts/c-0001/notes", json!({"text": "x", "other": 1}), 422),
    ] {
        let response = client.post(format!("{base}{path}")).json(&note).send().await.unwrap();
        assert_eq!(response.status(), status, "{path} {note}");
        assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    }
}
