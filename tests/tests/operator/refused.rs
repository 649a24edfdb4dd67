//! What the API server itself refuses, by schema and by CEL, and with which messages.

use portcullis_tests::Error;
use serde_json::{Value, json};

use portcullis_tests::TestCluster;

fn server(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "backends": [{"name": "crm-api", "http": {"url": "http://crm"}}, {"name": "fixed", "static": {}}],
        "tools": [{"name": "ping", "description": "Answers.", "backend": "fixed", "static": {"text": "pong"}}],
    });
    change(&mut spec);
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "crm"}, "spec": spec})
}

fn client(change: impl FnOnce(&mut Value)) -> Value {
    let mut spec = json!({
        "access": [{"serverRef": {"name": "crm"}, "tools": ["ping"], "maxRecordsPerQuery": 1}],
        "credentials": {"apiKey": {"secretName": "key"}},
    });
    change(&mut spec);
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpClient", "metadata": {"name": "bot"}, "spec": spec})
}

fn named(mut object: Value, name: &str) -> Value {
    object["metadata"]["name"] = json!(name);
    object
}

#[tokio::test]
async fn the_api_server_refuses_invalid_specs_and_says_why() {
    let cluster = TestCluster::without_operator().await;
    let refusal = |object: &Value| {
        let file = cluster.control_plane.folder().join("object.json");
        std::fs::write(&file, object.to_string()).unwrap();
        match cluster.control_plane.kubectl(["apply", "--dry-run=server", "-f", file.to_str().unwrap()]) {
            Ok(_) => None,
            Err(Error::Command { output, .. }) => Some(output),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(refusal(&server(|_| ())), None);
    assert_eq!(refusal(&client(|_| ())), None);
    for (object, words) in [
        (server(|it| it["colour"] = json!("red")), "unknown field \"spec.colour\""),
        (server(|it| it["tools"][0]["timeOut"] = json!("1s")), "unknown field \"spec.tools[0].timeOut\""),
        (server(|it| it["backends"][0]["static"] = json!({})), "exactly one"),
        (server(|it| it["backends"] = json!([])), "spec.backends"),
        (server(|it| it["tools"][0]["timeout"] = json!("soon")), "spec.tools[0].timeout"),
        (server(|it| it["limits"] = json!({"perClient": {"requests": 1, "per": "1"}})), "spec.limits.perClient.per"),
        (
            server(|it| it["limits"] = json!({"perClient": {"requests": 0, "per": "1m"}})),
            "spec.limits.perClient.requests",
        ),
        (server(|it| it["tools"][0]["backend"] = json!("gone")), "each tool must name one of spec.backends"),
        (server(|it| it["tools"][0]["backend"] = json!("crm-api")), "each tool must name one of spec.backends"),
        (server(|it| it["tools"][0]["name"] = json!("two words")), "spec.tools[0].name"),
        (server(|it| it["tools"][0]["effect"] = json!("Erase")), "spec.tools[0].effect"),
        (server(|it| it["authentication"] = json!({"apiKey": {"mode": "Off"}})), "at least one authentication method"),
        (server(|it| it["replicas"] = json!(101)), "spec.replicas"),
        (named(server(|_| ()), &"x".repeat(41)), "metadata.name must be a DNS label"),
        (named(server(|_| ()), "a.b"), "metadata.name must be a DNS label"),
        (client(|it| it["credentials"] = json!({})), "at least one kind of credential"),
        (client(|it| it["access"][0]["maxRecordsPerQuery"] = json!(0)), "maxRecordsPerQuery"),
        (client(|it| it["access"] = json!([it["access"][0], it["access"][0]])), "each serverRef must be unique"),
        (client(|it| it["expiresAt"] = json!("tomorrow")), "expiresAt"),
    ] {
        let message = refusal(&object).unwrap_or_else(|| panic!("accepted, and not refused with '{words}': {object}"));
        assert!(message.contains(words), "'{words}' is not in: {message}");
    }
}
