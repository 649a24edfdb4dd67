//! An edit of a manifest takes effect at once, and a mistake in one takes nothing away.

use std::{fs, time::Duration};

use portcullis_tests::PATIENCE;

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
async fn a_removed_client_loses_its_key_and_gets_another_when_it_is_created_again() {
    let local = library().await;
    let (url, other) = (local.url("library").await, local.key("other").await);
    fs::remove_file(local.file("other.yaml")).unwrap();
    local.until_outcome(&url, &other, "opening_hours", Outcome::Unauthorised).await;
    assert!(!local.state().join("keys/town/other-key.key").exists());
    local.write("other.yaml", &client("other", "'*'"));
    let again = local.key("other").await;
    assert_ne!(again, other);
    local.until_outcome(&url, &again, "opening_hours", Outcome::Served).await;
    local.until_outcome(&url, &other, "opening_hours", Outcome::Unauthorised).await;
}
