//! An edit of a manifest takes effect at once, and a mistake in one takes nothing away.

use std::{fs, time::Duration};

use portcullis_tests::{PATIENCE, expect_eq, until};

use crate::harness::{LocalOperator, Outcome};
use crate::manifests::{LIBRARY, client};

/// How soon an edit takes effect.
const AT_ONCE: Duration = Duration::from_secs(1);

/// `library`, with the client `reader`, who may call `opening_hours`, and `other`, who may call everything.
async fn library() -> LocalOperator {
    let files = [
        ("library.yaml", LIBRARY),
        ("reader.yaml", &client("reader", "opening_hours")),
        ("other.yaml", &client("other", "'*'")),
    ];
    LocalOperator::start(&files, &[]).await
}

#[tokio::test]
async fn an_edit_takes_effect_within_a_second_and_restarts_nothing() {
    let local = library().await;
    let (url, reader) = (local.url("library").await, local.key("reader").await);
    let processes = local.server_processes();
    let mut times = Vec::new();
    for edit in 0..8 {
        let (tools, outcome) = if edit % 2 == 0 {
            ("opening_hours, lost_books", Outcome::Served)
        } else {
            ("opening_hours", Outcome::Denied)
        };
        local.write("reader.yaml", &client("reader", tools));
        times.push(local.until_outcome(&url, &reader, "lost_books", outcome).await);
    }
    times.sort();
    // The fastest quarter, because a busy machine can delay any of them.
    assert!(times[1] < AT_ONCE, "{times:?}");
    assert_eq!(local.server_processes(), processes);
}

#[tokio::test]
async fn a_mistake_is_reported_with_its_place_and_changes_no_access() {
    let local = library().await;
    let (url, reader) = (local.url("library").await, local.key("reader").await);
    for (file, text, report) in [
        (
            "reader.yaml",
            client("reader", "opening_hours").replace("maxRecordsPerQuery", "maxRecord"),
            "reader.yaml: McpClient town/reader: spec.access[0].maxRecord: unknown field",
        ),
        ("library.yaml", LIBRARY.replace("backends: [", "backends: [["), "library.yaml:7:3: "),
        (
            "library.yaml",
            LIBRARY.replace("backend: shelf, static: {text", "backend: shelve, static: {text"),
            "library.yaml: McpServer town/library: spec.tools[0].backend: ",
        ),
    ] {
        local.write(file, &text);
        let line = local.process.line(report, PATIENCE).await.unwrap();
        assert!(line.starts_with(report), "{line}");
        local.until_outcome(&url, &reader, "opening_hours", Outcome::Served).await;
        local.until_outcome(&url, &reader, "lost_books", Outcome::Denied).await;
    }
    local.write("reader.yaml", &client("reader", "lost_books"));
    local.write("library.yaml", LIBRARY);
    local.process.line("All problems are fixed.", PATIENCE).await.unwrap();
    local.until_outcome(&url, &reader, "lost_books", Outcome::Served).await;
}

#[tokio::test]
async fn a_file_that_an_editor_empties_before_it_writes_takes_no_key_away() {
    let local = library().await;
    let (url, reader, other) = (local.url("library").await, local.key("reader").await, local.key("other").await);
    fs::write(local.file("other.yaml"), "").unwrap();
    // The time for which the file is empty is what is tested.
    tokio::time::sleep(Duration::from_millis(100)).await;
    fs::write(local.file("other.yaml"), client("other", "'*'")).unwrap();
    // Once a later edit has taken effect, the one before has been read.
    local.write("reader.yaml", &client("reader", "lost_books"));
    local.until_outcome(&url, &reader, "lost_books", Outcome::Served).await;
    assert_eq!(local.key("other").await, other);
    local.until_outcome(&url, &other, "opening_hours", Outcome::Served).await;
}

#[tokio::test]
async fn a_removed_client_loses_its_access_at_once_and_gets_another_key_unless_it_comes_back_soon() {
    let local = library().await;
    let (url, other) = (local.url("library").await, local.key("other").await);
    let (manifest, aside) = (local.file("other.yaml"), local.folder.path().join("aside"));
    fs::rename(&manifest, &aside).unwrap();
    local.until_outcome(&url, &other, "opening_hours", Outcome::Unauthorised).await;
    fs::rename(&aside, &manifest).unwrap();
    local.until_outcome(&url, &other, "opening_hours", Outcome::Served).await;

    fs::remove_file(&manifest).unwrap();
    local.until_outcome(&url, &other, "opening_hours", Outcome::Unauthorised).await;
    let file = local.state().join("keys/town/other-key.key");
    until(PATIENCE, async || expect_eq(file.exists(), false)).await;
    local.write("other.yaml", &client("other", "'*'"));
    let again = local.key("other").await;
    assert_ne!(again, other);
    local.until_outcome(&url, &again, "opening_hours", Outcome::Served).await;
    local.until_outcome(&url, &other, "opening_hours", Outcome::Unauthorised).await;
}

#[tokio::test]
async fn a_key_whose_file_is_removed_is_revoked_and_the_new_one_is_said_to_be_new() {
    let local = library().await;
    let (url, other) = (local.url("library").await, local.key("other").await);
    fs::remove_file(local.state().join("keys/town/other-key.key")).unwrap();
    local.until_outcome(&url, &other, "opening_hours", Outcome::Unauthorised).await;
    local.process.line("town/other: the key was revoked; a new one is in ", PATIENCE).await.unwrap();
    let again = local.key("other").await;
    assert_ne!(again, other);
    local.until_outcome(&url, &again, "opening_hours", Outcome::Served).await;
}
