//! Tools with an `outputSchema`: what a client is given conforms to what it is shown, and a write is never told as an error for the form
//! of its answer. The official clients, which refuse what does not conform, agree.

use portcullis_tests::PATIENCE;
use portcullis_tests::backend::{Backend, Reply};
use portcullis_tests::server::{TestServer, post, rpc};
use serde_json::{Value, json};

use crate::clients::official;
use crate::expected::*;
use crate::fixtures::*;
use crate::revisions::{initialize, session_of};

const NOT_SAID: &str = "Its answer does not conform to the tool's `outputSchema`:";

/// A tree of contacts, each with an id that is a text.
fn schema() -> Value {
    json!({
        "type": "object", "required": ["id"], "additionalProperties": false,
        "properties": {"id": {"$ref": "#/$defs/id"}, "in": {"$ref": "#"}}, "$defs": {"id": {"type": "string"}},
    })
}

/// The tools `get` and `put`, whose backend answers with what it is asked for.
async fn served() -> (TestServer, Backend) {
    let backend = Backend::start(|request| match request.target.as_str() {
        "/good" => Reply::Json(200, json!({"id": "1", "in": {"id": "2"}})),
        "/bad" => Reply::Json(200, json!({"id": "1", "in": {"id": 2}})),
        "/list" => Reply::Json(200, json!([1])),
        "/nothing" => Reply::Bytes(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec()),
        "/broken" => Reply::response(200, "{"),
        "/nan" => Reply::response(200, r#"{"id": NaN}"#),
        "/text" => {
            Reply::Bytes(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\ndone".to_vec())
        }
        _ => Reply::Json(409, json!("no")),
    })
    .await
    .unwrap();
    let mut document = document(&backend.url());
    let tool = |name: &str, method: &str| {
        json!({
            "name": name, "title": "A tool", "description": "Does it.", "backend": "api", "outputSchema": schema(),
            "inputSchema": {"type": "object", "required": ["what"], "properties": {"what": {"type": "string"}}},
            "http": {"method": method, "path": "/{what}"},
            "icons": [{"src": "https://a.example/b.png", "theme": "Dark"}],
        })
    };
    let mut put = tool("put", "PUT");
    put["annotations"] = json!({"destructiveHint": false, "idempotentHint": true, "openWorldHint": false});
    document["spec"]["tools"] = json!([tool("get", "GET"), put]);
    document["clients"] = json!([client("agent", &["get", "put"], 10, true)]);
    (start(&document).await, backend)
}

/// The result of a success: its text, what else is said, and the structured content.
fn success(text: &str, note: Option<&str>, structured: &Value) -> Value {
    let blocks = [Some(text), note].into_iter().flatten().map(|text| json!({"type": "text", "text": text}));
    json!({"content": blocks.collect::<Value>(), "structuredContent": structured, "isError": false})
}

/// The result of a write whose structured content only says that it succeeded.
fn unstructured(text: Option<&str>, why: &str) -> Value {
    let own = json!({"portcullis.dev/unstructured": why});
    text.map_or_else(|| success(why, None, &own), |text| success(text, Some(why), &own))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_conform_is_an_error_of_a_read_and_none_of_a_write() {
    let (server, _backend) = served().await;
    let succeeded = |why: &str| format!("The call succeeded. {why}");
    let wrong_id = format!("{NOT_SAID} `/in/id` must be a string (`type`)");
    let no_id = "the required property `id` is missing; `id` must be a string (`required`)";
    let left_out = |why: &str| {
        format!(
            "The call succeeded. Its content is left out: Backend 'api' returned a response that is not valid JSON{why}"
        )
    };
    let good = success(r#"{"id":"1","in":{"id":"2"}}"#, None, &json!({"id": "1", "in": {"id": "2"}}));
    for (what, read, write) in [
        ("good", Ok(good.clone()), good),
        (
            "bad",
            Err("does not conform to the tool's `outputSchema`: `/in/id` must be a string (`type`)"),
            unstructured(Some(r#"{"id":"1","in":{"id":2}}"#), &succeeded(&wrong_id)),
        ),
        ("text", Err("`outputSchema`: it is a text, and not JSON."), {
            unstructured(Some("done"), &succeeded(&format!("{NOT_SAID} it is a text, and not JSON.")))
        }),
        ("nothing", Err(no_id), json!(null)),
        ("list", Err(no_id), json!(null)),
        ("broken", Err("returned a response that is not valid JSON."), unstructured(None, &left_out("."))),
        (
            "nan",
            Err("not valid JSON: it has NaN or Infinity, which JSON does not have."),
            unstructured(None, &left_out(": it has NaN or Infinity, which JSON does not have.")),
        ),
    ] {
        let found = server.call(AGENT, "get", json!({"what": what})).await.unwrap();
        match read {
            Ok(read) => assert_eq!(found.to_value(), response(200, rpc_result(read)), "{what}"),
            Err(why) => {
                let result = found.json()["result"].clone();
                assert_eq!(result["isError"], true, "{what}: {result}");
                assert!(
                    result.get("structuredContent").is_none() && tool_text(&found).contains(why),
                    "{what}: {result}"
                );
            }
        }
        let found = server.call(AGENT, "put", json!({"what": what})).await.unwrap();
        if write.is_null() {
            let result = found.json()["result"].clone();
            assert_eq!(result["isError"], false, "{what}: {result}");
            let said = result["structuredContent"]["portcullis.dev/unstructured"].as_str().unwrap_or_default();
            assert!(said.starts_with("The call succeeded. ") && said.contains("`id`"), "{what}: {result}");
        } else {
            assert_eq!(found.to_value(), response(200, rpc_result(write)), "{what}");
        }
    }
    let refused = server.call(AGENT, "put", json!({"what": "refused"})).await.unwrap().json()["result"].clone();
    assert_eq!(json!([refused["isError"], refused["structuredContent"]]), json!([true, null]), "{refused}");

    let ends = server.log.at_least(8, "tool_call_success", PATIENCE).await.unwrap();
    let words: Vec<_> = ends.iter().map(|end| json!([end["toolName"], end["error"]])).collect();
    let put = |word: &str| json!(["put", word]);
    let expected = ["answer_nonconforming"; 4].map(put).into_iter().chain(["answer_malformed"; 2].map(put));
    assert_eq!(words, [json!(["get", null]), json!(["put", null])].into_iter().chain(expected).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_revision_shows_what_it_knows_of_a_tool() {
    let (server, _backend) = served().await;
    let mut shown = Vec::new();
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let begun = server.send(&initialize(AGENT, version)).await.unwrap();
        let list = post(AGENT, &rpc("tools/list", json!({})));
        let in_session = server.send(&list.clone().with("Mcp-Session-Id", &session_of(&begun))).await.unwrap();
        let by_header = server.send(&list.with("MCP-Protocol-Version", version)).await.unwrap();
        assert_eq!(in_session.json(), by_header.json(), "{version}");
        shown.push(in_session.json()["result"]["tools"].clone());
    }
    let input = json!({"type": "object", "required": ["what"], "properties": {"what": {"type": "string"}}});
    let plain = json!({"name": "get", "description": "Does it.", "inputSchema": input});
    let with = |more: Value| {
        let mut entry = plain.clone();
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let hints = json!({"readOnlyHint": true});
    assert_eq!(shown[0][0], with(json!({"annotations": {"readOnlyHint": true, "title": "A tool"}})));
    let later = with(json!({"annotations": hints, "title": "A tool", "outputSchema": schema()}));
    assert_eq!(shown[1][0], later);
    let mut latest = later;
    latest["icons"] = json!([{"src": "https://a.example/b.png", "theme": "dark"}]);
    assert_eq!(shown[2][0], latest);
    assert_eq!(
        shown[2][1]["annotations"],
        json!({"readOnlyHint": false, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false})
    );
    let forms = &shown[2][1]["outputSchema"];
    assert_eq!((&forms["type"], forms["anyOf"].as_array().map(Vec::len)), (&json!("object"), Some(2)), "{forms}");
}

#[tokio::test(flavor = "multi_thread")]
async fn official_clients_accept_every_result_of_a_tool_with_an_output_schema() {
    let (server, _backend) = served().await;
    let calls = ["good", "bad", "text", "nothing", "list", "broken", "refused"];
    let steps = ["get", "put"].map(|tool| calls.map(|what| json!(["call", tool, {"what": what}])));
    let steps: Value = [json!(["list"])].into_iter().chain(steps.into_iter().flatten()).collect();
    for (at, results) in official(&server, AGENT, &steps).await {
        let found: Vec<_> = results[2..results.len() - 1].iter().map(|it| it["ok"]["isError"].as_bool()).collect();
        let reads = [false, true, true, true, true, true, true].map(Some);
        let writes = [false, false, false, false, false, false, true].map(Some);
        assert_eq!(found, [reads, writes].concat(), "{at}");
        assert_eq!(results[2]["ok"]["structuredContent"], json!({"id": "1", "in": {"id": "2"}}), "{at}");
    }
}
