//! kubectl and `validate` read the same in a file, or `validate` refuses it. kubectl reads YAML 1.1, and JSON; what it refuses itself
//! is seen by whoever applies the file.

use std::io::Write;
use std::process::Stdio;

use portcullis_crds::document::{self, Document};
use portcullis_tests::{ControlPlane, expect_eq};
use serde_json::{Map, Value};

const OBJECT: &str = "apiVersion: portcullis.dev/v1alpha1\nkind: McpClient\nmetadata: {name: a, labels: {a: b}}\n";
/// Values of a field.
const VALUES: &[&str] = &[
    "yes",
    "On",
    "n",
    "nO",
    "True",
    "'no'",
    "~",
    "",
    "0777",
    "-0777",
    "08",
    "0o17",
    "0x1F",
    "0X1F",
    "+0x1F",
    "0b101",
    "0B1",
    "1_000",
    "1_0.5",
    "0x1_0",
    "1_e3",
    "_1",
    "-_1",
    "01.5",
    "1.0",
    "-0.0",
    "1.",
    ".5",
    "1e3",
    "1e400",
    ".inf",
    ".nan",
    "1:30",
    "2020-01-01",
    "18446744073709551616",
    "-9223372036854775809",
    "!!str 1",
    "!!int '1'",
    "!!binary aGk=",
    "!foo 1",
    "!<x:y> 1",
    "!!set {a, b}",
    "<<",
    "{<<: {a: 1}}",
    "{<<: [{a: 1}, {a: 2, b: 3}], a: 4}",
    "{'<<': {a: 1}}",
    "{!!merge <<: {a: 1}}",
    "{b: 1, b: 2}",
    "{b: 1, b: 1}",
    "{1: a}",
    "{1: a, '1': b}",
    "{yes: a}",
    "{true: a}",
    "{1.0: a}",
    "{~: a}",
    "{[a]: b}",
    "[&x 1, *x]",
    "[&x 1, &x 2, *x]",
    "*x",
    "&x [*x]",
    "[1,,2]",
    "{a:1}",
    "\"\\x41\"",
    "'a\u{0}b'",
    "\"\\U0001F600\"",
    "a\u{a0}#b",
    "'a\u{2028}b'",
    "caf\u{e9}",
];
/// What follows an object, and may have another one.
const ENDS: &[&str] = &[
    "---\nOBJECT",
    "--- \t\nOBJECT",
    "--- # next\nOBJECT",
    "...\n---\nOBJECT",
    "...\nOBJECT",
    "--- {a: b}\n",
    "---x\nOBJECT",
    "\r---\rOBJECT",
    "---\r\nOBJECT",
    "spec:\n  a: |\n---\nOBJECT",
    "spec: 'x\n---\ny'\n",
    "spec:\n\ta: 1\n",
    "spec:\n  a: 1\n\t# x\n",
    "spec: {\n\ta: 1}\n",
    "spec:\n  a: |+\n    x\n\n\n  b: >-\n    y\n\n    z\n",
    "---\n# nothing\n---\n~\n---\nOBJECT",
    "spec: {a: 1}\nspec: {b: 1}\n",
    "---\n%YAML 1.1\n---\nOBJECT",
    "x: &x {a: 1}\n---\nOBJECTspec: *x\n",
    "spec: {a: [}\n---\nOBJECT",
];
/// Whole files.
const FILES: &[&str] = &[
    "\u{feff}OBJECT",
    "# x\n---\nOBJECT",
    "%YAML 1.1\n---\nOBJECT",
    "JSON",
    "\u{feff}JSON",
    " \n JSON\n",
    "JSON\nJSON",
    "JSONJSON",
    "JSON\n---\nOBJECT",
    "JSON,",
    "# x\nJSON",
    "{\"spec\": {\"a\": \"\\ud83d\\ude00 \\/\"}, \"kind\": \"McpClient\", \"apiVersion\": \"v1\", \"metadata\": {\"name\": \"a\"}}",
];

/// What kubectl makes of a file: its objects, or `None` if it refuses it.
fn kubectl(control_plane: &ControlPlane, text: &str) -> Option<Vec<Value>> {
    let mut command = control_plane.kubectl_command();
    // A command that changes nothing, and asks no API server.
    command.args(["label", "--local", "--overwrite", "-f", "-", "a=b", "-o", "json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let objects: Vec<_> = objects.map(|object| labelled(document::stored::<()>(object.unwrap()))).collect();
    (output.status.success() && !objects.is_empty()).then_some(objects)
}

/// The same for `validate`, with why it refuses it.
fn validate(text: &str) -> Result<Vec<Value>, String> {
    let read = document::split_each(text.as_bytes()).into_iter().map(|document| match document {
        Document::Whole(value, misread) if misread.is_empty() => Ok(labelled(document::stored::<()>(value))),
        Document::Whole(_, misread) => Err(misread.to_string()),
        Document::Broken { error, .. } => Err(error.to_string()),
    });
    read.collect()
}

/// An object with the label that kubectl added.
fn labelled(mut object: Value) -> Value {
    if object["metadata"].is_object() {
        object["metadata"]["labels"] = Value::Object(Map::from_iter([("a".to_owned(), "b".into())]));
    }
    object
}

#[tokio::test]
async fn a_file_is_read_as_by_kubectl_or_refused() {
    let control_plane = ControlPlane::start().await.unwrap();
    let json = serde_json::to_string(&document::single(OBJECT).unwrap()).unwrap();
    let values = VALUES.iter().flat_map(|value| {
        [format!("{OBJECT}spec: {{a: {value}}}\n"), format!("{OBJECT}spec:\n  a: {value}\n  b: 1\n")]
    });
    let texts =
        values.chain(ENDS.iter().map(|end| format!("{OBJECT}{end}"))).chain(FILES.iter().map(|it| (*it).to_owned()));
    let (mut wrong, mut same) = (Vec::new(), 0);
    for text in texts.map(|text| text.replace("OBJECT", OBJECT).replace("JSON", &json)) {
        match (kubectl(&control_plane, &text), validate(&text)) {
            (_, Err(_)) => {}
            (None, Ok(read)) => wrong.push(format!("{text:?}: only kubectl refuses it: {read:?}")),
            (Some(expected), Ok(read)) => match expect_eq(read, expected) {
                Ok(()) => same += 1,
                Err(error) => wrong.push(format!("{text:?}: {error}")),
            },
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Refusing everything would not be reading it.
    assert!(same > 70, "only {same} files were read");
}
