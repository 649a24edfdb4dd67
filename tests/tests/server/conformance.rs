//! MCP's own conformance suite, as far as it concerns a server of tools. Some of its scenarios pass against a server that is not
//! running, so the test asserts how many checks of each passed, and that the server runs.

use std::collections::BTreeMap;
use std::path::Path;

use portcullis_tests::server::{ClientKey, TestServer, credentials, policy};
use serde_json::json;

use crate::clients::{FOLDER, node, package};

const KEY: &str = "portcullis_conformance-0123456789-0123456789";

const POLICY: &str = r##"
contract: 1
server: {namespace: sales, name: conformance}
spec:
  backends: [{name: fixed, static: {}}, {name: nowhere, http: {url: "http://127.0.0.1:9"}}]
  tools:
    - {name: test_simple_text, description: Returns a text., backend: fixed, static: {text: This is a simple text response for testing.}}
    - {name: test_error_handling, description: Fails., backend: nowhere, http: {method: GET, path: /}}
    - name: json_schema_2020_12_tool
      description: Has a schema with keywords of 2020-12.
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
async fn the_conformance_suite_passes_for_the_features_of_this_server() {
    let keys = credentials(&[ClientKey { client: "agent", uid: "uid-agent", key: KEY }]).unwrap();
    let mut server = TestServer::start(&policy(POLICY).unwrap(), &keys).await.unwrap();
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
        // The suite has no option for a header, so a preloaded module adds it to each request.
        command.arg("--import").arg(Path::new(FOLDER).join("with-key.mjs")).env("PORTCULLIS_TEST_KEY", KEY);
        command.arg(package("@modelcontextprotocol/conformance/dist/index.js"));
        command.args(["server", "--url", &server.url(), "--scenario", scenario, "--verbose"]);
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
        // A foreign host is refused, as it must be. A web page of this machine is refused too: no origin is allowed by default.
        ("dns-rebinding-protection", "Passed: 1/2, 1 failed, 0 warnings"),
    ]);
    assert_eq!(passed.iter().map(|(name, result)| (*name, result.as_str())).collect::<BTreeMap<_, _>>(), expected);
    assert!(server.is_running());
    assert_eq!(server.call(KEY, "test_simple_text", json!({})).await.unwrap().status, 200);
}
