//! Which calls a client may make: a tool that it may not call and one that does not exist are the same to it, and arguments that
//! do not fit a tool are described without their values.

use portcullis_tests::PATIENCE;
use portcullis_tests::server::{call, post, rpc};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

#[tokio::test]
async fn a_tool_that_is_denied_and_one_that_does_not_exist_are_refused_in_the_same_words() {
    let mut document = document(NOWHERE);
    client_of(&mut document, "reader")["tools"] = json!(["find", "note"]);
    let server = start(&document).await;
    let cases = [
        (call(READER, "echo", json!({"text": "canary"})), "echo", Some("echo"), "not_granted"),
        // Denied before its arguments are checked.
        (call(READER, "echo", json!({"wrong": "canary"})), "echo", Some("echo"), "not_granted"),
        (call(READER, "note", json!({"id": "1", "text": "canary"})), "note", Some("note"), "write_not_allowed"),
        (call(READER, "delete_all", json!({"id": "canary"})), "delete_all", None, "unknown"),
        (call(AGENT, "delete_all", json!({})), "delete_all", None, "unknown"),
        (call(AGENT, "a\"b", json!({})), "a\"b", None, "unknown"),
    ];
    let mut expected = Vec::new();
    for (request, named, recorded, reason) in cases {
        assert_eq!(server.send(&request).await.unwrap().to_value(), denied(named));
        expected.push((recorded.map_or(Value::Null, Value::from), json!(reason)));
    }
    let records = server.log.at_least(expected.len(), "tool_access_denied", PATIENCE).await.unwrap();
    let found: Vec<_> = records.iter().map(|record| (record["toolName"].clone(), record["reason"].clone())).collect();
    assert_eq!(found, expected);
    assert!(!server.log.lines().join("\n").contains("canary"));

    let list = post(READER, &rpc("tools/list", json!({})));
    assert_eq!(tool_names(&server.send(&list).await.unwrap()), ["find"], "a list has the tools that may be called");
}

#[tokio::test]
async fn the_nearest_tool_that_the_client_may_call_is_named_beside_the_words_and_no_other() {
    let mut document = document(NOWHERE);
    client_of(&mut document, "reader")["tools"] = json!(["find", "note"]);
    let server = start(&document).await;
    for (client, named, near) in [
        (AGENT, "Echo", Some("echo")),
        (AGENT, "noet", Some("note")),
        (READER, "fnd", Some("find")),
        // One that was not granted, and one that writes, which this client may not.
        (READER, "Echo", None),
        (READER, "noet", None),
        (READER, "note", None),
    ] {
        let mut expected = denied(named);
        if let Some(near) = near {
            expected["body"]["error"]["data"] = json!({"didYouMean": near});
        }
        assert_eq!(server.call(client, named, json!({})).await.unwrap().to_value(), expected, "{named}");
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_described_by_keyword_and_place_and_never_by_value() {
    let server = start(&document(NOWHERE)).await;
    let fits = server.call(AGENT, "echo", json!({"text": "x".repeat(200)})).await.unwrap();
    assert_eq!(fits.to_value(), response(200, rpc_result(echoed(&"x".repeat(200)))), "as long as the schema allows");
    for (arguments, what) in [
        (
            json!({}),
            "the required property `text` is missing; `text` must be a string and have at most 200 characters (`required`)",
        ),
        (json!({"text": {"canary": "canary"}}), "`/text` must be a string and have at most 200 characters (`type`)"),
        (json!({"text": "canary".repeat(40)}), "`/text` must have at most 200 characters (`maxLength`)"),
        (
            json!({"text": "x", "txt": "canary"}),
            "1 property is not allowed; allowed are `text` (`additionalProperties`)",
        ),
        (
            json!({"Text": "canary"}),
            "\n- the required property `text` is missing; `text` must be a string and have at most 200 characters (`required`)\n- 1 property \
             is not allowed (did you mean `text`?); allowed are `text` (`additionalProperties`)",
        ),
        (
            json!({"text": "x", "canary": "canary"}),
            "1 property is not allowed; allowed are `text` (`additionalProperties`)",
        ),
    ] {
        let found = server.call(AGENT, "echo", arguments.clone()).await.unwrap();
        assert_eq!(found.to_value(), invalid_arguments(what), "{arguments}");
    }
    // What has no arguments by name is no call of a tool.
    for arguments in [json!([]), json!("canary"), json!(1)] {
        let found = server.call(AGENT, "echo", arguments.clone()).await.unwrap();
        let expected = rpc_error(-32602, "Invalid arguments: they must be an object");
        assert_eq!(found.to_value(), response(200, expected), "{arguments}");
    }
    let records = server.log.at_least(9, "arguments_refused", PATIENCE).await.unwrap();
    let keywords: Vec<_> = records.iter().map(|record| record["keyword"].clone()).collect();
    assert_eq!(
        keywords,
        [
            "required",
            "type",
            "maxLength",
            "additionalProperties",
            "required",
            "additionalProperties",
            "type",
            "type",
            "type"
        ]
    );
    assert!(!server.log.lines().join("\n").contains("canary"));
}

#[tokio::test]
async fn a_call_names_its_tool_by_a_string() {
    let server = start(&document(NOWHERE)).await;
    for params in [json!({"name": 5}), json!({}), json!({"name": null})] {
        let found = server.send(&post(AGENT, &rpc("tools/call", params.clone()))).await.unwrap();
        let expected = rpc_error(-32602, "Invalid params: `name` must be a string");
        assert_eq!(found.to_value(), response(200, expected), "{params}");
    }
}
