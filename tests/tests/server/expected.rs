//! Expected responses, as [`Response::to_value`] shows them, and the parts of a response that tests compare most.

use portcullis_tests::http::Response;
use serde_json::{Value, json};

/// A JSON response.
pub fn response(status: u16, body: Value) -> Value {
    json!({"status": status, "headers": {"content-type": "application/json"}, "body": body})
}

/// A JSON response with one more header.
pub fn response_with(status: u16, name: &str, value: &str, body: Value) -> Value {
    json!({"status": status, "headers": {"content-type": "application/json", name: value}, "body": body})
}

/// A refusal before the message is read. Who is not authenticated is told how to be.
pub fn plain_refusal(status: u16, message: &str) -> Value {
    let body = json!({"error": message});
    match status {
        401 => response_with(401, "www-authenticate", r#"ApiKey realm="crm", header="x-api-key""#, body),
        _ => response(status, body),
    }
}

/// A JSON-RPC error for the request with the id 1.
pub fn rpc_error(code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}})
}

/// A JSON-RPC result for the request with the id 1.
pub fn rpc_result(result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "result": result})
}

/// The refusal of a tool that is not permitted or does not exist.
pub fn denied(tool: &str) -> Value {
    response(200, rpc_error(-32602, &format!("Tool '{tool}' is not permitted for this client")))
}

/// The result of a call of `echo`.
pub fn echoed(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": format!("you said {text}")}], "isError": false})
}

/// The result of a tool that failed.
pub fn tool_error(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}], "isError": true})
}

/// The result of a call whose arguments do not fit its tool. Several faults are a list below the first line.
pub fn invalid_arguments(what: &str) -> Value {
    let space = if what.starts_with('\n') { "" } else { " " };
    response(200, rpc_result(tool_error(&format!("Invalid arguments:{space}{what}"))))
}

/// The status, and the JSON-RPC error code if there is one.
pub fn status_and_code(response: &Response) -> (u16, Option<i64>) {
    (response.status, response.json()["error"]["code"].as_i64())
}

/// The text of a tool's result.
pub fn tool_text(response: &Response) -> String {
    response.json()["result"]["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

/// The names of the tools in a response to `tools/list`.
pub fn tool_names(response: &Response) -> Vec<String> {
    let body = response.json();
    let tools = body["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list of tools: {body}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap_or_default().to_owned()).collect()
}
