//! A folder that nobody edits costs next to nothing.

use std::time::Duration;

use portcullis_tests::{PATIENCE, until};

use crate::harness::LocalOperator;
use crate::manifests::{LIBRARY, client};

#[tokio::test]
async fn while_nothing_is_edited_next_to_no_processor_time_is_used() {
    const SAMPLE: Duration = Duration::from_secs(2);
    let files = [("library.yaml", LIBRARY), ("reader.yaml", &client("reader", "'*'"))];
    let local = LocalOperator::start(&files, &[]).await;
    // What the start takes ends; a loop would not.
    until(PATIENCE, async || {
        let before = local.process.usage().unwrap().cpu;
        tokio::time::sleep(SAMPLE).await;
        let used = local.process.usage().unwrap().cpu - before;
        if used < SAMPLE / 20 { Ok(()) } else { Err(format!("{used:?} of processor time in {SAMPLE:?}")) }
    })
    .await;
}
