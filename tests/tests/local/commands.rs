//! `validate`, `crds`, and `local` when it cannot start: what they print, and their exit codes.

use std::fs;

use crate::harness::{LocalOperator, Outcome, operator, operator_reads};
use crate::manifests::{LIBRARY, WEATHER, client};

#[tokio::test]
async fn local_says_what_to_do_when_it_cannot_start() {
    let local = LocalOperator::start(&[("weather.yaml", WEATHER)], &[]).await;
    let (manifests, state) = (local.folder.path().join("manifests"), local.state());
    let (manifests, state) = (manifests.to_str().unwrap(), state.to_str().unwrap());
    let other = local.folder.path().join("other");
    let other = other.to_str().unwrap();
    let taken = local.url("weather").await.replace("http://", "").replace("/mcp", "");
    for (arguments, message) in [
        (vec!["--state-dir", state], "is in use by another `local`"),
        (vec!["--state-dir", other, "--listen", &taken], "choose another address with --listen"),
        (vec!["--state-dir", other, "--backend", "forecast=http://x"], "the http backends: forecasts"),
        (vec!["--state-dir", other, "--server-binary", "/nowhere"], "cargo build -p portcullis-server"),
    ] {
        let output = operator(&[&["local", manifests], &arguments[..]].concat());
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && printed.contains(message), "{arguments:?}: {printed}");
    }
}

#[test]
fn validate_names_file_object_and_field_of_each_mistake_and_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    fs::write(folder.path().join("library.yaml"), LIBRARY).unwrap();
    let good = operator(&["validate", path]);
    assert_eq!((good.status.code(), good.stdout.as_slice()), (Some(0), &b"OK: 1 McpServer, 0 McpClients\n"[..]));
    let access = "- {serverRef: {name: library, namespace: town}, tools: [burn_books], maxRecordsPerQuery: 1, limits: {requests: 1, per: soon}}";
    let broken = client("reader", "burn_books").replace("  credentials", &format!("    {access}\n  credentials"));
    fs::write(folder.path().join("reader.yaml"), broken).unwrap();
    fs::write(folder.path().join("other.yaml"), client("other", "burn_books")).unwrap();
    fs::write(folder.path().join("mistake.yml"), "a: [").unwrap();
    let bad = operator(&["validate", path]);
    assert_eq!((bad.status.code(), bad.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(
        String::from_utf8_lossy(&bad.stderr),
        "mistake.yml:2:1: did not find expected node content, while parsing a flow node
other.yaml: McpClient town/other: spec.access[0].tools[0]: `burn_books` is not a tool of McpServer town/library; its tools: lost_books, opening_hours
reader.yaml: McpClient town/reader: spec.access[1].limits.per: must be a duration: whole numbers with the units h, m, s and ms, such as 250ms, 30s, 1m30s or 720h
"
    );
}

#[test]
fn validate_reads_files_folders_and_stdin_and_strict_does_not_let_warnings_pass() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("library.yaml");
    fs::write(&file, LIBRARY).unwrap();
    let file = file.to_str().unwrap();
    let other = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: other}\n---";
    let readers = [other, &client("reader", "lost_books, opening_hours")].concat();
    let printed = |output: std::process::Output| {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let ok = "OK: 1 McpServer, 1 McpClient\n".to_owned();
    assert_eq!(
        printed(operator_reads(&readers, &["validate", "--strict", file, "-"])),
        (Some(0), ok.clone(), String::new())
    );
    let readers = readers.replace("lost_books, ", "");
    let warning = format!(
        "warning: {file}: McpServer town/library: spec.tools[1]: none of the clients in these manifests may call `lost_books`\n"
    );
    assert_eq!(printed(operator_reads(&readers, &["validate", file, "-"])), (Some(0), ok, warning.clone()));
    assert_eq!(
        printed(operator_reads(&readers, &["validate", file, "-", "--strict"])),
        (Some(1), String::new(), warning)
    );

    let misspelt =
        readers.replace("opening_hours", "opening_huors").replace("maxRecordsPerQuery: 10", "maxRecordsPerQuery: no");
    let finding = "stdin: McpClient town/reader: spec.access[0].maxRecordsPerQuery: ";
    let (code, _, stderr) = printed(operator_reads(&misspelt, &["validate", "-"]));
    assert!(code == Some(1) && stderr.contains(finding), "{stderr}");
    let misspelt = readers.replace("opening_hours", "opening_huors");
    let finding = "stdin: McpClient town/reader: spec.access[0].tools[0]: `opening_huors` is not a tool of McpServer town/library (did \
                   you mean `opening_hours`?); its tools: lost_books, opening_hours\n";
    assert_eq!(printed(operator_reads(&misspelt, &["validate", file, "-"])), (Some(1), String::new(), finding.into()));
    for (text, arguments, message) in [
        (" \n", ["validate", "-"], "stdin is empty; pass manifests to it, or name files or folders\n"),
        ("a: b", ["validate", "-"], "stdin: contains no McpServer and no McpClient\n"),
        ("", ["render", "-"], "stdin is empty; pass manifests to it, or name files or folders\n"),
        ("", ["validate", "/nowhere"], "/nowhere: there is no such file or folder\n"),
        ("", ["local", "-"], "-: is neither a file nor a folder; edits of other things cannot be followed\n"),
    ] {
        assert_eq!(printed(operator_reads(text, &arguments)), (Some(1), String::new(), message.to_owned()));
    }
    let rendered = printed(operator_reads(&readers, &["render", file, "-"]));
    assert!(rendered.0 == Some(0) && rendered.1.contains("kind: Deployment") && rendered.2.is_empty(), "{rendered:?}");
}

#[tokio::test]
async fn local_serves_files_and_folders_and_applies_edits_of_each() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reader.manifest");
    fs::write(&file, client("reader", "lost_books")).unwrap();
    let local = LocalOperator::start(&[("library.yaml", LIBRARY)], &[file.to_str().unwrap()]).await;
    let (url, key) = (local.url("library").await, local.key("reader").await);
    local.until_outcome(&url, &key, "lost_books", Outcome::Served).await;
    fs::write(&file, client("reader", "opening_hours")).unwrap();
    local.until_outcome(&url, &key, "lost_books", Outcome::Denied).await;
    local.write("library.yaml", &LIBRARY.replace("9 to 5", "9 to 6"));
    local.until_outcome(&url, &key, "opening_hours", Outcome::Served).await;
    fs::write(&file, client("other", "opening_hours")).unwrap();
    local.until_outcome(&url, &key, "opening_hours", Outcome::Unauthorised).await;
}

#[test]
fn the_printed_definitions_are_those_of_the_repository() {
    let read = |name: &str| fs::read_to_string(format!("{}/../crds/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let printed = String::from_utf8(operator(&["crds"]).stdout).unwrap();
    assert_eq!(printed, format!("{}---\n{}", read("mcpclients.yaml"), read("mcpservers.yaml")));
}

#[test]
fn each_example_is_valid_and_can_be_rendered() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let folders: Vec<_> = fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(folders.len() >= 3, "{folders:?}");
    for folder in folders {
        for command in ["validate", "render"] {
            let output = operator(&[command, folder.to_str().unwrap()]);
            let printed = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{command} {}: {printed}", folder.display());
        }
    }
}
