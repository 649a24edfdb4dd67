//! What the API server makes of values that nobody meant: `validate` refuses what it refuses, and both read the same in what it admits.
//!
//! The values are generated from the schemas of the CustomResourceDefinitions: at each place of an object that has every field, values
//! of all types and of all bounds, one at a time.

mod generate;

use std::fmt::Debug;
use std::path::Path;
use std::process::Command;

use futures::{StreamExt, stream};
use kube::Client;
use kube::api::PostParams;
use kube::core::Request;
use portcullis_crds::{McpClient, McpServer, document};
use portcullis_tests::{TestCluster, binary, expect_eq};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use generate::{complete, generated};

/// How many requests are sent at the same time.
const PARALLEL: usize = 16;
/// How many objects `validate` reads at once: all clients name the same server, which admits 1000 of them.
const FOLDER: usize = 400;

/// What the API server makes of an object, or why it refuses it.
async fn admitted(client: &Client, object: &Value) -> Result<Value, String> {
    let kind = object["kind"].as_str().unwrap().to_lowercase();
    let path = format!("/apis/portcullis.dev/v1alpha1/namespaces/default/{kind}s");
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let mut request = Request::new(path).create(&parameters, object.to_string().into_bytes()).unwrap();
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse().unwrap();
    client.request::<Value>(request).await.map_err(|error| error.to_string())
}

/// What `validate` says of each object, warnings aside.
fn findings(objects: &[Value]) -> Vec<Vec<String>> {
    let mut findings = vec![Vec::new(); objects.len()];
    let crm = complete("McpServer");
    for (part, texts) in objects.chunks(FOLDER).enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, object: &Value| std::fs::write(folder.path().join(name), object.to_string()).unwrap();
        write("crm.json", &crm);
        for (n, object) in texts.iter().enumerate() {
            write(&format!("{}.json", part * FOLDER + n), object);
        }
        for line in validate(folder.path()).lines().filter(|line| !line.starts_with("warning: ")) {
            let (file, finding) = line.split_once(".json: ").unwrap_or_else(|| panic!("{line}"));
            findings[file.parse::<usize>().unwrap()].push(finding.to_owned());
        }
    }
    findings
}

/// The findings that `validate` prints about a folder.
fn validate(folder: &Path) -> String {
    let output = Command::new(binary("portcullis-operator").unwrap()).arg("validate").arg(folder).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The spec as the operator decodes it, and as it is read from a manifest.
fn read<K, S>(admitted: Value, object: &Value, spec: impl Fn(K) -> S) -> Result<(), String>
where
    K: DeserializeOwned,
    S: JsonSchema + DeserializeOwned + PartialEq + Debug + 'static,
{
    let decoded = serde_json::from_value::<K>(admitted).map(spec).map_err(|error| format!("the operator: {error}"))?;
    let text = object["spec"].to_string();
    let stored = document::stored::<S>(document::single(&text).unwrap_or_default());
    let of_manifest = document::decode::<S>(stored, "spec").map_err(|found| format!("validate: {}", found.0[0]))?;
    expect_eq(of_manifest, decoded)
}

/// Whether an object is the complete one but for its own names.
fn is_complete(object: &Value) -> bool {
    let mut expected = complete(object["kind"].as_str().unwrap());
    expected["metadata"]["name"] = object["metadata"]["name"].clone();
    if let Some(secret) =
        object.pointer("/spec/credentials/apiKey/secretName").filter(|it| it.to_string().starts_with("\"key-"))
    {
        expected["spec"]["credentials"]["apiKey"]["secretName"] = secret.clone();
    }
    expected == *object
}

#[tokio::test]
async fn validate_refuses_what_the_api_server_refuses_and_both_read_the_same() {
    let objects = generated();
    let cluster = TestCluster::without_operator().await;
    let client = cluster.control_plane.client();
    let verdicts = stream::iter(&objects).map(|object| admitted(&client, object)).buffered(PARALLEL);
    let verdicts: Vec<_> = verdicts.collect().await;
    let mut wrong = Vec::new();
    let findings = findings(&objects);
    // A finding that all objects have would hide what the values cause.
    for (object, findings) in objects.iter().zip(&findings).filter(|(object, _)| is_complete(object)) {
        assert_eq!(findings, &Vec::<String>::new(), "{object}");
    }
    for ((object, verdict), findings) in objects.iter().zip(verdicts).zip(findings) {
        let is_server = object["kind"] == "McpServer";
        let mistake = match verdict {
            Err(error) if findings.is_empty() => Err(format!("validate admits what the API server refuses: {error}")),
            Err(_) => Ok(()),
            Ok(_) if findings.iter().any(|finding| finding.contains(": metadata")) => Err("the metadata".to_owned()),
            Ok(admitted) if is_server => read(admitted, object, |server: McpServer| server.spec),
            Ok(admitted) => read(admitted, object, |client: McpClient| client.spec),
        };
        if let Err(mistake) = mistake {
            wrong.push(format!("{mistake}\n{findings:?}\n  {object}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), objects.len(), wrong.join("\n"));
}
