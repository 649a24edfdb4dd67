//! rmcp, an independent client in Rust, with nothing but a key.

use std::collections::HashMap;

use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::{Value, json};

use crate::fixtures::*;

#[tokio::test(flavor = "multi_thread")]
async fn rmcp_lists_and_calls_tools_and_reads_why_one_is_denied() {
    let server = start(&document(NOWHERE)).await;
    let headers = HashMap::from([("x-api-key".parse().unwrap(), READER.parse().unwrap())]);
    let config = StreamableHttpClientTransportConfig::with_uri(server.url()).custom_headers(headers);
    let client = ().serve(StreamableHttpClientTransport::from_config(config)).await.unwrap();
    let listed = serde_json::to_value(client.list_all_tools().await.unwrap()).unwrap();
    let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|tool| &tool["name"]).collect();
    assert_eq!(names, ["echo", "find"]);
    let call = |tool: &'static str, arguments: Value| {
        CallToolRequestParams::new(tool).with_arguments(arguments.as_object().unwrap().clone())
    };
    let called = client.call_tool(call("echo", json!({"text": "x"}))).await.unwrap();
    assert_eq!(serde_json::to_value(&called).unwrap()["content"], json!([{"type": "text", "text": "you said x"}]));
    let denied = client.call_tool(call("note", json!({"id": "1", "text": "x"}))).await.unwrap_err();
    assert!(denied.to_string().contains("Tool 'note' is not permitted for this client"), "{denied}");
    client.cancel().await.unwrap();
}
