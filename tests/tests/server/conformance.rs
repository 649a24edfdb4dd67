//! The protocol's own conformance suite, as far as a server of tools can meet it. Some of its scenarios pass against a server
//! that is dead, so what is asserted is which pass, and that the server lives.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis_tests::server::{ClientKey, Server, credentials, policy};
use serde_json::json;

use crate::clients::{FOLDER, node, package};

const KEY: &str = "portcullis_conformance-0123456789-0123456789";

const POLICY: &str = r##"
contract: 1
server: {namespace: sales, name: conformance}
spec:
  backends: [{name: fixed, static: {}}, {name: nowhere, http: {url: "http://127.0.0.1:9"}}]
  tools:
    - {name: test_simple_text, description: Says a text., backend: fixed, static: {text: This is a simple text response for testing.}}
    - {name: test_error_handling, description: Fails., backend: nowhere, http: {method: GET, path: /}}
    - name: json_schema_2020_12_tool
      description: Has a schema with the words of 2020-12.
      backend: fixed
      static: {text: x}
      inputSchema:
        $schema: https://json-schema.org/draft/2020-12/schema
        type: object
        $defs: {address: {type: object, properties: {street: {type: string}, city: {type: string}}}}
        properties: {name: {type: string}, address: {$ref: "#/$defs/address"}}
        additionalProperties: false
clients:
  - {id: agent, uid: uid-agent, tools: [test_simple_text, test_error_handling, json_schema_2020_12_tool], maxRecordsPerQuery: 10, limits: [{requests: 1000000, per: 1s}]}
"##;

#[tokio::test(flavor = "multi_thread")]
async fn the_conformance_suite_passes_where_this_server_has_the_feature() {
    let keys = credentials(&[ClientKey { client: "agent", uid: "uid-agent", key: KEY }]).unwrap();
    let mut server = Server::start(&policy(POLICY).unwrap(), &keys).await.unwrap();
    let mut passed = BTreeMap::new();
    for scenario in [
        "server-initialize",
        "ping",
        "tools-list",
        "tools-call-simple-text",
        "tools-call-error",
        "json-schema-2020-12",
        "dns-rebinding-protection",
    ] {
        let results = tempfile::tempdir().unwrap();
        let mut command = node();
        // The suite has no option for a header: it gets one where it sends.
        command.arg("--import").arg(Path::new(FOLDER).join("with-key.mjs")).env("PORTCULLIS_TEST_KEY", KEY);
        command.arg(package("@modelcontextprotocol/conformance/dist/index.js"));
        command.args([
            "server",
            "--url",
            &format!("http://{}/mcp", server.listen),
            "--scenario",
            scenario,
            "--verbose",
        ]);
        command.current_dir(results.path());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        let result = printed
            .lines()
            .find(|line| line.starts_with("Passed: "))
            .unwrap_or_else(|| panic!("{scenario}: {printed}"))
            .to_owned();
        passed.insert(scenario, result);
    }
    let expected = BTreeMap::from([
        ("server-initialize", "Passed: 1/1, 0 failed, 0 warnings"),
        ("ping", "Passed: 1/1, 0 failed, 0 warnings"),
        ("tools-list", "Passed: 1/1, 0 failed, 0 warnings"),
        ("tools-call-simple-text", "Passed: 1/1, 0 failed, 0 warnings"),
        ("tools-call-error", "Passed: 1/1, 0 failed, 0 warnings"),
        ("json-schema-2020-12", "Passed: 4/4, 0 failed, 0 warnings"),
        // A foreign host is refused, as it must be. A page of the loopback's own is refused too: no origin is served by default.
        ("dns-rebinding-protection", "Passed: 1/2, 1 failed, 0 warnings"),
    ]);
    assert_eq!(passed.iter().map(|(name, result)| (*name, result.as_str())).collect::<BTreeMap<_, _>>(), expected);
    assert!(server.is_running());
    assert_eq!(server.call(KEY, "test_simple_text", json!({})).await.unwrap().status, 200);
}
