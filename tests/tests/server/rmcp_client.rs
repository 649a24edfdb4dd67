//! rmcp, an independent client in Rust: each revision that it speaks, with a key in either header.

use std::collections::HashMap;
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, Implementation, ProtocolVersion,
};
use rmcp::service::PeerRequestOptions;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientLifecycleMode, ClientServiceExt};
use serde_json::{Value, json};

use crate::clients::{WRONG, limited, start_with_tools};
use crate::fixtures::*;

fn transport(url: &str, header: &str, key: &str) -> StreamableHttpClientTransport<reqwest::Client> {
    let config = StreamableHttpClientTransportConfig::with_uri(url);
    StreamableHttpClientTransport::from_config(match header {
        "Authorization" => config.auth_header(key),
        _ => config.custom_headers(HashMap::from([(header.parse().unwrap(), key.parse().unwrap())])),
    })
}

fn call(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn rmcp_calls_tools_in_each_revision_with_a_key_in_either_header() {
    let (server, _backend) = start_with_tools().await;
    let revisions = [
        ProtocolVersion::V_2025_03_26,
        ProtocolVersion::V_2025_06_18,
        ProtocolVersion::V_2025_11_25,
        ProtocolVersion::V_2026_07_28,
    ];
    for (index, revision) in revisions.into_iter().enumerate() {
        for (column, header) in ["x-api-key", "Authorization"].into_iter().enumerate() {
            let at = format!("{revision} {header}");
            let connect = async |key: &str| {
                let info = ClientConfig::new(ClientCapabilities::default(), Implementation::from_build_env())
                    .with_protocol_version(revision.clone());
                let lifecycle = match revision == ProtocolVersion::V_2026_07_28 {
                    true => ClientLifecycleMode::Discover { preferred_versions: vec![revision.clone()] },
                    false => ClientLifecycleMode::Initialize,
                };
                info.serve_with_lifecycle(transport(&server.url(), header, key), lifecycle).await
            };
            let client = connect(&key_of("reader")).await.unwrap();
            let listed = serde_json::to_value(client.list_all_tools().await.unwrap()).unwrap();
            let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
            assert_eq!(names, ["echo", "find", "slow", "today"], "{at}");
            let result = async |tool, arguments| {
                serde_json::to_value(client.call_tool(call(tool, arguments)).await.unwrap()).unwrap()
            };
            let today = result("today", json!({})).await;
            assert_eq!(today["structuredContent"], json!({"items": [{"id": 1}], "next": null}), "{at}");
            let invalid = result("echo", json!({"text": 5})).await;
            let sentence = "Invalid arguments: `/text` must be a string and have at most 200 characters (`type`)";
            assert_eq!((&invalid["isError"], &invalid["content"][0]["text"]), (&json!(true), &json!(sentence)), "{at}");
            let denied = client.call_tool(call("note", json!({"id": "1", "text": "x"}))).await.unwrap_err();
            assert!(denied.to_string().contains("Tool 'note' is not permitted for this client"), "{at}: {denied}");
            let mut options = PeerRequestOptions::no_options();
            options.timeout = Some(Duration::from_secs(1));
            let slow = CallToolRequest::new(call("slow", json!({}))).into();
            client.send_cancellable_request(slow, options).await.unwrap().await_response().await.unwrap_err();
            let called = result("echo", json!({"text": "x"})).await;
            assert_eq!(called["content"], json!([{"type": "text", "text": "you said x"}]), "{at}");
            client.cancel().await.unwrap();

            let client = connect(&key_of(&limited(2 * index + column))).await.unwrap();
            client.call_tool(call("echo", json!({"text": "x"}))).await.unwrap();
            // It shows the status, and the sentence only where it reads the body of an error.
            let over = client.call_tool(call("echo", json!({"text": "x"}))).await.unwrap_err().to_string();
            let is_told = ["HTTP 429", "Rate limit exceeded. Retry after "].iter().any(|part| over.contains(part));
            assert!(is_told, "{at}: {over}");
            assert_eq!(client.list_all_tools().await.unwrap().len(), 5, "{at}");
            client.cancel().await.unwrap();

            let refused = format!("{:?}", connect(WRONG).await.unwrap_err());
            assert!(refused.contains("ApiKey realm="), "{at}: {refused}");
        }
    }
}
